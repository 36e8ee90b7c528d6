"""The shapes of answers, for OpenAPI and for whoever writes a client: the child view and what lists are made of.

They describe and do not filter: what leaves is the redacted document itself, and tests hold real documents against these.
Instants are µs since 1970, UTC; days ISO dates. Null is "not known", never "no". `docs/child-view.md` has the rules.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A part of an answer; nothing is in it but what is named here."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Withheld(Shape):
    """Stands where something is withheld from you: whose it is and whom to ask."""

    withheld: Literal[True]
    agency: str | None
    contact: str


class Sharing(Shape):
    """The label of a fact."""

    agency: str | None
    regime: str
    sensitivity: str
    scope: str


class Part(Shape):
    """Fields that rest on other facts than the item they are in."""

    fields: list[str]
    sharing: Sharing | None = None
    sharing_all: list[Sharing] = []
    sharing_any: list[Sharing] = []
    facts: list[str] = []


class Labelled(Shape):
    """Shows content of facts: under which labels, and which they are. Fields in `withheld_fields` are null for that reason."""

    sharing: Sharing | None = None
    sharing_all: list[Sharing] = []
    sharing_any: list[Sharing] = []
    parts: list[Part | Withheld] = []
    withheld_fields: list[str] = []
    facts: list[str] = []


class Policy(Shape):
    """The policy under which risk was evaluated."""

    id: str
    title: str
    authority: str | None = None


class Name(Shape):
    """From the best source that you may see."""

    given: str | None
    family: str | None


class Identifier(Shape):
    """`valid`: passes its check; `trusted`: may join records."""

    system: str
    value: str
    valid: bool
    trusted: bool


class Linked(Shape):
    """Why this record is on this child."""

    rule: str
    evidence: list[str]
    at: int
    by: str | None


class Record(Labelled):
    """An agency's record of the child; `fields` exactly as sent (`Presentation` in docs/event-catalogue.md)."""

    presentation_id: str | None
    agency: str
    local_id: str = ""
    fields: dict[str, str | None]
    identifiers: list[Identifier] = []
    first_seen: int | None = None
    linked: Linked | None = None
    number: int | None = None


class PossibleMatch(Record):
    """A record that may be this child, or was decided not to be."""

    match_id: str
    evidence: list[str]
    raised_at: int | None
    state: str
    by_role: str | None = None
    rationale: str | None = None
    at: int | None = None


class Currency(Shape):
    """How current an agency is; nulls: none received."""

    agency: str
    label: str
    last_received: int | None
    last_occurred: int | None
    facts: int


class FactShown(Labelled):
    """One fact of the chronology. `body` is the record's own (docs/event-catalogue.md), `lines` the same for people."""

    event_id: str
    agency: str
    agency_label: str
    record: str
    title: str
    occurred_at: int
    recorded_at: int
    accepted_at: int
    reported_by: str
    historic: bool
    state: str
    body: dict[str, Any]
    lines: list[tuple[str, str]]


class Reason(Labelled):
    """Why. What rests on something withheld has `withheld`, its points, and whom to ask."""

    rule: str
    text: str
    points: int
    trigger: bool
    agencies: list[str]
    withheld: bool = False


class PassedTo(Shape):
    """A role that something overdue was passed to, other than those who are late."""

    role: str
    role_label: str
    other_than: list[str]


class PassedOn(Shape):
    """Something overdue, and to whom it was passed on."""

    at: int
    what: str
    due_at: int
    to: list[PassedTo]
    behind: list[str]


class Step(Shape):
    """What happened to a recommendation; fields below `number` where they apply."""

    at: int
    kind: str
    label: str
    by: str | None
    by_role: str | None
    by_role_label: str | None
    text: str | None
    number: int
    reason: str | None = None
    reason_label: str | None = None
    outcome: str | None = None
    outcome_label: str | None = None
    passed_to: list[PassedTo] = []
    meeting_at: str | None = None
    held_due_at: int | None = None
    held_at: int | None = None
    attended: list[str] = []
    agency: str | None = None
    due_at: int | None = None
    behind: list[str] = []
    acted_at: int | None = None
    into: str | None = None


class Disagreement(Shape):
    """An agency in iCART disagrees with a decision."""

    at: int
    agency: str
    by: str
    by_role: str
    ground: str


class Recommendation(Shape):
    """A recommendation of a strategy discussion. `version` is what an act on it is `based_on`."""

    recommendation_id: str
    state: str
    basis: str
    raised_at: int
    due_at: int | None
    points: int
    policy: str
    reasons: list[Reason]
    version: int
    evidence_changed: bool
    history: list[Step]
    disagreements: list[Disagreement]
    open: bool
    held_due_at: int | None = None
    passed_on: PassedOn | None = None


class Receipt(Shape):
    """What a practice said."""

    at: int
    state: str
    reason: str | None


class Withdrawal(Shape):
    """Why a message was withdrawn."""

    at: int
    why: str


class Case(Shape):
    """Who has taken a case, or a GP message that did not arrive."""

    by: str
    by_role: str
    at: int


class OtherThan(Shape):
    """A role, without the people who are late."""

    role: str
    other_than: list[str]


class ExceptionPassedOn(Shape):
    """To whom an exception went that nobody resolved in time."""

    at: int
    to: list[OtherThan]


class GpException(Shape):
    """Why a message needs a person, and what was done. `version` is what an act on it is `based_on`."""

    why: str
    version: int
    for_role: str
    at: int
    due_at: int | None
    taken: Case | None
    passed_on: ExceptionPassedOn | None
    resolved_at: int | None
    resolution: str | None


class GpMessage(Labelled):
    """A CSOG outcome on its way to a practice."""

    message_id: str
    practice_ods: str | None
    nhs_number: str | None
    state: str
    raised_at: int
    due_at: int
    csog_event_id: str
    receipts: list[Receipt]
    withdrawn: Withdrawal | None
    exception: GpException | None


class Defect(Labelled):
    """What a fact lacks."""

    event_id: str
    defect: str


class Involved(Labelled):
    """Who works with the child."""

    agency: str
    service: str | None
    label: str | None
    role: str | None
    name: str | None
    team: str | None
    contact: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    current: bool | None


class Status(Labelled):
    """Status with children's social care."""

    code: str
    label: str
    from_: str = Field(alias="from")
    cp_category: str | None = None
    cp_category_label: str | None = None
    legal_status: str | None = None
    placing_la: str | None = None
    team: str | None = None


class Practice(Labelled):
    """The registered practice."""

    ods: str
    from_: str | None = Field(alias="from")


class Interview(Labelled):
    """A return home interview; `in_72h` null: it cannot be said; false also where it is told not to be `independent`."""

    interview_id: str
    state: str
    offered_at: int | None
    completed_at: int | None
    independent: bool | None = None
    declined_at: int | None
    reason: str | None
    reason_label: str | None = None
    push: list[str]
    push_labels: list[str] = []
    pull: list[str]
    pull_labels: list[str] = []
    child_words: str | None
    in_72h: bool | None


class InterviewClock(Labelled):
    """The 72 hours."""

    due_at: int | None
    state: str | None


class Missing(Labelled):
    """A missing episode, as all agencies together tell it."""

    episode: str
    sources: list[tuple[str, str]] | None
    type: str | None
    type_label: str | None
    reported_at: int | None
    last_seen_at: int | None
    started_at: int | None
    ended_at: int | None
    outcome: str | None
    outcome_label: str | None
    overnight: bool | None
    days: int | None
    grade: str | None
    grade_label: str | None
    own_label: str | None
    found_with: list[str] | None
    harm: list[str] | None
    contradiction: str | None
    interviews: list[Interview | Withheld]
    rhi_clock: InterviewClock | Withheld | None


class Vpas(Labelled):
    """A vulnerability submission of police, with the child's voice or why it is missing."""

    event_id: str
    occurred_at: int
    concerns: list[str]
    concern_labels: list[str] = []
    exploitation: list[str]
    exploitation_labels: list[str] = []
    seen: str
    seen_alone: str
    spoken_to: str
    voice: str | None
    why_not: str | None
    voice_missing: bool


class CpisPlan(Labelled):
    """A plan or looked-after status of CP-IS."""

    plan_type: str
    label: str | None
    start: str
    end: str | None
    la_name: str | None


class CpisAlert(Labelled):
    """An attendance that health told of."""

    at: int
    site_ods: str | None
    role_label: str | None
    unscheduled: bool | None


class Cpis(Shape):
    """CP-IS."""

    status: list[CpisPlan | Withheld]
    alerts: list[CpisAlert | Withheld]


class Absence(Labelled):
    """Sessions missed; `rate` in per cent."""

    from_: str = Field(alias="from")
    to: str | None
    missed: int
    possible: int
    rate: float | None
    reason: str | None = None
    reason_label: str | None = None


class NoProvision(Labelled):
    """A time without a school place."""

    from_: str = Field(alias="from")
    to: str | None
    school_days: int | None
    reason: str | None = None
    reason_label: str | None = None
    hours_offered: int | None = None


class Concern(Labelled):
    """A school's concern."""

    at: int
    concerns: list[str]
    concern_labels: list[str] = []
    exploitation: list[str] = []
    narrative: str | None
    child_words: str | None


class Education(Shape):
    """What schools say."""

    absence: list[Absence | Withheld]
    no_provision: list[NoProvision | Withheld]
    concerns: list[Concern | Withheld]


class Grade(Labelled):
    """An agency's own grade."""

    agency: str
    scale: str
    scale_label: str | None = None
    grade: str
    label: str
    own_label: str | None
    at: int
    rationale: str | None


class GradeDifference(Labelled):
    """Agencies grade differently."""

    agencies: list[str]
    scale: str
    levels: int


class Statement(Labelled):
    """Something not known, or protective."""

    text: str
    agencies: list[str] = []


class Risk(Shape):
    """Points are a way to count reasons, not a probability."""

    points: int
    threshold: int
    harm: bool
    basis: str | None = None
    reasons: list[Reason]
    unknown: list[Statement]
    protective: list[Statement]
    none_received_as_of: dict[str, int | None]


class ChildView(Shape):
    """One child, as this reader may see it. `evaluated_at` null: our own rules failed, and so are sections that need them."""

    child_id: str
    as_of: int
    known_at: int | None
    version: int
    policy: Policy
    evaluated_at: int | None
    not_evaluated: list[str]
    merged_into: str | None
    name: Name
    birth_date: str | None
    sex: str | None
    said_by: dict[str, list[str]]
    identity: list[Record | Withheld]
    possible_matches: list[PossibleMatch | Withheld]
    rejected_matches: list[PossibleMatch | Withheld]
    undone_matches: list[PossibleMatch | Withheld]
    involved: list[Involved | Withheld] | None
    currency: list[Currency]
    status: Status | Withheld | None
    status_history: list[Status | Withheld] | None
    practice: Practice | Withheld | None
    chronology: list[FactShown | Withheld]
    missing: list[Missing | Withheld] | None
    interviews_unpaired: list[Interview | Withheld] | None
    vpas: list[Vpas | Withheld] | None
    cpis: Cpis | None
    education: Education | None
    grades: list[Grade | Withheld] | None
    grade_differences: list[GradeDifference | Withheld] | None
    risk: Risk | None
    recommendations: list[Recommendation]
    messages: list[GpMessage | Withheld]
    case: Case | None
    defects: list[Defect | Withheld]
    changes_at: int | None
    due_at: int | None


class ShortReason(Shape):
    """Why, on a list."""

    text: str
    agencies: list[str]
    withheld: bool


class ShortRecommendation(Shape):
    """A recommendation on a list; `due_at` is of the decision, once convened of the discussion."""

    recommendation_id: str
    state: str
    basis: str | None
    raised_at: int
    due_at: int | None
    overdue: bool
    passed_on: PassedOn | None
    for_you: bool = Field(description="Passed on to you")
    evidence_changed: bool
    reasons: list[ShortReason]
    disagreements: int
    version: int | None


class ChildRow(Shape):
    """A child on the queue."""

    child_id: str
    name: str
    birth_date: str | None
    age: int | None
    recommendations: list[ShortRecommendation]
    overdue: bool
    due_at: int | None
    case: Case | None
    possible_matches: int
    version: int | None


class Paged(Shape):
    """One page of a list; `?page=` asks for another."""

    page: int
    pages: int


class Queue(Paged):
    """What was passed to you, harm triggers, what was passed to others, then the earliest due."""

    items: list[ChildRow]


class DecidedRow(ChildRow):
    """A child about whom something was decided."""

    decided: list[Recommendation]


class Decisions(Paged):
    """Newest first."""

    items: list[DecidedRow]


class RecordFound(Shape):
    """Enough to tell children apart."""

    agency: str | None
    local_id: str
    postcode: str


class Hit(Shape):
    """A child that fits."""

    child_id: str
    name: str
    birth_date: str | None
    age: int | None
    possible_matches: int
    records: list[RecordFound]


class Hits(Shape):
    """`more`: there are more than these; say more of the child."""

    items: list[Hit]
    more: bool


class RecommendationOf(Shape):
    """A recommendation and its child."""

    child_id: str
    recommendation: Recommendation


class MatchRow(Shape):
    """A possible match on a list."""

    match_id: str
    state: str
    raised_at: int
    agency: str
    fields: dict[str, str | None]
    evidence: list[str]
    child_id: str
    child: str
    version: int


class Matches(Paged):
    """Oldest first when open, else newest first."""

    items: list[MatchRow]


class Holding(Shape):
    """A link by which two records are one child all the same: whose records it joins, and why."""

    agencies: list[str]
    why: str


class MatchStep(Shape):
    """What was decided about a match. `held_by`, of an undo: not empty when other links hold the two records together."""

    at: int
    kind: str
    by: str | None = None
    by_role: str | None = None
    rationale: str | None = None
    held_by: list[Holding] | None = None


class MatchPair(Shape):
    """A record beside the child that it may be."""

    match_id: str
    state: str
    version: int
    presentation: PossibleMatch
    child: ChildView
    history: list[MatchStep]


class GpExceptionRow(Shape):
    """A message that did not arrive."""

    message_id: str
    child_id: str
    name: str
    birth_date: str | None
    practice_ods: str | None
    why: str
    for_role: str
    at: int
    due_at: int | None
    taken: Case | None
    passed_on: ExceptionPassedOn | None
    version: int


class GpExceptions(Paged):
    """Oldest first."""

    items: list[GpExceptionRow]
