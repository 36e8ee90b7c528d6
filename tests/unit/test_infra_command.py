"""The `sightline` command: every subcommand that is named is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import StatementError

from infra.command import COMMANDS, in_one_line, main, sightline
from infra.figures import LATE_S, ROOM_BYTES, troubles


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_is_there(name: str) -> None:
    """Each has a help of its own; one that is missing would be an error, never a silence."""
    shown = CliRunner().invoke(sightline, [name, "--help"])
    assert 0 == shown.exit_code, shown.output
    assert f"sightline {name}" in shown.output


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
