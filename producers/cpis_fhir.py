"""Child Protection – Information Sharing (CP-IS) in FHIR R4 as facts: Patient, Flag, CarePlan and CareTeam, joined.

A CarePlan with its Patient becomes one `CpisStatusChanged`; its CareTeam gives the authority and its telephone numbers,
its Flag says that the national service shows it. Reading is pure and knows no order: `join` takes every resource at hand.
A CarePlan or Flag without what it names waits (`producers.waiting`). A plan does not wait for its CareTeam: a telephone
number is no reason to withhold that a child is on a plan; when the team comes, a fuller fact supersedes the first.
A later version that names another child, type or start corrects what was told: views know a plan by these, so its fact supersedes
the last one told of it, and every other is retracted.
A plan whose status is entered-in-error was never so: each fact that was told of it is retracted, once.
While a plan is active its end is planned, and told as none: only a version written after that day says that it has ended.
What is told of a plan after something else is recorded later than it: views take what was recorded last. An older version that
comes late is none; one without a date is as late as it comes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from domain.identifiers import nhs_number
from domain.plausible import BIRTH_EARLIEST
from domain.times import local_date_of
from producers.cpis_versions import UNDATED, instant, newest, unclear, updated, updated_us, version_us
from producers.drafts import Draft, Report, event_id, london_midnight_us
from producers.fhir import Resource, each, first, text, texts

AGENCY: Final = "health"
READ: Final = ("Patient", "Flag", "CarePlan", "CareTeam")

NHS_NUMBER: Final = "https://fhir.nhs.uk/Id/nhs-number"
ODS_CODE: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
TRACED: Final = "NHSNumberVerificationStatus"
CPIS_FLAG: Final = "child-protection-information-system-flag"

PLAN_TYPES: Final[Mapping[str, str]] = {
    "342191000000101": "CPPI", "764841000000100": "LACI", "818901000000100": "UCPI",
    "CPPI": "CPPI", "LACI": "LACI", "UCPI": "UCPI",
}  # fmt: skip
"""SNOMED CT category (or CP-IS's code) of a CarePlan → plan type. 375041000000100 is a *family member* on a plan: not here."""

AGAIN: Final = (
    "does not tell whether what was told before another version holds again: nothing is told; "
    "if it does, send the plan with a later meta.lastUpdated"
)

ERROR: Final = "entered-in-error"
ENDED: Final = frozenset({"completed", "revoked"})
LIVE: Final = frozenset({"active", "on-hold"})
SEX: Final[Mapping[str, str]] = {"male": "M", "female": "F"}
_STATUS: Final = re.compile(r"0[1-8]\Z")
_OLD_STATUS: Final = {"number-present-and-verified": "01", "number-present-but-not-traced": "02", "trace-required": "03"}
_HISTORY: Final = re.compile(r"/_history/[^/]*\Z")


@dataclass(frozen=True, slots=True)
class Sent:
    """What was last published of a CarePlan: the fact's id, its content's id, and whether its CareTeam was missing.

    `facts`: every fact told of it so far and not withdrawn, this one included: all are withdrawn with it. `updated`: the latest
    version told, or found to be in error. `plan`: the child, type and start that `facts` tell of. `earlier`: ids of the
    contents told before this one. `recorded`: the fact's `recorded_at`. `dated`: the latest date of any plan, Patient or CareTeam
    that was told from.
    A `sent.json` of an earlier release has not the last four, or not the last two.
    """

    event_id: str
    content: str
    bare: bool
    facts: tuple[str, ...] = ()
    updated: str = ""
    plan: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    recorded: int = UNDATED
    dated: int = UNDATED


@dataclass(frozen=True, slots=True)
class Joined:
    """Facts that can be told now; what waits; what to remember once the facts are published; what to look at."""

    drafts: tuple[Draft, ...]
    reports: tuple[Report, ...]
    waiting: tuple[Resource, ...]
    sent: Mapping[str, Sent]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A plan and what is told with it. `bare`: its CareTeam is missing. `received`: some of it or its Flag came in this call."""

    plan: Resource
    patient: Resource
    team: Resource | None
    bare: bool
    received: bool

    @property
    def dated(self) -> int:
        """The latest date of any of it."""
        return max(updated_us(r) for r in (self.plan, self.patient, self.team) if r)


class _Shelf:
    """Resources by the names that references may give them."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._exact: dict[str, Resource] = {}
        self._folded: dict[str, set[str]] = {}
        for resource in resources:
            for name in (resource.ref, *resource.aliases):
                self._exact[name] = resource
                self._folded.setdefault(name.casefold(), set()).add(resource.ref)

    def find(self, reference: str | None, kind: str) -> tuple[Resource | None, str | None]:
        """What a reference names, and the rule it breaks: case differs, ambiguous, another type, or nothing there."""
        if not reference:
            return None, "reference-missing"
        name = _HISTORY.sub("", reference)
        short = "/".join(name.split("/")[-2:])
        found = self._exact.get(name) or self._exact.get(short)
        rule = None
        if found is None:
            refs = self._folded.get(name.casefold()) or self._folded.get(short.casefold()) or set()
            if len(refs) > 1:
                return None, "reference-ambiguous"
            if not refs:
                return None, "reference-unresolved"
            found, rule = self._exact[next(iter(refs))], "reference-case"
        return (found, rule) if found.type == kind else (None, "reference-type")


class _Desk:
    """What is collected while joining."""

    def __init__(self, sent: Mapping[str, Sent], received: Collection[str]) -> None:
        self.before = sent
        self.received = received
        self.after = dict(sent)
        self.drafts: list[Draft] = []
        self.reports: list[Report] = []
        self.waiting: list[Resource] = []
        self.counts: Counter[str] = Counter()

    def say(self, resource: Resource, path: str, rule: str, message: str, *, kept: bool = False) -> None:
        self.reports.append(Report(resource.file, resource.line, f"{resource.type}.{path}", rule, message, kept))

    def wait(self, resource: Resource, path: str, rule: str, what: str) -> None:
        self.waiting.append(resource)
        self.say(resource, path, rule, f"{_WHY.get(rule, rule)}: waits for its {what}", kept=True)


_WHY: Final = {
    "reference-missing": "names none",
    "reference-unresolved": "names one that has not come",
    "reference-ambiguous": "names one of several that differ by case only",
    "reference-type": "names a resource of another type",
}


def join(resources: Iterable[Resource], sent: Mapping[str, Sent], received: Collection[str] | None = None) -> Joined:
    """Everything that can be told from `resources` and was not told before (`sent`); the order of `resources` is irrelevant.

    `received`: the refs of those that came in this call, None for all; of what only waits nothing is asked again.
    """
    everything = list(resources)
    desk = _Desk(sent, {r.ref for r in everything} if received is None else received)
    kept = []
    for resource in newest(everything, desk.reports):
        if resource.type not in READ:
            desk.say(resource, "resourceType", "not-read", "is not one of " + ", ".join(READ) + "; left out")
        elif not resource.id:
            desk.say(resource, "id", "required", "is required; the resource is left out")
        else:
            kept.append(resource)
    shelf = _Shelf(kept)
    flagged = _flags([r for r in kept if r.type == "Flag"], shelf, desk)
    for plan in (r for r in kept if r.type == "CarePlan"):
        _plan(plan, shelf, flagged, desk)
    desk.counts |= Counter(r.type for r in kept)
    return Joined(tuple(desk.drafts), tuple(desk.reports), tuple(desk.waiting), desk.after, dict(desk.counts))


def _flags(flags: list[Resource], shelf: _Shelf, desk: _Desk) -> dict[str, list[tuple[Resource, Resource]]]:
    """Flag and patient by the ref of the CarePlan that the Flag shows. Flags without their Patient or plan wait."""
    told = {ref.casefold() for ref in desk.before}
    flagged: dict[str, list[tuple[Resource, Resource]]] = {}
    for flag in flags:
        if CPIS_FLAG not in {text(c, "code") for c in each(flag.node, "code", "coding")}:
            desk.say(flag, "code", "not-cpis", "is not the CP-IS flag; left out")
            continue
        patient = _resolve(flag, "subject", text(flag.node, "subject", "reference"), "Patient", shelf=shelf, desk=desk)
        if patient is None:
            continue
        details = [text(e, "valueReference", "reference") for e in each(flag.node, "extension") if first(e, "valueReference")]
        named = details[0] if details else None
        if shelf.find(named, "CarePlan")[0] is None and named and "/".join(named.split("/")[-2:]).casefold() in told:
            continue  # its plan was told and let go of
        plan = _resolve(flag, "extension(flag-detail)", named, "CarePlan", shelf=shelf, desk=desk)
        if plan is not None:
            flagged.setdefault(plan.ref, []).append((flag, patient))
    return flagged


def _resolve(of: Resource, path: str, reference: str | None, kind: str, *, shelf: _Shelf, desk: _Desk) -> Resource | None:
    found, rule = shelf.find(reference, kind)
    if found is None:
        desk.wait(of, path, rule or "reference-missing", kind)
    elif rule is not None:
        desk.say(of, path, rule, f"names its {kind} in other upper and lower case; resolved", kept=True)
    return found


def _plan(plan: Resource, shelf: _Shelf, flagged: Mapping[str, list[tuple[Resource, Resource]]], desk: _Desk) -> None:
    patient = _resolve(plan, "subject", text(plan.node, "subject", "reference"), "Patient", shelf=shelf, desk=desk)
    if patient is None:
        return
    if text(plan.node, "status") == ERROR:
        _withdraw(plan, _subject(patient, desk), desk)
        return
    before = desk.before.get(plan.ref)
    if before is not None and before.content == ERROR and updated_us(plan) <= version_us(before.updated):
        if updated_us(plan) == UNDATED:
            desk.reports.append(unclear(plan, AGAIN, kept=False))
        desk.counts["told_before"] += 1  # an older version, come late, of what is known to be wrong
        return
    flags = flagged.get(plan.ref, [])
    if any(other.ref != patient.ref for _, other in flags):
        desk.waiting += [plan, *(flag for flag, _ in flags)]
        desk.say(plan, "subject", "subject-differs", "is another patient than its Flag names: nothing is told until they agree")
        return
    if not flags and plan.ref not in desk.before:
        desk.say(plan, "id", "no-flag", "no CP-IS Flag names this plan", kept=True)
    named = text(plan.node, "careTeam", "reference")
    team, rule = shelf.find(named, "CareTeam") if named else (None, None)
    if rule == "reference-case":
        desk.say(plan, "careTeam", rule, "names its CareTeam in other upper and lower case; resolved", kept=True)
    body = _status(plan, team, desk)
    bare = bool(named) and team is None
    if body is not None:
        received = any(r.ref in desk.received for r in (plan, patient, team, *(flag for flag, _ in flags)) if r)
        _tell(_Whole(plan, patient, team, bare, received), _subject(patient, desk), body, desk)
    if bare:
        desk.waiting.append(plan)
        desk.say(plan, "careTeam", rule or "", "has not come: told without its contact, to be told again with it", kept=True)


def _status(plan: Resource, team: Resource | None, desk: _Desk) -> dict[str, Any] | None:
    """The record's own fields; None when the plan cannot be told, which is reported."""
    codes = [text(c, "code") for category in each(plan.node, "category") for c in each(category, "coding")]
    types = {PLAN_TYPES[c] for c in codes if c is not None and c in PLAN_TYPES}
    status = text(plan.node, "status")
    if len(types) != 1:
        desk.say(plan, "category", "unknown-code", "is not one CP-IS plan type (child protection, looked after, unborn)")
        return None
    if status not in ENDED | LIVE:
        desk.say(plan, "status", "unknown-code", "is not active, on-hold, completed or revoked: nothing is told")
        return None
    start, end = (_moment(plan, name, desk) for name in ("start", "end"))
    if start is None:
        desk.say(plan, "period.start", "required", "is required: nothing is told")
        return None
    if end is not None and end < start:
        desk.say(plan, "period.end", "before-start", "lies before its start: told without an end", kept=True)
        end = None
    if end is not None and status in LIVE:
        end = _told_end(plan, end, desk)
    if end is None and status in ENDED:
        desk.say(plan, "period.end", "required", "is required of a plan that has ended: nothing is told")
        return None
    phones = [text(t, "value") or "" for t in each(team.node, "telecom")] if team else []
    named = text(team.node, "name") if team else text(plan.node, "careTeam", "display")
    return {
        "plan_type": next(iter(types)), "start_date": local_date_of(start),
        "end_date": local_date_of(end) if end is not None else None,
        "la_code": _la_code(team), "la_name": _cut(named, 120),
        "la_contact": _cut(", ".join(p for p in phones if p), 240), "source_ref": _cut(plan.ref, 120),
        "_at": end if end is not None else start,
    }  # fmt: skip


def _told_end(plan: Resource, end: int, desk: _Desk) -> int | None:
    """The end of a plan that is not told as ended: none, as it is planned, unless the version was written after that day."""
    written = updated_us(plan)
    if written == UNDATED or local_date_of(end) >= local_date_of(written):
        desk.say(plan, "period.end", "planned", "is planned, as the plan is active: told as going on, without an end", kept=True)
        return None
    message = "says that the plan goes on, and it was written after its end: told as ended"
    desk.say(plan, "status", "status-differs", message, kept=True)
    return end


def _tell(whole: _Whole, subject: dict[str, Any], body: dict[str, Any], desk: _Desk) -> None:
    plan = whole.plan
    at, before = body.pop("_at"), desk.before.get(plan.ref)
    recorded = instant(updated(plan) or text(plan.node, "created"))
    envelope: dict[str, Any] = {
        "agency": AGENCY, "subject": subject, "occurred_at": at, "recorded_at": at if recorded is None else recorded,
        "reported_by": "CP-IS", "regime": "UKGDPR", "sensitivity": "SPECIAL", "scope": "PARTNERSHIP",
    }  # fmt: skip
    content = event_id(plan.ref, "CpisStatusChanged", {"envelope": envelope, **body})
    if before is not None and _told_before(whole, content, before, desk):
        return
    named = (subject["local_id"], body["plan_type"], body["start_date"])
    corrects = before is not None and before.plan not in ((), named)
    if before is not None and before.content != ERROR and (before.bare or corrects or before.recorded == UNDATED):
        envelope["supersedes"] = before.event_id
    envelope["recorded_at"] = _recorded(envelope["recorded_at"], whole, before, replaces="supersedes" in envelope)
    value = {"envelope": envelope, **body}
    chosen = event_id(plan.ref, "CpisStatusChanged", value)
    envelope["event_id"] = chosen
    desk.drafts.append(Draft("CpisStatusChanged", value, plan.file, plan.line))
    told = () if before is None or before.content == ERROR else before.facts or (before.event_id,)
    if before is not None and corrects:
        others = (f for f in told if f != before.event_id)
        desk.drafts += [_retraction(plan, subject, fact, envelope["recorded_at"]) for fact in others]
        told = ()
    facts = (*(f for f in told if f != chosen), chosen)
    latest = max(updated(plan), before.updated if before else "", key=version_us)
    dated = max(whole.dated, before.dated if before else UNDATED)
    desk.after[plan.ref] = Sent(
        chosen, content, whole.bare, facts, latest, named, _contents(before), envelope["recorded_at"], dated
    )


def _recorded(said: int, whole: _Whole, before: Sent | None, *, replaces: bool) -> int:
    """`recorded_at`, by which the newest telling of a plan is known: when the plan says, but not before its CareTeam was, nor
    before what this replaces, and later than all else that was told of it. The content is the same whenever it is read.

    Where an earlier release kept no `recorded`, what it told last is replaced, and what it told before that has no later date.
    """
    latest = max(said, updated_us(whole.team)) if whole.team else said
    if before is None:
        return latest
    if before.recorded == UNDATED:
        return max(latest, version_us(before.updated)) + 1
    return max(latest, before.recorded if replaces else before.recorded + 1)


def _told_before(whole: _Whole, content: str, before: Sent, desk: _Desk) -> bool:
    """This version was told, or is older than one that was: it adds nothing.

    One told before another holds again when the plan, its Patient or its CareTeam is of a later day than all were. Otherwise it
    may be sent once more or may hold again: its sender is asked.
    """
    if content != before.content and not _older(whole.plan, before):
        if content not in before.earlier or whole.dated > max(before.dated, version_us(before.updated)):
            return False
        if whole.received:
            desk.reports.append(unclear(whole.plan, AGAIN, kept=False))
    desk.counts["told_before"] += 1
    return True


def _older(plan: Resource, before: Sent) -> bool:
    """Both versions are dated, and this one is the earlier."""
    return UNDATED < updated_us(plan) < version_us(before.updated)


def _contents(before: Sent | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before.earlier, before.content))) if before else ()


def _withdraw(plan: Resource, subject: dict[str, Any], desk: _Desk) -> None:
    """The plan was entered in error: a Retraction of each fact that was told of it; nothing when none was, or it was done."""
    before = desk.before.get(plan.ref)
    if before is None:
        desk.say(
            plan, "status", "entered-in-error", "was entered in error, and nothing was told of it: nothing is told", kept=True
        )
        return
    facts = before.facts or (before.event_id,)
    if before.content == ERROR or _older(plan, before):
        desk.counts["told_before"] += 1
        return
    said = updated(plan) or text(plan.node, "created")
    at = instant(said)
    if at is None:
        desk.say(
            plan, "meta.lastUpdated", "required", "is required of a plan entered in error (when was it found?): nothing is told"
        )
        return
    desk.drafts += [_retraction(plan, subject, fact, at) for fact in facts]
    chosen = desk.drafts[-1].value["envelope"]["event_id"]
    desk.after[plan.ref] = Sent(
        chosen, ERROR, bare=False, updated=said or "", earlier=_contents(before),
        recorded=max(at, before.recorded), dated=max(at, before.dated),
    )  # fmt: skip


def _retraction(plan: Resource, subject: dict[str, Any], fact: str, at: int) -> Draft:
    """What withdraws one fact that was told of the plan, as found to be wrong at `at`."""
    envelope: dict[str, Any] = {
        "agency": AGENCY, "subject": subject, "occurred_at": at, "recorded_at": at, "reported_by": "CP-IS",
        "regime": "UKGDPR", "sensitivity": "SPECIAL", "scope": "PARTNERSHIP", "retracts": fact,
    }  # fmt: skip
    envelope["event_id"] = event_id(plan.ref, "Retraction", {"retracts": fact, "at": at})
    return Draft("Retraction", {"envelope": envelope, "reason": "ENTERED_IN_ERROR"}, plan.file, plan.line)


def _subject(patient: Resource, desk: _Desk) -> dict[str, Any]:
    node = patient.node
    names = each(node, "name")
    name = next((n for n in names if text(n, "use") == "official"), names[0] if names else {})
    givens = texts(name, "given")
    address = first(node, "address")
    lines = [*texts(address, "line"), *texts(address, "city")]
    subject: dict[str, Any] = {
        "local_id": patient.id, "given_name": _cut(givens[0] if givens else None, 120),
        "family_name": _cut(text(name, "family"), 120),
        "other_names": _cut(" ".join(givens[1:]) or None, 240), "sex": SEX.get(text(node, "gender") or "", "U"),
        "postcode": _cut(text(address, "postalCode"), 16), "gp_ods": _ods(first(node, "generalPractitioner")),
        "address_line": _cut(", ".join(lines), 240),
    }  # fmt: skip
    for identifier in each(node, "identifier"):
        if text(identifier, "system") == NHS_NUMBER:
            subject["nhs_number"] = _cut(text(identifier, "value"), 20)
            subject["nhs_number_status"] = _traced(identifier)
    if subject.get("nhs_number") and nhs_number(subject["nhs_number"]) is None:
        desk.say(patient, "identifier", "nhs-number", "fails the check of an NHS number: kept as sent, never linked", kept=True)
    born = text(node, "birthDate")
    if born and _is_day(born):
        subject["birth_date"] = born
        if born < BIRTH_EARLIEST:
            desk.say(patient, "birthDate", "implausible", "is not that of a child: told as sent, to be checked", kept=True)
    elif born:
        desk.say(patient, "birthDate", "date", "is not a whole day, YYYY-MM-DD; left out", kept=True)
    return {k: v for k, v in subject.items() if v}


def _traced(identifier: Any) -> str | None:
    for extension in each(identifier, "extension"):
        if TRACED in (text(extension, "url") or ""):
            code = text(extension, "valueCodeableConcept", "coding", "code")
            return _OLD_STATUS.get(code or "", code if _STATUS.match(code or "") else None)
    return None


def _ods(reference: Any) -> str | None:
    return text(reference, "identifier", "value") if text(reference, "identifier", "system") == ODS_CODE else None


def _la_code(team: Resource | None) -> str | None:
    organisation = first(team.node, "managingOrganization") if team else None
    return _cut(text(organisation, "identifier", "value"), 16)


def _moment(plan: Resource, name: str, desk: _Desk) -> int | None:
    """A period's `start` or `end`, µs; a day alone is its first London instant."""
    said = text(plan.node, "period", name)
    if said is None:
        return None
    if _is_day(said):
        return london_midnight_us(date.fromisoformat(said))
    found = instant(said)
    if found is None:
        desk.say(plan, f"period.{name}", "instant", "is not a day, nor an instant with an offset", kept=name == "end")
    return found


def _is_day(said: str) -> bool:
    try:
        return date.fromisoformat(said).isoformat() == said
    except ValueError:
        return False


def _cut(said: str | None, longest: int) -> str | None:
    return said[:longest] if said else None
