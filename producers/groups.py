"""How facts lie in a spool file: groups, each with its length and checksum. Bytes in, facts out, and back."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
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


NUMBER_MAX: Final = 2**64 - 1
"""As a head holds it."""


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

    @property
    def following(self) -> int:
        """The number of the first fact behind it."""
        return self.first + self.facts


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
        number, at = group.following - 1, group.end
    return number, at


def found(data: bytes, at: int) -> Iterator[Group]:
    """Every whole group from `at` on, also behind bytes that do not check; none that lies within the facts of another."""
    while (at := data.find(MAGIC, at)) >= 0:
        group = check(data, at)
        if group is not None:
            yield group
        at = at + 1 if group is None else group.end


def follows(data: bytes, at: int) -> bool:
    """Does a whole group stand anywhere behind `at`? Then what does not check there is no torn end, whatever its length says."""
    return next(found(data, at), None) is not None


@dataclass(frozen=True, slots=True)
class _Run:
    """Groups one behind another, over such between as do not check but end where their heads say.

    `number`: of the fact that comes next; `end`: the byte where it breaks off. It `leads` on if the file ends there or a head
    with that `number` stands there: as behind every group, and seldom in a text.
    """

    groups: list[Group]
    number: int
    end: int
    leads: bool

    @property
    def first(self) -> int:
        return self.groups[0].first


def readable(data: bytes, first: int, upto: int | None = None) -> list[Group]:
    """The whole groups of a file that holds facts from `first` on to below `upto` (None: not known), in their order.

    Also behind bytes that do not check. A fact's text may look like a group: where its own does not check, the numbers decide.
    What contradicts a surer run is text; of two as sure both are taken, for none that can be read may be lost (I1).
    """
    front = _run(data, 0, first, upto)
    floor = front.number + 1 if front.leads else front.number  # the head that stands there has that number itself
    others = [run for run in _runs(data, front.end, floor, upto) if run.groups]
    if front.leads:
        others = _outside(data, front, others, upto)
    return front.groups + _agreeing([(group, run.leads) for run in others for group in run.groups])


def _runs(data: bytes, at: int, first: int, upto: int | None) -> Iterator[_Run]:
    """Those behind a break, of groups from `first` on to below `upto`: a text may end where groups begin that go on from it."""
    while (group := next(found(data, at), None)) is not None:
        run = _run(data, group.end - len(group.body) - HEAD.size, group.first, upto)
        yield replace(run, groups=[g for g in run.groups if first <= g.first and (upto is None or g.following <= upto)])
        at = run.end


def _run(data: bytes, at: int, number: int, upto: int | None) -> _Run:
    """The run that begins at `at` with that number."""
    groups: list[Group] = []
    while True:
        group = check(data, at)
        if group is not None and group.first == number:
            groups.append(group)
            at, number = group.end, group.following
            continue
        end, behind = _claimed(data, at, number)
        final = group is None and upto is None and end == len(data)
        if group is not None or final or at == len(data) or not _goes_on(data, end, behind, upto):
            return _Run(groups, number, at, leads=final or _goes_on(data, at, number, upto))
        at, number = end, behind


def _outside(data: bytes, front: _Run, others: list[_Run], upto: int | None) -> list[_Run]:
    """Those of the others that are not the text of the group at which the front breaks off, as its head tells."""
    end, behind = _claimed(data, front.end, front.number)
    if behind == upto or any(run.leads and run.first == behind for run in others):  # it has the facts that it says
        return [run for run in others if run.leads or run.first >= behind]
    if upto is None and end >= len(data):  # it says that nothing follows: wrong only if facts go on from it all the same
        return others if any(run.first == behind or (run.leads and run.first > behind) for run in others) else []
    return others


def _claimed(data: bytes, at: int, number: int) -> tuple[int, int]:
    """Where the group at `at` with that number ends and what number comes next, by its head, which may be damaged."""
    if at + HEAD.size > len(data):
        return at, number
    _, length, _, _, facts = HEAD.unpack_from(data, at)
    return at + HEAD.size + length, number + facts


def _goes_on(data: bytes, at: int, number: int, upto: int | None) -> bool:
    """Is `at` the end of a group behind which `number` comes next?"""
    if at == len(data):
        return upto is None or number == upto
    return at + HEAD.size <= len(data) and HEAD.unpack_from(data, at)[::3] == (MAGIC, number)


def _agreeing(groups: list[tuple[Group, bool]]) -> list[Group]:
    """Those that are sure, and of the others those that contradict none of them: numbers only ever rise."""
    floors = accumulate((group.following if sure else 0 for group, sure in groups), max)
    ceilings = accumulate((group.first if sure else NUMBER_MAX for group, sure in reversed(groups)), min)
    bounds = zip(groups, floors, reversed(list(ceilings)), strict=True)
    return [g for (g, sure), floor, ceiling in bounds if sure or (floor <= g.first and g.following <= ceiling)]
