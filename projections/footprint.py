"""What a batch of decisions may have changed for others: each batch leaves its marks, whoever remembers anything reads them.

A worker keeps the children it has read. Before it decides again it reads the footprints of what others decided since, and drops
what they touched. Footprints say from which number to which they speak, so that any other change of the tables (a catch-up, a
restore, footprints swept away) shows as a gap: then all that was remembered goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

from sqlalchemy import Connection, text

KEPT: Final = 20_000
"""Numbers back to which footprints are kept: some forty of the greatest batches."""


@lru_cache(20_000)
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


def since(conn: Connection, number: int, upto: int) -> set[int] | None:
    """The marks of all decisions above `number` up to `upto`; None when they do not all lie there."""
    found: set[int] = set()
    rows: list[Any] = list(conn.execute(_SINCE, {"n": number}))
    if sum(r.number - r.after for r in rows) != upto - number:
        return None
    for r in rows:
        found.update(array("I", bytes(r.marks)))
    return found


_SINCE = text("select after, number, marks from footprint where after >= :n")
