"""Reading the views, for the web and the command line: unredacted documents; whoever shows them redacts (design, idea 8).

Only what the ledger topic has acknowledged is said to be saved (`entry_for`, `feed_position`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import Connection, Engine, text

from domain.fold import fold
from domain.model import History, Json
from domain.policy import Reference
from domain.problems import PolicyError, SightlineError
from domain.searching import SearchTerms
from projections.book import Book, block_key
from projections.driver import snapshot
from projections.entries import header
from projections.inbox import FIRST, Place, lying, unsettled
from schemas.policies import past_reference

log: Final = structlog.get_logger()

POLL_S: Final = 0.25


class CatchingUp(SightlineError):
    """`views` lacks what the ledger holds: nothing is shown, because half a picture can look like safety."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of an act, once acknowledged by the ledger topic. `said`: what its id stands for (`domain.saying`)."""

    verdict: str
    reason: str | None
    number: int
    accepted_at: int
    said: bytes


class Reading:
    """Reads database `views`."""

    def __init__(self, engine: Engine, reference: Reference, now_us: Callable[[], int]) -> None:
        self._engine, self._reference, self._now = engine, reference, now_us

    @contextmanager
    def _caught_up(self) -> Iterator[Connection]:
        """A database that holds what the ledger held when its relay took over, as of one moment.

        Raises: CatchingUp.
        """
        with self._engine.connect() as conn, snapshot(conn):
            if not conn.execute(_CAUGHT_UP).scalar_one_or_none():
                raise CatchingUp("the views are catching up with the ledger, after a restart or a restore; try again in a minute")
            yield conn

    def caught_up(self) -> bool:
        """May anything be shown?"""
        with self._engine.connect() as conn:
            return bool(conn.execute(_CAUGHT_UP).scalar_one_or_none())

    # -- children ---------------------------------------------------------------------------------------------------

    def queue(self, limit: int, offset: int = 0) -> tuple[list[Json], int]:
        """Views of children with something that waits for somebody, and how many there are: harm triggers first, then what is
        overdue and was passed on, then the earliest due.
        """
        with self._caught_up() as conn:
            total = conn.execute(text("select count(*) from child where owed_at is not null")).scalar_one()
            rows = conn.execute(_QUEUE, {"n": limit, "o": offset})
            return self._views(conn, [r.child_id for r in rows]), total

    def recently_decided(self, since: int, limit: int, offset: int = 0) -> tuple[list[Json], int]:
        """Views of children with a recommendation decided, held or closed since then, newest first; and how many there are."""
        with self._caught_up() as conn:
            decided = [r.child_id for r in conn.execute(_DECIDED, {"s": since})]
            book = Book()
            book.load_founders(conn, decided)
            children = list(dict.fromkeys(map(book.current, decided)))
            return self._views(conn, children[offset : offset + limit]), len(children)

    def children_of(self, presentation_ids: Sequence[str]) -> list[str]:
        """The children on which these presentations are today."""
        with self._caught_up() as conn:
            sql = "select distinct child_id from presentation where presentation_id = any(:p) order by child_id"
            return [r.child_id for r in conn.execute(text(sql), {"p": list(presentation_ids)})]

    def child_view(self, child_id: str, as_of: int | None = None, known_at: int | None = None) -> Json | None:
        """One child's view: today's (folded now, so clocks are right), or as true at `as_of` and known at `known_at`."""
        with self._caught_up() as conn:
            book = Book()
            book.load_children(conn, [child_id])
            book.load_beside(conn, [child_id])
            reference = self._reference if known_at is None else self._in_force(conn, known_at)
        history = book.history(child_id, beside=True)
        return self._fold(history, reference, as_of or self._now(), known_at) if history.links else None

    @staticmethod
    def _fold(history: History, reference: Reference, as_of: int, known_at: int | None = None) -> Json:
        view = fold(history, reference, as_of, known_at)
        if view["evaluated_at"] is None:
            log.error("not-evaluated", version=view["version"], alarm=True)
        return view

    def _views(self, conn: Connection, child_ids: Sequence[str]) -> list[Json]:
        """Today's views of these children, in this order; ids that nobody is known by are left out."""
        book, now = Book(), self._now()
        book.load_children(conn, child_ids)
        book.load_beside(conn, child_ids)
        histories = [book.history(c, beside=True) for c in child_ids]
        return [self._fold(h, self._reference, now) for h in histories if h.links]

    def _in_force(self, conn: Connection, at: int) -> Reference:
        """Policy, deadlines, calendars and code lists that decided at `at` (µs): those of the last entry accepted by then.

        Today's before the first entry, and where this release cannot read the text of that time; the view names its policy.
        """
        named = _decided_under(conn, at)
        if named is None:
            return self._reference
        texts = {k: _reference_text(conn, k, f) for k, f in zip(("policy", "codes"), named, strict=True)}
        try:
            return past_reference(texts["policy"], texts["codes"])
        except PolicyError:
            log.warning("past-policy-unreadable", policy=named[0])
            return self._reference

    def child_version(self, child_id: str) -> int | None:
        """The version of the newest view."""
        with self._caught_up() as conn:
            return conn.execute(text("select version from child where child_id = :c"), {"c": child_id}).scalar_one_or_none()

    def search(self, terms: SearchTerms, limit: int, offset: int = 0) -> list[Json]:
        """Views of children of whom some presentation fits every term given, best first."""
        with self._caught_up() as conn:
            ids: dict[str, int] = {}
            for r in conn.execute(_SIEVE, {"s": terms.sieve()}):
                if (score := terms.score(orjson.loads(r.fields))) is not None:
                    ids[r.child_id] = max(score, ids.get(r.child_id, 0))
            best = sorted(ids, key=lambda c: (-ids[c], c))
            return self._views(conn, best[offset : offset + limit])

    def children_by_identifier(self, system: str, value: str) -> list[str]:
        """The children that a checked identifier (nhs, upn, la, pnc) stands on; several while a match is undecided."""
        with self._caught_up() as conn:
            sql = (
                "select distinct p.child_id from block b join presentation p using (presentation_id) where b.key = :k "
                "order by p.child_id"
            )
            return [r.child_id for r in conn.execute(text(sql), {"k": block_key((system, value))})]

    # -- matches and recommendations ----------------------------------------------------------------------------------

    def possible_matches(self, state: str, limit: int, offset: int = 0) -> tuple[list[Json], int]:
        """Possible matches in a state, and how many there are: {match_id, state, raised_at, version, presentation, child,
        other_child_id, history}.

        Open ones oldest first, and of several between the same two children the first: it is one question. The others by what was
        said about them last, newest first: a mistake is looked for there.
        """
        with self._caught_up() as conn:
            found = (conn.execute(_QUESTIONS) if state == "OPEN" else conn.execute(_ANSWERED, {"s": state})).all()
            return [self._pair(conn, r) for r in found[offset : offset + limit]], len(found)

    def open_matches(self) -> list[tuple[str, tuple[str, str], tuple[str, str], int]]:
        """(match id, (agency, local id), (agency, local id), version) of every question that is open, oldest first."""
        sql = (
            "select (select max(c.number) from conclusion c where c.about = m.match_id) as version, "
            f"m.match_id, p.agency, p.local_id, a.agency as other, a.local_id as other_id {_SIDES} "
            f"where m.match_id in (select match_id from ({_FIRST_OF_PAIR}) q) order by m.number, m.match_id"
        )
        with self._caught_up() as conn:
            return [(r.match_id, (r.agency, r.local_id), (r.other, r.other_id), r.version) for r in conn.execute(text(sql))]

    def possible_match(self, match_id: str) -> Json | None:
        """One possible match."""
        with self._caught_up() as conn:
            row = conn.execute(text("select * from possible_match where match_id = :m"), {"m": match_id}).one_or_none()
            return None if row is None else self._pair(conn, row)

    def _pair(self, conn: Connection, row: Any) -> Json:
        book = Book()
        book.load_presentations(conn, [row.presentation_id, row.anchor])
        here, there = book.child_of[row.presentation_id], book.child_of[row.anchor]
        book.load_children(conn, [here, there])
        book.load_beside(conn, [here, there])
        view = fold(book.history(there, beside=True), self._reference, self._now())
        own = fold(book.history(here, beside=True), self._reference, self._now())
        shown = next(i for i in own["identity"] if i["presentation_id"] == row.presentation_id)
        said = [c for x in book.conclusions.values() for c in x if c.data.get("match_id") == row.match_id]
        history = [
            {"at": c.accepted_at, "kind": c.kind, **{k: c.data.get(k) for k in ("by", "by_role", "rationale", "held_by")}}
            for c in sorted(said, key=lambda c: c.number)
        ]
        return {
            "match_id": row.match_id, "state": row.state, "raised_at": row.raised_at,
            "version": max([row.number, *(c.number for c in said)]),
            "presentation": {
                **shown, "match_id": row.match_id, "evidence": orjson.loads(row.evidence), "raised_at": row.raised_at,
                "state": row.state,
            },
            "child": view, "other_child_id": here, "history": history,
        }  # fmt: skip

    def recommendation(self, recommendation_id: str) -> tuple[str, Json] | None:
        """The child a recommendation is about, and its view."""
        return self._about(recommendation_id)

    def _about(self, about: str) -> tuple[str, Json] | None:
        with self._caught_up() as conn:
            book = Book()
            book.load_about(conn, [about])
            if about not in book.about:
                return None
            child = book.current(book.about[about])
        view = self.child_view(child)
        return None if view is None else (child, view)

    # -- GP practices -------------------------------------------------------------------------------------------------

    def gp_inbox(
        self, practice_ods: str, states: Sequence[str], after: Place | None = None, limit: int | None = None
    ) -> list[tuple[str, str, int]]:
        """A practice's own messages: (message id, state, sent at), oldest first; never a withdrawn one. See `inbox.lying`."""
        with self._caught_up() as conn:
            return lying(conn, practice_ods, states, after or FIRST, limit)

    def gp_message(self, message_id: str, practice_ods: str) -> tuple[Json, Json] | None:
        """(child view, message) when it lies in this practice's inbox."""
        with self._caught_up() as conn:
            sql = "select 1 from gp_inbox where message_id = :m and practice_ods = :p and change = 'WAITING'"
            if conn.execute(text(sql), {"m": message_id, "p": practice_ods}).one_or_none() is None:
                return None
        found = self._shown(message_id)
        return found if found is not None and found[1]["practice_ods"] == practice_ods else None

    def _shown(self, message_id: str) -> tuple[Json, Json] | None:
        """(child view, message), whatever its state."""
        found = self._about(message_id)
        if found is None:
            return None
        message = next((m for m in found[1]["messages"] if m["message_id"] == message_id), None)
        return None if message is None else (found[1], message)

    def gp_exceptions(self, limit: int, offset: int = 0) -> tuple[list[tuple[str, Json, Json]], int]:
        """(message id, child view, message) of messages with an exception nobody has resolved, oldest first; and how many."""
        with self._caught_up() as conn:
            found = unsettled(conn, self._now())
            page = found[offset : offset + limit]
            views = {v["child_id"]: v for v in self._views(conn, sorted({child for _, child in page}))}
        listed = [(message_id, views[child]) for message_id, child in page]
        return [(m, v, next(x for x in v["messages"] if x["message_id"] == m)) for m, v in listed], len(found)

    def gp_exception(self, message_id: str) -> tuple[Json, Json] | None:
        """(child view, message) when it has an exception that nobody has resolved."""
        found = self._shown(message_id)
        raised = None if found is None else found[1]["exception"]
        return None if raised is None or raised["resolved_at"] is not None else found

    # -- what became of it --------------------------------------------------------------------------------------------

    def entry_for(self, event_id: str) -> Found | None:
        """What became of an act; None until the ledger topic has acknowledged its entry."""
        sql = (
            "select a.verdict, a.reason, a.number, a.said, "
            "coalesce((select accepted_at from conclusion c where c.number = a.number limit 1), 0) as at "
            "from act a join relay r on r.id = 1 where a.event_id = :e and a.number <= r.relayed"
        )
        with self._engine.connect() as conn:
            row = conn.execute(text(sql), {"e": event_id}).one_or_none()
        return None if row is None else Found(row.verdict, row.reason, row.number, row.at, bytes(row.said))

    def feed_position(self) -> int:
        """The highest number that the ledger topic has acknowledged."""
        with self._engine.connect() as conn:
            return int(conn.execute(text("select relayed from relay where id = 1")).scalar_one_or_none() or 0)

    def wait_for_change(self, after: int, timeout_s: float) -> int:
        """Block until `feed_position() > after`, or the time is over."""
        end = time.monotonic() + timeout_s
        with self._engine.connect() as conn:
            while True:
                now = int(conn.execute(text("select relayed from relay where id = 1")).scalar_one_or_none() or 0)
                conn.rollback()
                if now > after or time.monotonic() >= end:
                    return now
                time.sleep(POLL_S)

    # -- operations ---------------------------------------------------------------------------------------------------

    def positions(self) -> Json:
        """{number, relayed, relay_age_s, incarnation, positions, dead_letters}: what the database says of the house's state.

        `relay_age_s`: how long the oldest entry that the ledger topic has not acknowledged has waited.
        """
        with self._engine.connect() as conn:
            head = conn.execute(text("select c.number, c.incarnation, r.relayed from counter c, relay r")).one_or_none()
            waiting = conn.execute(_NOT_RELAYED).scalar_one_or_none()
            rows = conn.execute(text("select topic, partition, next_offset, owner from position order by topic, partition")).all()
            letters = conn.execute(text("select agency, count(*) as n from letter group by agency order by agency")).all()
            counts = {t: conn.execute(text(f"select count(*) from {t}")).scalar_one() for t in ("child", "fact")}
        if head is None:
            return {
                "number": 0,
                "relayed": 0,
                "relay_age_s": 0.0,
                "incarnation": 0,
                "positions": [],
                "dead_letters": {},
                "children": 0,
                "facts": 0,
            }
        age = 0.0 if waiting is None else (self._now() - header(bytes(waiting))["accepted_at"]) / 1e6
        return {
            "number": head.number, "relayed": head.relayed, "relay_age_s": round(age, 1), "incarnation": head.incarnation,
            "children": counts["child"], "facts": counts["fact"],
            "positions": [
                {"topic": r.topic, "partition": r.partition, "next_offset": r.next_offset, "owner": r.owner} for r in rows
            ],
            "dead_letters": {r.agency: r.n for r in letters},
        }  # fmt: skip

    def dead_letters(self, agency: str | None, limit: int) -> list[Json]:
        """Dead letters, newest first."""
        sql = "select data from letter where :a is null or agency = :a order by number desc limit :n"
        with self._engine.connect() as conn:
            rows = conn.execute(text(sql.replace(":a", "cast(:a as text)")), {"a": agency, "n": limit})
            return [orjson.loads(r.data) for r in rows]

    def dead_letter(self, letter_id: str) -> Json | None:
        """One dead letter."""
        return next((x for x in self.dead_letters(None, 100_000) if x["letter_id"] == letter_id), None)

    def counts(self) -> list[Json]:
        """What the board counts, of every child (`domain.standing`)."""
        with self._caught_up() as conn:
            return [orjson.loads(r.counts) for r in conn.execute(text("select counts from child"))]

    def current_child(self, child_id: str) -> str | None:
        """Where a child id leads today."""
        with self._caught_up() as conn:
            book = Book()
            book.load_founders(conn, [child_id])
        return book.current(child_id) if book.founder else None


def _decided_under(conn: Connection, at: int) -> tuple[str, str] | None:
    """Fingerprints (policy, code lists) that the last decided entry accepted by `at` names. Numbers have no gap and instants
    never decrease, so it is found by halving: about twenty rows of a million.
    """
    low, high = 0, int(conn.execute(text("select coalesce(max(number), 0) from ledger")).scalar_one())
    while low < high:
        middle = (low + high + 1) // 2
        found = _entry_header(conn, middle)
        low, high = (middle, high) if found is not None and found["accepted_at"] <= at else (low, middle - 1)
    while low > 0:
        found = _entry_header(conn, low)
        if found is not None and found["policy"] is not None and found["codes"] is not None:
            return found["policy"], found["codes"]
        low -= 1  # a REFERENCE entry: the one before it was decided
    return None


def _entry_header(conn: Connection, number: int) -> Json | None:
    value = conn.execute(text("select value from ledger where number = :n"), {"n": number}).scalar_one_or_none()
    return None if value is None else header(bytes(value))


def _reference_text(conn: Connection, kind: str, fingerprint: str) -> bytes:
    sql = text("select clear from reference where kind = :k and fingerprint = :f")
    return bytes(conn.execute(sql, {"k": kind, "f": fingerprint}).scalar_one())


_CAUGHT_UP: Final = text("select not catching_up from relay where id = 1")
"""No row: no relay has looked yet whether the ledger holds more."""

_NOT_RELAYED: Final = text(
    "select value from ledger where number > (select relayed from relay where id = 1) order by number limit 1"
)
_QUEUE: Final = text(
    "select child_id from child where owed_at is not null order by urgency, owed_at, child_id limit :n offset :o"
)
_DECIDED: Final = text(
    "select child_id, max(accepted_at) as at from conclusion where kind in ('convened', 'declined', 'held', 'closed') "
    "and accepted_at >= :s group by child_id order by at desc, child_id"
)
_SIDES: Final = (
    "from possible_match m join presentation p on p.presentation_id = m.presentation_id "
    "join presentation a on a.presentation_id = m.anchor "
)
_FIRST_OF_PAIR: Final = (
    "select distinct on (least(p.child_id, a.child_id), greatest(p.child_id, a.child_id)) m.* "
    f"{_SIDES} where m.state = 'OPEN' and p.child_id <> a.child_id "
    "order by least(p.child_id, a.child_id), greatest(p.child_id, a.child_id), m.number, m.match_id"
)
_QUESTIONS: Final = text(f"select * from ({_FIRST_OF_PAIR}) q order by raised_at, match_id")
_ANSWERED: Final = text(
    "select m.* from possible_match m where m.state = :s "
    "order by (select max(c.number) from conclusion c where c.about = m.match_id) desc nulls last, m.match_id"
)

_SIEVE: Final = text(
    "select fields, child_id from presentation "
    "where (select bool_and(position(term in searched) > 0) from unnest(cast(:s as text[])) as term)"
)
