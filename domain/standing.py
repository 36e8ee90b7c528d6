"""Where a child stands: the little that is kept of a view, so that children can be found by it. Views are folded when read.

A pure function of the same things as the view (I2). Instants are µs since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain import meetings, messages
from domain.fold import Folded, due_at
from domain.meetings import Recommendation
from domain.model import History, Json
from domain.plausible import CLOCK_SKEW_US
from domain.policy import Reference
from domain.selection import Known, select
from domain.signals import Situation
from domain.times import DAY_US

HARM, PASSED_ON, IN_TIME = 0, 1, 2
"""How urgent what somebody owes is: a harm trigger that nobody has decided on, something overdue, anything else."""

COUNTED_US: Final = 365 * DAY_US
"""The board counts what began within so long of when it is looked at."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of table `child`.

    `due_at`: when the clock is to look at the child again: nothing in this row becomes another before, unless something is said.
    `owed_at`: when the first of what somebody owes this child is due, None when nobody owes anything. Who is in the queue, in
    the order of `urgency` (HARM, PASSED_ON, IN_TIME), then of `owed_at`. `counts`: what the partnership board counts, without
    words. `evaluated`: no rule of ours failed.
    """

    child_id: str
    version: int
    as_of: int
    due_at: int | None
    owed_at: int | None
    urgency: int
    counts: Json
    evaluated: bool = True


def standing(history: History, reference: Reference, as_of: int) -> Standing:
    """Where a child stands at `as_of`; no rule of the policy is asked. What of ours fails leaves what people decided (`evaluated`
    is False).
    """
    known = select(history, as_of)
    raised, sent = meetings.recommendations(known), messages.messages(known)
    owed = [r for r in raised if r.owed]
    try:
        situation = Situation(known, reference)
        situation.look()
        return _stands(situation, raised, owed, sent)
    except Exception:  # a defect of ours, of any kind: whoever stores it raises the alarm
        due = min(meetings.dues(owed), default=None)
        counts = _counts(known, raised, sent, [])
        return Standing(known.child_id, known.version, as_of, due, *_owed(owed), counts, evaluated=False)


def standing_of(folded: Folded) -> Standing:
    """The same, out of a fold already made."""
    return _stands(folded.situation, folded.recommendations, folded.owed, folded.messages)


def _stands(situation: Situation, raised: list[Recommendation], owed: list[Recommendation], sent: messages.Sent) -> Standing:
    known = situation.known
    clocks = situation.missing.newest(COUNTED_US + CLOCK_SKEW_US)  # by a clock that is ahead, the last one may yet begin
    counts = _counts(known, raised, sent, clocks)
    return Standing(known.child_id, known.version, known.as_of, due_at(situation, owed, sent), *_owed(owed), counts)


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
        "episodes": clocks,
        "messages": dict(sent.states),
    }
