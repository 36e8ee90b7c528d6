"""One encrypted file: AES-256-GCM in chunks, under a key derived from the master key and a salt of the file's own.

Header, big-endian: magic, version, created_at (µs), salt, key check, SHA-256 of all that follows. Then chunks, each after its
length. A chunk's nonce is its number and whether it is the last, its associated data the header's first fields: so a chunk that
is torn, changed, moved, left out or from another file does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.errors import InfraError

MAGIC: Final = b"SLKEEP\r\n"
"""The line end shows a file that went through a transfer as text."""

VERSION: Final = 1
CHUNK_BYTES: Final = 1024 * 1024
TAG_BYTES: Final = 16
_FIELDS: Final = struct.Struct(">8sHQ32s32s")
_LENGTH: Final = struct.Struct(">I")
_NONCE: Final = struct.Struct(">IIHBB")
DIGEST_BYTES: Final = 32
HEADER_BYTES: Final = _FIELDS.size + DIGEST_BYTES


class BackupRefused(InfraError):
    """A file that is no backup, is torn or changed, or was made under another master key."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. `created_at`: µs since 1970 (UTC)."""

    created_at: int
    salt: bytes
    digest: bytes
    fields: bytes


def write(path: Path, master: bytes, data: Iterable[bytes], created_at: int) -> int:
    """Write `data` as a new file, whole or not at all; returns its size in bytes.

    Raises:
        BackupRefused: there is such a file already, or it cannot be written.
    """
    if path.exists():
        raise BackupRefused(f"{path} exists: name a new file")
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b") as out:
            _write(out, master, data, created_at)
            size = out.tell()
            out.flush()
            os.fsync(out.fileno())
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as err:
        raise BackupRefused(f"{path} cannot be written: {err.strerror}") from err
    finally:
        draft.unlink(missing_ok=True)
    return size


def check(path: Path, master: bytes) -> Header:
    """Read the whole file and open every chunk; returns its header.

    Raises:
        BackupRefused: one line that says which of these it is: not a backup, torn, another master key.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        header = _header(path, file)
        while some := file.read(CHUNK_BYTES):
            digest.update(some)
    if digest.digest() != header.digest:
        raise BackupRefused(f"{path} is torn or changed: its SHA-256 is not the one in its header")
    for _ in read(path, master):
        pass
    return header


def read(path: Path, master: bytes) -> Iterator[bytes]:
    """The data, chunk after chunk. `check` first: what is found wrong late has been handed out in part.

    Raises:
        BackupRefused.
    """
    with _opened(path) as file:
        header = _header(path, file)
        key, known = _keys(master, header.salt)
        if not hmac.compare_digest(known, header.fields[-len(known) :]):
            raise BackupRefused(
                f"{path} was made under another master key: put that deployment's into secrets/ of the state folder"
            )
        number, sealed = 0, _chunk(path, file)
        while sealed is not None:
            following = _chunk(path, file)
            try:
                yield key.decrypt(_nonce(number, last=following is None), sealed, header.fields)
            except InvalidTag as err:
                raise BackupRefused(f"{path} is torn or changed: chunk {number} does not open") from err
            number, sealed = number + 1, following


def _write(out: BinaryIO, master: bytes, data: Iterable[bytes], created_at: int) -> None:
    salt = os.urandom(32)
    key, known = _keys(master, salt)
    fields = _FIELDS.pack(MAGIC, VERSION, created_at, salt, known)
    digest = hashlib.sha256()
    out.write(fields + bytes(DIGEST_BYTES))
    chunks = _of_size(data)
    number, plain = 0, next(chunks)
    while plain is not None:
        following = next(chunks, None)
        sealed = key.encrypt(_nonce(number, last=following is None), plain, fields)
        for part in (_LENGTH.pack(len(sealed)), sealed):
            out.write(part)
            digest.update(part)
        number, plain = number + 1, following
    out.seek(len(fields))
    out.write(digest.digest())
    out.seek(0, os.SEEK_END)


def _of_size(data: Iterable[bytes]) -> Iterator[bytes | None]:
    """The same bytes in chunks of `CHUNK_BYTES`; one empty chunk when there are none."""
    held, any_yet = bytearray(), False
    for some in data:
        held += some
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
            any_yet = True
    if held or not any_yet:
        yield bytes(held)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as err:
        raise BackupRefused(f"{path} cannot be read: {err.strerror}") from err


def _header(path: Path, file: BinaryIO) -> Header:
    data = file.read(HEADER_BYTES)
    if not data.startswith(MAGIC):
        raise BackupRefused(f"{path} is not a backup of `keep`")
    if len(data) < HEADER_BYTES:
        raise BackupRefused(f"{path} is torn: it ends in its header")
    _, version, created_at, salt, _ = _FIELDS.unpack_from(data)
    if version != VERSION:
        raise BackupRefused(f"{path} is of version {version}; this release reads {VERSION}")
    return Header(created_at, salt, data[_FIELDS.size :], data[: _FIELDS.size])


def _chunk(path: Path, file: BinaryIO) -> bytes | None:
    head = file.read(_LENGTH.size)
    if not head:
        return None
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    sealed = file.read(length) if TAG_BYTES <= length <= CHUNK_BYTES + TAG_BYTES else b""
    if not sealed or len(sealed) != length:
        raise BackupRefused(f"{path} is torn")
    return sealed


def _keys(master: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The file's key, and what tells whether it is this one."""
    both = HKDF(SHA256(), 64, salt, b"sightline keep backup 1").derive(master)
    return AESGCM(both[:32]), both[32:]


def _nonce(number: int, *, last: bool) -> bytes:
    """12 bytes, never twice under one key: the key is the file's own."""
    return _NONCE.pack(0, number, 0, 0, int(last))
