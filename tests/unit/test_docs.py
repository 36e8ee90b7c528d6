"""The documents say what is so: generated ones are fresh, links lead somewhere, tests named exist, examples work."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from domain.problems import InvalidFact
from infra.docs import DOCS, DOCUMENTS
from producers.client import now_us
from producers.facts import prepare
from producers.ssda903 import read_folder
from schemas.catalogue import catalogue

ROOT = DOCS.parent
WRITTEN = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
SECRET = b"sixteen bytes and more"


def named(path: Path) -> str:
    """A document's name in a test's id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_documents_are_fresh(name: str) -> None:
    """After a change to the contract, `make docs`."""
    assert DOCUMENTS[name]() == (DOCS / name).read_text()


def test_the_catalogue_names_every_record_and_field() -> None:
    """Nothing of the contract is left out."""
    text = DOCUMENTS["event-catalogue.md"]()
    fields = {k for s in catalogue().values() for r in s.rules for k in r.keys}
    assert [] == [n for n in catalogue() if f"\n### {n}\n" not in text]
    assert [] == [f for f in sorted(fields) if not re.search(rf"`([a-z_.\[\]]*\.)?{f}(\[\])?`", text)]


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links and pictures exist."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    assert [] == [x for x in links if "://" not in x and not (path.parent / x).exists()]


def test_hazards_name_tests_that_exist() -> None:
    """A control without its test would be a claim."""
    there = {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    claimed = set(re.findall(r"`(test_\w+)`", (DOCS / "hazards.md").read_text()))
    assert set() == claimed - there
    assert len(claimed) > 20


def test_the_example_lines_do_what_the_readme_says() -> None:
    """The first is acceptable, the second names its field and rule."""
    good, bad = map(json.loads, (DOCS / "examples" / "concern.jsonl").read_text().splitlines())
    assert "SchoolConcern" == prepare("education", SECRET, good["record"], good["value"], now_us()).record
    with pytest.raises(InvalidFact) as told:
        prepare("education", SECRET, bad["record"], bad["value"], now_us())
    assert [("concerns", "unknown-code")] == [(p.field, p.rule) for p in told.value.problems]


def test_the_example_return_is_acceptable() -> None:
    """Three facts, nothing to report."""
    reading = read_folder(DOCS / "examples" / "ssda903", year_begin=None)
    assert ([], 3) == (list(reading.reports), len(reading.drafts))


def test_the_readme_shows_the_example() -> None:
    """The client's lines in the README are those of the file that runs."""
    shown = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] in (DOCS / "examples" / "agency.py").read_text()
