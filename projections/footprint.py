"""What a batch of decisions changed for others: each batch leaves its footprint, whoever remembers anything reads it.

A worker keeps the children it has read. Before it decides again it reads the footprints of what others decided since: which of
these children are to be read anew, as more was done than added to them; what was told and concluded, to be taken in; and by marks
what there is to be found now. They say from which number to which they speak, so that any other change of the tables (a catch-up,
a restore, footprints swept away) shows as a gap: then all that was remembered goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import orjson
from sqlalchemy import Connection, text

from projections.driver import execute
from projections.entries import ACCEPTED, FACT, Entry

KEPT: Final = 5_000
"""Numbers back to which footprints are kept: some ten of the greatest batches, 2 MB."""

SWEPT: Final = 1_000
"""Numbers from one sweep to the next."""


def mark(what: str | bytes) -> int:
    """The mark of an id or of a blocking key. Two things with one mark (of 2^32) cost a reading too many, never a wrong one."""
    return crc32(what if isinstance(what, bytes) else what.encode())


def marks(names: Iterable[str | bytes]) -> frozenset[int]:
    """The marks of all of these."""
    return frozenset(map(mark, names))


def holder(agency: str, local_id: str) -> str:
    """What is marked when an agency's local id comes with something new."""
    return f"{agency} {local_id}"


def packed(left: Iterable[int]) -> bytes:
    """Marks as they lie in the table."""
    return array("I", left).tobytes()


def news(entries: Iterable[Entry], anew: Iterable[str]) -> bytes:
    """What these decisions did, as it lies in the table: the children to be read anew, and what each accepted entry brought."""
    brought = [_brought(e) for e in entries if e.verdict == ACCEPTED and (e.kind == FACT or e.conclusions)]
    return orjson.dumps({"anew": sorted(anew), "brought": brought})


def _brought(entry: Entry) -> tuple[Any, ...]:
    """As `Book.follow` takes it."""
    told = orjson.Fragment(entry.told()) if entry.kind == FACT and entry.value is not None else None
    about = (entry.agency, entry.presentation_id, entry.identity)
    return entry.number, entry.accepted_at, *about, told, entry.conclusions


@dataclass(slots=True)
class Changes:
    """What decisions changed: the marks they left, the children to be read anew, what each entry brought, in order of number."""

    marks: set[int] = field(default_factory=set)
    anew: set[str] = field(default_factory=set)
    brought: list[list[Any]] = field(default_factory=list)


def changes(left: Sequence[Any], number: int, upto: int) -> Changes | None:
    """What all decisions above `number` up to `upto` changed, by the footprints they left (rows of `LEFT_ABOVE`); None when these
    do not all lie there.
    """
    changed = Changes()
    if sum(r.number - r.after for r in left) != upto - number:
        return None
    for r in left:
        changed.marks.update(array("I", r.marks))
        told = orjson.loads(r.news)
        changed.anew.update(told["anew"])
        changed.brought += told["brought"]
    return changed


def sweep(conn: Connection, after: int, number: int) -> None:
    """Drop what nobody follows any more, once in a thousand numbers (a batch of decisions gave those above `after`)."""
    if after // SWEPT != number // SWEPT:
        execute(conn, _SWEEP, {"n": number - KEPT})


_SWEEP = text("delete from footprint where after < :n")
LEFT_ABOVE: Final = text("select after, number, marks, news from footprint where after >= :n order by after")
