"""unify: from what was said to what is known. Decides about each intake record once, in one transaction a batch.

Decisions are taken one after another under the counter's row lock (ADR 0002): so numbers are gapless, `accepted_at` never
decreases, and two workers that meet one new child at once see one another's links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import Connection, text

from consumers.deciding import Decider
from consumers.host import Intake
from consumers.preparing import Prepared, Preparer, refuse, unread
from domain.policy import Reference
from domain.standing import Standing
from projections.book import Book, block_key
from projections.entries import (
    ACT,
    ENTRY_BYTES_MAX,
    FACT,
    IDENTITY,
    REFERENCE,
    Entry,
    header,
    key_names,
    record_class,
    seal,
)
from projections.keyring import KeyRing
from projections.shelf import Shelf
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


@dataclass(slots=True)
class Counter:
    """The locked row: last number given, last `accepted_at` (µs), incarnation."""

    number: int
    accepted_at: int
    incarnation: int


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
        self._decider = Decider(reference)
        self._ledger_end = ledger_end
        self._counter = Counter(0, 0, 0)
        self._shelf, self._tables = Shelf(), 0
        self._referenced: set[tuple[str, str]] = set()

    # -- what the host asks -----------------------------------------------------------------------------------------

    def ready(self, conn: Connection) -> bool:
        """The database has applied every entry that the ledger topic holds, in the newest incarnation."""
        row = conn.execute(text("select number, incarnation from counter where id = 1")).one_or_none()
        if row is None:
            return False
        number, incarnation = self._ledger_end()
        return bool(row.number >= number and row.incarnation >= incarnation)

    def lock(self, conn: Connection) -> None:
        """Lock the counter: from here to the commit nobody else decides. A rebuild puts other tables in the old ones' place."""
        row = conn.execute(_LOCK).one()
        self._counter = Counter(row.number, row.accepted_at, row.incarnation)
        if row.tables != self._tables:
            self._shelf.forget()
            self._tables = row.tables

    def forget(self) -> None:
        """Nothing is remembered of a database that may be another one now; keys may be another `keep`'s."""
        self._referenced = set()
        self._shelf.forget()
        self._keys.forget()

    def prepare(self, conn: Connection, batch: Sequence[Intake]) -> Sequence[Prepared]:
        """Decode and check, and have the keys and what was said before of what will most likely be accepted: before anybody
        has to wait for us.
        """
        prepared = [self._preparer.prepare(i) for i in batch]
        facts = [p for p in prepared if p.reason is None and p.presentation_id is not None and not p.local_only]
        classes = {(p.presentation_id or "", record_class(p.record)) for p in facts}
        holders = {holder for holder, _ in classes}
        self._keys.ensure(classes | {(holder, IDENTITY) for holder in holders})
        self._shelf.read_ahead(conn, holders)
        return prepared

    def set_apart(self, record: Intake, failure: Exception) -> Prepared:
        """The record as one to refuse, with what can still be read of it."""
        reason = ENTRY_TOO_LARGE if isinstance(failure, EntryTooLarge) else RULE_FAILED
        try:
            found = self._preparer.prepare(record)
        except RegistryUnavailable:
            raise
        except Exception:  # what failed before may fail again: then nothing of it can be read
            found = unread(record)
        return replace(refuse(found, reason), writer=None)

    def handle(self, conn: Connection, prepared: Sequence[Prepared]) -> None:
        """Decide about every record of the batch, and write all of it."""
        at = max(self._now(), self._counter.accepted_at)
        book = Book(shelf=self._shelf)
        load(conn, book, prepared)
        self._decider.begin(book, known(conn, prepared))
        entries = self._references(conn, prepared, at)
        touched: set[str] = set()
        for item in prepared:
            entry = self._entry(item, at)
            touched |= self._decider.decide(item, entry)
            if item.kind == ACT and item.reason is not None:
                _alarm(entry)
            entries.append(entry)
        self._write(conn, entries)
        save_children(conn, [s for child in sorted(touched) if (s := self._standing(child, at)) is not None])
        conn.execute(_DECIDED, {"n": self._counter.number, "a": at, "c": CHANNEL})

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
        """Entries with the full text of what this batch is decided under, where the ledger does not hold it yet."""
        wanted: dict[tuple[str, str], bytes] = {
            ("policy", self._policy[0]): self._policy[1],
            ("codes", code_lists_hash()): code_lists_text(),
        }
        current = {s.fingerprint: s.text for s in catalogue().values()}
        for writer in {p.writer for p in prepared if p.writer is not None}:
            wanted[("schema", writer)] = (current.get(writer) or self._codec.texts[writer]).encode()
        if not wanted.keys() - self._referenced:
            return []
        # asked under the counter's lock, so another worker's are seen; only what is committed is remembered
        self._referenced = {(r.kind, r.fingerprint) for r in conn.execute(text("select kind, fingerprint from reference"))}
        out = []
        for kind, fingerprint in sorted(wanted.keys() - self._referenced):
            self._counter.number += 1
            head = (self._counter.number, self._counter.incarnation, REFERENCE, at)
            out.append(Entry(*head, record=kind, writer=fingerprint, clear=wanted[(kind, fingerprint)]))
        return out

    def _write(self, conn: Connection, entries: Sequence[Entry]) -> None:
        self._keys.ensure({n for e in entries for n in key_names(e)})
        rows = Rows()
        for entry in entries:
            value = seal(entry, self._keys)
            if len(value) > ENTRY_BYTES_MAX:
                raise EntryTooLarge(f"ledger entry {entry.number} would be {len(value)} bytes; at most {ENTRY_BYTES_MAX} go out")
            rows.add(entry, value)
        rows.write(conn)


def _alarm(entry: Entry) -> None:
    """A record of our own topics that we cannot read: the house's own letter says the rest (`projections.outputs`)."""
    topic, partition, offset = entry.source or ("", 0, 0)
    where = {"topic": topic, "partition": partition, "offset": offset, "number": entry.number}
    log.error("own-record-refused", **where, reason=entry.reason, alarm=True)


def load(conn: Connection, book: Book, prepared: Sequence[Prepared]) -> None:
    """Read into `book` every child that these records may concern, whole."""
    good = [p for p in prepared if p.reason is None and p.value is not None]
    facts = [p for p in good if p.kind == FACT]
    book.load_presentations(conn, {p.presentation_id for p in facts if p.presentation_id is not None})
    book.load_newest(conn, {(p.agency or "", p.subject["local_id"]) for p in facts if p.local_only})
    new = [p for p in facts if p.presentation_id not in book.shown]
    book.load_blocks(conn, {block_key(k) for p in new for k in Decider.person_of(p).blocking_keys()})
    acts = [p.value for p in good if p.kind == ACT and p.value is not None]
    book.load_matches(conn, {v["match_id"] for v in acts if "match_id" in v})
    book.load_about(conn, {v[k] for v in acts for k in ("recommendation_id", "message_id") if k in v})
    book.load_founders(conn, {v["act"]["child_id"] for v in acts if v["act"]["child_id"] is not None})
    load_replaced(conn, book, facts)
    book.load_children(conn, set(book.child_of.values()))


def load_replaced(conn: Connection, book: Book, facts: Sequence[Prepared]) -> None:
    """The presentations of facts that these correct, and of facts that correct these (corrections may come first).

    Whoever said them: who corrects another agency's fact is told (`not-the-owner`).
    """
    targets = sorted({target for p in facts for _, target in p.corrects})
    pairs = [(a, t) for t in targets for a in AGENCIES]
    ids = {p.presentation_id for p in facts}
    found = conn.execute(_REPLACED, {"a": [a for a, _ in pairs], "e": [e for _, e in pairs]}).all() if pairs else []
    before = conn.execute(_REPLACING, {"e": [p.event_id for p in facts]}).all() if facts else []
    book.load_presentations(conn, {r.presentation_id for r in (*found, *before)} - ids - set(book.shown))
    for r in before:
        head = header(bytes(r.entry))
        book.sources[r.agency, r.event_id] = (head["source_topic"], head["source_partition"], head["source_offset"])


def known(conn: Connection, prepared: Sequence[Prepared]) -> dict[tuple[str, str], tuple[bytes, str, str | None]]:
    """What was accepted (or, for acts, refused) before under these ids: content hash, verdict, reason."""
    out: dict[tuple[str, str], tuple[bytes, str, str | None]] = {}
    for kind, sql in ((FACT, _KNOWN_FACT), (ACT, _KNOWN_ACT)):
        items = [p for p in prepared if p.kind == kind and p.event_id is not None and p.reason is None]
        if not items:
            continue
        rows = {"a": [p.agency or p.intake.topic for p in items], "e": [p.event_id for p in items]}
        out |= {(r.owner, r.event_id): (bytes(r.content), r.verdict, r.reason) for r in conn.execute(sql, rows)}
    return out


def start_counter(conn: Connection) -> None:
    """The counter and relay rows of an empty `views`."""
    conn.execute(text("insert into counter values (1, 0, 0, 0) on conflict do nothing"))
    conn.execute(text("insert into relay values (1, 0, '', 0, 0, false) on conflict do nothing"))


_LOCK = text("select number, accepted_at, incarnation, cast(tableoid as bigint) as tables from counter where id = 1 for update")
_DECIDED = text("update counter set number = :n, accepted_at = :a where id = 1 returning pg_notify(:c, '')")
_PAIRS: Final = "unnest(cast(:a as text[]), cast(:e as text[])) as u(a, e)"
_KNOWN_FACT = text(
    f"select f.agency as owner, f.event_id, f.content, 'ACCEPTED' as verdict, null as reason "
    f"from fact f join {_PAIRS} on f.agency = u.a and f.event_id = u.e"
)
_KNOWN_ACT = text(
    f"select t.topic as owner, t.event_id, t.content, t.verdict, t.reason "
    f"from act t join {_PAIRS} on t.topic = u.a and t.event_id = u.e"
)
_REPLACED = text(f"select f.presentation_id from fact f join {_PAIRS} on f.agency = u.a and f.event_id = u.e")
_REPLACING = text(
    "select f.agency, f.event_id, f.presentation_id, l.value as entry from fact f join ledger l using (number) "
    "where f.replaces = any(cast(:e as text[]))"
)
