"""Where a child stands: the little that is kept of a view, so that children can be found by it. Views are folded when read.

A pure function of the same things as the view (I2). Instants are µs since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain import meetings, messages
from domain.fold import Folded, changes_at, due_at, parts
from domain.meetings import Recommendation
from domain.model import History, Json
from domain.policy import Reference
from domain.selection import Known, select

HARM, PASSED_ON, IN_TIME = 0, 1, 2
"""How urgent what somebody owes is: a harm trigger that nobody has decided on, something overdue, anything else."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of table `child`.

    `owed_at`: when the first of what somebody owes this child is due, None when nobody owes anything. Who is in the queue, in
    the order of `urgency` (HARM, PASSED_ON, IN_TIME), then of `owed_at`. `counts`: what the partnership board counts, without
    words. `evaluated`: no rule of ours failed.
    """

    child_id: str
    version: int
    as_of: int
    changes_at: int | None
    due_at: int | None
    owed_at: int | None
    urgency: int
    counts: Json
    evaluated: bool = True


def standing(history: History, reference: Reference, as_of: int) -> Standing:
    """Where a child stands at `as_of`. A rule of ours that fails leaves what people decided (`evaluated` is False)."""
    try:
        folded = parts(history, reference, as_of)
        return standing_of(folded)
    except Exception:  # a defect of ours, of any kind: whoever stores it raises the alarm
        known = select(history, as_of)
        raised = meetings.recommendations(known)
        due = min((at for r in raised if (at := r.waits_until) is not None), default=None)
        counts = _counts(known, raised, messages.messages(known), [])
        owed = [r for r in raised if r.owed]
        return Standing(known.child_id, known.version, as_of, None, due, *_owed(owed), counts, evaluated=False)


def standing_of(folded: Folded) -> Standing:
    """The same, out of a fold already made."""
    known = folded.known
    counts = _counts(known, folded.recommendations, folded.messages, folded.situation.missing.clocks)
    return Standing(known.child_id, known.version, known.as_of, changes_at(folded), due_at(folded), *_owed(folded.owed), counts)


def _owed(owed: list[Recommendation]) -> tuple[int | None, int]:
    """(when the first of it is due, how urgent the most urgent of it is)."""
    return min((r.owed_at for r in owed), default=None), min((_urgency(r) for r in owed), default=IN_TIME)


def _urgency(owed: Recommendation) -> int:
    if owed.open and owed.raised.data["basis"] == "HARM":
        return HARM
    return PASSED_ON if owed.passed is not None else IN_TIME


def _counts(known: Known, raised: list[Recommendation], sent: messages.Sent, clocks: list[tuple[int, str]]) -> Json:
    return {
        "facts": known.by_agency,
        "recommendations": [[r.raised_at, r.state, [c.data["agency"] for c in r.disagreed]] for r in raised],
        "episodes": list(clocks),
        "messages": dict(sent.states),
    }
