"""What a log says when a worker ends: our own one line of what to do, and never a text that somebody else wrote (I7)."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from consumers.host import PositionLost
from domain.problems import InvalidFact, Problem, SightlineError
from infra.errors import InfraError
from infra.logs import CHATTY, Seldom, hush, telling
from producers.errors import SourceError

CANARY = "CANARY-Zebedee"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PositionLost("facts.police[1]: offsets 3 to 7 are no longer in the intake"), "facts.police[1]"),
        (InfraError("free some space"), "free some space"),
        (SightlineError("do this"), "do this"),
        (ValueError(CANARY), None),
        (SourceError(f"{CANARY}.xml is not FHIR"), None),
        (InvalidFact("SchoolConcern", [Problem(CANARY, "unknown-field", "the record has no such field")]), None),
    ],
)
def test_whose_text_may_be_logged(error: Exception, text: str | None) -> None:
    """Ours, where nothing in it was written by a sender."""
    found = telling(error)
    assert (text is None and found is None) or (text is not None and found is not None and text in found)


def test_a_workers_last_line() -> None:
    """As the worker command logs it: the partition is in the log, a foreign text is not."""
    program = (
        "import structlog\n"
        "from consumers.host import PositionLost\n"
        "from infra.logs import configure\n"
        "configure('unify')\n"
        "log = structlog.get_logger('sightline.worker')\n"
        "for error in (PositionLost('facts.police[1]: offsets 3 to 7'), ValueError('CANARY-Zebedee')):\n"
        "    try:\n"
        "        raise error\n"
        "    except Exception:\n"
        "        log.exception('worker died')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert "facts.police[1]: offsets 3 to 7" in done.stdout
    assert "ValueError" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_stopping_is_no_news() -> None:
    """When our own servers are stopped, clients that lose them say nothing; nothing else falls silent."""
    before = {name: logging.getLogger(name).level for name in CHATTY}
    try:
        hush()
        assert not logging.getLogger("kafka.net.connection").isEnabledFor(logging.ERROR)
        assert logging.getLogger("sightline.supervisor").isEnabledFor(logging.WARNING)
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def record(logger: str, line: int, number: int) -> logging.LogRecord:
    """As a library writes it, with a number of its own each time."""
    return logging.LogRecord(logger, logging.WARNING, "base.py", line, "coordinator %d is away", (number,), None)


def test_a_library_that_says_the_same_over_and_over() -> None:
    """Once a second, and how often it was; other lines of it, and all of ours, as ever."""
    at = [100.0]
    seldom = Seldom(lambda: at[0])
    assert [True, False, False] == [seldom.filter(record("kafka.coordinator", 7, n)) for n in range(3)]
    assert seldom.filter(record("kafka.coordinator", 8, 3))
    assert all(seldom.filter(record("consumers.host", 7, n)) for n in range(3))
    at[0] += 1.0
    again = record("kafka.coordinator", 7, 4)
    assert seldom.filter(again) and "coordinator 4 is away (and 2 more like it)" == again.getMessage()
    at[0] += 1.0
    assert seldom.filter(again) and "coordinator 4 is away (and 2 more like it)" == again.getMessage()
