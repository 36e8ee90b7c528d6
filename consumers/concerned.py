"""What a batch concerns: the children that deciding about it looks at, by what they are found, what it leaves to be found.

`named_by` and `met_by` say by which marks (`projections.footprint`) others' decisions can bring more to look at; `left_by` says
which marks ours leave. What is newly looked at when deciding is to be named in the first two, and left by the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, text

from consumers.deciding import Decider
from consumers.preparing import Prepared
from domain.corrected import around
from domain.model import Json
from projections import footprint
from projections.arrays import Column
from projections.book import Book, block_key
from projections.driver import rows
from projections.entries import ACCEPTED, ACT, FACT, Entry, header
from schemas.topics import AGENCIES

RETRACTION: Final = "Retraction"


def load(conn: Connection, book: Book, prepared: Sequence[Prepared]) -> set[str]:
    """Read into `book` every child that these records may concern, whole, unless it is there; by which presentations."""
    book.begin()
    facts, acts = facts_of(prepared), acts_of(prepared)
    near = load_met(conn, book, prepared)
    near |= book.load_newest(conn, {(p.agency or "", p.subject["local_id"]) for p in facts if p.local_only})
    near |= book.load_matches(conn, {v["match_id"] for v in acts if "match_id" in v})
    near |= book.load_about(conn, {about for v in acts if (about := _about(v)) is not None})
    near |= book.load_founders(conn, {v["act"]["child_id"] for v in acts if v["act"]["child_id"] is not None})
    near |= load_replaced(conn, book, facts)
    load_near(conn, book, near)
    return near


def facts_of(prepared: Iterable[Prepared]) -> list[Prepared]:
    """Those that may be accepted as facts."""
    return [p for p in prepared if p.kind == FACT and p.reason is None and p.value is not None]


def acts_of(prepared: Iterable[Prepared]) -> list[Json]:
    """What may be accepted as acts."""
    return [p.value for p in prepared if p.kind == ACT and p.reason is None and p.value is not None]


def load_met(conn: Connection, book: Book, prepared: Iterable[Prepared]) -> set[str]:
    """The presentations of these facts that somebody has seen, and those that the others may be."""
    told = {p.presentation_id or "": p for p in facts_of(prepared)}
    seen = book.load_presentations(conn, told)
    return seen | book.load_blocks(conn, {k for pid, p in told.items() if pid not in seen for k in blocks_of(p)})


def load_near(conn: Connection, book: Book, near: Iterable[str]) -> None:
    """Read the children of these presentations, as far as they are not there."""
    children = {book.child_of[p] for p in book.load_presentations(conn, near)}
    book.load_children(conn, children)
    book.load_sides(conn, children)


def unseen(prepared: Iterable[Prepared], book: Book) -> dict[str, Prepared]:
    """A fact of each presentation that nobody has seen."""
    return {p.presentation_id or "": p for p in facts_of(prepared) if p.presentation_id not in book.child_of}


def blocks_of(item: Prepared) -> set[bytes]:
    """The blocking keys of a record's subject."""
    return {block_key(k) for k in Decider.person_of(item).blocking_keys()}


def _about(value: Json) -> str | None:
    return value.get("recommendation_id") or value.get("message_id")


def named_by(prepared: Iterable[Prepared], book: Book) -> Iterator[str]:
    """The ids that these records have and name, by which what concerns them is found; of retractions, also those that they lead
    to.
    """
    for p in prepared:
        if p.reason is not None or p.value is None:
            continue
        yield p.event_id or ""
        if p.kind == ACT:
            yield from filter(None, (p.value.get("match_id"), _about(p.value), p.value["act"]["child_id"]))
        else:
            yield from (target for _, target in p.corrects)
            for key in ((p.agency or "", about) for about in (p.event_id, p.replaces) if about is not None):
                if key in book.stands or key in book.replacing:
                    yield from (event_id for _, event_id in around(key, book))
            if p.local_only:
                yield footprint.holder(p.agency or "", p.subject["local_id"])


def met_by(prepared: Iterable[Prepared], book: Book) -> Iterator[str | bytes]:
    """The presentations that nobody has seen, and the keys by which others like them are found."""
    for pid, p in unseen(prepared, book).items():
        yield pid
        yield from blocks_of(p)


def left_by(entries: Iterable[Entry], anew: Iterable[str], book: Book) -> Iterator[str | bytes]:
    """What these decisions changed: the children to read anew, and what is found by more than before (`named_by`, `met_by`)."""
    yield from anew
    for e in entries:
        if e.event_id is None or (e.kind == FACT and e.verdict != ACCEPTED):
            continue
        yield e.event_id
        if e.kind == FACT and (replaced := e.fact().replaces) is not None:
            yield replaced
        if e.identity is not None and e.presentation_id is not None:
            yield e.presentation_id
            yield footprint.holder(e.agency or "", e.identity["local_id"] or "")
            yield from (block_key(k) for k in book.person(e.presentation_id).blocking_keys())
        for _, data in e.conclusions:
            yield from (about for name in ("recommendation_id", "message_id", "match_id") if (about := data.get(name)))


def load_replaced(conn: Connection, book: Book, facts: Sequence[Prepared]) -> set[str]:
    """The presentations of facts that these correct, and of facts that correct these (corrections may come first), and of what
    those correct; of retractions also those that decide whether they act (`domain.corrected`), however far that leads.

    Whoever said them: who corrects another agency's fact is told (`not-the-owner`), and who corrects his own is not.
    """
    before = rows(conn, _REPLACING, {"e": Column("text", [p.event_id for p in facts])}) if facts else []
    targets = sorted({target for p in facts for _, target in p.corrects} | {r.replaces for r in before})
    leads = {(p.agency or "", p.replaces) for p in facts if p.record == RETRACTION} | {(r.agency, r.replaces) for r in before}
    pairs = [(a, t) for t in targets for a in AGENCIES]
    about = {"a": [a for a, _ in pairs], "e": [e for _, e in pairs], "far": [p in leads for p in pairs]}
    found = rows(conn, _REPLACED, about) if pairs else []
    for r in before:
        head = header(r.entry)
        book.sources[r.agency, r.event_id] = (head["source_topic"], head["source_partition"], head["source_offset"])
    return book.load_presentations(conn, {r.presentation_id for r in (*found, *before)})


def known(conn: Connection, prepared: Sequence[Prepared]) -> dict[tuple[str, str], tuple[bytes, str, str | None]]:
    """What was accepted (or, for acts, refused) before under these ids: content hash, verdict, reason."""
    out: dict[tuple[str, str], tuple[bytes, str, str | None]] = {}
    for kind, sql in ((FACT, _KNOWN_FACT), (ACT, _KNOWN_ACT)):
        items = [p for p in prepared if p.kind == kind and p.event_id is not None and p.reason is None]
        if not items:
            continue
        ids = {
            "a": Column("text", [p.agency or p.intake.topic for p in items]),
            "e": Column("text", [p.event_id for p in items]),
        }
        out |= {(r.owner, r.event_id): (r.content, r.verdict, r.reason) for r in rows(conn, sql, ids)}
    return out


_PAIRS: Final = "unnest(cast(:a as text[]), cast(:e as text[])) as u(a, e)"
_KNOWN_FACT = text(
    f"select f.agency as owner, f.event_id, f.content, 'ACCEPTED' as verdict, null as reason "
    f"from fact f join {_PAIRS} on f.agency = u.a and f.event_id = u.e"
)
_KNOWN_ACT = text(
    f"select t.topic as owner, t.event_id, t.content, t.verdict, t.reason "
    f"from act t join {_PAIRS} on t.topic = u.a and t.event_id = u.e"
)
_REPLACED = text(
    "with recursive named as materialized ("
    "select a, e, far from unnest(cast(:a as text[]), cast(:e as text[]), cast(:far as bool[])) as u(a, e, far)), "
    "up(a, e) as (select a, e from named where far union "
    "select f.agency, f.replaces from up join fact f on f.agency = up.a and f.event_id = up.e where f.replaces is not null), "
    "down(a, e) as (select a, e from up union "
    "select f.agency, f.event_id from down join fact f on f.replaces = down.e and f.agency = down.a) "
    "select distinct f.presentation_id from (select a, e from named union select a, e from down) as x "
    "join fact f on f.agency = x.a and f.event_id = x.e"
)
"""Whether a retraction acts rests on all that it leads to: first up to what is withdrawn in the end, then down from there."""

_REPLACING = text(
    "select f.agency, f.event_id, f.presentation_id, f.replaces, l.value as entry from fact f join ledger l using (number) "
    "where f.replaces = any(cast(:e as text[]))"
)
