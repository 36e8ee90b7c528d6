"""Values that no agency means and some systems send: each is refused with field and rule, and nothing else goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from domain.problems import InvalidFact, Problem
from domain.times import DAY_US, HOUR_US, to_us
from producers.facts import prepare
from schemas.catalogue import catalogue, spec
from schemas.codes import code_lists
from schemas.fitting import forget_rules
from schemas.validation import MICROS, PROBLEMS_MAX, check
from tests.golden.values import AT, VALUES, changed

NOW = AT + 10 * DAY_US
SECRET = b"a secret of at least sixteen bytes"
CANARY = "CANARY-Zebedee"


def refused(record: str, value: Any) -> tuple[Problem, ...]:
    """What the client says of it."""
    with pytest.raises(InvalidFact) as told:
        prepare(VALUES[record]["envelope"]["agency"], SECRET, record, value, NOW)
    assert CANARY not in str(told.value)
    str(told.value).encode()  # it can be printed
    return told.value.problems


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("0001-01-01T00:00:00+14:00", "instant"),
        ("9999-12-31T23:59:59-14:00", "instant"),
        ("1949-12-31T00:00:00Z", "too-old"),
        (NOW * 1000, "future"),
        (2**63 - 1, "future"),
        (2**63, "range"),
        (-(2**63) - 1, "range"),
        (10**400, "range"),
    ],
)
@pytest.mark.parametrize("path", ["envelope.occurred_at", "envelope.recorded_at", "ended_at", "started_at"])
def test_instants(path: str, to: Any, rule: str) -> None:
    """Whatever is not an instant of a living child's time is refused, wherever it stands."""
    assert (path, rule) in {(p.field, p.rule) for p in refused("MissingEpisodeEnded", changed("MissingEpisodeEnded", path, to))}


INSTANTS = [(s.name, r.path) for s in catalogue().values() if s.kind != "output" for r in s.rules if r.logical == MICROS]


@pytest.mark.parametrize(("record", "path"), INSTANTS)
@pytest.mark.parametrize(("to", "rule"), [(NOW * 1000, "future"), (NOW + 2 * HOUR_US, "future"), (-(2**60), "too-old")])
def test_every_instant_of_the_contract(record: str, path: str, to: int, rule: str) -> None:
    """Nanoseconds for microseconds, tomorrow, the year -34564: by the backbone's own check, facts and acts alike."""
    assert (path, rule) in {(p.field, p.rule) for p in check(spec(record), changed(record, path, to), NOW)}


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        (f"{CANARY}\x00", "control-character"),
        (f"{CANARY}\x1b[2J", "control-character"),
        (f"{CANARY}\x7f", "control-character"),
        (f"{CANARY}\ud83d", "not-text"),
    ],
)
@pytest.mark.parametrize(
    "path", ["envelope.subject.local_id", "envelope.subject.upn", "envelope.subject.nhs_number", "narrative"]
)
def test_characters(path: str, to: str, rule: str) -> None:
    """What neither a person types nor PostgreSQL and UTF-8 take."""
    short = to.replace(CANARY, "x")
    assert {(path, rule)} == {(p.field, p.rule) for p in refused("SchoolConcern", changed("SchoolConcern", path, short))}


def test_lines_and_tabs_are_text() -> None:
    """A narrative has lines."""
    prepare("education", SECRET, "SchoolConcern", changed("SchoolConcern", "narrative", "One.\r\n\tTwo: Zoë 👧.\n"), NOW)


def test_numbers_beyond_their_type() -> None:
    """An `int` of more than 32 bits."""
    (field,) = [r.path for r in spec("SchoolAbsence").rules if r.path == "sessions_missed"]
    assert "range" in {p.rule for p in refused("SchoolAbsence", changed("SchoolAbsence", field, 2**31))}


def test_nesting() -> None:
    """As deep as a sender likes: named by its beginning."""
    deep: Any = CANARY
    for _ in range(50_000):
        deep = {"x": deep}
    (problem,) = refused("SchoolConcern", changed("SchoolConcern", "nonsense", deep))
    assert ("unknown-field", True) == (problem.rule, problem.field.startswith("nonsense.x.x"))
    assert len(problem.field) <= 120


def test_made_up_names_can_be_printed() -> None:
    """Half a character in a field's name, a number for a name."""
    for name in ("x\udc80", 7):
        assert {"unknown-field"} == {p.rule for p in refused("SchoolConcern", {**VALUES["SchoolConcern"], name: 1})}


def test_many_problems_are_told_in_part() -> None:
    """A list of wrong codes does not make an answer greater than the fact."""
    value = {**VALUES["SchoolConcern"], **{f"x{i}": 1 for i in range(500)}}
    assert PROBLEMS_MAX == len(refused("SchoolConcern", value))
    json.dumps([str(p) for p in refused("SchoolConcern", value)])


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("2999-01-01T10:00:00Z", "planned"),
        ("0001-01-01T00:00:00+14:00", "planned"),
        ("tomorrow", "instant"),
        ("2026-03-28T12:00", "instant"),
    ],
)
def test_a_discussion_is_planned_within_a_month(to: str, rule: str) -> None:
    """One that is convened for the year 2999 would never be called overdue."""
    value = {**changed("RecommendationDecided", "meeting_at", to), "decision": "CONVENE"}
    assert ("meeting_at", rule) in {(p.field, p.rule) for p in check(spec("RecommendationDecided"), value, NOW)}


class TestCodesInForce:
    """A code list's dates count: a code that was ended is not accepted for what happened later."""

    @pytest.fixture(autouse=True)
    def lists(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """WEIGHT_LOSS was ended on 31 August 2025; another begins on 1 September 2026."""
        real = code_lists()
        listed = real["concern"]
        codes = dict(listed.codes)
        codes["WEIGHT_LOSS"] = replace(codes["WEIGHT_LOSS"], valid_to=date(2025, 8, 31))
        self.later = next(c for c in codes if c != "WEIGHT_LOSS")
        codes[self.later] = replace(codes[self.later], valid_from=date(2026, 9, 1))
        changed_lists = {**real, listed.id: replace(listed, codes=codes)}
        monkeypatch.setattr("schemas.validation.code_lists", lambda: changed_lists)
        monkeypatch.setattr("schemas.fitting.code_lists", lambda: changed_lists)
        forget_rules()
        yield
        forget_rules()

    @staticmethod
    def problems(code: str, occurred: int, recorded: int) -> set[tuple[str, str]]:
        """Of a concern with this code."""
        value = changed("SchoolConcern", "concerns", [code])
        value["envelope"] |= {"occurred_at": occurred, "recorded_at": recorded}
        return {(p.field, p.rule) for p in check(spec("SchoolConcern"), value, to_us(datetime(2026, 12, 1, tzinfo=UTC)))}

    def test_ended(self) -> None:
        """Good for what happened before its end, also when recorded later; not for what happened after."""
        before, last = (to_us(datetime(2025, 8, d, 12, tzinfo=UTC)) for d in (1, 31))
        after = to_us(datetime(2025, 9, 1, 12, tzinfo=UTC))
        assert set() == self.problems("WEIGHT_LOSS", before, after)
        assert set() == self.problems("WEIGHT_LOSS", last, last)
        assert {("concerns", "code-not-in-force")} == self.problems("WEIGHT_LOSS", after, after)

    def test_not_yet(self) -> None:
        """Not before it begins; an import may tell the past in today's codes."""
        before, first = (to_us(datetime(2026, *d, 12, tzinfo=UTC)) for d in ((8, 31), (9, 1)))
        assert {("concerns", "code-not-in-force")} == self.problems(self.later, before, before)
        assert set() == self.problems(self.later, before, first)
        assert set() == self.problems(self.later, first, first)
