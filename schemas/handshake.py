"""Ask a broker, in milliseconds, whether it takes a user: a SASL/SCRAM-SHA-256 handshake and nothing else.

kafka-python reports a wrong password, an unknown user and a listener of another protocol alike, as "Unable to
bootstrap". This speaks the two requests needed (SaslHandshake v1, SaslAuthenticate v0) and says which it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from typing import Final

from domain.problems import SightlineError
from schemas.topics import KafkaAccess

SASL_HANDSHAKE: Final = 17
SASL_AUTHENTICATE: Final = 36
MECHANISM: Final = b"SCRAM-SHA-256"
FRAME_BYTES_MAX: Final = 65_536
"""A handshake answer is some hundred bytes; anything larger is not a Kafka broker."""

ITERATIONS_MAX: Final = 1_000_000
"""Kafka's default is 4,096; a listener asking for more than this only wants our time."""


class BrokerAway(SightlineError):
    """Nothing answers there, or it closes at once."""


class BrokerRefuses(SightlineError):
    """Something answers, and will not take this user this way."""


def check_access(access: KafkaAccess, *, timeout_s: float = 3.0) -> None:
    """Return when the first broker of `access` that answers takes the user.

    Raises:
        BrokerAway: none answers within `timeout_s` each; BrokerRefuses: the text says what to check.
    """
    why = "no address given"
    for server in access.bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=timeout_s) as plain:
                _Scram(_secured(plain, access, host), access).run()
                return
        except BrokerAway as err:
            why = f"{server}: {err}"
        except (OSError, ValueError) as err:
            why = f"{server}: {getattr(err, 'strerror', None) or err}"
    raise BrokerAway(f"no broker at {access.bootstrap} answers ({why}); check that it is up and the address")


def _secured(plain: socket.socket, access: KafkaAccess, host: str) -> socket.socket:
    if access.security_protocol != "SASL_SSL":
        return plain
    try:
        return ssl.create_default_context(cafile=access.ssl_cafile).wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as err:
        raise BrokerRefuses(f"the broker's certificate is not trusted ({err.verify_message}); check the CA file") from err
    except ssl.SSLError as err:
        raise BrokerRefuses(f"{host} does not speak TLS there ({err.reason}); check the port and the security protocol") from err


class _Scram:
    """RFC 5802 over Kafka's frames."""

    def __init__(self, sock: socket.socket, access: KafkaAccess) -> None:
        self.sock, self.access = sock, access
        self.user = access.prefix + access.user
        self.number = 0

    def run(self) -> None:
        body = self._exchange(SASL_HANDSHAKE, 1, struct.pack(">h", len(MECHANISM)) + MECHANISM)
        if struct.unpack_from(">h", body)[0] != 0:
            raise BrokerRefuses("the broker's listener does not offer SCRAM-SHA-256; check which listener the address is")
        nonce = secrets.token_hex(12)
        first = f"n={self.user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        challenge = self._say(f"n,,{first}")
        salt, rounds, joint = self._read_challenge(challenge)
        if not joint.startswith(nonce):
            raise BrokerRefuses("the broker's answer does not match our nonce; do not trust this listener")
        final = f"c=biws,r={joint}"
        said = f"{first},{challenge},{final}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", self.access.password.encode(), salt, rounds)
        client = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client).digest(), said, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        answer = self._say(f"{final},p={base64.b64encode(proof).decode()}")
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        if not hmac.compare_digest(answer, f"v={base64.b64encode(server).decode()}"):
            raise BrokerRefuses("the broker does not prove that it knows the password; do not trust this listener")

    def _read_challenge(self, challenge: str) -> tuple[bytes, int, str]:
        try:
            fields = dict(item.split("=", 1) for item in challenge.split(","))
            salt, rounds, joint = base64.b64decode(fields["s"]), int(fields["i"]), fields["r"]
        except (ValueError, KeyError, binascii.Error) as err:
            raise BrokerRefuses("the broker's challenge is not SCRAM; check the address") from err
        if not 0 < rounds <= ITERATIONS_MAX:
            raise BrokerRefuses("the broker asks for an absurd number of hash rounds; do not trust this listener")
        return salt, rounds, joint

    def _say(self, text: str) -> str:
        data = text.encode()
        body = self._exchange(SASL_AUTHENTICATE, 0, struct.pack(">i", len(data)) + data)
        error, size = struct.unpack_from(">hh", body)
        if error:
            raise BrokerRefuses(f"the broker refuses user {self.user}: it does not know it, or by another password; check both")
        at = 4 + max(size, 0)
        length = struct.unpack_from(">i", body, at)[0]
        return body[at + 4 : at + 4 + length].decode()

    def _exchange(self, key: int, version: int, body: bytes) -> bytes:
        self.number += 1
        client = b"sightline"
        head = struct.pack(">hhih", key, version, self.number, len(client)) + client
        self.sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size = struct.unpack(">i", self._read(4))[0]
        if not 8 <= size <= FRAME_BYTES_MAX:
            raise BrokerRefuses("what listens there does not speak Kafka with SASL; check the port and the security protocol")
        return self._read(size)[4:]

    def _read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.sock.recv(count - len(found))
            if not more:
                raise BrokerAway("it closed the connection; does its listener speak SASL?")
            found += more
        return found
