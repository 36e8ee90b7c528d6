"""What should be, compared with what is: the conclusions that are missing. State-based, so concluding twice adds nothing (I3).

Raising a recommendation (R1, R3):
- it is raised when a harm trigger holds, or points reach the threshold, and none is awaiting a decision;
- an agency or N more points resting on what was not known when it was raised are news, and so is a harm trigger that it did not
  list: one that came, began to hold by a birth date or a day, or holds again after people were told that it was gone. While a
  decision is owed, news raises it anew: `recommended` again, same id, another version, so that nobody decides on what they never
  saw. It is due no later than before; once it was passed on as overdue, it has a new due time, and is passed on again when that
  is over;
- two children that are found to be one owe one decision: of their open ones the oldest is raised anew, due no later than any of
  them, and the others are `joined` into it. One that was joined and is on a child without that one again is `parted`: open again;
- after a decision, news since what was decided on was raised (a discussion: since it was held) raises another; so does evidence
  that is back when it was closed for the loss of that; while a discussion is convened and not held, only a new harm trigger does.
Evidence of an open recommendation withdrawn, replaced by something weaker, or moved to another child: `evidence_changed`.

What falls due (undecided, convened and not held, unread) is concluded only when the clock has fired for that instant: until then
somebody may have acted in time and not been read yet. What has risen by itself (72 hours gone, a night away) is concluded with
whatever comes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from domain.fold import Folded
from domain.involvement import plan_of, voice_missing
from domain.matching import child_id_of
from domain.meetings import Recommendation, case, passed_to
from domain.model import Fact, Json, make_id
from domain.policy import Reference
from domain.posting import gp_messages
from domain.risk import Risk, evaluate
from domain.selection import Known
from domain.signals import Hit

Conclusions = list[tuple[str, Json]]


def conclude(
    folded: Folded, reference: Reference, now: int, *, fired: int | None = None, behind: Sequence[str] = ()
) -> Conclusions:
    """The conclusions that are missing at `now` (the entry's `accepted_at`, µs UTC), by what is folded at that instant.

    `fired` is the due instant for which the clock has fired, `behind` the sources it named.
    """
    out = _recommend(folded, reference, now)
    settled = {data["recommendation_id"] for kind, data in out if kind != "parted"}
    out += _evidence(folded, settled)
    out += _overdue(folded, reference, fired, behind)
    out += gp_messages(folded, reference, now, fired)
    out += _voices(folded.known)
    return [(kind, {"child_id": folded.known.child_id, **data}) for kind, data in out]


def _recommend(folded: Folded, reference: Reference, now: int) -> Conclusions:
    opened = [r for r in folded.owed if r.open]
    if opened:
        return [*_open_again(opened[0], reference, now), *_anew(opened, folded, reference, now), *_joined(*opened)]
    if folded.risk.basis is None:
        return []
    decided = sorted((r for r in folded.recommendations if r.decided), key=_decided_number)
    if decided and not _news(decided, folded, reference):
        return []
    return [("recommended", _raised(make_recommendation_id(folded), folded, reference, now))]


def _decided_number(rec: Recommendation) -> int:
    return rec.decided.number if rec.decided is not None else 0


def make_recommendation_id(folded: Folded) -> str:
    """The id of a recommendation is made of the child, the facts behind it and how many were raised on that child before."""
    evidence = sorted({f.event_id for h in _grounds(folded.risk) for f in h.facts})
    child_id = folded.known.child_id
    before = sum(r.home == child_id for r in folded.recommendations)  # these are never on another child
    return make_id("recommendation", "home", child_id, before, *evidence)


def _grounds(found: Risk) -> list[Hit]:
    """What a recommendation rests on: the harm triggers when there are any, otherwise everything that gave points."""
    return [h for h in found.hits if h.rule.trigger] or list(found.hits)


def _raised(recommendation_id: str, folded: Folded, reference: Reference, now: int) -> Json:
    found, policy = folded.risk, reference.policy
    newest = max((f for h in _grounds(found) for f in h.facts), key=lambda f: (f.number, f.event_id))
    return {
        "recommendation_id": recommendation_id, "basis": found.basis, "points": found.points,
        "triggers": [h.rule.id for h in found.hits if h.rule.trigger],
        "reasons": [
            {"rule": h.rule.id, "points": h.points, "facts": [f.event_id for f in h.facts], "agencies": list(h.agencies)}
            for h in found.hits
        ],
        "due_at": _decide_by(reference, now, harm=found.harm), "policy": policy.id,
        "presentation_id": newest.presentation_id,
    }  # fmt: skip


def _decide_by(reference: Reference, now: int, *, harm: bool) -> int:
    """By when what is raised at `now` is to be decided on."""
    policy = reference.policy
    return reference.register.due(policy.due_harm if harm else policy.due_points, now)


def _open_again(rec: Recommendation, reference: Reference, now: int) -> Conclusions:
    """A decision on it is owed again: the one it was joined into is another child's."""
    return [("parted", rec.about | {"due_at": _due(rec, reference, now)})] if rec.left else []


def _due(rec: Recommendation, reference: Reference, now: int) -> int:
    """When the decision on an open one is due; in a new time when its time went by while it was not owed here."""
    if rec.left and rec.due_at <= now:
        return _decide_by(reference, now, harm=rec.raised.data["basis"] == "HARM")
    return rec.due_at


def _anew(opened: Sequence[Recommendation], folded: Folded, reference: Reference, now: int) -> Conclusions:
    """The recommendation that awaits a decision, or the oldest of those that do, raised again on what has come since."""
    (waiting, *others), found = opened, folded.risk
    if found.basis is None:  # nothing is left to be recommended: whoever decides has to have seen what is gone of the others
        gone = {f for r in opened for f in _gone(r, folded)}
        return [("evidence_changed", waiting.about | {"facts": sorted(gone - waiting.changed)})] if others else []
    urgent = found.harm and waiting.raised.data["basis"] != "HARM"
    if not (urgent or others or _news([waiting], folded, reference)):
        return []
    data = _raised(waiting.recommendation_id, folded, reference, now)
    # once both were passed on for their due times, these hold no more
    hold = [_due(r, reference, now) for r in opened if r.passed is None or waiting.passed is None]
    return [("recommended", data | waiting.about | {"due_at": min([data["due_at"], *hold])})]


def _joined(into: Recommendation, *others: Recommendation) -> Conclusions:
    return [("joined", r.about | {"into": into.recommendation_id}) for r in others]


def _news(earlier: Sequence[Recommendation], folded: Folded, reference: Reference) -> bool:
    """Is there a new harm trigger, a new agency, or enough new points since what people saw of the earlier ones?"""
    if folded.risk.harm and _new_trigger(folded):
        return True
    last = earlier[-1]
    if last.decision == "CONVENED" or folded.risk.basis is None:
        return False
    if last.decision == "CLOSED" and not last.changed.isdisjoint(folded.known.in_force):
        return True  # it was closed because this was gone, and it is back
    number, held_at = (max(mark) for mark in zip(*(r.seen for r in earlier), strict=True))
    before = evaluate(folded.seen.upto(number, held_at), reference.policy)
    if folded.risk.points - before.points >= reference.policy.reraise_points:
        return True
    fresh = folded.risk.agencies - last.agencies
    return bool(fresh) and not fresh <= before.agencies


def _new_trigger(folded: Folded) -> bool:
    """Does a harm trigger rest on a fact that was not listed for it, nor told before as one that was?"""
    listed = _listed(folded)
    return any(
        not any((hit.rule.id, e) in listed for e in _tellings(f, folded.known))
        for hit in folded.risk.hits
        if hit.rule.trigger
        for f in hit.found
        if (hit.rule.id, f.event_id) not in listed
    )


def _listed(folded: Folded) -> set[tuple[str, str]]:
    """(rule, fact) of each harm trigger that was listed for whoever decided, or is to, but for what people know to be gone.

    What is recorded counts, not what would be found of that time: what is withdrawn, told or true today may differ from then.
    """
    found = set[tuple[str, str]]()
    for rec in sorted(folded.recommendations, key=lambda r: r.raised.number):
        if rec.joined is not None and not rec.decided:
            continue
        raised, gone = rec.raised.data, rec.changed | _gone(rec, folded) if rec.open else rec.changed
        mine = [(r["rule"], f) for r in raised["reasons"] if r["rule"] in raised["triggers"] for f in r["facts"]]
        found.update(pair for pair in mine if pair not in found and _stayed(pair[1], rec, folded.known))
        if gone:
            found = {pair for pair in found if pair[1] not in gone}
    return found


def _stayed(event_id: str, rec: Recommendation, known: Known) -> bool:
    """The fact has been on this child since it was seen: what came back to it is new to it."""
    fact, (number, held_at) = known.everything.get(event_id), rec.seen
    if fact is None or fact.presentation_id not in known.links:
        return False
    return known.known_number(fact) <= number or known.known_from(fact) <= held_at


def _tellings(fact: Fact, known: Known) -> list[str]:
    """The fact and what it replaced, and what that replaced; of a plan (CP-IS), every telling."""
    out, at = [fact.event_id], fact
    if fact.record == "CpisStatusChanged":
        out += [f.event_id for f in known.current[fact.record] if plan_of(f) == plan_of(fact)]
    while at.supersedes is not None and at.supersedes not in out:
        out.append(at.supersedes)
        older = known.everything.get(at.supersedes)
        if older is None:
            break
        at = older
    return out


def _evidence(folded: Folded, settled: Collection[str]) -> Conclusions:
    """Evidence of an open recommendation that is gone, each named once; but for the `settled`, of which all is said already."""
    out: Conclusions = []
    for rec in folded.owed:
        if rec.open and rec.recommendation_id not in settled and (gone := _gone(rec, folded) - rec.changed):
            out.append(("evidence_changed", rec.about | {"facts": sorted(gone)}))
    return out


def _gone(rec: Recommendation, folded: Folded) -> set[str]:
    """The facts it was last raised on that are no longer in force, nor told anew in a way that says the same."""
    here = folded.known.in_force
    if rec.found_in_force == len(rec.evidence):
        return set()
    if rec.evidence <= here:
        rec.found_in_force = len(rec.evidence)
        return set()
    now: dict[str, set[str]] = {}
    for hit in folded.risk.hits:
        now[hit.rule.id] = {e for f in hit.found for e in _tellings(f, folded.known)}
    lost = rec.evidence - here
    return {f for r in rec.raised.data["reasons"] for f in r["facts"] if f in lost and f not in now.get(r["rule"], ())}


def _overdue(folded: Folded, reference: Reference, fired: int | None, behind: Sequence[str]) -> Conclusions:
    """What the clock has found undecided, or convened and not held: it goes to somebody other than the one who is late."""
    out: Conclusions = []
    if fired is None:
        return out
    for rec in folded.owed:
        due = rec.waits_until
        if due is None or due > fired:
            continue
        to = passed_to(rec, case(folded.known), reference)
        data: Json = rec.about | {"due_at": due, "behind": list(behind), "passed_to": to}
        out.append(("recommendation_overdue" if rec.open else "meeting_overdue", data))
    return out


def _voices(known: Known) -> Conclusions:
    """Police submissions without the child's voice or why it is missing go back to the officer's supervisor, once (R18)."""
    unheard = known.line("voice missing", ("VulnerabilitySubmission",), _unheard).facts
    if len(unheard) == known.unheard_told:
        return []
    untold = [f for f in unheard if f.event_id not in known.told_back]
    if not untold:
        known.unheard_told = len(unheard)
    # said of the record, not of the child it is on now: an undo would leave it behind, and it would be told again
    return [
        ("quality_defect", {"child_id": child_id_of(f.presentation_id), "event_id": f.event_id, "defect": "VOICE_MISSING"})
        for f in untold
    ]


def _unheard(fact: Fact) -> tuple[int, str] | None:
    """By when it happened, a submission that has to be told back."""
    return (fact.occurred_at, fact.event_id) if voice_missing(fact) and not fact.historic else None
