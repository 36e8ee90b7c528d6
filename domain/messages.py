"""Messages to GP practices about CSOG outcomes, with receipts and exceptions, folded from conclusions (R11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.identifiers import nhs_number
from domain.labelling import UNKNOWN, rest_on_any, rest_on_ids
from domain.model import Conclusion, Json
from domain.selection import Known

PROGRESS: Final = {"ACCEPTED": 1, "READ": 2, "CODED": 3}
"""A receipt only moves a message forward."""

HELD: Final = frozenset({"WITHHELD", "FREE_TEXT"})
"""Exceptions of messages that no change of practice sends on."""

SEEN: Final = frozenset({"READ", "CODED"})


@dataclass(slots=True)
class Message:
    """One message to one practice (None: nobody to send it to yet). `state` as in docs/child-view.md."""

    message_id: str
    raised: Conclusion
    state: str = "WAITING"
    withdrawn: Conclusion | None = None
    receipts: list[Conclusion] = field(default_factory=list)
    exception: Conclusion | None = None
    resolved: Conclusion | None = None
    taken: Conclusion | None = None
    passed: Conclusion | None = None

    @property
    def practice(self) -> str | None:
        """ODS code of the practice that it is for."""
        ods: str | None = self.raised.data["practice_ods"]
        return ods

    @property
    def event_id(self) -> str:
        """The CSOG outcome it tells of."""
        return str(self.raised.data["event_id"])

    @property
    def live(self) -> bool:
        """Not withdrawn."""
        return self.withdrawn is None

    @property
    def told(self) -> str:
        """Its state as it is shown: WITHDRAWN whatever the practice had said before."""
        return self.state if self.live else "WITHDRAWN"

    @property
    def held(self) -> bool:
        """Never to be sent as it stands: a practice may not be told it, or its words tell of others."""
        return self.practice is None and self.exception is not None and self.exception.data["why"] in HELD

    @property
    def settled(self) -> tuple[int, str] | None:
        """When and how the exception ended: a message withdrawn, or read after all, resolves its own. None: it has not."""
        raised = self.exception
        if raised is None:
            return None
        if self.resolved is not None:
            return self.resolved.accepted_at, self.resolved.data["resolution"]
        if self.withdrawn is not None:
            return self.withdrawn.accepted_at, "The message was withdrawn"
        read = next((r for r in self.receipts if r.data["state"] in SEEN and r.number > raised.number), None)
        return None if read is None else (read.accepted_at, "The practice has read it since")

    @property
    def exception_due(self) -> int | None:
        """When an exception nobody has resolved is passed on, µs UTC; None: there is none, or it was passed on already."""
        if self.exception is None or self.passed is not None or self.settled is not None:
            return None
        due: int | None = self.exception.data.get("due_at")
        return due

    @property
    def waits(self) -> bool:
        """With a practice that has not read it, and nobody was told of that."""
        return self.live and self.state in ("WAITING", "ACCEPTED") and self.exception is None


@dataclass(slots=True)
class Sent:
    """The messages on a child, oldest first; those of them that are live; how often each CSOG outcome was told.

    `dues`: when what somebody owes about them is due, µs UTC; `states`: how many are in each state.
    `complete_for`: with so many outcomes and registrations and this NHS number nothing was missing. Nor is it later, before
    `complete_until`, the day on which the next registration begins: time alone makes an outcome no more to be told.
    """

    every: list[Message]
    live: list[Message]
    times: Mapping[str, int]
    dues: list[int]
    states: Mapping[str, int]
    complete_for: tuple[int, int, str | None] | None = field(default=None, compare=False)
    complete_until: str = field(default="", compare=False)


def messages(known: Known) -> Sent:
    """Every message on this child."""
    every = sorted(by_id(known.conclusions).values(), key=lambda m: (m.raised.number, m.message_id))
    live = [m for m in every if m.live]
    dues = [int(m.raised.data["due_at"]) for m in live if m.waits]
    dues += [at for m in live if (at := m.exception_due) is not None]
    states = Counter(m.told for m in every)
    return Sent(every, live, Counter(m.event_id for m in every), dues, states)


def by_id(conclusions: Iterable[Conclusion]) -> dict[str, Message]:
    """The messages that conclusions on one child, in order, tell of. How each stands rests on what was said of it, on no fact."""
    found: dict[str, Message] = {}
    for c in conclusions:
        mid = c.data.get("message_id")
        if mid is None:
            continue
        if c.kind == "gp_message":
            found[mid] = Message(mid, c, "WAITING" if c.data["practice_ods"] else "NO_PRACTICE")
        elif mid in found:
            _step(found[mid], c)
    return found


def _step(message: Message, c: Conclusion) -> None:
    match c.kind:
        case "gp_withdrawn":
            message.withdrawn = c
        case "gp_receipt":
            message.receipts.append(c)
            message.state = c.data["state"]
        case "gp_exception":
            message.exception, message.resolved, message.taken, message.passed = c, None, None, None
        case "gp_exception_taken":
            message.taken = c if c.data["taken"] else None
        case "gp_exception_overdue":
            message.passed = c
        case "gp_exception_resolved":
            message.resolved = c


def shown(message: Message, known: Known) -> Json:
    """A message as the view lists it."""
    data = message.raised.data
    withdrawn = message.withdrawn
    return {
        "message_id": message.message_id,
        "practice_ods": message.practice,
        "nhs_number": data["nhs_number"],
        "state": message.told,
        "raised_at": message.raised.accepted_at,
        "due_at": data["due_at"],
        "csog_event_id": message.event_id,
        "receipts": [{"at": r.accepted_at, "state": r.data["state"], "reason": r.data["reason"]} for r in message.receipts],
        "withdrawn": None if withdrawn is None else {"at": withdrawn.accepted_at, "why": withdrawn.data["why"]},
        "exception": _exception(message),
        "parts": _parts(message, known),
        **rest_on_ids([message.event_id], known.everything),
    }


def _parts(message: Message, known: Known) -> list[Json]:
    """Number and practice are of other facts than the outcome: who may see any of those may see them here."""
    ods, nhs = message.practice, message.raised.data["nhs_number"]
    register = [f for f in known.everything.values() if f.record == "GpRegistration" and f.body["practice_ods"] == ods]
    numbered = {p.presentation_id for p in known.presentations if nhs_number(p.fields.get("nhs_number")) == nhs}
    carried = [f for f in known.everything.values() if f.presentation_id in numbered]
    told = (("practice_ods", ods, register), ("nhs_number", nhs, carried))
    return [{"fields": [name], **rest_on_any(facts, UNKNOWN)} for name, value, facts in told if value is not None]


def _exception(message: Message) -> Json | None:
    """The exception: why, for whom, by when, who took it, to whom it was passed on, what was done."""
    raised, taken, passed = message.exception, message.taken, message.passed
    if raised is None:
        return None
    at, text = message.settled or (None, None)
    return {
        "why": raised.data["why"],
        "version": raised.number,
        "for_role": raised.data["for_role"],
        "at": raised.accepted_at,
        "due_at": raised.data.get("due_at"),
        "taken": None if taken is None else {"by": taken.data["by"], "by_role": taken.data["by_role"], "at": taken.accepted_at},
        "passed_on": None if passed is None else {"at": passed.accepted_at, "to": list(passed.data["passed_to"])},
        "resolved_at": at,
        "resolution": text,
    }
