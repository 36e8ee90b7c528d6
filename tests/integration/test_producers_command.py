"""`sightline publish` and `sightline tail` on a real broker: lines and fields in errors, exit status, nothing said of a child."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from infra.command.publish import REFUSED, WAITING
from infra.command.publish import command as publish
from infra.command.tail import command as tail
from infra.errors import InfraError
from infra.provision import admin_client, revoke_users
from schemas.catalogue import catalogue
from schemas.registry import Registry, RegistryUnavailable
from tests.golden.values import VALUES
from tests.services import Deployment
from tests.shared_data import shared

CANARY = "CANARY-Zebedee"


@pytest.fixture(autouse=True)
def environment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the test's deployment by the environment, as a person's shell would give it."""
    for name, value in deployment.environment().items():
        if name.startswith("SIGHTLINE_"):
            monkeypatch.setenv(name, value)
    registry = Registry(deployment.registry_url)
    for spec in catalogue().values():
        registry.register(spec.subject, spec.text)


def run(command: Any, *args: str) -> Result:
    """Run as from a shell."""
    return CliRunner().invoke(command, list(args))


def line(**change: Any) -> str:
    """A JSON line that is acceptable save for `change`."""
    value = VALUES["SchoolConcern"]
    subject = {**value["envelope"]["subject"], "family_name": CANARY}
    envelope = {**value["envelope"], "event_id": str(uuid4()), "occurred_at": "2026-03-28T11:00:00Z", "subject": subject}
    return json.dumps({"record": "SchoolConcern", "value": {**value, "envelope": {**envelope, **change}}})


class TestEvents:
    """JSON lines."""

    def test_good_and_bad_lines(self, tmp_path: Path) -> None:
        """Bad lines are told by number and field, good ones are published, and the status says so."""
        file = tmp_path / "facts.jsonl"
        born = {**VALUES["SchoolConcern"]["envelope"]["subject"], "family_name": CANARY, "birth_date": "2012-02-30"}
        bad = ["", line(scope="NOBODY"), "{", line(agency="police"), line(subject=born)]
        file.write_text("\n".join([line(), *bad, line()]))
        result = run(publish, "events", str(file), "--json")
        said = json.loads(result.stdout)
        assert (REFUSED, 2, 0) == (result.exit_code, said["published"], said["waiting"])
        assert [
            (3, "envelope.scope", "unknown-code"),
            (4, "line", "json"),
            (5, "envelope.agency", "not-yours"),
            (6, "envelope.subject.birth_date", "date"),
        ] == [(r["line"], r["field"], r["rule"]) for r in said["reports"]]
        assert CANARY not in result.output
        words = run(publish, "events", str(file)).stderr
        assert "facts.jsonl, line 3, envelope.scope: is not in code list sharing-scope" in words

    def test_every_bad_line_is_named(self, tmp_path: Path) -> None:
        """Over its limit, an unknown record, returned before missing, half a character, bottomless: number, field and rule."""
        value = json.loads(line())["value"]
        ended = VALUES["MissingEpisodeEnded"]
        own = {**ended["envelope"], "agency": "education"}
        backwards = {**ended, "envelope": own, "ended_at": ended["started_at"] - 1}
        bad = [
            json.dumps({"record": "SchoolConcern", "value": {**value, "narrative": CANARY * 2_000}}),
            json.dumps({"record": "NoSuchRecord", "value": value}),
            json.dumps({"record": "SchoolConcern", "value": {**value, "narrative": CANARY + "\ud83d"}}),
            json.dumps({"record": "MissingEpisodeEnded", "value": backwards}),
            '{"record": "SchoolConcern", "value": ' + '{"x": ' * 900 + "1" + "}" * 900 + "}",
            '{"record": "SchoolConcern", "value": ' + "[" * 200_000,
            line(occurred_at="0001-01-01T00:00:00+14:00"),
            json.dumps({"record": "SchoolConcern", "value": {**value, "narrative": "x" * 5 * 2**20}}),
        ]
        file = tmp_path / "facts.jsonl"
        file.write_text("\n".join([line(), *bad, line()]))
        result = run(publish, "events", str(file), "--json")
        said = json.loads(result.stdout)
        assert (REFUSED, 2, 0) == (result.exit_code, said["published"], said["waiting"])
        found = [(r["line"], r["field"], r["rule"]) for r in said["reports"]]
        assert [
            (2, "narrative", "max-length"),
            (3, "record", "unknown-record"),
            (4, "narrative", "not-text"),
            (5, "envelope.agency", "not-yours"),
            (6, "line", "json"),
            (7, "line", "json"),
            (8, "envelope.occurred_at", "instant"),
            (9, "line", "too-large"),
        ] == found
        assert CANARY not in result.output

    def test_returned_before_missing(self, tmp_path: Path) -> None:
        """As police, whose record it is."""
        value = VALUES["MissingEpisodeEnded"]
        file = tmp_path / "facts.jsonl"
        file.write_text(json.dumps({"record": "MissingEpisodeEnded", "value": {**value, "ended_at": value["started_at"] - 1}}))
        result = run(publish, "events", str(file), "--json")
        (report,) = json.loads(result.stdout)["reports"]
        assert (REFUSED, 1, "ended_at", "before-start") == (result.exit_code, *(report[k] for k in ("line", "field", "rule")))

    def test_a_first_line_without_bottom(self, tmp_path: Path) -> None:
        """One line to the person, too."""
        file = tmp_path / "facts.jsonl"
        file.write_text('{"record": ' + "[" * 200_000)
        result = run(publish, "events", str(file))
        assert isinstance(result.exception, InfraError)
        assert "line 1" in str(result.exception)

    def test_revoked(self, new_deployment: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Credentials that were taken away: one line that says whose, the facts wait, and never a password."""
        d = new_deployment(only=["facts.education"])
        for name, value in d.environment().items():
            if name.startswith("SIGHTLINE_"):
                monkeypatch.setenv(name, value)
        with admin_client(d.access("admin")) as client:
            revoke_users(client, [d.prefix + "agency.education"])
        file = tmp_path / "facts.jsonl"
        file.write_text(line() + "\n")
        result = run(publish, "events", str(file))
        assert (WAITING, "education: 1 facts published") == (result.exit_code, result.stdout.strip())
        assert "1 facts wait on this disk" in result.stderr.replace("\n", " ")
        assert "agency.education" in result.stderr and "refuses user" in result.stderr.replace("\n", " ")
        assert d.settings.access("agency.education").password not in result.output + result.stderr

    def test_all_good(self, tmp_path: Path) -> None:
        """Status 0."""
        file = tmp_path / "facts.jsonl"
        file.write_text(line() + "\n")
        result = run(publish, "events", str(file))
        assert (0, "education: 1 facts published") == (result.exit_code, result.stdout.strip())

    def test_broker_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Facts wait on disk, with a status of its own; the next publish sends them first."""
        file = tmp_path / "facts.jsonl"
        file.write_text(line() + "\n")
        monkeypatch.setattr("infra.command.publish.PATIENCE_S", 1.0)
        with monkeypatch.context() as away:
            away.setenv("SIGHTLINE_KAFKA", "127.0.0.1:9")
            away.setenv("SIGHTLINE_KAFKA_PROTOCOL", "SASL_PLAINTEXT")
            result = run(publish, "events", str(file), "--json")
            assert (WAITING, 1) == (result.exit_code, json.loads(result.stdout)["waiting"])
            assert "check that it is up" in json.loads(result.stdout)["problem"]
        after = run(publish, "events", str(file), "--json")
        assert (0, 0) == (after.exit_code, json.loads(after.stdout)["waiting"])

    def test_registry_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is waited for as a broker is; one that comes back meanwhile is as if nothing had been."""
        file, back = tmp_path / "facts.jsonl", threading.Event()
        file.write_text(line() + "\n")
        lookup = Registry.lookup

        def away(registry: Registry, subject: str, text: str) -> int:
            if not back.is_set():
                raise RegistryUnavailable("it does not answer")
            return lookup(registry, subject, text)

        monkeypatch.setattr(Registry, "lookup", away)
        threading.Timer(2, back.set).start()
        result = run(publish, "events", str(file), "--json")
        assert (0, 0) == (result.exit_code, json.loads(result.stdout)["waiting"])

    def test_nothing_to_do(self, tmp_path: Path) -> None:
        """An empty file, or a first line without an agency, is one line to the person."""
        (tmp_path / "empty").write_text("\n")
        (tmp_path / "odd").write_text('{"record": "x"}\n')
        for name, words in (("empty", "holds no line"), ("odd", "line 1: has no value.envelope.agency")):
            result = run(publish, "events", str(tmp_path / name))
            assert isinstance(result.exception, InfraError)
            assert words in str(result.exception)


class TestAdapters:
    """Files that agencies have."""

    def test_ssda903(self) -> None:
        """The published sample arrives whole, twice."""
        for _ in range(2):
            result = run(publish, "ssda903", str(shared("ssda903")), "--json")
            said = json.loads(result.stdout)
            assert (0, 2761, 0) == (result.exit_code, said["published"], said["waiting"])
            assert (2675, 43, 2568) == tuple(said["counts"][k] for k in ("children", "episodes", "upn_invalid"))

    def test_cpis_fhir(self) -> None:
        """A plan waits for its patient over calls, is told once, and never again."""
        files = {f.name.split("-")[1]: str(f) for f in shared("cpis-fhir").glob("*.xml")}
        first = json.loads(run(publish, "cpis-fhir", files["CarePlan"], files["Flag"], "--json").stdout)
        assert (0, 2, "reference-unresolved") == (
            first["published"],
            first["counts"]["waiting_resources"],
            first["reports"][0]["rule"],
        )
        second = run(publish, "cpis-fhir", files["AlanMann"], files["CareTeam"], "--json")
        assert (0, 1) == (second.exit_code, json.loads(second.stdout)["published"])
        third = json.loads(run(publish, "cpis-fhir", *files.values(), "--json").stdout)
        assert (0, 0) == (third["published"], third["counts"]["waiting_resources"])


class TestTail:
    """What passes."""

    def test_facts_by_key_and_headers_only(self, tmp_path: Path) -> None:
        """Record, key and headers; nothing of the child."""
        file = tmp_path / "facts.jsonl"
        file.write_text("\n".join(line() for _ in range(3)))
        run(publish, "events", str(file))
        result = run(tail, "facts.education", "-n", "3", "--json")
        shown = [json.loads(row) for row in result.stdout.splitlines()]
        assert ["SchoolConcern"] * 3 == [row["record"] for row in shown]
        assert {"ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time"} == set(shown[0]["headers"])
        assert [None] * 3 == [row["value"] for row in shown]
        assert CANARY not in result.output + run(tail, "facts.education", "-n", "3").output

    def test_values_need_a_purpose(self) -> None:
        """Content is an access: said why, or not shown."""
        result = run(tail, "facts.education", "-n", "1", "--show-values")
        assert isinstance(result.exception, InfraError)
        assert "--purpose" in str(result.exception)
