"""When a due time may fire, by what is unread."""

from __future__ import annotations

import pytest

from consumers.clock import WAIT_US_MAX, behind, must_wait


@pytest.mark.parametrize(
    ("unread", "waited_us", "wait"),
    [
        ([], 0, False),
        (["facts.police"], 0, True),
        (["facts.police"], WAIT_US_MAX - 1, True),
        (["facts.police"], WAIT_US_MAX, False),
        (["decisions"], WAIT_US_MAX, True),
        (["facts.police", "receipts"], 1_000 * WAIT_US_MAX, True),
    ],
)
def test_must_wait(unread: list[str], waited_us: int, *, wait: bool) -> None:
    """Facts are waited for five minutes; what people did, as long as it takes."""
    assert wait is must_wait(unread, waited_us)


def test_behind() -> None:
    """A topic is named once, by any partition; a position that nobody has taken yet is 0."""
    ends = {("facts.police", 0): 3, ("facts.police", 1): 2, ("decisions", 0): 1, ("receipts", 0): 0}
    assert ["decisions", "facts.police"] == behind(ends, {("facts.police", 0): 2, ("facts.police", 1): 1})
    assert [] == behind(ends, ends)
