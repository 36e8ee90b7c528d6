"""The risk policy, deadlines and calendars as data: YAML in, `domain.policy` values out. Errors name the file and the rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from domain.acts import DECIDE_ROLES
from domain.calendar import Calendar
from domain.deadlines import UNITS, Deadline, Register
from domain.policy import KINDS, LISTS, OF_SIGNALS, Line, Policy, RecordText, Reference, Rule
from domain.problems import PolicyError
from schemas.catalogue import FieldRule, RecordSpec, catalogue
from schemas.codes import CodeList, code_lists, read_code_lists

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE / "policy"
DEADLINES: Final = HERE / "deadlines.yaml"
CALENDARS: Final = HERE / "calendars.yaml"

PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "codes": frozenset({"records", "codes"}),
    "codes_under_age": frozenset({"records", "age_under"}),
    "graded_while": frozenset({"statuses", "codes"}),
    "missing_count": frozenset({"tiers"}),
    "missing_overnight": frozenset({"points"}),
    "missing_repeat": frozenset({"within_days", "points"}),
    "interview": frozenset({"states", "points"}),
    "count": frozenset({"records", "tiers"}),
    "absence": frozenset({"tiers"}),
    "no_provision": frozenset({"tiers"}),
    "corroboration": frozenset({"within_days", "tiers"}),
}
"""What each kind of rule needs beside id, title, text and window_days."""

WORDS: Final = frozenset({"what", "date", "count", "rate", "weeks", "status"})
"""What a rule's text may say (`domain.signals.values`)."""

WINDOWLESS: Final = frozenset({"no_provision"})


@cache
def reference() -> Reference:
    """Everything a fold refers to, from the files of this checkout.

    Raises:
        PolicyError: a file is not usable; the text names file and rule.
    """
    return _assembled(policies(), register(), code_lists())


@lru_cache(maxsize=8)
def past_reference(policy_texts: bytes, codes_texts: bytes) -> Reference:
    """Everything a fold referred to under an earlier `policy_text()` and `code_lists_text()`, as the ledger keeps them.

    How records are shown is today's; earlier recommendations are told in the words of their own policy, where it is known.

    Raises:
        PolicyError: this release cannot read that text.
    """
    found = _NAMED.split(policy_texts.decode())
    texts = dict(zip(found[1::2], found[2::2], strict=True))
    deadlines, calendars = (texts.pop(path.name, "") for path in (DEADLINES, CALENDARS))
    then = {p.id: p for p in (read_policy(name, text) for name, text in texts.items())}
    if not then:
        raise PolicyError("the text of that time holds no policy")
    made = _assembled(then, read_register(deadlines, calendars), read_code_lists(codes_texts))
    return replace(made, policies={**policies(), **then})


_NAMED: Final = re.compile(r"^([\w.-]+\.yaml)\n", re.MULTILINE)


def _assembled(found: Mapping[str, Policy], deadlines: Register, lists: Mapping[str, CodeList]) -> Reference:
    newest = max(found.values(), key=lambda p: (p.valid_from, p.version))
    for name in (newest.due_harm, newest.due_points, newest.due_held, newest.interview_due, newest.gp_unread):
        if name not in deadlines.deadlines:
            raise PolicyError(f"{newest.id}: deadlines.yaml has no deadline {name}")
    labels = {lst.id: {c.code: c.label for c in lst.codes.values()} for lst in lists.values()}
    ranks = {lst.id: {c.code: c.rank for c in lst.codes.values() if c.rank is not None} for lst in lists.values()}
    records = {s.name: _record_text(s) for s in catalogue().values() if s.kind == "event"}
    return Reference(
        newest, found, deadlines, labels, ranks, records, tuple(labels["agency"]), deadlines.hours(newest.interview_due)
    )


@cache
def policies() -> Mapping[str, Policy]:
    """Every policy version by id."""
    return {p.id: p for p in (read_policy(path.name, path.read_text()) for path in sorted(FOLDER.glob("*.yaml")))}


def policy_text() -> bytes:
    """The full text of the policies, deadlines and calendars in force: what the ledger keeps before their first use."""
    return b"".join(p.name.encode() + b"\n" + p.read_bytes() for p in (*sorted(FOLDER.glob("*.yaml")), DEADLINES, CALENDARS))


@cache
def policy_hash() -> str:
    """SHA-256 of `policy_text()`, hex; named in every ledger entry."""
    return hashlib.sha256(policy_text()).hexdigest()


def read_policy(name: str, text: str) -> Policy:
    """A policy from its YAML text; `name` is the file's, for errors.

    Raises:
        PolicyError: a field is missing, of the wrong type, or names something unknown.
    """
    data = _load(name, text)
    rules = [_rule(name, r, trigger=True) for r in _list(name, data, "triggers")]
    rules += [_rule(name, r, trigger=False) for r in _list(name, data, "points")]
    rules.sort(key=lambda r: r.kind == OF_SIGNALS)
    if len({r.id for r in rules}) != len(rules):
        raise PolicyError(f"{name}: a rule id occurs twice")
    try:
        return Policy(
            data["id"], data["title"], int(data["version"]), data["authority"], str(data["valid_from"]), int(data["threshold"]),
            data["due"]["harm"], data["due"]["points"], data["due"]["held"], data["due"]["interview"],
            int(data["reraise"]["points"]), data["gp"]["unread"], int(data["gp"]["in_force_days"]), _overdue_to(name, data),
            tuple(rules),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as err:
        raise PolicyError(f"{name}: {err} is missing or of the wrong type") from err


@cache
def register() -> Register:
    """The deadline register with its calendars."""
    return read_register(DEADLINES.read_text(), CALENDARS.read_text())


def read_register(deadlines: str, calendars_text: str) -> Register:
    """A deadline register from the YAML text of its deadlines and calendars.

    Raises:
        PolicyError: an entry is incomplete, or names an unknown unit or calendar.
    """
    calendars = _calendars(calendars_text)
    data = _load(DEADLINES.name, deadlines)
    out: dict[str, Deadline] = {}
    for entry in _list(DEADLINES.name, data, "deadlines"):
        name = entry.get("id", "?")
        try:
            found = Deadline(
                entry["id"], entry["title"], entry["trigger"], int(entry["amount"]), entry["unit"], entry.get("calendar"),
                entry["authority"], int(entry.get("version", data["version"])),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as err:
            raise PolicyError(f"{DEADLINES.name}: {name}: {err} is missing or of the wrong type") from err
        if found.unit not in UNITS:
            raise PolicyError(f"{DEADLINES.name}: {name}: unit must be one of {', '.join(UNITS)}")
        if found.unit.endswith("-days") and found.calendar not in calendars:
            raise PolicyError(f"{DEADLINES.name}: {name}: no calendar is called {found.calendar}")
        if out.setdefault(found.id, found) is not found:
            raise PolicyError(f"{DEADLINES.name}: {name} occurs twice")
    return Register(out, calendars)


def _calendars(text: str) -> Mapping[str, Calendar]:
    data = _load(CALENDARS.name, text)
    bank: Sequence[date] = _list(CALENDARS.name, data, "england_bank_holidays")
    out = {}
    for c in _list(CALENDARS.name, data, "calendars"):
        closed = frozenset([*c.get("closed", ()), *(bank if c.get("bank_holidays") else ())])
        out[c["id"]] = Calendar(c["id"], c["title"], closed, tuple((a, b) for a, b in c.get("breaks", ())))
    return out


def _overdue_to(name: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    roles = tuple(_list(name, data, "overdue_to"))
    if not roles or set(roles) - DECIDE_ROLES:
        raise PolicyError(f"{name}: overdue_to must name roles that may decide: {', '.join(sorted(DECIDE_ROLES))}")
    return roles


def _rule(name: str, data: Mapping[str, Any], *, trigger: bool) -> Rule:
    at = f"{name}: rule {data.get('id', '?')}"
    kind = data.get("kind", "")
    if kind not in KINDS:
        raise PolicyError(f"{at}: kind must be one of {', '.join(KINDS)}")
    needed = {"id", "title", "text"} | PARAMETERS[kind] | (set() if kind in WINDOWLESS else {"window_days"})
    if missing := sorted(needed - set(data)):
        raise PolicyError(f"{at}: {', '.join(missing)} is missing")
    allowed = needed | {"kind", "signal", "older_days", "older_points", "points", "codes", "tiers"}
    if unknown := sorted(set(data) - allowed):
        raise PolicyError(f"{at}: {', '.join(unknown)} is not a parameter of a {kind} rule")
    records = {r: tuple(f) for r, f in data.get("records", {}).items()}
    _known_fields(at, records)
    _known_codes(at, data, records)
    if strange := sorted(set(re.findall(r"{(\w*)}", data["text"])) - WORDS):
        raise PolicyError(f"{at}: text: unknown word {', '.join(strange)}; known are {', '.join(sorted(WORDS))}")
    try:
        return Rule(
            data["id"], data["title"], kind, data["text"], trigger, bool(data.get("signal", False)), int(data.get("points", 0)),
            int(data.get("older_points", 0)), int(data.get("window_days", 0)), int(data.get("older_days", 0)),
            int(data.get("within_days", 0)), int(data.get("age_under", 0)), records, frozenset(data.get("codes", ())),
            frozenset(data.get("statuses", ())), frozenset(data.get("states", ())),
            tuple(sorted(((int(k), int(v)) for k, v in data.get("tiers", {}).items()), reverse=True)),
        )  # fmt: skip
    except (TypeError, ValueError, AttributeError) as err:
        raise PolicyError(f"{at}: {err}") from err


def _known_fields(at: str, records: Mapping[str, Sequence[str]]) -> None:
    """Each record and field that a rule looks at is in the contract, so that a typing slip cannot silence a rule."""
    for record, fields in records.items():
        if record not in catalogue():
            raise PolicyError(f"{at}: no event is called {record}")
        have = {r.path for r in catalogue()[record].rules}
        if strange := [f for f in fields if f not in have]:
            raise PolicyError(f"{at}: {record} has no field {', '.join(strange)}")
        if plain := [f for f in fields if f not in LISTS]:
            raise PolicyError(f"{at}: {record}: no rule can look at {', '.join(plain)}")


def _known_codes(at: str, data: Mapping[str, Any], records: Mapping[str, Sequence[str]]) -> None:
    """Each code that a rule looks for can occur in one of its fields."""
    lists = {r.codes for record, fields in records.items() for r in catalogue()[record].rules if r.path in fields}
    lists |= {"missing-grade"} if data["kind"] == "graded_while" else set()
    known = {c for name in lists if name is not None for c in code_lists()[name].codes}
    if strange := [c for c in data.get("codes", ()) if c not in known]:
        raise PolicyError(f"{at}: {', '.join(strange)} is in no code list of its fields")


def _record_text(spec: RecordSpec) -> RecordText:
    shown = [r for r in spec.rules if r.keys[0] != "envelope"]
    coded = tuple(r.path for r in shown if r.path in LISTS)
    return RecordText(TITLES.get(spec.name, spec.name), tuple(_line(r) for r in shown), coded)


def _line(rule: FieldRule) -> Line:
    words = rule.path.replace(".", " ").replace("_", " ").removesuffix(" at").removesuffix(" us")
    return Line(rule.path, words[0].upper() + words[1:], rule.codes, rule.logical is not None)


TITLES: Final[Mapping[str, str]] = {
    "MissingEpisodeReported": "Reported missing",
    "MissingEpisodeGraded": "Missing episode graded",
    "MissingEpisodeEnded": "Found or returned",
    "ReturnHomeInterviewOffered": "Return home interview offered",
    "ReturnHomeInterviewDeclined": "Return home interview declined",
    "ReturnHomeInterviewCompleted": "Return home interview completed",
    "VulnerabilitySubmission": "Police vulnerability submission (VPAS)",
    "CpisStatusChanged": "CP-IS status",
    "CpisAttendanceAlert": "CP-IS attendance alert",
    "SchoolConcern": "School concern",
    "SchoolAbsence": "School absence",
    "NoSchoolProvision": "Full-time education",
    "SocialCareStatus": "Status with children's social care",
    "WorkerAllocated": "Worker allocated",
    "RiskGraded": "Risk graded",
    "InvolvementRecorded": "Service involved",
    "GpRegistration": "GP registration",
    "CsogOutcome": "CSOG outcome",
    "Retraction": "Fact withdrawn",
}
"""What each record is called on screens."""


def _load(name: str, text: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as err:
        raise PolicyError(f"{name}: not readable as YAML: {err}") from err
    if not isinstance(data, dict):
        raise PolicyError(f"{name}: must be a mapping")
    return data


def _list(name: str, data: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise PolicyError(f"{name}: {key} must be a list")
    return list(data[key])
