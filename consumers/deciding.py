"""One record at a time: verdict, presentation, links, conclusions. Pure but for the book it brings forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from consumers.preparing import Prepared
from domain import matching
from domain.acts import Found, Refused, judge
from domain.conclude import conclude
from domain.corrected import corrections
from domain.matching import Match, Person
from domain.model import History, Json, Presentation
from domain.policy import Reference
from domain.problems import Problem
from domain.standing import Standing, standing, standing_of
from projections.book import Book, block_key
from projections.entries import ACCEPTED, ACT, CONFLICT, DUPLICATE, FACT, REFUSED, Entry
from schemas.topics import AGENCIES

log = structlog.get_logger()

Known = Mapping[tuple[str, str], tuple[bytes, str, str | None]]
MATCH_ROLES = frozenset({"icart_social_worker", "icart_manager"})
NOT_THE_OWNER = "not-the-owner"


class Decider:
    """Decides about records in order, on a book that holds every child they may concern."""

    def __init__(self, reference: Reference, same: Callable[[Prepared, bytes], bool]) -> None:
        """`same`: does a record say what has this content hash? See `Preparer.same`."""
        self._reference, self._same = reference, same
        self._book = Book()
        self._known: dict[tuple[str, str], tuple[bytes, str, str | None]] = {}

    def begin(self, book: Book, known: Known) -> None:
        """Start a batch."""
        self._book, self._known = book, dict(known)

    def standing(self, child: str, at: int) -> Standing:
        """Where the child stands after the records decided so far."""
        try:
            return standing_of(self._book.folded(child, self._reference, at))
        except Exception:  # a defect of ours, of any kind: what can be said all the same
            return replace(standing(self._book.history(child), self._reference, at), evaluated=False)

    def decide(self, item: Prepared, entry: Entry) -> set[str]:
        """Fill `entry` in; the children whose view may change."""
        if item.reason is not None or item.value is None:
            entry.verdict, entry.reason, entry.problems = REFUSED, item.reason, item.problems
            if item.kind == ACT and item.event_id is not None:  # as table `act` will say it: the first under an id stands
                self._known.setdefault((item.intake.topic, item.event_id), (b"", REFUSED, item.reason))
            return set()
        owner = item.agency or item.intake.topic
        before = self._known.get((owner, item.event_id or ""))
        if before is not None:
            return self._again(item, entry, before)
        touched = self._fact(item, entry) if item.kind == FACT else self._act(item, entry)
        if entry.verdict == ACCEPTED or item.kind == ACT:
            self._known[(owner, item.event_id or "")] = (item.content, entry.verdict, entry.reason)
        return touched

    @staticmethod
    def person_of(item: Prepared) -> Person:
        """The comparable part of a record's subject, whether seen before or not."""
        return matching.person(Presentation(item.presentation_id or "", item.agency or "", 0, 0, item.subject))

    def _again(self, item: Prepared, entry: Entry, before: tuple[bytes, str, str | None]) -> set[str]:
        same = self._same(item, before[0])
        entry.verdict, entry.reason = (DUPLICATE, before[2]) if same else (CONFLICT, "same-id-other-content")
        return set()

    # -- facts ------------------------------------------------------------------------------------------------------

    def _fact(self, item: Prepared, entry: Entry) -> set[str]:
        book, pid = self._book, item.presentation_id or ""
        if foreign := self._foreign(item):
            entry.verdict, entry.reason, entry.problems = REFUSED, NOT_THE_OWNER, foreign
            return set()
        if item.local_only:
            pid = book.newest.get((item.agency or "", item.subject["local_id"]), pid)
        entry.presentation_id, entry.body, entry.value = pid, item.body, item.value
        if pid not in book.shown:
            entry.identity = dict(item.subject)
            entry.conclusions += self._introduce(entry)
        entry.conclusions += self._misdirected(item)
        touched = book.apply(entry)
        for kind, data in self._corrected(item, entry):
            entry.conclusions.append((kind, data))
            touched |= book.take(entry, kind, data)
        return touched | self._follow(entry, touched)

    def _introduce(self, entry: Entry) -> list[tuple[str, Json]]:
        shown = Presentation(
            entry.presentation_id or "", entry.agency or "", entry.number, entry.accepted_at, dict(entry.identity or {})
        )
        new = matching.person(shown)
        near = {p for k in new.blocking_keys() for p in self._book.blocks.get(block_key(k), ())}
        return matching.introduce(self._book.cluster(near), new)

    def _corrected(self, item: Prepared, entry: Entry) -> list[tuple[str, Json]]:
        """What the records of facts that this one corrects, or that correct it, are to be told; of most facts nothing."""
        if item.replaces is None and not self._book.replacing.get((item.agency or "", item.event_id or "")):
            return []
        return corrections(entry.fact(), self._book)

    def _foreign(self, item: Prepared) -> tuple[Problem, ...]:
        """Only the agency that said a fact may correct it: the fields that name another's.

        An id is an agency's own, so its own fact under that id comes first. An id that nobody has used yet may be a
        correction before its target: it is accepted, and judged when a fact under that id comes (`_misdirected`).
        """
        stands, own = self._book.stands, item.agency or ""
        return tuple(
            Problem(field, NOT_THE_OWNER, "names a fact of another agency: only who said it may supersede or retract it")
            for field, target in item.corrects
            if (own, target) not in stands and any((a, target) in stands for a in AGENCIES)
        )

    def _misdirected(self, item: Prepared) -> list[tuple[str, Json]]:
        """Corrections by other agencies that waited for this fact: they have no effect, and their senders are told once."""
        book, target, out = self._book, item.event_id or "", list[tuple[str, Json]]()
        if target not in book.awaited:
            return out
        for agency in AGENCIES:
            if agency == item.agency or (agency, target) in book.stands:
                continue
            for fact in book.corrections_of((agency, target)):
                pid, event_id = fact.presentation_id, fact.event_id
                if (agency, event_id) not in book.misdirected:
                    field = "envelope.supersedes" if fact.supersedes == target else "envelope.retracts"
                    said = {"agency": agency, "event_id": event_id, "record": fact.record, "field": field, "number": fact.number}
                    source = list(book.sources[agency, event_id])
                    out.append(("not_the_owner", {"child_id": book.child_of[pid], **said, "source": source}))
        return out

    # -- acts -------------------------------------------------------------------------------------------------------

    def _act(self, item: Prepared, entry: Entry) -> set[str]:
        value = item.value or {}
        entry.body, entry.value = item.body, value
        if item.record in ("MatchConfirmed", "MatchRejected", "MatchUndone"):
            return self._match(item.record, value, entry)
        child = self._child_of_act(value)
        if child is None or child not in self._book.members or not self._book.members[child]:
            return self._refuse(entry, "no-such-thing")
        found = self._judge(item, entry, self._book.history(child))
        if isinstance(found, Refused):
            entry.problems = tuple(found.problems)
            return self._refuse(entry, found.reason)
        return self._accept_act(entry, child, list(found))

    def _judge(self, item: Prepared, entry: Entry, history: History) -> Found:
        """What the act does, or why it is refused. Our own failure refuses a person's act, and stops nobody else's."""
        try:
            return judge(item.record or "", item.value or {}, history, self._reference, entry.accepted_at)
        except Exception as err:  # a defect of ours, of any kind, must not stop the acts of others
            log.error("rule-failed", number=entry.number, record=entry.record, error=type(err).__name__, alarm=True)  # noqa: TRY400 (I7)
            if item.record != "ClockFired":
                return Refused("not-evaluated")
            told = {"child_id": history.child_id, "event_id": None, "where": type(err).__name__}
            return [("not_evaluated", told)]

    def _match(self, record: str, value: Json, entry: Entry) -> set[str]:
        book, match = self._book, self._book.matches.get(value["match_id"])
        if match is None:
            return self._refuse(entry, "no-such-thing")
        if value["act"]["actor_role"] not in MATCH_ROLES:
            return self._refuse(entry, "not-permitted")
        if value["act"]["based_on"] != book.match_version(match.match_id):
            return self._refuse(entry, "stale-decision")
        by, role = value["act"]["actor_id"], value["act"]["actor_role"]
        wanted = {"MatchConfirmed": ("OPEN", "REJECTED", "UNDONE"), "MatchRejected": ("OPEN",), "MatchUndone": ("CONFIRMED",)}[
            record
        ]
        if match.state not in wanted:
            return self._refuse(entry, "stale-decision")
        cluster = book.cluster([match.presentation_id, match.anchor])
        if record == "MatchConfirmed":
            kind, moves = "match_confirmed", matching.confirm(cluster, match, by)
            if not moves:
                return self._refuse(entry, "contradicting-numbers")
        elif record == "MatchUndone":
            kind, moves = "match_undone", matching.undo(cluster, match, by)
        else:
            kind, moves = "match_rejected", []
        child = book.child_of[match.anchor]

        def said(kind: str, about: Match, child_id: str) -> tuple[str, Json]:
            both = {"match_id": about.match_id, "presentation_id": about.presentation_id, "anchor": about.anchor}
            return (kind, {**both, "child_id": child_id, "by": by, "by_role": role, "rationale": value.get("rationale")})

        apart = [] if kind == "match_confirmed" else matching.answered(cluster, match)
        also = [said("match_rejected", m, book.child_of[m.anchor]) for m in apart]
        kind, told = said(kind, match, child)
        if kind == "match_undone":
            told["held_by"] = matching.holding(cluster, match)
        return self._accept_act(entry, child, [*moves, (kind, told), *also])

    def _accept_act(self, entry: Entry, child: str, conclusions: list[tuple[str, Json]]) -> set[str]:
        entry.presentation_id = min(self._book.members[child], key=lambda p: (self._book.shown[p].number, p))
        entry.conclusions += conclusions
        touched = self._book.apply(entry) | {child}
        return touched | self._follow(entry, touched)

    def _refuse(self, entry: Entry, reason: str) -> set[str]:
        """Refused acts keep no content in the ledger: it lies in the intake, and the person still has the form."""
        entry.verdict, entry.reason, entry.body, entry.value, entry.presentation_id = REFUSED, reason, None, None, None
        return set()

    def _child_of_act(self, value: Json) -> str | None:
        about = value.get("recommendation_id") or value.get("message_id")
        if about is not None:
            raised_on = self._book.about.get(about)
            return None if raised_on is None else self._book.current(raised_on)
        child = value["act"]["child_id"]
        return None if child is None else self._book.current(child)

    # -- what follows -----------------------------------------------------------------------------------------------

    def _follow(self, entry: Entry, touched: set[str]) -> set[str]:
        """Conclude about every child touched. Our own failure is not the fact's: it is shown, marked, and an alarm raised."""
        more: set[str] = set()
        for child in sorted(touched):
            if not self._book.members.get(child):
                continue
            try:
                folded = self._book.folded(child, self._reference, entry.accepted_at)
                found = conclude(folded, self._reference, entry.accepted_at)
            except Exception as err:  # a defect of ours, of any kind, must not stop the facts of others
                log.error("rule-failed", number=entry.number, record=entry.record, error=type(err).__name__, alarm=True)  # noqa: TRY400 (I7)
                found = [("not_evaluated", {"child_id": child, "event_id": entry.event_id, "where": type(err).__name__})]
                self._book.fold_anew([child])
            for kind, data in found:
                entry.conclusions.append((kind, data))
                more |= self._book.take(entry, kind, data)
        return more
