"""What people, practices and the clock do: accepted with its conclusions, or refused with a reason that they can act on.

Refusals (`Refused.reason`): `not-permitted`, `no-such-thing`, `stale-decision`, `already-decided`,
`decided-with-another`, `required-to-decline`, `not-convened`, `evidence-stands`, `wrong-agency`, `already-taken`, `not-yours`,
`not-your-message`, `withdrawn`, `already-rejected`, `already-coded`, `no-exception`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.conclude import conclude
from domain.fold import parts
from domain.meetings import Recommendation, case, is_for, planned_at, recommendations
from domain.messages import PROGRESS, Message, messages
from domain.model import History, Json
from domain.policy import Reference
from domain.problems import Problem
from domain.selection import select
from domain.sharing import ROLES

DECIDE_ROLES: Final = frozenset({"icart_manager", "edt"})
"""Who may convene, decline or close (R1: a named manager; out of hours the emergency duty team)."""

MEETING_ROLES: Final = DECIDE_ROLES | {"icart_social_worker"}
"""Who may record that the discussion was held."""

EXCEPTION_ROLES: Final = frozenset({"icart_health", "icart_manager"})


@dataclass(frozen=True, slots=True)
class Refused:
    """An act that is not accepted: a stable reason, and the fields to mend, if any."""

    reason: str
    problems: tuple[Problem, ...] = ()


Found = Refused | list[tuple[str, Json]]


@dataclass(frozen=True, slots=True)
class Doing:
    """An act with what it is about."""

    value: Mapping[str, Any]
    history: History
    reference: Reference
    now: int

    @property
    def act(self) -> Mapping[str, Any]:
        """The act's envelope: who, in what role."""
        found: Mapping[str, Any] = self.value["act"]
        return found

    @property
    def who(self) -> Json:
        """Child, account and role, as conclusions name them."""
        return {"child_id": self.history.child_id, "by": self.act["actor_id"], "by_role": self.act["actor_role"]}

    def said_of(self, rec: Recommendation) -> Json:
        """As `who`, on the recommendation: it stays with the child that it was raised on."""
        return self.who | rec.about

    def recommendation(self) -> Recommendation | None:
        """The recommendation the act is about."""
        known = select(self.history, self.now)
        wanted = self.value["recommendation_id"]
        return next((r for r in recommendations(known) if r.recommendation_id == wanted), None)

    def message(self) -> Message | None:
        """The GP message the act is about."""
        known = select(self.history, self.now)
        return next((m for m in messages(known).every if m.message_id == self.value["message_id"]), None)


def judge(record: str, value: Mapping[str, Any], history: History, reference: Reference, now: int) -> Found:
    """The conclusions of an act on this child at `now` (µs UTC), or why it is refused. An empty list: nothing to add."""
    found = JUDGES.get(record)
    return Refused("no-such-thing") if found is None else found(Doing(value, history, reference, now))


def _decided(do: Doing) -> Found:  # noqa: PLR0911  one return a rule reads best
    if do.act["actor_role"] not in DECIDE_ROLES:
        return Refused("not-permitted")
    rec = do.recommendation()
    if rec is None:
        return Refused("no-such-thing")
    if do.act["based_on"] != rec.version:
        return Refused("stale-decision")
    if not rec.open:
        return Refused(_settled(rec))
    about = {**do.said_of(rec), "rationale": do.value["rationale"]}
    if do.value["decision"] == "CONVENE":
        planned = do.value["meeting_at"]
        held_due = do.reference.register.due(do.reference.policy.due_held, planned_at(planned, do.now))
        return [*_in_time(do, rec), ("convened", about | {"meeting_at": planned, "held_due_at": held_due})]
    missing = [n for n in ("reason", "rationale") if not (do.value[n] or "").strip()]
    if missing:
        return Refused(
            "required-to-decline", tuple(Problem(n, "required-to-decline", "is needed to decline (R1)") for n in missing)
        )
    return [*_in_time(do, rec), ("declined", about | {"reason": do.value["reason"]})]


def _settled(rec: Recommendation) -> str:
    """Why no decision on it is owed."""
    return "already-decided" if rec.joined is None else "decided-with-another"


def _in_time(do: Doing, rec: Recommendation) -> list[tuple[str, Json]]:
    """It was called overdue, and this act is from before it was due: read late, by an outage of ours, and not late itself."""
    acted_at = do.act["acted_at"]
    if rec.passed is None or acted_at > rec.passed.data["due_at"]:
        return []
    return [("overdue_withdrawn", rec.about | {"due_at": rec.passed.data["due_at"], "acted_at": acted_at})]


def _held(do: Doing) -> Found:
    if do.act["actor_role"] not in MEETING_ROLES:
        return Refused("not-permitted")
    rec = do.recommendation()
    if rec is None:
        return Refused("no-such-thing")
    if do.act["based_on"] != rec.version:
        return Refused("stale-decision")
    if rec.state != "CONVENED":
        return Refused("not-convened")
    told = {k: do.value[k] for k in ("held_at", "attended", "outcome", "outcome_text")}
    held = {**do.said_of(rec), **told, "attended": list(told["attended"])}
    return [*_in_time(do, rec), ("held", held)]


def _disagreed(do: Doing) -> Found:
    role, agency = do.act["actor_role"], do.value["agency"]
    if role not in ROLES:
        return Refused("not-permitted")
    if agency not in ({"edt", "csc"} if role == "edt" else {ROLES[role]}):
        return Refused("wrong-agency", (Problem("agency", "wrong-agency", "is not the agency that this role sits for"),))
    rec = do.recommendation()
    if rec is None:
        return Refused("no-such-thing")
    return [("disagreed", {**do.said_of(rec), "agency": agency, "ground": do.value["ground"]})]


def _closed(do: Doing) -> Found:
    if do.act["actor_role"] not in DECIDE_ROLES:
        return Refused("not-permitted")
    rec = do.recommendation()
    if rec is None:
        return Refused("no-such-thing")
    if do.act["based_on"] != rec.version:
        return Refused("stale-decision")
    if not rec.open:
        return Refused(_settled(rec))
    if not rec.changed:
        return Refused("evidence-stands")
    closed = {**do.said_of(rec), "rationale": do.value["rationale"]}
    return [*_in_time(do, rec), ("closed", closed)]


def _case(do: Doing) -> Found:
    if do.act["actor_role"] not in ROLES:
        return Refused("not-permitted")
    holder = case(select(do.history, do.now))
    return _take(do, holder) if do.value["taken"] else _give_back(do, holder)


def _take(do: Doing, holder: Json | None) -> Found:
    """Somebody's case is taken over only by one to whom something overdue on it was passed."""
    role, by = do.act["actor_role"], do.act["actor_id"]
    if holder is not None and holder["by"] == by:
        return []
    passed = [r.passed.data.get("passed_to", ()) for r in recommendations(select(do.history, do.now)) if r.passed is not None]
    if holder is None or any(is_for(to, role, by) for to in passed):
        return [("case_taken", {**do.who, "taken": True})]
    return Refused("already-taken")


def _give_back(do: Doing, holder: Json | None) -> Found:
    if holder is None:
        return []
    if holder["by"] != do.act["actor_id"] and do.act["actor_role"] not in DECIDE_ROLES:
        return Refused("not-yours")
    return [("case_taken", {**do.who, "taken": False})]


def _exception(do: Doing) -> Found:
    """What was done about the exception that was seen: another may have come in its place since."""
    if do.act["actor_role"] not in EXCEPTION_ROLES:
        return Refused("not-permitted")
    message = do.message()
    if message is None:
        return Refused("no-such-thing")
    if message.exception is None:
        return Refused("no-exception")
    if (do.act["based_on"] or 0) < message.exception.number:
        return Refused("stale-decision")
    if message.resolved is not None:
        return []
    return [("gp_exception_resolved", {**do.who, "message_id": message.message_id, "resolution": do.value["resolution"]})]


def _exception_taken(do: Doing) -> Found:  # noqa: PLR0911  one return a rule reads best
    """Somebody takes the exception, so that it is a named person's; or gives it back. Taken over only when it was passed on."""
    role, by = do.act["actor_role"], do.act["actor_id"]
    if role not in EXCEPTION_ROLES:
        return Refused("not-permitted")
    message = do.message()
    if message is None:
        return Refused("no-such-thing")
    if message.exception is None or message.settled is not None:
        return Refused("no-exception")
    holder, taken = message.taken, bool(do.value["taken"])
    mine = holder is not None and holder.data["by"] == by
    if (mine and taken) or (holder is None and not taken):
        return []
    passed = () if message.passed is None else message.passed.data["passed_to"]
    if taken and holder is not None and not is_for(passed, role, by):
        return Refused("already-taken")
    if not taken and not mine and role not in DECIDE_ROLES:
        return Refused("not-yours")
    return [("gp_exception_taken", {**do.who, "message_id": message.message_id, "taken": taken})]


def _receipt(do: Doing) -> Found:  # noqa: PLR0911  one return a rule reads best
    """A practice answers for its own messages only; what is another's looks as if it did not exist."""
    practice = do.value["practice_ods"]
    message = do.message()
    mine = message is not None and message.practice == practice and practice is not None
    if do.act["actor_role"] != "gp_practice" or do.act["actor_id"] != practice or message is None or not mine:
        return Refused("not-your-message")
    state = do.value["state"]
    if any(r.data["state"] == state for r in message.receipts):
        return []
    if not message.live:
        return Refused("withdrawn")
    if message.state == "REJECTED":
        return Refused("already-rejected")
    if state == "REJECTED":
        if message.state == "CODED":
            return Refused("already-coded")
    elif PROGRESS[state] <= PROGRESS.get(message.state, 0):
        return []
    told = {"practice_ods": practice, "state": state, "reason": do.value["reason"]}
    return [("gp_receipt", {"child_id": do.history.child_id, "message_id": message.message_id, **told})]


def _clock(do: Doing) -> Found:
    if do.act["actor_role"] != "clock":
        return Refused("not-permitted")
    behind: Sequence[str] = do.value["behind"]
    due = min(int(do.value["due_at"]), do.now)
    return conclude(parts(do.history, do.reference, do.now), do.reference, do.now, fired=due, behind=behind)


JUDGES: Final[Mapping[str, Callable[[Doing], Found]]] = {
    "RecommendationDecided": _decided,
    "StrategyMeetingHeld": _held,
    "RecommendationDisagreed": _disagreed,
    "RecommendationClosed": _closed,
    "CaseTaken": _case,
    "GpExceptionResolved": _exception,
    "GpExceptionTaken": _exception_taken,
    "GpReceipt": _receipt,
    "ClockFired": _clock,
}
