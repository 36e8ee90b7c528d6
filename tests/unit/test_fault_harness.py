"""The fault harness's own parts: what it notices in a history, and what it writes down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.fault.evidence import Ledger
from tests.fault.harness import House
from tests.fault.history import History, Seen
from tests.fault.report import Outcome, write
from tests.fault.rows import ROWS, RUN
from tests.fault.sabotage import BREAKS
from tests.fault.timeline import timeline


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


class TestReport:
    """docs/faults.md."""

    def test_a_part_leaves_the_rest(self, tmp_path: Path) -> None:
        """Rows that did not run now keep their line; what never ran counts as failed, and what lacks something says so."""
        path = tmp_path / "faults.md"
        write({1: Outcome(3, {"a worker": 1.25}), 7: Outcome(lacking="root")}, {"dedupe-off": Outcome(1)}, path)
        write({5: Outcome(2, failures=["seed 7: Broken: 1 violations of I1 | more"])}, {}, path)
        lines = {x.split("|")[1].strip(): x for x in path.read_text().splitlines() if x.startswith("| ")}
        assert lines["1"].endswith("| a worker 1.2 | 3 | holds |")
        assert lines["7"].endswith("| **failed**: did not run, lacks root |")
        assert "**failed** 1 of 2: seed 7: Broken: 1 violations of I1 / more" in lines["5"]
        assert lines["2"].endswith("| **failed**: not run yet |")
        assert lines["dedupe-off"].endswith("| 1 | holds |")
        assert {*map(str, range(1, 24)), *BREAKS} <= lines.keys()

    def test_every_row_has_a_function(self) -> None:
        """The table and the functions are of the same 23 rows."""
        assert list(range(1, 24)) == [r.number for r in ROWS] == sorted(RUN)
