"""What the policy says about a child now: reasons in words, points, harm triggers, and what is not known.

Harm triggers stand apart from points and are never outweighed. What is not known is listed and never counted as "no".
Protective facts are shown and never subtract. Sightline recommends and explains; people decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.identity_view import latest_birth_date
from domain.involvement import at_work, in_span
from domain.labelling import rest_on, rest_on_ids
from domain.missing import Episode
from domain.model import Fact, Json
from domain.policy import OF_SIGNALS, Policy, Reference, Rule
from domain.selection import in_time
from domain.signals import Hit, Situation, values


@dataclass(frozen=True, slots=True)
class Risk:
    """An evaluation. `basis`: HARM when a trigger holds, POINTS at the threshold, None below it.

    `changes_at`: when it may be another with nothing new said (µs UTC); None when it never will.
    """

    hits: tuple[Hit, ...]
    points: int
    harm: bool
    basis: str | None
    changes_at: int | None

    @property
    def agencies(self) -> frozenset[str]:
        """Every agency behind a reason; corroboration rests on facts of the others."""
        return frozenset(a for h in self.hits if h.rule.kind != OF_SIGNALS for a in h.agencies)


def evaluate(situation: Situation, policy: Policy) -> Risk:
    """Apply every rule of `policy` to what is known."""
    found, changes_at = situation.ask(policy)
    points = sum(h.points for h in found if not h.rule.trigger)
    harm = any(h.rule.trigger for h in found)
    basis = "HARM" if harm else "POINTS" if points >= policy.threshold else None
    return Risk(tuple(found), points, harm, basis, changes_at)


def shown(risk: Risk, situation: Situation, policy: Policy, currency: Sequence[Mapping[str, Any]]) -> Json:
    """The evaluation as the view lists it."""
    return {
        "points": risk.points, "threshold": policy.threshold, "harm": risk.harm, "basis": risk.basis,
        "reasons": [reason(h.rule, h.facts, h.points, situation.reference) for h in risk.hits],
        "unknown": unknown(situation), "protective": protective(situation),
        "none_received_as_of": {c["agency"]: c["last_received"] for c in currency},
    }  # fmt: skip


def reason(rule: Rule, facts: Sequence[Fact], points: int, reference: Reference) -> Json:
    """One reason in words, naming agencies and weight, with the facts it rests on."""
    agencies = sorted({f.agency for f in facts})
    names = ", ".join(reference.label("agency", a) for a in agencies)
    text = rule.text.format_map(values(rule, facts, points, reference))
    return {
        "rule": rule.id, "text": f"{names}: {text} ({weight(rule, points)})", "points": points, "trigger": rule.trigger,
        "agencies": agencies, **rest_on(facts),
    }  # fmt: skip


def weight(rule: Rule, points: int) -> str:
    """How a reason weighs, in words."""
    if rule.trigger:
        return "harm trigger"
    amount = f"{points} point" + ("" if points == 1 else "s")
    if rule.older_points and points == rule.older_points != rule.points:
        amount = f"6 to 12 months ago, {amount}"
    return f"weak signal, {amount}" if rule.signal else amount


def recalled(recorded: Mapping[str, Any], policy: Policy, facts: Mapping[str, Fact], reference: Reference) -> Json:
    """A reason as recorded when a recommendation was raised, in words as far as its facts are still to hand."""
    rule = policy.rule(recorded["rule"])
    ids = list(recorded["facts"])
    at_hand = sorted((facts[i] for i in ids if i in facts), key=in_time)
    if rule is not None and at_hand:
        out = reason(rule, at_hand, recorded["points"], reference)
    else:
        trigger = rule.trigger if rule else False
        out = {"rule": recorded["rule"], "text": "The facts behind this reason are no longer on this child", "trigger": trigger}
    return out | {"points": recorded["points"], "agencies": list(recorded["agencies"]), **rest_on_ids(ids, facts)}


def unknown(s: Situation) -> list[Json]:
    """What is not known and could matter. Each {text, facts, sharing}; without facts it is about the whole child."""
    known, out = s.known, []
    if latest_birth_date(known) is None:
        out.append(_general("Date of birth: not known; rules about age cannot be applied"))
    if not known.current.get("SocialCareStatus"):
        out.append(_general("Status with children's social care: none received"))
    if not any(known.current.get(r) for r in ("SchoolAbsence", "SchoolConcern", "NoSchoolProvision")):
        out.append(_general("Education: none received"))
    if not known.current.get("GpRegistration"):
        out.append(_general("GP practice: none received"))
    out += [_about("Missing episode: no grade received", e.begun) for e in s.missing.every if e.type != "A" and not _graded(e)]
    out += [
        _about("Missing episode: not known whether a return home interview was offered", [*e.begun, *e.ends])
        for e in s.missing.every
        if e.ended_at is not None and not e.interviews
    ]
    out += [
        _about("Police submission: not known whether the child was seen alone", [f])
        for f in known.current.get("VulnerabilitySubmission", ())
        if f.body["seen_alone"] == "NOT_KNOWN"
    ]
    return out


def protective(s: Situation) -> list[Json]:
    """Protective facts: shown, never subtracted."""
    out = [
        _about("Return home interview held within 72 hours", [i.completed, *e.ends])
        for e in s.missing.every
        if e.clock == "MET"
        for i in e.interviews
        if i.completed is not None and i.counts
    ]
    workers = (f for f in at_work(s.known, "WorkerAllocated") if in_span(f.body, s.today))
    return out + [_about(_allocated(f, s.reference), [f]) for f in workers]


def _allocated(fact: Fact, reference: Reference) -> str:
    return f"Allocated: {reference.label('worker-role', fact.body['worker_role']).lower()}"


def _graded(episode: Episode) -> bool:
    return any(x.grades for x in episode.strands)


def _general(text: str) -> Json:
    return {"text": text, "facts": []}


def _about(text: str, facts: Sequence[Fact]) -> Json:
    return {"text": text, "agencies": sorted({f.agency for f in facts}), **rest_on(facts)}
