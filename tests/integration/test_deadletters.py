"""`sightline deadletters list|show|mend` from end to end: refused, read about, mended, accepted; never twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from infra.command import deadletters
from infra.errors import InfraError
from producers.halton.facts import blank
from tests.integration import restoring
from tests.integration.test_set_apart import CANARY, Desk, concern
from tests.services import Services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def desk(services: Services) -> Iterator[Desk]:
    """A deployment with its unify and relay."""
    d = services.deploy()
    with restoring.workers(d):
        yield Desk(d)
    d.close()


@pytest.fixture(autouse=True)
def environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the test's deployment as from a shell."""
    for name, value in desk.d.environment().items():
        if name.startswith("SIGHTLINE_"):
            monkeypatch.setenv(name, value)
    if desk.d.settings.given_database:
        monkeypatch.setenv("SIGHTLINE_DATABASE", desk.d.views_dsn)
        monkeypatch.setenv("SIGHTLINE_KEEP", desk.d.keep_dsn)


def run(*args: str) -> Result:
    """Run as from a shell."""
    return CliRunner().invoke(deadletters.command, list(args))


def refused(desk: Desk) -> tuple[dict[str, Any], str]:
    """A fact with a wrong code, as its agency sent it, and the id of its letter as `list` gives it."""
    value = concern() | {"concerns": ["NO_SUCH_CODE"]}
    (offset,) = desk.put("facts.education", "agency.education", desk.encoded("SchoolConcern", value))
    desk.wait("facts.education", offset)
    found = json.loads(run("list", "--agency", "education", "--json").stdout)
    (letter,) = [x for x in found if x["event_id"] == value["envelope"]["event_id"]]
    return value, letter["letter_id"]


def mended(value: dict[str, Any], folder: Path) -> str:
    """A file that holds the fact with a right code."""
    file = folder / "mended.json"
    file.write_text(json.dumps({"record": "SchoolConcern", "value": {**value, "concerns": ["WEIGHT_LOSS"]}}))
    return str(file)


def facts_in_place_of(desk: Desk, value: dict[str, Any]) -> list[str]:
    """Accepted facts that supersede this one."""
    restoring.settled(desk.d)
    rows = restoring.rows(desk.d.views_dsn, "select event_id from fact where replaces = %s", (value["envelope"]["event_id"],))
    return [r[0] for r in rows]


def test_list_show_mend(desk: Desk, tmp_path: Path) -> None:
    """Read about by field and rule, mended once, and once more by mistake: one fact."""
    value, letter = refused(desk)
    shown = run("show", letter)
    assert "concerns: is not in code list concern [unknown-code]" in shown.stdout
    assert "agency education, record SchoolConcern" in shown.stdout
    assert letter in run("list").stdout
    assert CANARY not in shown.output + run("list").output + run("show", letter, "--json").output
    first, again = run("mend", letter, mended(value, tmp_path)), run("mend", letter, mended(value, tmp_path))
    assert (0, 0) == (first.exit_code, again.exit_code), first.output + again.output
    assert first.stdout == again.stdout
    assert [first.stdout.split()[-1]] == facts_in_place_of(desk, value)


def test_a_retraction(desk: Desk, tmp_path: Path) -> None:
    """Mended, it withdraws what it names: it replaces nothing, least of all its refused self."""
    value, target = blank("Retraction") | {"reason": "NO_SUCH_CODE"}, str(uuid4())
    value["envelope"] |= concern()["envelope"] | {"retracts": target}
    (offset,) = desk.put("facts.education", "agency.education", desk.encoded("Retraction", value))
    desk.wait("facts.education", offset)
    found = json.loads(run("list", "--agency", "education", "--json").stdout)
    (letter,) = [x["letter_id"] for x in found if x["event_id"] == value["envelope"]["event_id"]]
    file = tmp_path / "mended.json"
    file.write_text(json.dumps({"record": "Retraction", "value": {**value, "reason": "ENTERED_IN_ERROR"}}))
    result = run("mend", letter, str(file))
    assert 0 == result.exit_code, result.output
    restoring.settled(desk.d)
    rows = restoring.rows(desk.d.views_dsn, "select event_id from fact where replaces = %s", (target,))
    assert [(result.stdout.split()[-1],)] == rows


def test_with_the_broker_away(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept on this disk and said so, with a status of its own; said again when the broker is back, it is one fact."""
    value, letter = refused(desk)
    monkeypatch.setattr(deadletters, "FLUSH_S", 0.5)
    with monkeypatch.context() as away:
        away.setenv("SIGHTLINE_KAFKA", "127.0.0.1:9")
        away.setenv("SIGHTLINE_KAFKA_PROTOCOL", "SASL_PLAINTEXT")
        kept = run("mend", letter, mended(value, tmp_path))
    assert deadletters.WAITING == kept.exit_code, kept.output
    assert "kept on this disk as" in kept.stdout
    monkeypatch.undo()
    monkeypatch.setattr(deadletters, "FLUSH_S", 30.0)
    for name, text in desk.d.environment().items():
        if name.startswith("SIGHTLINE_"):
            monkeypatch.setenv(name, text)
    after = run("mend", letter, mended(value, tmp_path))
    assert 0 == after.exit_code, after.output
    event_id = after.stdout.split()[-1]
    assert f"as {event_id}:" in kept.stdout
    assert [event_id] == facts_in_place_of(desk, value)


def test_what_cannot_be_mended(desk: Desk, tmp_path: Path) -> None:
    """Still unfit, no JSON, no such letter, a letter of the house: one line each, and nothing is published."""
    value, letter = refused(desk)
    unfit, broken = tmp_path / "unfit.json", tmp_path / "broken.json"
    unfit.write_text(json.dumps({"record": "SchoolConcern", "value": value}))
    broken.write_text('{"record": "SchoolConcern", "value": 7}')
    (offset,) = desk.put("decisions", "web", b"no act")
    desk.wait("decisions", offset)
    (own,) = [x["letter_id"] for x in json.loads(run("list", "--agency", "house", "--json").stdout)]
    for args, words in (
        ((letter, str(unfit)), "still not acceptable: concerns:"),
        ((letter, str(broken)), "needs one JSON object"),
        ((str(uuid4()), str(unfit)), "there is no dead letter"),
        ((own, str(unfit)), "mend the program that wrote it"),
    ):
        result = run("mend", *args)
        assert isinstance(result.exception, InfraError), result.output
        assert words in str(result.exception)
        assert CANARY not in str(result.exception) + result.output
    assert [] == facts_in_place_of(desk, value)
