"""What waits for a practice, and what did not arrive, from what was said of each message: no child is read or folded, however
many messages there are.

The same as in the children's views, at the same moment: nothing is kept that could be older than they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any, Final

import orjson
from sqlalchemy import Connection, text

from domain.messages import Message, by_id
from domain.model import Conclusion
from projections.book import Book

Place = tuple[int, str]
"""(sent at, µs; message id): where a message stands in the inbox, oldest first."""

FIRST: Final[Place] = (0, "")
"""Before every message."""

CHUNK: Final = 200
"""Messages read at a time for a list that has a limit: the rows of a page and of what it leaves out, in one answer or few."""


def lying(
    conn: Connection, practice_ods: str, states: Collection[str], after: Place = FIRST, limit: int | None = None
) -> list[tuple[str, str, int]]:
    """A practice's own messages in one of these states: (message id, state, sent at), oldest first; never a withdrawn one.

    At most `limit`, of those after `after`.
    """
    out: list[tuple[str, str, int]] = []
    while True:
        count = None if limit is None else max(CHUNK, limit - len(out))
        asked = {"p": practice_ods, "at": after[0], "m": after[1], "n": count}
        there = [(place, list(some)) for place, some in groupby(conn.execute(_LYING, asked), lambda r: (r.at, r.message_id))]
        for message, place, _ in _standing(conn, there):
            if message.practice == practice_ods and message.told in states:
                out.append((message.message_id, message.told, place[0]))
        if count is None or len(there) < count or len(out) >= (limit or 0):
            return out[:limit]
        after = there[-1][0]


def unsettled(conn: Connection, now_us: int) -> list[tuple[str, str]]:
    """Messages with an exception that nobody has resolved: (message id, the child it is on today), oldest exception first."""
    there = [((0, str(m)), list(some)) for m, some in groupby(conn.execute(_EXCEPTED, {"now": now_us}), lambda r: r.message_id)]
    found = [
        (message.exception.accepted_at, message.message_id, child_id)
        for message, _, child_id in _standing(conn, there)
        if message.exception is not None and message.settled is None
    ]
    book = Book()
    book.load_founders(conn, {child_id for *_, child_id in found})
    return [(message_id, book.current(child_id)) for _, message_id, child_id in sorted(found)]


def _standing(conn: Connection, there: Iterable[tuple[Place, list[Any]]]) -> Iterable[tuple[Message, Place, str]]:
    """How each message stands on the child that it is on today, and the child that it was raised on.

    Of a child all of whose records were erased there is no message. While a match held two records together, things were said on
    the older child: what was said on a child counts where that child is today, as it does in the view (`Book.current`).
    """
    said = [(place, [r for r in some if r.number is not None]) for place, some in there]
    raised_on = {some[0].child_id for _, some in said if some}
    kept = set(conn.execute(_KEPT, {"c": sorted(raised_on)}).scalars()) if raised_on else set()
    apart = {r.child_id for _, some in said for r in some if r.child_id != some[0].child_id}
    book = Book()
    if apart:
        book.load_founders(conn, apart | raised_on)
    for place, some in said:
        if some and some[0].child_id in kept:
            here = book.current(some[0].child_id)
            told = (r for r in some if book.current(r.child_id) == here)
            found = by_id(Conclusion(r.number, r.accepted_at, r.kind, orjson.loads(r.data)) for r in told)
            if (message := found.get(place[1])) is not None:
                yield message, place, some[0].child_id


_LYING: Final = text(
    "with lying as (select message_id, at from gp_inbox where practice_ods = :p and change = 'WAITING' "
    "and (at, message_id) > (:at, :m) order by at, message_id limit :n) "
    "select lying.message_id, lying.at, c.number, c.accepted_at, c.kind, c.child_id, c.data "
    "from lying left join conclusion c on c.about = lying.message_id order by lying.at, lying.message_id, c.number, c.seq"
)
_EXCEPTED: Final = text(
    "select about as message_id, number, accepted_at, kind, child_id, data from conclusion "
    "where about in (select about from conclusion where kind = 'gp_exception') and accepted_at <= :now "
    "order by about, number, seq"
)
_KEPT: Final = text(
    "select distinct l.child_id from link l join presentation p using (presentation_id) where l.child_id = any(:c)"
)
