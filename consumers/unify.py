"""unify: from what was said to what is known. Decides about each intake record once, in one transaction a batch.

Decisions are taken one after another under the counter's row lock (ADR 0002): so numbers are gapless, `accepted_at` never
decreases, and two workers that meet one new child at once see one another's links. What they rest on is read before, and stays
with the worker: under the lock only what others did meanwhile is read (`projections.footprint`, `projections.book`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from sqlalchemy import Connection, TextClause, text

from consumers.concerned import known, left_by, load, load_met, load_near, met_by, named_by
from consumers.deciding import Decider, Known
from consumers.host import Intake
from consumers.preparing import Prepared, Preparer, refuse, unread
from domain.policy import Reference
from domain.standing import Standing
from projections import footprint
from projections.book import Book, adds
from projections.driver import execute, rows, snapshot, together
from projections.entries import (
    ACT,
    ENTRY_BYTES_MAX,
    IDENTITY,
    REFERENCE,
    Entry,
    key_names,
    record_class,
    seal,
)
from projections.footprint import LEFT_ABOVE, Changes
from projections.keyring import KeyRing
from projections.writing import Rows, save_children
from schemas.catalogue import catalogue
from schemas.codec import Codec
from schemas.codes import code_lists_hash, code_lists_text
from schemas.registry import RegistryUnavailable
from schemas.topics import AGENCIES

log = structlog.get_logger()

CHANNEL: Final = "ledger"
"""PostgreSQL notification after each commit: relay and web wake without waiting for their next look."""

INTAKE_TOPICS: Final = (*(f"facts.{a}" for a in AGENCIES), "decisions", "receipts", "clock")


RULE_FAILED: Final = "rule-failed"
"""Reason of a record that a defect of ours, or a limit of the database, kept from being decided about."""

ENTRY_TOO_LARGE: Final = "entry-too-large"


class EntryTooLarge(Exception):
    """What would be concluded from a record is more than the ledger topic takes. Of that record alone (`consumers.faults`)."""


REMEMBERED_MAX: Final = 30_000
"""Facts of the children that a worker remembers, 3 KB each; with so many less what the last batch brought it begins anew, before
it reads the next, so it holds a batch more at most. Under the lock it would have to read again what it has just read ahead.
"""


@dataclass(slots=True)
class Counter:
    """The row that gives numbers: last number given, last `accepted_at` (µs), incarnation; which tables it stands in."""

    number: int
    accepted_at: int
    incarnation: int
    tables: int

    @property
    def place(self) -> tuple[int, int]:
        """Where memory holds: other tables (a rebuild), or another incarnation (a restore), are another past."""
        return self.tables, self.incarnation


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch with what was accepted before under its ids (`known`, None when nothing was read ahead) and the presentations whose
    children deciding about it looks at (`near`). `named` and `met` are the marks of what these were found by: if others leave
    one, there is more to find.
    """

    prepared: Sequence[Prepared]
    known: Known | None = None
    near: frozenset[str] = frozenset()
    named: frozenset[int] = frozenset()
    met: frozenset[int] = frozenset()


class Unify:
    """The handler that the exactly-once host runs."""

    def __init__(  # noqa: PLR0917
        self, codec: Codec, keys: KeyRing, reference: Reference, policy: tuple[str, bytes],
        ledger_end: Callable[[], tuple[int, int]], now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        secret = keys.secret("presentation")
        self._codec, self._keys, self._reference, self._now = codec, keys, reference, now_us
        self._policy = policy
        self._preparer = Preparer(codec, secret, now_us)
        self._decider = Decider(reference, self._preparer.same)
        self._ledger_end = ledger_end
        self._counter, self._left = Counter(0, 0, 0, 0), list[Any]()
        self._book, self._stands = Book(), Counter(0, 0, 0, 0)
        self._brought = 0  # facts that the last batch had to be read for
        self._referenced: set[tuple[str, str]] = set()

    # -- what the host asks -----------------------------------------------------------------------------------------

    def ready(self, conn: Connection) -> bool:
        """The database has applied every entry that the ledger topic holds, in the newest incarnation.

        The topic is asked first: what is relayed until the database is asked, it has.
        """
        number, incarnation = self._ledger_end()
        row = conn.execute(text("select number, incarnation from counter where id = 1")).one_or_none()
        return row is not None and bool(row.number >= number and row.incarnation >= incarnation)

    def lock(self, conn: Connection) -> None:
        """Lock the counter: from here to the commit nobody else decides."""
        self._counter, self._left = self._look(conn, _LOCK)

    def forget(self) -> None:
        """Nothing is remembered of a database that may be another one now; keys may be another `keep`'s."""
        self._referenced = set()
        self._begin_anew()
        self._keys.forget()

    def prepare(self, conn: Connection, batch: Sequence[Intake]) -> Ready:
        """Decode and check, have the keys of what will most likely be accepted, and read what deciding looks at, as it stands
        now: before anybody has to wait for us.
        """
        prepared = [self._preparer.prepare(i) for i in batch]
        facts = [p for p in prepared if p.reason is None and p.presentation_id is not None and not p.local_only]
        classes = {(p.presentation_id or "", record_class(p.record)) for p in facts}
        self._keys.make(classes | {(holder, IDENTITY) for holder, _ in classes})
        if len(self._book.stands) + self._brought > REMEMBERED_MAX:
            self._begin_anew()
        with snapshot(conn):  # all of it at one number, from which on footprints say what has changed
            counter, left = self._look(conn, _COUNTER)
            self._catch_up(conn, counter, left)
            ready = self._read(conn, prepared)
        self._keys.arrive()
        return ready

    def set_apart(self, record: Intake, failure: Exception) -> Ready:
        """The record as one to refuse, with what can still be read of it."""
        reason = ENTRY_TOO_LARGE if isinstance(failure, EntryTooLarge) else RULE_FAILED
        try:
            found = self._preparer.prepare(record)
        except RegistryUnavailable:
            raise
        except Exception:  # what failed before may fail again: then nothing of it can be read
            found = unread(record)
        return Ready([replace(refuse(found, reason), writer=None)])

    def handle(self, conn: Connection, ready: Ready) -> None:
        """Decide about every record of the batch, and write all of it."""
        at, after = max(self._now(), self._counter.accepted_at), self._counter.number
        changed = self._catch_up(conn, self._counter, self._left)
        if ready.known is None or changed is None or not ready.named.isdisjoint(changed.marks):
            ready = self._read(conn, ready.prepared)
        else:
            more = set() if ready.met.isdisjoint(changed.marks) else load_met(conn, self._book, ready.prepared)
            load_near(conn, self._book, ready.near | more)
        self._decider.begin(self._book, ready.known or {})
        entries = self._references(conn, ready.prepared, at)
        touched, anew = set[str](), set[str]()
        for item in ready.prepared:
            entry = self._entry(item, at)
            found = self._decider.decide(item, entry)
            touched |= found
            if not adds(entry):
                anew |= found
            if item.kind == ACT and item.reason is not None:
                _alarm(entry)
            entries.append(entry)
        with together(conn):  # the rest is made while PostgreSQL writes the entries
            self._write(conn, entries)
            save_children(conn, [s for child in sorted(touched) if (s := self._standing(child, at)) is not None])
            marks = footprint.packed(footprint.marks(left_by(entries, anew, self._book)))
            decided = {
                "n": self._counter.number, "a": at, "c": CHANNEL, "f": after, "m": marks, "x": footprint.news(entries, anew),
            }  # fmt: skip
            execute(conn, _DECIDED, decided)
            footprint.sweep(conn, after, self._counter.number)
        self._stands = replace(self._counter)

    def _look(self, conn: Connection, counter: TextClause) -> tuple[Counter, list[Any]]:
        """Where the counter stands, and the footprints left since this worker last looked, if it ever did."""
        found, stands = Counter(*rows(conn, counter)[0]), self._stands
        moved = found.place == stands.place and found.number > stands.number
        return found, rows(conn, LEFT_ABOVE, {"n": stands.number}) if moved else []

    def _catch_up(self, conn: Connection, counter: Counter, left: Sequence[Any]) -> Changes | None:
        """Bring what is remembered up to `counter`: follow what others added to children, drop those they did more with.

        What they changed; None when all that was remembered had to go.
        """
        changed = None
        if self._stands.place == counter.place:
            changed = footprint.changes(left, self._stands.number, counter.number)
        if changed is None:
            self._begin_anew()
        else:
            self._book.drop(changed.anew)
            self._book.follow(conn, changed.brought)
        self._stands = counter
        return changed

    def _begin_anew(self) -> None:
        """Remember nothing, nor let the decider: its book would lie in memory beside the next while that is read, and be taken
        apart under the lock.
        """
        self._book, self._stands = Book(), Counter(0, 0, 0, 0)
        self._decider.begin(self._book, {})

    def _read(self, conn: Connection, prepared: Sequence[Prepared]) -> Ready:
        there = len(self._book.stands)
        near = load(conn, self._book, prepared)
        self._brought = len(self._book.stands) - there
        named, met = footprint.marks(named_by(prepared, self._book)), footprint.marks(met_by(prepared, self._book))
        return Ready(prepared, known(conn, prepared), frozenset(near), named, met)

    def _standing(self, child: str, at: int) -> Standing | None:
        """Where the child stands, with an alarm when it is not evaluated; None when nothing can be said: then what was stays."""
        try:
            stands = self._decider.standing(child, at)
        except Exception as err:  # a defect of ours, of any kind, must not stop the facts of others
            log.error("fold-failed", number=self._counter.number, error=type(err).__name__, alarm=True)  # noqa: TRY400 (I7)
            return None
        if not stands.evaluated:
            log.error("not-evaluated", number=self._counter.number, alarm=True)
        return stands

    # -- writing ----------------------------------------------------------------------------------------------------

    def _entry(self, item: Prepared, at: int) -> Entry:
        self._counter.number += 1
        source = (item.intake.topic, item.intake.partition, item.intake.offset)
        return Entry(
            self._counter.number, self._counter.incarnation, item.kind, at, source, item.agency, item.record, item.event_id,
            writer=item.writer, policy=self._policy[0], codes=code_lists_hash(), content=item.content or None,
        )  # fmt: skip

    def _references(self, conn: Connection, prepared: Iterable[Prepared], at: int) -> list[Entry]:
        """Entries with the full text of what this batch is decided under, where the ledger does not hold it yet; a policy's also
        when another has been in force since.
        """
        wanted: dict[tuple[str, str], bytes] = {
            ("policy", self._policy[0]): self._policy[1],
            ("codes", code_lists_hash()): code_lists_text(),
        }
        current = {s.fingerprint: s.text for s in catalogue().values()}
        for writer in {p.writer for p in prepared if p.writer is not None}:
            wanted[("schema", writer)] = (current.get(writer) or self._codec.texts[writer]).encode()
        if not wanted.keys() - self._referenced:
            return []
        # asked under the counter's lock, so another worker's are seen
        held = conn.execute(text("select kind, fingerprint from reference order by number")).all()
        policies = [r.fingerprint for r in held if r.kind == "policy"]
        self._referenced |= {(r.kind, r.fingerprint) for r in held if r.kind != "policy" or r.fingerprint == policies[-1]}
        out = []
        for kind, fingerprint in sorted(wanted.keys() - self._referenced):
            self._counter.number += 1
            head = (self._counter.number, self._counter.incarnation, REFERENCE, at)
            out.append(Entry(*head, record=kind, writer=fingerprint, clear=wanted[(kind, fingerprint)]))
        # what is rolled back is forgotten (`forget`); and two workers of different releases say each policy once, not in turns
        self._referenced |= wanted.keys()
        return out

    def _write(self, conn: Connection, entries: Sequence[Entry]) -> None:
        self._keys.ensure({n for e in entries for n in key_names(e)})
        written = Rows()
        for entry in entries:
            value = seal(entry, self._keys)
            if len(value) > ENTRY_BYTES_MAX:
                raise EntryTooLarge(f"ledger entry {entry.number} would be {len(value)} bytes; at most {ENTRY_BYTES_MAX} go out")
            written.add(entry, value)
        written.write(conn)


def _alarm(entry: Entry) -> None:
    """A record of our own topics that we cannot read: the house's own letter says the rest (`projections.outputs`)."""
    topic, partition, offset = entry.source or ("", 0, 0)
    where = {"topic": topic, "partition": partition, "offset": offset, "number": entry.number}
    log.error("own-record-refused", **where, reason=entry.reason, alarm=True)


def start_counter(conn: Connection) -> None:
    """The counter and relay rows of an empty `views`."""
    conn.execute(text("insert into counter values (1, 0, 0, 0) on conflict do nothing"))
    conn.execute(text("insert into relay values (1, 0, '', 0, 0, false) on conflict do nothing"))


_COUNTER = text("select number, accepted_at, incarnation, cast(tableoid as bigint) as tables from counter where id = 1")
_LOCK = text(f"{_COUNTER.text} for update")
_DECIDED = text(
    "with left_behind as (insert into footprint (after, number, marks, news) values (:f, :n, :m, :x) "
    "on conflict (after) do update set number = excluded.number, marks = excluded.marks, news = excluded.news) "
    "update counter set number = :n, accepted_at = :a where id = 1 returning pg_notify(:c, '')"
)
