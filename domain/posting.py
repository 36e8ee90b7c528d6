"""Which messages should be with which practice, and which conclusions bring that about (R11).

- Every live CSOG outcome is told to the child's registered practice. An imported one only while it is in force: the newest, not
  closed, not past its review date and not older than the policy says.
- Without a practice, or without one checked and traced NHS number, the message waits at nobody (NO_PRACTICE) and is at once an
  exception that a person takes (`NO_PRACTICE` or `NO_NHS_NUMBER`). So is one that a practice may not be told (`WITHHELD`, by the
  sharing table) or whose words tell of others (`FREE_TEXT`, by `domain.gp_texts`): it is held, whatever practice is registered.
- An exception has a due time. Unresolved by then it is passed to a manager other than the one who took it.
- Change of practice: a message that the old practice has not read is withdrawn (REROUTED) and raised for the new one. One that it
  has read or coded stays, and the new practice is told as well while the outcome is in force (a code may not travel).
- Withdrawn outcome, or moved to another child: the message is withdrawn (RETRACTED, UNLINKED) even when read or coded. So it is
  when the number or practice that it was sent on is no longer this child's at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.fold import Folded
from domain.gp_texts import POSTCODE, tells_too_much
from domain.identity_view import trusted_nhs_number
from domain.involvement import NO_END, registration
from domain.labelling import label_of
from domain.messages import SEEN, Message
from domain.model import Fact, Json, make_id
from domain.policy import Reference
from domain.selection import Known, happened, in_time, newest_telling
from domain.sharing import PRACTICE, SEE, Reader, decide
from domain.times import DAY_US, local_date_of

EXCEPTIONS_GO_TO: Final = "icart_health"
"""The role that a GP exception is given to (default until a partnership names another)."""

WITHHELD_GO_TO: Final = "icart_manager"
"""The role for what the seat of health may not see either."""

OVERDUE_GO_TO: Final = ("icart_manager",)
"""The roles that an exception is passed to when nobody resolved it in time; never the person who took it (R2)."""

RESOLVED_WITHIN: Final = "gp-exception"
"""Its deadline in the register."""

OVER: Final = frozenset({"NONE", "CLOSED"})


def gp_messages(folded: Folded, reference: Reference, now: int, fired: int | None) -> list[tuple[str, Json]]:
    """The conclusions about GP messages that are missing."""
    known = folded.known
    outcomes = known.current.get("CsogOutcome", ())
    if not outcomes and not folded.messages.every:
        return []
    nhs, today, sent = trusted_nhs_number(known), folded.situation.today, folded.messages
    looked = (len(outcomes), len(known.current.get("GpRegistration", ())), nhs)
    if fired is None and looked == sent.complete_for and today < sent.complete_until:
        return []
    to = _addressed(known, nhs, today)
    out: list[tuple[str, Json]] = []
    gone: set[str] = set()
    about: dict[str, list[Message]] = {}
    for message in folded.messages.live:
        if (why := _withdraw(message, known, to)) is not None:
            gone.add(message.message_id)
            out.append(("gp_withdrawn", {"message_id": message.message_id, "practice_ods": message.practice, "why": why}))
        else:
            about.setdefault(message.event_id, []).append(message)
    for outcome in outcomes:
        told = folded.messages.times.get(outcome.event_id, 0)
        if _owed(outcome, told, about.get(outcome.event_id, []), to, reference):
            out += _raise(outcome, told, to, reference, now)
    out += _exceptions(folded, gone, reference, now, fired)
    if not out:
        sent.complete_for, sent.complete_until = looked, known.next_day("GpRegistration", "registered_from", today) or NO_END
    return out


@dataclass(frozen=True, slots=True)
class Address:
    """Where messages about this child go now: practice and number (None: nowhere)."""

    known: Known
    practice: str | None
    nhs: str | None

    def ever(self, practice: str) -> bool:
        """Is the child with this practice, or was it ever?"""
        told = reversed(self.known.current.get("GpRegistration", ()))
        return practice == self.practice or any(f.body["practice_ods"] == practice for f in told)


def _addressed(known: Known, nhs: str | None, today: str) -> Address:
    fact = registration(known, today)
    practice = fact.body["practice_ods"] if fact is not None and nhs is not None else None
    return Address(known, practice, nhs)


def _withdraw(message: Message, known: Known, to: Address) -> str | None:
    """Why this message must be withdrawn; None when it stands."""
    if message.event_id not in known.in_force:
        return "RETRACTED" if any(f.event_id == message.event_id for f in known.facts) else "UNLINKED"
    sent_nhs = message.raised.data["nhs_number"]
    if message.held:
        return None
    if message.practice is not None and (sent_nhs != to.nhs or not to.ever(message.practice)):
        return "UNLINKED"
    moved = message.practice != to.practice and message.state not in SEEN
    return "REROUTED" if moved or (message.practice is None and sent_nhs != to.nhs) else None


def _owed(outcome: Fact, told: int, live: list[Message], to: Address, reference: Reference) -> bool:
    """Is a message about this outcome missing, which was told so many times and is told by these now?"""
    if not told:
        return not outcome.historic or in_force(outcome, to.known, reference)
    if not live:
        return True
    if any(m.held for m in live):
        return False
    return to.practice is not None and all(m.practice != to.practice for m in live) and in_force(outcome, to.known, reference)


def in_force(outcome: Fact, known: Known, reference: Reference) -> bool:
    """The newest outcome, not closed, its review not past, and not older than the policy says."""
    told = newest_telling(known.current["CsogOutcome"], lambda f: (f.agency, f.body["outcome_id"]))
    newest = max(told.values(), key=lambda f: (f.body["csog_date"], in_time(f)))
    age = known.as_of - happened(outcome)
    review = outcome.body["review_date"]
    return (
        outcome is newest
        and outcome.body["level_joint"] not in OVER
        and (review is None or review >= local_date_of(known.as_of))
        and age < reference.policy.gp_in_force_days * DAY_US
    )


def _raise(outcome: Fact, before: int, to: Address, reference: Reference, now: int) -> list[tuple[str, Json]]:
    held = _held(outcome, to.known)
    practice = to.practice if held is None else None
    message_id = make_id("gp-message", to.known.child_id, outcome.event_id, practice or "", before)
    data: Json = {
        "message_id": message_id, "event_id": outcome.event_id, "practice_ods": practice, "nhs_number": to.nhs,
        "due_at": reference.register.due(reference.policy.gp_unread, now),
    }  # fmt: skip
    out: list[tuple[str, Json]] = [("gp_message", data)]
    if practice is None:
        why = held or ("NO_NHS_NUMBER" if to.nhs is None else "NO_PRACTICE")
        out.append(_exception(message_id, why, reference, now))
    return out


def _held(outcome: Fact, known: Known) -> str | None:
    """Why no practice may be sent this outcome as it stands; None when it may."""
    if decide(Reader(PRACTICE), label_of(outcome)) is not SEE:
        return "WITHHELD"
    lead = outcome.body.get("lead_professional") or {}
    texts = (outcome.body.get("what_changed"), outcome.body.get("gp_action"), outcome.body.get("plan_ref"))
    if tells_too_much(texts, [p.fields for p in known.presentations]):
        return "FREE_TEXT"
    return "FREE_TEXT" if any(POSTCODE.search(lead.get(k) or "") for k in ("role", "contact")) else None


def _exception(message_id: str, why: str, reference: Reference, now: int) -> tuple[str, Json]:
    role = WITHHELD_GO_TO if why == "WITHHELD" else EXCEPTIONS_GO_TO
    due_at = reference.register.due(RESOLVED_WITHIN, now)
    return ("gp_exception", {"message_id": message_id, "why": why, "for_role": role, "due_at": due_at})


def _exceptions(folded: Folded, gone: set[str], reference: Reference, now: int, fired: int | None) -> list[tuple[str, Json]]:
    out: list[tuple[str, Json]] = []
    for m in folded.messages.live:
        if m.message_id in gone:
            continue
        why = None
        if m.state == "REJECTED" and (m.exception is None or m.exception.data["why"] != "REJECTED"):
            why = "REJECTED"
        elif m.waits and fired is not None and int(m.raised.data["due_at"]) <= fired:
            why = "UNREAD"
        if why is not None:
            out.append(_exception(m.message_id, why, reference, now))
        elif fired is not None and m.exception_due is not None and m.exception_due <= fired:
            late = [m.taken.data["by"]] if m.taken is not None else []
            to = [{"role": role, "other_than": late} for role in OVERDUE_GO_TO]
            told = {"message_id": m.message_id, "due_at": m.exception_due, "passed_to": to}
            out.append(("gp_exception_overdue", told))
    return out
