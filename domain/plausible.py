"""What cannot be: dates and answers that contradict one another within one fact or act. Instants are µs, UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from domain.identifiers import is_placeholder
from domain.problems import Problem
from domain.times import DAY_US, HOUR_US, local_date_of, to_us

CLOCK_SKEW_US: Final = HOUR_US
"""A sender's clock may be an hour ahead (a forgotten summer time) before we call an instant the future."""

OLDEST_US: Final = -20 * 365 * DAY_US
"""1950: nothing about a living child happened before."""

MEETING_DAYS_MAX: Final = 28
"""A strategy discussion is convened for the next days; one planned for years ahead would never be called overdue."""

BIRTH_EARLIEST: Final = "1990-01-01"
"""No subject of 2019 or later was a child if born before; defaults such as 1900-01-01 are marked, not refused."""


FUTURE: Final[Mapping[str, str]] = {"held_at": "lies in the future: convened is not held"}
"""What to say of an instant in the future, where more can be said than that."""


def out_of_time(instants: Iterable[tuple[str, int]], now_us: int) -> list[Problem]:
    """Which of these (field, instant) lie before 1950 or in the future: every instant of the contract is one that was."""
    problems: list[Problem] = []
    for name, at in instants:
        if at > now_us + CLOCK_SKEW_US:
            problems.append(Problem(name, "future", FUTURE.get(name, "lies in the future")))
        elif at < OLDEST_US:
            problems.append(Problem(name, "too-old", "lies before 1950"))
    return problems


def implausible(record: str, value: Mapping[str, Any], now_us: int) -> list[Problem]:
    """What in `value` cannot be true, at `now_us`; an empty list when nothing is."""
    if "act" in value:
        return _act(record, value, now_us)
    env = value["envelope"]
    problems: list[Problem] = []
    said = [v for v in env["subject"].values() if v is not None]
    if len(said) == 1 and is_placeholder(env["subject"]["local_id"]):
        problems.append(Problem("envelope.subject.local_id", "placeholder", "is a placeholder, and nothing else says who it is"))
    born = env["subject"].get("birth_date")
    if born is None or born < _yesterday(now_us // DAY_US):
        pass
    elif born > local_date_of(now_us + 300 * DAY_US):
        problems.append(Problem("envelope.subject.birth_date", "future", "lies more than a pregnancy ahead"))
    elif born > local_date_of(now_us) and not _unborn(record, value):
        problems.append(Problem("envelope.subject.birth_date", "future", "lies in the future and no unborn child is said"))
    if env["supersedes"] is not None and env["supersedes"] == env["event_id"]:
        problems.append(Problem("envelope.supersedes", "self", "names the fact itself"))
    if (record == "Retraction") != (env["retracts"] is not None):
        problems.append(Problem("envelope.retracts", "retraction", "is given by a Retraction, and only there"))
    if record == "Retraction" and env["supersedes"] is not None:
        problems.append(
            Problem("envelope.supersedes", "retraction", "is not given by a Retraction: it withdraws, and replaces nothing")
        )
    return problems + _body(record, value)


@lru_cache(maxsize=8)
def _yesterday(day: int) -> str:
    """The day before day `day` since 1970 (UTC): earlier than today in London, whatever the hour."""
    return (date(1970, 1, 1) + timedelta(days=day - 1)).isoformat()


def _unborn(record: str, value: Mapping[str, Any]) -> bool:
    return bool(record == "CpisStatusChanged" and value["plan_type"] == "UCPI")


def _body(record: str, value: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if record == "MissingEpisodeEnded" and value["started_at"] is not None and value["ended_at"] < value["started_at"]:
        problems.append(Problem("ended_at", "before-start", "lies before the episode began"))
    if record == "MissingEpisodeReported" and value["last_seen_at"] > value["envelope"]["recorded_at"] + CLOCK_SKEW_US:
        problems.append(Problem("last_seen_at", "after-report", "lies after the report was recorded"))
    if record == "SchoolAbsence" and value["sessions_missed"] > value["sessions_possible"]:
        problems.append(Problem("sessions_missed", "more-than-possible", "is more than sessions_possible"))
    for first, last in (("from_date", "to_date"), ("start_date", "end_date")):
        if value.get(first) and value.get(last) and value[last] < value[first]:
            problems.append(Problem(last, "before-start", f"lies before {first}"))
    return problems


def _act(record: str, value: Mapping[str, Any], now_us: int) -> list[Problem]:
    problems: list[Problem] = []
    if record == "RecommendationDecided" and value["meeting_at"] is not None:
        problems += _planned(value["meeting_at"], now_us)
    if record == "RecommendationDecided" and value["decision"] == "DECLINE":
        problems += [
            Problem(name, "required-to-decline", "is needed to decline (R1)")
            for name in ("reason", "rationale")
            if not (value[name] or "").strip()
        ]
    if record == "GpReceipt" and value["state"] == "REJECTED" and value["reason"] is None:
        problems.append(Problem("reason", "required-to-reject", "is needed to reject"))
    return problems


def _planned(text: str, now_us: int) -> list[Problem]:
    try:
        at = to_us(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return [Problem("meeting_at", "instant", "is not an ISO 8601 instant with an offset")]
    if not OLDEST_US <= at <= now_us + MEETING_DAYS_MAX * DAY_US + CLOCK_SKEW_US:
        return [Problem("meeting_at", "planned", f"is not within the next {MEETING_DAYS_MAX} days")]
    return []
