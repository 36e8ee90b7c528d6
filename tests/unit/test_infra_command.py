"""The `sightline` command: every subcommand that is named is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.command import COMMANDS, sightline


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
