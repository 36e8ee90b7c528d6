"""What the pulse counts, and when it does not: pure parts of consumers.pulse."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import pulse
from consumers.pulse import KEPT_HOURS, UNKNOWN, WINDOW_S, Cell, Count
from schemas.topics import AGENCIES, INTAKE_PARTITIONS, PULSE_TABLE, KafkaAccess, topics

HOUR = 1_780_000_000 // WINDOW_S * WINDOW_S
MISSING = "MissingEpisodeReported"


class TestFlow:
    """What waits in memory."""

    def test_a_fact_survives_that_the_flow_is_resumed(self, tmp_path: Path) -> None:
        """Faust empties its queues then, though its consumer has gone past what lay in them."""
        access = KafkaAccess("127.0.0.1:1", "pulse", "a password", "t.")

        async def waiting() -> int:
            app = pulse._app(access, tmp_path)
            topic = app.topic("t.facts.police")
            topic.queue.put_nowait("a fact")
            app.flow_control.suspend()
            app.flow_control.resume()
            return topic.queue.qsize()

        assert 1 == asyncio.run(waiting())


class TestRecord:
    """The record comes from a header, which is the sender's words."""

    def test_a_fact_of_the_contract(self) -> None:
        """The CloudEvents type, without its namespace."""
        assert MISSING == pulse.record_of([("ce_id", b"1"), ("ce_type", b"uk.sightline." + MISSING.encode())])

    @pytest.mark.parametrize(
        "headers",
        [
            None,
            [],
            [("ce_type", None)],
            [("ce_type", b"")],
            [("ce_type", MISSING.encode())],
            [("ce_type", b"uk.sightline.LedgerEntry")],
            [("ce_type", b"Kit Green, 14")],
            [("ce_type", b"\xff\xfe")],
        ],
    )
    def test_anything_else(self, headers: list[tuple[str, bytes | None]] | None) -> None:
        """No type, an output's, or anybody's words: `unknown`, and never a key (I7)."""
        assert UNKNOWN == pulse.record_of(headers)


class TestCount:
    """A fact counts once, however often it is delivered."""

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=12))
    def test_delivered_again(self, deliveries: list[tuple[int, int]]) -> None:
        """After any rewinds, the count is of the facts delivered up to the highest offset."""
        count: Count = (0, 0)
        at = 0
        for back, on in deliveries:
            first = max(0, at - back)  # a rewind; never a jump ahead
            for offset in range(first, first + on):
                count = pulse.counted(count, offset) or count
            at = max(at, first + on)
            assert (at, at) == tuple(count)

    def test_survives_json(self) -> None:
        """A count read back from the changelog, where a tuple became a list, goes on."""
        assert (8, 10) == pulse.counted(json.loads(json.dumps((7, 9))), 9)
        assert pulse.counted([7, 9], 8) is None


class TestWindows:
    """An hour begins with its first instant and ends before the next."""

    @given(st.floats(0, 4e9, allow_nan=False))
    def test_hour_holds_its_instant(self, instant_s: float) -> None:
        """start <= instant < start + one hour, and hours do not overlap."""
        start = pulse.hour_of(instant_s)
        assert start <= instant_s < start + WINDOW_S
        assert start % WINDOW_S == 0

    def test_cell_survives_the_changelog(self) -> None:
        """The key that Faust reads back from JSON is the key that was written."""
        cell = pulse.cell_of("police", MISSING, 1, HOUR)
        read = json.loads(json.dumps(cell))
        assert cell == tuple(tuple(part) for part in read)
        assert HOUR == cell[1][0]

    def test_sum_over_partitions(self) -> None:
        """A series is the sum of its partitions in that hour, nobody else's and no other hour's."""
        table: dict[Cell, Count] = {
            pulse.cell_of("police", MISSING, 0, HOUR): (3, 9),
            pulse.cell_of("police", MISSING, 1, HOUR): (4, 5),
            pulse.cell_of("police", MISSING, 1, HOUR - WINDOW_S): (100, 5),
            pulse.cell_of("health", MISSING, 0, HOUR): (1000, 5),
        }
        assert 7 == pulse.facts_in(table, "police", MISSING, HOUR)
        assert 0 == pulse.facts_in(table, "education", MISSING, HOUR)

    def test_expiry(self) -> None:
        """The hour that began `KEPT_HOURS` ago stays, the one before goes."""
        now_s = HOUR + 1800.0
        kept = pulse.cell_of("police", MISSING, 0, HOUR - KEPT_HOURS * WINDOW_S)
        gone = pulse.cell_of("police", MISSING, 0, HOUR - (KEPT_HOURS + 1) * WINDOW_S)
        assert [gone] == pulse.expired([kept, gone, pulse.cell_of("police", MISSING, 0, HOUR)], now_s)


class TestContract:
    """What Faust needs of the deployment's topics."""

    def test_every_agency_has_noughts(self) -> None:
        """Each agency may emit something, so each is heard to be silent."""
        assert set(AGENCIES) == {agency for agency, _ in pulse.every_series()}

    def test_changelog(self) -> None:
        """Named as Faust names it, compacted, with its sources' partitions, and only the pulse's own."""
        (changelog,) = [t for t in topics() if t.name == f"pulse-{PULSE_TABLE}-changelog"]
        expected = {"partitions": INTAKE_PARTITIONS, "compacted": True, "writers": ("pulse",), "readers": ("pulse",)}
        assert expected == {name: dataclasses.asdict(changelog)[name] for name in expected}
