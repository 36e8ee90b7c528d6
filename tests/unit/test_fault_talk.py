"""What goes on while faults strike: news that lasts, and helpers whose failure is not lost."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from producers.halton.facts import SimulatedFact
from tests.fault.meanwhile import meanwhile
from tests.fault.talk import EVERY, Talk

FACTS = cast("list[SimulatedFact]", [SimpleNamespace(agency="police", key=str(n)) for n in range(30)])


def said(talk: Talk, times: int) -> list[Any]:
    """What is said in so many sentences."""
    return [talk.next() for _ in range(times)]


class TestTalk:
    """News is dealt out in turns."""

    def test_what_is_not_open_is_not_said(self) -> None:
        """However long it takes until the next turn."""
        assert set(range(10)) == {int(f.key) for f in said(Talk(FACTS, 2, EVERY, ()), 1_000)}

    def test_each_turn_has_its_news(self) -> None:
        """The last one, too; and what nobody got to say is left."""
        talk = Talk(FACTS, 2, EVERY, ())
        for least in (0, 10, 20):
            assert least in {int(f.key) for f in said(talk, 100)}
            if least < 20:
                talk.more()
        assert not talk.rest()

    def test_a_fault_without_news(self) -> None:
        """Is no fault: the row fails."""
        talk = Talk(FACTS, 1, EVERY, ())
        talk.more()
        with pytest.raises(AssertionError, match="no news is left to say"):
            talk.more()

    def test_copies_alone(self) -> None:
        """A talk of what was said before has no news, and does not run out of it."""
        talk = Talk(FACTS, 1, EVERY, {("police", f.key) for f in FACTS})
        for _ in range(3):
            talk.more()
        assert not talk.news

    def test_too_few_facts(self) -> None:
        """A turn without news is refused from the start."""
        with pytest.raises(AssertionError, match="too few"):
            Talk(FACTS[:5], 5, EVERY, ())


class TestMeanwhile:
    """What goes wrong in a helper is the row's failure."""

    def test_what_it_raised(self) -> None:
        """Comes out at the end of the block."""

        def work(_: threading.Event) -> None:
            raise ValueError("lost")

        with pytest.raises(ValueError, match="lost"), meanwhile("helper", work, 5):
            pass

    def test_who_does_not_end(self) -> None:
        """Is said to go on."""
        end = threading.Event()
        with (
            pytest.raises(AssertionError, match="helper did not come to an end"),
            meanwhile("helper", lambda _: end.wait(5), 0.05),
        ):
            pass
        end.set()

    def test_the_block_comes_first(self) -> None:
        """What the block raised is not hidden by its helper."""

        def work(_: threading.Event) -> None:
            raise ValueError("lost")

        with pytest.raises(KeyError), meanwhile("helper", work, 5):
            raise KeyError
