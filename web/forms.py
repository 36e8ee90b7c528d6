"""Forms of acts: read what was typed, say what is missing, keep every word. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from domain.plausible import MEETING_DAYS_MAX
from domain.searching import SearchTerms
from domain.times import LONDON, to_us
from schemas.codes import code_lists

TEXT_CHARS_MAX: Final = 4000
NAME_CHARS_MAX: Final = 120


@dataclass(slots=True)
class Form:
    """What was typed (`values`, `many`), and what is wrong by field. `body` is set when nothing is."""

    values: Mapping[str, str] = made(default_factory=dict)
    many: Mapping[str, Sequence[str]] = made(default_factory=dict)
    errors: dict[str, str] = made(default_factory=dict)
    body: dict[str, Any] = made(default_factory=dict)

    def get(self, name: str) -> str:
        """One field, without blanks around it."""
        return self.values.get(name, "").strip()

    @property
    def summary(self) -> list[dict[str, str]]:
        """For the GOV.UK error summary."""
        return [{"text": text, "href": f"#{name}"} for name, text in self.errors.items()]


def decision(form: Form, now: int) -> Form:
    """`RecommendationDecided`: convene with a planned time, or decline with reason and rationale (R1)."""
    chosen = form.get("decision")
    form.body = {"decision": chosen, "reason": None, "rationale": None, "meeting_at": None}
    if chosen == "DECLINE":
        form.body["reason"] = _code(form, "reason", "decline-reason", "Select why you decline")
        form.body["rationale"] = _text(
            form, "rationale", "Enter why, so that police, health and education can see your reasoning"
        )
    elif chosen == "CONVENE":
        planned = _london(form, "meeting", "Enter when the discussion will be held", now, future=True)
        form.body["meeting_at"] = planned.isoformat() if planned else None
        form.body["rationale"] = _text(form, "convene_note", "", required=False)
    else:
        form.errors["decision"] = "Select whether you convene a strategy discussion or decline"
    return form


def held(form: Form, now: int) -> Form:
    """`StrategyMeetingHeld`: when, who came, what was decided."""
    at = _london(form, "held", "Enter when the discussion was held", now, future=False)
    attended = [a for a in form.many.get("attended", ()) if a in code_lists()["agency"].codes]
    if not attended:
        form.errors["attended"] = "Select the agencies that attended"
    form.body = {
        "held_at": to_us(at) if at else 0,
        "attended": attended,
        "outcome": _code(form, "outcome", "strategy-outcome", "Select what was decided"),
        "outcome_text": _text(form, "outcome_text", "Enter what was decided and who does what by when"),
    }
    return form


def disagreement(form: Form, agency: str) -> Form:
    """`RecommendationDisagreed`."""
    form.body = {"agency": agency, "ground": _text(form, "ground", "Enter why you disagree")}
    return form


def rationale(form: Form, missing: str, *, field: str = "rationale", required: bool = True) -> Form:
    """Any act with a rationale: closing, matches. `field` is the form's name for it."""
    form.body = {"rationale": _text(form, field, missing, required=required)}
    return form


def resolution(form: Form) -> Form:
    """`GpExceptionResolved`."""
    form.body = {"resolution": _text(form, "resolution", "Enter what was done, so that the next person need not ask")}
    return form


def search(form: Form, purposes: Sequence[str]) -> tuple[Form, SearchTerms]:
    """Search terms and the purpose of the search."""
    name, number = form.get("name"), form.get("identifier").replace(" ", "").upper()
    born = _day(form, "born") if any(form.get(f"born-{part}") for part in ("day", "month", "year")) else None
    if not (name or number or born or form.errors):
        form.errors["name"] = "Enter a name, a date of birth or a number"
    if len(name) > NAME_CHARS_MAX:
        form.errors["name"] = f"A name has at most {NAME_CHARS_MAX} characters"
    if len(number) > NAME_CHARS_MAX:
        form.errors["identifier"] = f"A number has at most {NAME_CHARS_MAX} characters"
    if form.get("purpose") not in purposes:
        form.errors["purpose"] = "Select why you are searching"
    return form, SearchTerms(name or None, born.isoformat() if born else None, number or None)


def moment(form: Form, name: str, now: int) -> int | None:
    """An optional date with an optional time as the last instant of that minute or day, in µs; later than now is an error."""
    if not any(form.get(f"{name}-{part}") for part in ("day", "month", "year", "time")):
        return None
    found = _day(form, name)
    if found is None:
        return None
    at = _time(form, name) if form.get(f"{name}-time") else (23, 59)
    if at is None:
        return None
    instant = to_us(datetime(found.year, found.month, found.day, *at, 59, 999999, tzinfo=LONDON))
    if found > datetime.fromtimestamp(now / 1e6, LONDON).date():
        form.errors[f"{name}-day"] = "This date must be today or in the past"
        return None
    return min(instant, now)


def _text(form: Form, name: str, missing: str, *, required: bool = True) -> str | None:
    text = form.get(name).replace("\r\n", "\n")
    if not text and required:
        form.errors[name] = missing
    if len(text) > TEXT_CHARS_MAX:
        form.errors[name] = f"Shorten this to {TEXT_CHARS_MAX:,} characters; you have {len(text):,}"
    return text or None


def _code(form: Form, name: str, list_id: str, missing: str) -> str:
    chosen = form.get(name)
    if chosen not in code_lists()[list_id].codes:
        form.errors[name] = missing
    return chosen


def _day(form: Form, name: str) -> date | None:
    parts = [form.get(f"{name}-{part}") for part in ("year", "month", "day")]
    try:
        if not all(p.isascii() and p.isdigit() and len(p) <= 4 for p in parts) or len(parts[0]) != 4:
            raise ValueError
        return date(*map(int, parts))
    except ValueError:
        form.errors[f"{name}-day"] = "Enter a real date, like 27 3 2024"
        return None


def _time(form: Form, name: str) -> tuple[int, int] | None:
    hours, _, minutes = form.get(f"{name}-time").replace(".", ":").partition(":")
    try:
        at = time(int(hours), int(minutes or 0))
    except ValueError:
        form.errors[f"{name}-time"] = "Enter a time on the 24-hour clock, like 14:30"
        return None
    return at.hour, at.minute


def _london(form: Form, name: str, missing: str, now: int, *, future: bool) -> datetime | None:
    if not any(form.get(f"{name}-{part}") for part in ("day", "month", "year", "time")):
        form.errors[f"{name}-day"] = missing
        return None
    found, at = _day(form, name), _time(form, name)
    if found is None or at is None:
        return None
    when = datetime(found.year, found.month, found.day, *at, tzinfo=LONDON)
    today = datetime.fromtimestamp(now / 1e6, LONDON)
    if future and not today - timedelta(days=1) <= when <= today + timedelta(days=MEETING_DAYS_MAX):
        form.errors[f"{name}-day"] = f"The planned time must be within the next {MEETING_DAYS_MAX} days"
    if not future and when > today:
        form.errors[f"{name}-day"] = "The discussion cannot have been held in the future"
    return when
