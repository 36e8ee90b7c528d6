"""Helpers beside a fault: what goes wrong in one is not lost."""

from __future__ import annotations

import threading

import pytest

from tests.fault.meanwhile import meanwhile


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
