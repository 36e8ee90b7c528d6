"""Messages to GP practices about CSOG outcomes, with receipts and exceptions, folded from conclusions (R11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from domain.identifiers import nhs_number
from domain.labelling import UNKNOWN, distinct, rest_on_ids
from domain.model import Conclusion, Json
from domain.selection import Known

PROGRESS: Final = {"ACCEPTED": 1, "READ": 2, "CODED": 3}
"""A receipt only moves a message forward."""

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
    def waits(self) -> bool:
        """With a practice that has not read it, and nobody was told of that."""
        return self.live and self.state in ("WAITING", "ACCEPTED") and self.exception is None


def messages(known: Known) -> list[Message]:
    """Every message on this child, oldest first."""
    found: dict[str, Message] = {}
    for c in known.conclusions:
        mid = c.data.get("message_id")
        if mid is None:
            continue
        if c.kind == "gp_message":
            found[mid] = Message(mid, c, "WAITING" if c.data["practice_ods"] else "NO_PRACTICE")
        elif mid in found:
            _step(found[mid], c)
    return sorted(found.values(), key=lambda m: (m.raised.number, m.message_id))


def _step(message: Message, c: Conclusion) -> None:
    match c.kind:
        case "gp_withdrawn":
            message.withdrawn = c
        case "gp_receipt":
            message.receipts.append(c)
            message.state = c.data["state"]
        case "gp_exception":
            message.exception, message.resolved = c, None
        case "gp_exception_resolved":
            message.resolved = c


def shown(message: Message, known: Known) -> Json:
    """A message as the view lists it; its state is WITHDRAWN whatever the practice had said before."""
    data = message.raised.data
    withdrawn = message.withdrawn
    return {
        "message_id": message.message_id,
        "practice_ods": message.practice,
        "nhs_number": data["nhs_number"],
        "state": message.state if withdrawn is None else "WITHDRAWN",
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
    return [{"fields": [name], "sharing_any": distinct(facts) or [UNKNOWN]} for name, value, facts in told if value is not None]


def _exception(message: Message) -> Json | None:
    """The exception; a message withdrawn, or read after all, resolves its own."""
    raised = message.exception
    if raised is None:
        return None
    at, text = None, None
    read = next((r for r in message.receipts if r.data["state"] in SEEN and r.number > raised.number), None)
    if message.resolved is not None:
        at, text = message.resolved.accepted_at, message.resolved.data["resolution"]
    elif message.withdrawn is not None:
        at, text = message.withdrawn.accepted_at, "The message was withdrawn"
    elif read is not None:
        at, text = read.accepted_at, "The practice has read it since"
    return {
        "why": raised.data["why"],
        "for_role": raised.data["for_role"],
        "at": raised.accepted_at,
        "resolved_at": at,
        "resolution": text,
    }
