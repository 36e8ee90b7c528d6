"""The `sightline` command: every subcommand that is named is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import psycopg
import pytest
import structlog
from click.testing import CliRunner, Result
from sqlalchemy.exc import StatementError

from infra import assembly, stores
from infra.command import COMMANDS, in_one_line, main, sightline
from infra.command.publish import REFUSED
from infra.command.publish import command as publish
from infra.command.view import checked
from infra.errors import InfraError
from infra.figures import LATE_S, ROOM_BYTES, troubles
from producers.facts import Fact
from producers.spool import Spool
from projections.accesses import Access, unpublished_accesses
from tests.webworld import keep_engine


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_is_there(name: str) -> None:
    """Each has a help of its own; one that is missing would be an error, never a silence."""
    shown = CliRunner().invoke(sightline, [name, "--help"])
    assert 0 == shown.exit_code, shown.output
    assert f"sightline {name}" in shown.output


@pytest.mark.parametrize(
    ("name", "spared"),
    [
        pytest.param("rebuild", "kafka", id="its processes are begun, and connect, before Kafka's client is imported"),
        pytest.param("worker", "rich.console", id="its log is JSON, and memory is dear"),
    ],
)
def test_what_a_command_does_not_import(name: str, spared: str) -> None:
    """What would cost each start a fraction of a second, or each process megabytes."""
    told = f"import sys, infra.command as c; c.sightline.get_command(None, {name!r}); print({spared!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_publish_logs_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    """I7: an exception logged while it runs is told by type and place; its text and the local variables are a child's."""
    begin = publish.callback
    assert begin is not None
    try:
        begin()
        child = "Testcase"
        try:
            raise ValueError(child)
        except ValueError:
            structlog.get_logger("any").exception("surprise")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert ("ValueError" in said, "test_infra_command.py" in said, child in said) == (True, True, False)


def test_demo_needs_a_house_that_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts nothing, and marks nothing as invented."""
    monkeypatch.setenv("SIGHTLINE_STATE", str(tmp_path))
    done = CliRunner().invoke(sightline, ["demo"])
    assert "sightline up" in str(done.exception)
    assert not (tmp_path / "demo.json").exists()


def test_a_borough_keeps_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of children would be another borough with the same ids."""
    monkeypatch.setenv("SIGHTLINE_STATE", str(tmp_path))
    (tmp_path / "demo.json").write_text(json.dumps({"seed": 1, "children": 400, "imported": True}))
    done = CliRunner().invoke(sightline, ["run", "--children", "500"])
    assert "has 400 children" in str(done.exception)


class TestAServerIsAway:
    """What a person reads then: one line, without values."""

    @pytest.mark.parametrize("words", [["view", "--child", "x", "--purpose", "p"], ["explain", "x", "--purpose", "p"]])
    def test_one_line_and_exit_status_1(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        """No database answers: no traceback."""
        monkeypatch.setenv("SIGHTLINE_STATE", str(tmp_path))
        monkeypatch.setenv("SIGHTLINE_DATABASE", "postgresql://nobody@127.0.0.1:1/views")
        monkeypatch.setenv("SIGHTLINE_KEEP", "postgresql://nobody@127.0.0.1:1/keep")
        monkeypatch.setattr("sys.argv", ["sightline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert 1 == ended.value.code
        assert said.startswith("sightline: a database is away")
        assert 1 == said.count("\n")

    def test_never_a_value(self) -> None:
        """What the server or the statement quotes stays out (I7)."""
        quoted = psycopg.errors.DataError("invalid byte in 'Aria Wood'")
        line = in_one_line(StatementError("Aria Wood", "select", {"n": "Aria Wood"}, quoted))
        assert line
        assert "Aria" not in line

    def test_a_fault_of_ours_is_none(self) -> None:
        """It keeps its traceback."""
        assert in_one_line(KeyError("x")) is None


class TestANumber:
    """`sightline view --identifier`: what is looked up, and what is said when it is not one child's."""

    NHS = "9990000018"

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("nhs:999-000-0018", ("nhs", NHS)),
            ("NHS: 999 000 0018", ("nhs", NHS)),
            ("upn:r876252705460", ("upn", "R876252705460")),
            ("la:hal-1024", ("la", "HAL-1024")),
            ("pnc:77/12345p", ("pnc", "1977/0012345P")),
        ],
    )
    def test_as_typed(self, typed: str, kept: tuple[str, str]) -> None:
        """Spaces, hyphens, lower case and short years are no other number."""
        assert kept == checked(typed)

    @pytest.mark.parametrize("typed", ["nhs:9990000019", "upn:A876252705460", "la:1024", "pnc:1977/0012345A"])
    def test_mistyped(self, typed: str) -> None:
        """It is said, without the value: "no child" would say that somebody was looked for."""
        with pytest.raises(InfraError, match="is not a valid") as told:
            checked(typed)
        assert typed.partition(":")[2] not in str(told.value)

    @pytest.mark.parametrize("typed", ["nhs:", "gp:1", NHS, ""])
    def test_no_number(self, typed: str) -> None:
        """How one is given is said."""
        with pytest.raises(InfraError, match="is SYSTEM:VALUE"):
            checked(typed)

    @pytest.mark.parametrize(("children", "said"), [((), "no child is known"), (("c-1", "c-2"), "several records")])
    def test_a_number_on_no_child_or_on_several(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        children: tuple[str, ...],
        said: str,
    ) -> None:
        """What nobody has decided is not "no child". Either look is recorded as one without hits; no value is shown (I7)."""
        assert 1 == self.look(tmp_path, monkeypatch, children)
        told = capsys.readouterr()
        assert told.err.startswith(f"sightline: {said}")
        assert ("possible match" in told.err) == bool(children)
        assert not [v for v in (self.NHS, *children, "Robin") if v in told.out + told.err]
        (record,) = self.recorded
        assert ("view", "p", ()) == (record.action, record.purpose, record.children)

    def look(self, folder: Path, monkeypatch: pytest.MonkeyPatch, children: tuple[str, ...]) -> object:
        """The command's exit status where a record of each of these children carries the number; it keeps what was recorded."""
        keep = keep_engine(folder)
        found = SimpleNamespace(children_by_identifier=lambda *_: list(children))
        monkeypatch.setenv("SIGHTLINE_STATE", str(folder))
        monkeypatch.setattr(assembly, "reading", lambda _: found)
        monkeypatch.setattr(stores, "engine", lambda *_: keep)
        monkeypatch.setattr("sys.argv", ["sightline", "view", "--identifier", "nhs:999 000 0018", "--purpose", "p"])
        with pytest.raises(SystemExit) as ended:
            main()
        with keep.connect() as conn:
            self.recorded: list[Access] = unpublished_accesses(conn)
        return ended.value.code


class TestTroubles:
    """What makes `sightline status` say that it is not well, beside processes that are not up."""

    WELL: ClassVar[dict[str, dict[str, object]]] = {"ledger": {"relay_age_s": LATE_S - 1}, "lag": {"behind": 900, "late": 0}}

    def test_busy_is_well(self) -> None:
        """Many records that have just come are no trouble."""
        assert [] == troubles(self.WELL)

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("ledger", {"relay_age_s": LATE_S + 5}, "relay"),
            ("lag", {"behind": 1, "late": 1}, "intake"),
            ("lag", "unavailable (KafkaError)", "KafkaError"),
            ("room", {"kafka": 10 * ROOM_BYTES, "postgres": ROOM_BYTES - 1}, "no room where postgres keeps its data"),
        ],
    )
    def test_each(self, name: str, value: object, said: str) -> None:
        """One that waits too long, or a figure that cannot be had."""
        found = troubles({**self.WELL, name: value})
        assert 1 == len(found)
        assert said in found[0]


class TestMendSpool:
    """`sightline publish mend-spool`: what the error about a damaged spool says to do."""

    @staticmethod
    def run(folder: Path) -> Result:
        """As from a shell, by the words of the error itself."""
        return CliRunner().invoke(publish, ["mend-spool", str(folder)])

    @staticmethod
    def spool(folder: Path, *, bent: bool) -> None:
        """Three facts of one child; the second is damaged."""
        spool = Spool(folder)
        for number in (1, 2, 3):
            spool.append([Fact(f"id-{number}", "SchoolConcern", "fp", "k" * 32, "2026-01-01T00:00:00Z", b"Zebedee")])
        spool.close()
        (path,) = folder.glob("*.facts")
        if bent:
            path.write_bytes(path.read_bytes().replace(b"id-2", b"id-0"))

    def test_what_is_lost_is_said(self, tmp_path: Path) -> None:
        """How many wait and how many do not, the file kept, status 3; nothing of a child."""
        self.spool(tmp_path, bent=True)
        done = self.run(tmp_path)
        assert (REFUSED, True) == (done.exit_code, f"2 facts wait in {tmp_path}" in done.stdout)
        assert ("At least 1 facts could not be read" in done.stderr, ".damaged" in done.stderr) == (True, True)
        assert "Zebedee" not in done.output
        assert (0, True) == ((again := self.run(tmp_path)).exit_code, "2 facts wait" in again.stdout)

    def test_an_end_that_cannot_be_counted(self, tmp_path: Path) -> None:
        """Status 3 as well: nobody knows how many facts the bytes at the end were."""
        self.spool(tmp_path, bent=False)
        (path,) = tmp_path.glob("*.facts")
        path.write_bytes(path.read_bytes()[:-1])
        done = self.run(tmp_path)
        assert (REFUSED, True) == (done.exit_code, f"2 facts wait in {tmp_path}" in done.stdout)
        assert "An unknown number of the newest facts could not be read" in done.stderr
        assert (0, "") == ((again := self.run(tmp_path)).exit_code, again.stderr)

    def test_a_lost_fact_and_such_an_end(self, tmp_path: Path) -> None:
        """Both are said."""
        self.spool(tmp_path, bent=True)
        (path,) = tmp_path.glob("*.facts")
        path.write_bytes(path.read_bytes() + b"SLg1")
        done = self.run(tmp_path)
        assert REFUSED == done.exit_code
        assert "At least 1 facts and an unknown number of the newest facts could not be read" in done.stderr

    def test_a_whole_spool(self, tmp_path: Path) -> None:
        """Nothing is lost by it, and no copy is left."""
        self.spool(tmp_path, bent=False)
        assert (0, True) == ((done := self.run(tmp_path)).exit_code, "3 facts wait" in done.stdout)
        assert not list(tmp_path.glob("*.damaged"))

    def test_while_a_client_has_it(self, tmp_path: Path) -> None:
        """One line that says so."""
        self.spool(tmp_path, bent=False)
        spool = Spool(tmp_path)
        done = self.run(tmp_path)
        spool.close()
        assert isinstance(done.exception, InfraError)
        assert "another process uses the spool" in str(done.exception)
