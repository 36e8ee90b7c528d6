"""The house rules hold: lint, layout, types and the direction of imports. The same four commands as `make lint`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from infra.state import REPOSITORY

ROOMS = ("domain", "schemas", "producers", "consumers", "projections", "web", "infra")
TOOLS = Path(sys.executable).parent
RULES = {
    "lint": ["ruff", "check", "."],
    "layout": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "imports": ["lint-imports", "--no-cache"],
}


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    tool, *words = command
    return subprocess.run([TOOLS / tool, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=170)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_rule_holds(rule: str) -> None:
    """Exit status 0; else what the tool says."""
    done = _run(REPOSITORY, *RULES[rule])
    assert 0 == done.returncode, done.stdout + done.stderr


def test_types_are_strict_and_everywhere() -> None:
    """mypy runs in strict mode over every room: a laxer setting would let the test above pass."""
    settings = (REPOSITORY / "pyproject.toml").read_text()
    rooms = {p.parent.name for p in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert "strict = true" in settings
    assert all(f'"{room}"' in settings.partition("[tool.mypy]")[2].partition("packages = ")[2].splitlines()[0] for room in rooms)


def test_every_engine_hides_its_parameters() -> None:
    """A statement's parameters are children's data, and an error's text can end in a log or on a terminal (I7)."""
    calls = [
        (path, node)
        for room in ROOMS
        for path in (REPOSITORY / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("create_engine")
    ]
    assert calls
    assert [] == [str(p) for p, call in calls if "hide_parameters=True" not in ast.unparse(call)]


def test_an_import_against_the_arrows_is_found(tmp_path: Path) -> None:
    """The checker can fail: a `domain` that imports `infra` breaks the contract."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    (tmp_path / "domain" / "wrong.py").write_text("import infra\n")
    contracts = (REPOSITORY / "pyproject.toml").read_text().partition("[tool.importlinter]")
    layers = contracts[2].split("[[tool.importlinter.contracts]]")[:2]
    (tmp_path / "pyproject.toml").write_text(contracts[1] + "[[tool.importlinter.contracts]]".join(layers))
    done = _run(tmp_path, "lint-imports", "--no-cache")
    assert 0 != done.returncode
    assert "domain.wrong -> infra" in done.stdout
