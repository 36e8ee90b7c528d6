"""Ask a broker, in milliseconds, whether it takes a user: a SASL/SCRAM-SHA-256 handshake and nothing else.

kafka-python reports a wrong password, a missing user and a plaintext listener alike, as "Unable to bootstrap" after
30 s. This speaks the two requests needed (SaslHandshake v1, SaslAuthenticate v0) and names what is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from typing import Final

from infra.errors import AccessError
from schemas.topics import KafkaAccess

SASL_HANDSHAKE: Final = 17
SASL_AUTHENTICATE: Final = 36
FRAME_BYTES_MAX: Final = 65_536
"""A handshake answer is some hundred bytes; anything larger is not a Kafka broker."""


def check_access(access: KafkaAccess, *, timeout_s: float = 5.0) -> None:
    """Return when the first broker of `access` that answers takes the user.

    Raises: AccessError saying whether the broker is away, is not Kafka with SASL, or refuses this user.
    """
    unreachable = ""
    for server in access.bootstrap.split(","):
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=timeout_s) as plain:
                _Handshake(_secured(plain, access, host), access).run()
                return
        except (OSError, struct.error) as error:
            unreachable = f"{server}: {error.strerror or error}" if isinstance(error, OSError) else f"{server}: no Kafka"
    raise AccessError(
        f"no broker at {access.bootstrap} answers ({unreachable}); is it up (sightline status), and does the listener "
        f"speak {access.security_protocol}?"
    )


def _secured(plain: socket.socket, access: KafkaAccess, host: str) -> socket.socket:
    if access.security_protocol != "SASL_SSL":
        return plain
    try:
        return ssl.create_default_context(cafile=access.ssl_cafile).wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise AccessError(f"the broker's certificate is not trusted ({error.verify_message}); set SIGHTLINE_KAFKA_CA") from error


class _Handshake:
    def __init__(self, sock: socket.socket, access: KafkaAccess) -> None:
        self.sock = sock
        self.user = access.prefix + access.user
        self.password = access.password
        self.number = 0

    def run(self) -> None:
        """RFC 5802 over Kafka's frames."""
        self._mechanism()
        nonce = secrets.token_hex(12)
        first = f"n={self.user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        challenge = self._authenticate(f"n,,{first}")
        fields = dict(item.split("=", 1) for item in challenge.split(","))
        if not fields["r"].startswith(nonce):
            raise AccessError("the broker's SCRAM answer does not match our nonce; do not trust this listener")
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={fields['r']}"
        message = f"{first},{challenge},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        answer = self._authenticate(f"{final},p={base64.b64encode(proof).decode()}")
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        if answer != f"v={base64.b64encode(server).decode()}":
            raise AccessError("the broker does not prove that it knows the password; do not trust this listener")

    def _mechanism(self) -> None:
        name = b"SCRAM-SHA-256"
        body = self._exchange(SASL_HANDSHAKE, 1, struct.pack(">h", len(name)) + name)
        if struct.unpack_from(">h", body)[0] != 0:
            raise AccessError("the broker's listener does not offer SASL/SCRAM-SHA-256; enable it or name another listener")

    def _authenticate(self, text: str) -> str:
        data = text.encode()
        body = self._exchange(SASL_AUTHENTICATE, 0, struct.pack(">i", len(data)) + data)
        error, size = struct.unpack_from(">hh", body)
        if error:
            raise AccessError(
                f"the broker refuses user {self.user}: unknown to it, or another password; "
                "run `sightline up` to issue users, or check the secrets in the state folder"
            )
        at = 4 + max(size, 0)
        length = struct.unpack_from(">i", body, at)[0]
        return body[at + 4 : at + 4 + length].decode()

    def _exchange(self, key: int, version: int, body: bytes) -> bytes:
        self.number += 1
        client = b"sightline"
        head = struct.pack(">hhih", key, version, self.number, len(client)) + client
        self.sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size = struct.unpack(">i", self._read(4))[0]
        if not 4 <= size <= FRAME_BYTES_MAX:
            raise AccessError("what listens there does not speak Kafka; check the address")
        return self._read(size)[4:]

    def _read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.sock.recv(count - len(found))
            if not more:
                raise ConnectionResetError(104, "connection closed by the other side")
            found += more
        return found
