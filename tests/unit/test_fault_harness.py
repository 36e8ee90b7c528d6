"""The fault harness's own parts: what it notices in a history, and what it writes down."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from tests.fault.__main__ import Runner
from tests.fault.deeds import deeds
from tests.fault.evidence import Ledger
from tests.fault.harness import House, Took
from tests.fault.history import History, Seen
from tests.fault.report import Outcome, write
from tests.fault.rows import ROWS, RUN
from tests.fault.sabotage import BREAKS
from tests.fault.timeline import timeline
from tests.services import LocalServices


def seen(number: int, *, database: int = 1, incarnation: int = 1, offset: int = 0, epoch: int = 1) -> Seen:
    """A sighting of a house with one position."""
    return Seen(float(number), database, number, incarnation, number, {("clock", 0): (offset, epoch)})


def broken(*sightings: Seen, incarnation: int = 9, last: int = 100, **resumed: Any) -> list[str]:
    """The promises that these sightings break."""
    history = History()
    for one in sightings:
        history.saw(one)
    if resumed:
        history.note("resumed", after="a fault", **resumed)
    ledger = Ledger([{"number": last}], [], incarnation)
    return [v.invariant for v in timeline(cast("House", SimpleNamespace(history=history)), ledger)]


class TestTimeline:
    """I4, I6 and I1 from what was seen."""

    def test_forward_is_well(self) -> None:
        """Numbers, offsets and epochs that rise."""
        assert [] == broken(seen(1, offset=3), seen(2, offset=3, epoch=2), seen(5, offset=9, epoch=2))

    @pytest.mark.parametrize(
        "later", [seen(1, offset=5), seen(3, offset=2), seen(3, offset=5, epoch=1)], ids=["number", "offset", "epoch"]
    )
    def test_back_is_i4(self, later: Seen) -> None:
        """In one database and incarnation nothing goes back."""
        assert "I4" in broken(seen(2, offset=4, epoch=2), later)

    def test_an_older_database_takes_a_new_incarnation(self) -> None:
        """Back with the whole database is allowed, with a new incarnation alone."""
        assert [] == broken(seen(9, offset=9), seen(4, database=2, offset=4), seen(9, database=2, incarnation=2, offset=9))
        assert ["I4"] == broken(seen(9, offset=9), seen(4, database=2, offset=4), seen(9, database=2, offset=9))

    def test_what_was_relayed_is_in_the_ledger(self) -> None:
        """A number seen as relayed and not in the topic is lost."""
        assert ["I1"] == broken(seen(9), last=8)

    def test_late_is_i6(self) -> None:
        """A fault from which entries flowed again too late."""
        assert ["I6"] == broken(seen(9), seconds=6.0, bound_s=5.0)
        assert [] == broken(seen(9), seconds=4.0, bound_s=5.0)


class Desk:
    """What people did, and what tables and topics say of it, as the checks of deeds ask for them."""

    def __init__(self) -> None:
        self.history, self.offset = History(), 0
        self.conclusions: list[tuple[int, str, str, bytes]] = []
        self.clock: list[Any] = []
        self.codec = SimpleNamespace(decode=lambda value: SimpleNamespace(value=value))

    def decide(self, event_id: str, decision: str = "CONVENE", *, told: str = "ACCEPTED") -> None:
        """Somebody decides on recommendation r and is told."""
        value = {"act": {"event_id": event_id}, "recommendation_id": "r", "decision": decision}
        self.history.note("act", event_id=event_id, topic="decisions", record="RecommendationDecided", value=value)
        self.history.note("act acknowledged", event_id=event_id, topic="decisions")
        self.history.note("told", event_id=event_id, verdict=told, reason=None, number=int(event_id))

    def rows(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The answers to the queries of `deeds`."""
        del values
        if "'recommendation_overdue'" in query:
            return [(n, a, d) for n, k, a, d in self.conclusions if k == "recommendation_overdue"]
        if query.startswith("select about"):
            return [(a, k) for _, k, a, _ in self.conclusions]
        return [(n, k, a) for n, k, a, _ in self.conclusions if k in ("convened", "declined")]

    def read(self, topic: str) -> list[Any]:
        """Topic `clock`."""
        assert topic == "clock"
        return self.clock

    def broken(self, **verdicts: str) -> list[str]:
        """The promises broken, when the ledger holds these verdicts by entry number (`n7="ACCEPTED"`)."""
        head = {"kind": "ACT", "source_topic": "decisions", "reason": None}
        entries = [{**head, "number": int(k[1:]), "event_id": k[1:].split("0")[0], "verdict": v} for k, v in verdicts.items()]
        return [v.invariant for v in deeds(cast("House", self), Ledger(entries, []))[0]]


class TestDeeds:
    """I1, I3 and DUE of what people did. An entry 7 or 70 is about act 7."""

    def test_one_wins_and_one_is_told_so(self) -> None:
        """Two decide, one is refused, one pressed twice: nothing is broken."""
        desk = Desk()
        desk.decide("7")
        desk.decide("8", "DECLINE", told="REFUSED")
        desk.conclusions = [(7, "convened", "r", b"")]
        assert [] == desk.broken(n7="ACCEPTED", n8="REFUSED", n70="DUPLICATE")

    def test_decided_twice(self) -> None:
        """Both took effect: a recommendation is convened or declined once."""
        desk = Desk()
        desk.decide("7")
        desk.decide("8", "DECLINE")
        desk.conclusions = [(7, "convened", "r", b""), (8, "declined", "r", b"")]
        assert ["I3"] == desk.broken(n7="ACCEPTED", n8="ACCEPTED")

    def test_lost_or_twice_in_the_ledger(self) -> None:
        """An acknowledged act without an entry, or accepted twice."""
        desk = Desk()
        desk.decide("7")
        assert {"I1", "I3"} == set(desk.broken())
        desk.conclusions = [(7, "convened", "r", b""), (70, "convened", "r", b"")]
        assert {"I1", "I3"} == set(desk.broken(n7="ACCEPTED", n70="ACCEPTED"))

    def test_told_something_else(self) -> None:
        """The sender was told that it was refused; the ledger has it accepted."""
        desk = Desk()
        desk.decide("7", told="REFUSED")
        desk.conclusions = [(7, "convened", "r", b"")]
        assert ["I3"] == desk.broken(n7="ACCEPTED")

    def test_no_effect_or_a_strangers(self) -> None:
        """Accepted without effect; an effect of an act that nobody sent."""
        desk = Desk()
        desk.decide("7")
        assert ["I3"] == desk.broken(n7="ACCEPTED")
        desk.conclusions = [(7, "convened", "r", b""), (9, "declined", "s", b"")]
        assert ["I3"] == desk.broken(n7="ACCEPTED")

    def test_due(self) -> None:
        """The clock spoke an hour early; what was decided in time was called overdue."""
        desk, now = Desk(), time.time_ns() // 1000
        desk.clock = [SimpleNamespace(value={"due_at": now + 3_600_000_000}, timestamp=now // 1000, offset=0)]
        assert ["DUE"] == desk.broken()
        desk.clock = [SimpleNamespace(value={"due_at": now - 5}, timestamp=now // 1000, offset=0)]
        desk.decide("7")
        late = {"due_at": now + 3_600_000_000}
        desk.conclusions = [(7, "convened", "r", b""), (9, "recommendation_overdue", "r", orjson.dumps(late))]
        assert ["DUE"] == desk.broken(n7="ACCEPTED")


def nothing_raised(_: object) -> None:
    """A row that waits for an error in vain."""
    with pytest.raises(ValueError):
        pass


def test_what_was_not_raised_fails_the_row() -> None:
    """pytest says so by something that is no Exception; the row has run, and failed."""
    runner = Runner(1, 0, whole=False, keep=True)
    runner._services = cast("LocalServices", SimpleNamespace(parts={}))
    try:
        outcome = runner.repeat("row 10, poison", 2, nothing_raised)
    finally:
        shutil.rmtree(runner.folder)
    assert (2, 2) == (outcome.times, len(outcome.failures))
    assert outcome.failures[0].startswith("seed 1, end 0: Failed: DID NOT RAISE")


class TestReport:
    """docs/faults.md."""

    def test_a_part_leaves_the_rest(self, tmp_path: Path) -> None:
        """Rows that did not run now keep their line; what never ran counts as failed, and what lacks something says so."""
        path = tmp_path / "faults.md"
        took = {"a worker": Took(1.25, 5, 1.0), "a server": Took(12.0, 10, 1.5)}
        write({1: Outcome(3, 40, took), 7: Outcome(lacking="root")}, {"dedupe-off": Outcome(1, 9)}, path)
        write({5: Outcome(2, failures=["seed 7: Broken: 1 violations of I1 | more"])}, {}, path)
        lines = {x.split("|")[1].strip(): x for x in path.read_text().splitlines() if x.startswith("| ")}
        assert "| a worker 1.2 of 5, a server 12.0 of 10 (machine busy: × 1.5) | 3: seed 40 to 42, " in lines["1"]
        assert lines["1"].endswith(" | holds |")
        assert lines["7"].endswith("| **failed**: did not run, lacks root |")
        assert "**failed** 1 of 2: seed 7: Broken: 1 violations of I1 / more" in lines["5"]
        assert lines["2"].endswith("| **failed**: not run yet |")
        assert "| 1: seed 9, " in lines["dedupe-off"]
        assert {*map(str, range(1, 24)), *BREAKS} <= lines.keys()

    def test_a_line_of_other_words_has_not_run(self, tmp_path: Path) -> None:
        """What held when a row or a defect said something else is not told of what it says today."""
        path, defect = tmp_path / "faults.md", next(iter(BREAKS))
        write({n: Outcome(1, 40) for n in (1, 2, 3)}, {defect: Outcome(1, 40)}, path)
        before = path.read_text().splitlines()
        one, two, three = (next(x for x in before if x.startswith(f"| {n} |")) for n in (1, 2, 3))
        named = next(x for x in before if x.startswith(f"| {defect} |"))
        others = {
            one: one.replace(ROWS[0].injected, "something else"),
            two: two.replace(f"| {ROWS[1].holds} |", f"| {ROWS[1].holds} and more |"),
            named: named.replace("| I", "| I0, I", 1),
        }
        assert all(old != new for old, new in others.items())
        path.write_text("\n".join(others.get(x, x) for x in before))
        write({}, {}, path)
        after = path.read_text().splitlines()
        assert three in after
        assert ["**failed**: not run yet"] * 3 == [
            x.split(" | ")[-1].removesuffix(" |") for x in after if x.startswith(("| 1 |", "| 2 |", f"| {defect} |"))
        ]

    def test_every_row_has_a_function(self) -> None:
        """The table and the functions are of the same 23 rows."""
        assert list(range(1, 24)) == [r.number for r in ROWS] == sorted(RUN)
