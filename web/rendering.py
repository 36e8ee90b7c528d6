"""Templates, and how instants, days and due times read. London time, GOV.UK style."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import ChainableUndefined, ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, select_autoescape
from markupsafe import Markup

from domain.times import HOUR_US, SECOND_US, local, to_us
from schemas.codes import code_lists, label
from schemas.policies import TITLES
from web.roles import may, role_label
from web.shapes import birth_date, child_name, is_withheld, plain, seen, withheld

TEMPLATES: Final = Path(__file__).with_name("templates")
MINUTE_US: Final = 60 * SECOND_US

STATES: Final = {
    "OPEN": ("Waiting for a decision", "govuk-tag--yellow"),
    "OVERDUE": ("Overdue", "govuk-tag--red"),
    "EVIDENCE_CHANGED": ("Evidence changed", "govuk-tag--orange"),
    "JOINED": ("Decided with another", "govuk-tag--grey"),
    "CONVENED": ("Convened, not yet held", "govuk-tag--blue"),
    "DECLINED": ("Declined", "govuk-tag--grey"),
    "HELD": ("Held", "govuk-tag--green"),
    "CLOSED": ("Closed", "govuk-tag--grey"),
    "NO_PRACTICE": ("Not sent: waits for a person", "govuk-tag--red"),
    "WAITING": ("Waiting for the practice", "govuk-tag--yellow"),
    "ACCEPTED": ("Accepted", "govuk-tag--blue"),
    "READ": ("Read", "govuk-tag--blue"),
    "CODED": ("Coded and hidden online", "govuk-tag--green"),
    "REJECTED": ("Rejected", "govuk-tag--red"),
    "WITHDRAWN": ("Withdrawn", "govuk-tag--grey"),
    "CONFIRMED": ("Same child", "govuk-tag--green"),
    "UNDONE": ("Undone", "govuk-tag--grey"),
    "NOT_STARTED": ("Not started", "govuk-tag--grey"),
    "RUNNING": ("Running", "govuk-tag--yellow"),
    "MET": ("In 72 hours", "govuk-tag--green"),
    "LATE": ("Late", "govuk-tag--orange"),
    "OFFERED": ("Offered", "govuk-tag--yellow"),
    "COMPLETED": ("Completed", "govuk-tag--green"),
}
"""Words and colour of each state. The colour never says anything that the words do not."""

KINDS: Final = {
    "recommended": "Recommended",
    "convened": "Strategy discussion convened",
    "declined": "Declined",
    "held": "Strategy discussion held",
    "closed": "Closed",
    "evidence_changed": "Evidence changed",
    "recommendation_overdue": "Overdue: passed on to others",
    "meeting_overdue": "Convened and not held: passed on to others",
    "overdue_withdrawn": "Not overdue: somebody had acted in time",
    "joined": "Joined with another recommendation on the same child",
    "parted": "Open again: the two records were taken apart",
    "disagreed": "Disagreed with",
    "match_confirmed": "Confirmed as the same child",
    "match_rejected": "Rejected: not the same child",
    "match_undone": "Undone",
    "possible_match": "Raised",
}
"""What happened, by kind of conclusion (`domain.model.KINDS`)."""

REFUSALS: Final = {
    "stale-decision": "Somebody else had acted, or new information had arrived, before yours was recorded.",
    "not-permitted": "Your role may not record this.",
    "no-such-thing": "What it is about is no longer there: it may have been joined with another record.",
    "contradicting-numbers": "The two records carry different trusted numbers, so they cannot be one child.",
    "already-decided": "Somebody else had decided before you.",
    "decided-with-another": "Two records turned out to be one child: this is decided with another recommendation on that child.",
    "not-convened": "The discussion is not convened, or was already recorded as held.",
    "evidence-stands": "The evidence stands as it was, so this needs a decision, not closing.",
    "required-to-decline": "A decline needs a reason and your reasoning.",
    "wrong-agency": "You may disagree only for the agency that you sit for.",
    "already-taken": "Somebody else has taken this.",
    "not-yours": "Only whoever took it, or a manager, gives it back.",
    "no-exception": "There is nothing about this message to resolve.",
    "not-evaluated": "Sightline’s own rules failed on this child. Those who run it have been alerted; telephone meanwhile.",
    "same-id-other-content": "This form was already sent with other words; the first stands.",
}
"""Why the ledger refuses an act, by its stable reason."""


@cache
def make_environment() -> Environment:
    """The Jinja environment: autoescape on. One a process, so that templates compile once."""
    environment = Environment(
        loader=ChoiceLoader(
            [FileSystemLoader(TEMPLATES), PrefixLoader({"govuk_frontend_jinja": PackageLoader("govuk_frontend_jinja")})]
        ),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=ChainableUndefined,  # the GOV.UK macros read attributes of parameters that were not given
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        when=when,
        day=day,
        role=role_label,
        words=words,
        yesno=yesno,
        duration=duration,
        kind=kind,
        refusal=refusal,
        code_of=code_of,
        text=plain,
        record_name=record_name,
        planned=planned,
        lower_first=lower_first,
    )
    environment.globals.update(
        govukRebrand=False,
        due=due,
        tag=tag,
        may=may,
        codes=codes,
        seen=seen,
        withheld=withheld,
        is_withheld=is_withheld,
        child_name=child_name,
        birth_date=birth_date,
    )
    return environment


def clock(at: datetime) -> str:
    """A time of day as people write it: 2:05pm, midnight, midday."""
    if at.minute == 0 and at.hour in (0, 12):
        return "midnight" if at.hour == 0 else "midday"
    return f"{at.hour % 12 or 12}{f':{at.minute:02}' if at.minute else ''}{'am' if at.hour < 12 else 'pm'}"


def when(us: int | None, otherwise: str = "not known") -> str:
    """An instant: 5 May 2025 at 2:05pm."""
    if us is None:
        return otherwise
    at = local(us)
    return f"{_date(at.date())} at {clock(at)}"


def day(value: str | int | None, otherwise: str = "not known") -> str:
    """A day (ISO text, or the London day of an instant): 5 May 2025."""
    if value is None or value == "":
        return otherwise
    if isinstance(value, int):
        return _date(local(value).date())
    try:
        return _date(date.fromisoformat(value[:10]))
    except ValueError:
        return value  # shown as the agency wrote it


def duration(us: int) -> str:
    """About how long: 3 days, 5 hours, 20 minutes."""
    for unit, name in ((24 * HOUR_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute")):
        if us >= unit * (2 if name == "day" else 1):
            count = us // unit
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a minute"


def due(due_at: int | None, now: int) -> str:
    """How a due time reads: overdue by 2 hours; due in 3 hours, by 5:15pm today."""
    if due_at is None:
        return "No due time"
    if due_at <= now:
        return f"Overdue by {duration(now - due_at)}"
    at, today = local(due_at), local(now)
    on = "today" if at.date() == today.date() else f"on {_date(at.date())}"
    return f"Due in {duration(due_at - now)}, by {clock(at)} {on}"


def tag(state: str) -> Markup:
    """A state as a GOV.UK tag."""
    text, colour = STATES.get(state, (state.replace("_", " ").capitalize(), "govuk-tag--grey"))
    return Markup('<strong class="govuk-tag {}">{}</strong>').format(colour, text)


def words(state: str) -> str:
    """A state in words."""
    return STATES.get(state, (state.replace("_", " ").capitalize(), ""))[0]


def kind(name: str) -> str:
    """A kind of conclusion in words."""
    return KINDS.get(name, name.replace("_", " ").capitalize())


def refusal(reason: str | None) -> str:
    """Why an act was refused."""
    return REFUSALS.get(reason or "", "It does not fit how things stand now.")


def code_of(code: str | None, list_id: str) -> str:
    """What a code of a list means (a template filter)."""
    return label(list_id, code)


def record_name(record: str) -> str:
    """What a record is called on screens; one that has no title, in words: CaseTaken becomes Case taken."""
    if record in TITLES:
        return TITLES[record]
    parts = re.findall(r"[A-Z][a-z0-9]*", record)
    return " ".join(parts).capitalize() if parts else record


def lower_first(text: str) -> str:
    """A name of a role in the middle of a sentence: Emergency duty team, but iCART as it is."""
    return text[:1].lower() + text[1:]


def planned(text: str) -> str:
    """An ISO 8601 instant as people read it; what is not one is shown as it stands."""
    try:
        return when(to_us(datetime.fromisoformat(text)))
    except ValueError:
        return text


def yesno(value: str | bool | None) -> str:
    """Yes, no, or not known: never a blank."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return label("yes-no-unknown", value) if value else "Not known"


def codes(list_id: str) -> list[tuple[str, str]]:
    """(code, label) of a code list, in its order."""
    return [(c.code, c.label) for c in code_lists()[list_id].codes.values()]


def _date(at: date) -> str:
    return f"{at.day} {at:%B} {at.year}"
