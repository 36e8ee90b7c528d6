"""What the backbone knows about a child, as values. Instants are µs since 1970, UTC; ids are UUID text; days are ISO dates.

A child is a cluster of presentations. Everything here comes out of ledger entries and nothing else, so that a rebuilt
history is the same history (I2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final
from uuid import UUID, uuid5

from domain.values import immutable

IDS: Final = UUID("6f1d6d0e-52c5-5d0c-9a5b-0f6f0a3c9d11")
"""Namespace of every id we make: an id is a UUIDv5 of what it is about, so making it twice is harmless (I3)."""

Json = dict[str, Any]


def make_id(*parts: object) -> str:
    """The UUIDv5 of `parts`, as text."""
    return str(uuid5(IDS, "\x1f".join(map(str, parts))))


@immutable
class Fact:
    """An accepted fact. `accepted_at` is ours (when the ledger took it), the other times are the agency's own."""

    number: int
    accepted_at: int
    event_id: str
    agency: str
    record: str
    presentation_id: str
    occurred_at: int
    recorded_at: int
    reported_by: str
    regime: str
    sensitivity: str
    scope: str
    historic: bool
    supersedes: str | None
    retracts: str | None
    body: Mapping[str, Any]
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What pure functions of this fact alone made of it, as a history is folded again with each fact that joins it."""

    @property
    def replaces(self) -> str | None:
        """The event_id that this fact supersedes or retracts."""
        return self.supersedes or self.retracts


FACT_FIELDS: Final = tuple(name for name, f in Fact.__dataclass_fields__.items() if f.init)
"""The fields by which a fact is made."""


def fact_of(values: Sequence[Any], *, kept: bool = True) -> Fact:
    """A fact from its values in the order of `FACT_FIELDS`. Of one that is kept, words that many share are one object: it takes a
    seventh less memory then, and three times as long to make.
    """
    if not kept:
        return Fact(*values)
    number, at, event_id, agency, record, presentation_id, occurred, recorded, by, regime, sensitivity, scope, *others = values
    return Fact(
        number, at, event_id, intern(agency), intern(record), intern(presentation_id), occurred, recorded, intern(by),
        intern(regime), intern(sensitivity), intern(scope), *others,
    )  # fmt: skip


@immutable
class Presentation:
    """(agency, local id, the identifying fields exactly as sent). `number` is the entry that first showed it."""

    presentation_id: str
    agency: str
    number: int
    accepted_at: int
    fields: Mapping[str, str | None]

    @property
    def local_id(self) -> str:
        """The agency's own number for its record."""
        return self.fields["local_id"] or ""


@immutable
class Link:
    """A presentation was on a child from `from_number` until before `to_number` (None: still). Dated by `accepted_at`."""

    presentation_id: str
    child_id: str
    from_number: int
    from_at: int
    to_number: int | None
    to_at: int | None
    rule: str
    evidence: tuple[str, ...]
    by: str | None


@immutable
class Conclusion:
    """What we concluded, or what a person did, at one ledger entry. `kind` is one of `KINDS`; `data` as described there."""

    number: int
    accepted_at: int
    kind: str
    data: Mapping[str, Any]


KINDS: Final[Mapping[str, str]] = {
    # identity (domain/matching.py makes them)
    "linked": "presentation_id, child_id, rule, evidence[], by (account id or null); ends the link before it",
    "edge": "a, b (presentations), rule, match_id or null, rules: why two presentations are one child",
    "edge_removed": "a, b, match_id: a person undid it; or null: another child came under the local id that it rested on",
    "possible_match": "match_id, presentation_id, anchor (presentation), child_id (of the anchor then), evidence[]",
    "match_confirmed": "match_id, presentation_id, anchor, child_id, by, by_role, rationale",
    "match_rejected": "match_id, presentation_id, anchor, child_id, by, by_role, rationale",
    "match_undone": "match_id, presentation_id, anchor, child_id, by, by_role, rationale; held_by[{agencies[], why}]: the "
    "links by which the two are one child all the same, empty when they are apart",
    "replaced": "child_id (named after the fact's own presentation), event_id, by_event_id: the agency moved or withdrew this "
    "fact by one under another presentation, or by a Retraction that acts because of one",
    "reinstated": "the same fields: that Retraction was itself withdrawn, and does not act; of each pair the last told holds",
    "not_the_owner": "child_id, agency, event_id, record, field, number, source[topic, partition, offset]: a correction that "
    "came before its target, which turned out to be another agency's: it has no effect, and its sender is told",
    # meetings (domain/conclude.py and domain/acts.py make them); their child_id is the one it was first raised on
    "recommended": "recommendation_id, child_id, basis (HARM|POINTS), points, triggers[], "
    "reasons[{rule, points, facts[], agencies[]}], due_at, policy, presentation_id",
    "evidence_changed": "recommendation_id, child_id, facts[]",
    "recommendation_overdue": "recommendation_id, child_id, due_at, behind[], passed_to[{role, other_than[account id]}]: "
    "undecided when due, so it goes to another person and EDT",
    "meeting_overdue": "the same fields: convened and not held when due",
    "overdue_withdrawn": "recommendation_id, child_id, due_at, acted_at: somebody had acted in time, and we read it late",
    "joined": "recommendation_id, child_id, into: two children were found to be one, and it is decided with that other one",
    "parted": "recommendation_id, child_id, due_at: the two are apart again, and a decision on this one is owed",
    "convened": "recommendation_id, child_id, by, by_role, rationale, meeting_at, held_due_at",
    "declined": "recommendation_id, child_id, by, by_role, reason, rationale",
    "held": "recommendation_id, child_id, by, by_role, held_at, attended[], outcome, outcome_text",
    "disagreed": "recommendation_id, child_id, by, by_role, agency, ground",
    "closed": "recommendation_id, child_id, by, by_role, rationale",
    "case_taken": "child_id, by, by_role, taken (bool)",
    # GP practices
    "gp_message": "message_id, child_id, event_id (the CSOG fact), practice_ods (or null), nhs_number (or null), due_at",
    "gp_withdrawn": "message_id, child_id, practice_ods (or null), why (REROUTED|RETRACTED|UNLINKED)",
    "gp_receipt": "message_id, child_id, practice_ods, state, reason",
    "gp_exception": "message_id, child_id, why (NO_PRACTICE|NO_NHS_NUMBER|REJECTED|UNREAD|WITHHELD|FREE_TEXT), for_role, due_at",
    "gp_exception_taken": "message_id, child_id, by, by_role, taken (bool)",
    "gp_exception_overdue": "message_id, child_id, due_at, passed_to[{role, other_than[account id]}]: unresolved when due",
    "gp_exception_resolved": "message_id, child_id, by, by_role, resolution",
    # quality
    "quality_defect": "event_id, child_id (named after the fact's own presentation), defect (VOICE_MISSING): told to the "
    "officer's supervisor (R18)",
    "not_evaluated": "event_id, child_id, where: our own rule failed; the fact is shown, risk is not evaluated",
}


@dataclass(frozen=True, slots=True)
class History:
    """All that a child view is folded from. Order is of no account: `fold` sorts what it needs sorted.

    `facts` are those of presentations that are or were on this child (a link says when). `conclusions` are those whose
    `data` names this child id, one of the recommendations or messages raised on it, or a possible match of a presentation that is
    or was on it. `others` gives, by possible match, the side of it that was never on this child.
    """

    child_id: str
    presentations: tuple[Presentation, ...] = ()
    links: tuple[Link, ...] = ()
    facts: tuple[Fact, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()
    others: Mapping[str, Presentation] = field(default_factory=dict)
