"""How facts lie in a spool file: groups, each with its length and checksum. Bytes in, facts out, and back."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from producers.facts import Fact

MAGIC: Final = b"SLg1"
HEAD: Final = struct.Struct(">4sIIQI")
"""Magic, bytes that follow, CRC-32 of number, count and those bytes, number of the first fact, count of facts."""

CRC_OVER: Final = struct.Struct(">QI")
FACT: Final = struct.Struct(">II")
"""Bytes of a fact's few fields (JSON), bytes of its body."""

GROUP_BYTES: Final = 1024 * 1024
"""A group ends here: about 1,700 facts an fsync, and at most this much is read at once (or one fact of 256 KiB)."""

GROUP_BYTES_MAX: Final = GROUP_BYTES + 512 * 1024
"""A longer length is not a group's."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A fact in the spool with its number."""

    number: int
    fact: Fact


class Group(NamedTuple):
    """A group that checks: number of its first fact, count of facts, their bytes, and the byte behind it."""

    first: int
    facts: int
    body: bytes
    end: int


def pack(first: int, facts: Sequence[Fact]) -> Iterator[bytes]:
    """Facts as the bytes of groups, numbered from `first`."""
    packed: list[bytes] = []
    size = 0
    for fact in facts:
        one = _packed(fact)
        if packed and size + len(one) > GROUP_BYTES:
            yield _group(first, packed)
            first, packed, size = first + len(packed), [], 0
        packed.append(one)
        size += len(one)
    if packed:
        yield _group(first, packed)


def _group(first: int, packed: list[bytes]) -> bytes:
    body = b"".join(packed)
    return HEAD.pack(MAGIC, len(body), _crc(first, len(packed), body), first, len(packed)) + body


def _crc(first: int, count: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(CRC_OVER.pack(first, count)))


def _packed(fact: Fact) -> bytes:
    meta = json.dumps([fact.event_id, fact.record, fact.schema, fact.key, fact.time], separators=(",", ":")).encode()
    return FACT.pack(len(meta), len(fact.body)) + meta + fact.body


def unpack(group: Group) -> Iterator[Waiting]:
    """The facts of a group."""
    at = 0
    for number in range(group.first, group.first + group.facts):
        meta, body = FACT.unpack_from(group.body, at)
        at += FACT.size
        event_id, record, schema, key, time = json.loads(group.body[at : at + meta])
        yield Waiting(number, Fact(event_id, record, schema, key, time, group.body[at + meta : at + meta + body]))
        at += meta + body


def check(data: bytes, at: int) -> Group | None:
    """The whole group at `at`; None where there is none."""
    if at + HEAD.size > len(data):
        return None
    magic, length, crc, first, count = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or length > GROUP_BYTES_MAX or end > len(data):
        return None
    body = data[at + HEAD.size : end]
    return Group(first, count, body, end) if _crc(first, count, body) == crc else None


def extent(data: bytes, start: int) -> tuple[int, int]:
    """The last number, and the end, of the unbroken run of groups from the beginning."""
    number, at = start - 1, 0
    while (group := check(data, at)) is not None and group.first == number + 1:
        number, at = group.first + group.facts - 1, group.end
    return number, at


def follows(data: bytes, at: int) -> bool:
    """Does a whole group stand anywhere behind `at`? Then what does not check there is no torn end, whatever its length says."""
    while (at := data.find(MAGIC, at)) >= 0:
        if check(data, at) is not None:
            return True
        at += 1
    return False


def readable(data: bytes, at: int = 0) -> Iterator[Group]:
    """Every whole group from `at` on, also behind bytes that do not check."""
    while (at := data.find(MAGIC, at)) >= 0:
        group = check(data, at)
        if group is not None:
            yield group
        at = _behind(data, at) if group is None else group.end


def _behind(data: bytes, at: int) -> int:
    """Where to look on behind a group that does not check: not within it, if its length still leads to another or to the end.

    A fact's text may look like a group.
    """
    head = data[at : at + HEAD.size]
    end = at + HEAD.size + HEAD.unpack(head)[1] if len(head) == HEAD.size else at + 1
    return end if end == len(data) or data.startswith(MAGIC, end) else at + 1
