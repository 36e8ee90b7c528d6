"""The demonstration over several starts: every story comes to its point once, and the truth about all of it is written down."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from domain.times import SECOND_US, to_us
from infra import demo
from infra.state import DEMONSTRATION, TRUTH, State
from producers.halton.borough import Borough
from producers.halton.truth import Truth
from schemas.topics import AGENCIES

END = to_us(datetime(2026, 3, 2, 12, tzinfo=UTC))
HOUR_US = 3_600 * SECOND_US


class Shelf:
    """A client that keeps what it is given, and asks for the end after `enough` facts of the stories."""

    def __init__(self, kept: dict[str, Mapping[str, Any]], stop: Event, stories: set[str], enough: int) -> None:
        self.kept, self.stop, self.stories, self.enough = kept, stop, stories, enough

    def publish_many(self, facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Keep them; the same id must have the same content (I1)."""
        ids = []
        for _, value in facts:
            event_id = value["envelope"]["event_id"]
            assert value == self.kept.setdefault(event_id, value)
            ids.append(event_id)
        if len(self.stories & self.kept.keys()) >= self.enough:
            self.stop.set()
        return ids


class Unhurried(Event):
    """The clock of these tests moves by itself, so nobody waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        """At once."""
        return self.is_set()


def test_a_start_tells_the_points_that_the_one_before_did_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the first two minutes, and again: each story was told once to its end, and the truth with it."""
    state = State.open(tmp_path)
    halton, kept = Borough(END, children=800), dict[str, Mapping[str, Any]]()
    history = list(halton.history())
    stories = {f.key for s in halton.scenarios(END) for f in s.facts} - {f.key for f in history}
    state.write_json(DEMONSTRATION, {"seed": halton.seed, "children": 800, "imported": True, "end": END})
    Truth(history).write(tmp_path / TRUTH)
    told = []
    for begins, enough in ((END + SECOND_US, 4), (END + HOUR_US, 9), (END + 30 * HOUR_US, len(stories))):
        clock, stop = itertools.count(begins, 2 * SECOND_US), Unhurried()
        monkeypatch.setattr("infra.demo.stores.now_us", partial(next, clock))
        clients = {a: Shelf(kept, stop, stories, enough) for a in AGENCIES}
        demo.live(state, halton, Truth(history), clients, stop)
        told.append(len(stories & kept.keys()))
    assert [4, 9, len(stories)] == told
    assert sorted(stories) == sorted(state.read_json(DEMONSTRATION)["told"])
    rows = [json.loads(line) for line in (tmp_path / TRUTH).read_text().splitlines()]
    assert {f.key for f in history} | kept.keys() == {row["key"] for row in rows if row["kind"] == "fact"}


def test_the_truth_grows_to_the_whole_truth(tmp_path: Path) -> None:
    """Appended fact by fact, and read with the later row standing, it says what it says when written as a whole."""
    halton = Borough(END, children=800)
    facts = list(halton.facts())
    half = len(facts) // 2
    growing = Truth(facts[:half])
    growing.write(tmp_path / "growing")
    for fact in facts[half:]:
        growing.append(tmp_path / "growing", fact)
    Truth(facts).write(tmp_path / "whole")
    assert _read(tmp_path / "whole") == _read(tmp_path / "growing")


def _read(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    named = {"fact": "key", "record": "agency local_id", "episode": "episode", "outcome": "key", "scenario": "child"}
    return {(row["kind"], *(row[k] for k in named[row["kind"]].split())): row for row in rows}
