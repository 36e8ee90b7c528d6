"""Facts in a spool, and a process that dies."""

from __future__ import annotations

from producers.facts import Fact
from producers.spool import Spool


class Crash(BaseException):
    """The process dies here."""


def fact(number: int, size: int = 20) -> Fact:
    """A fact that shows its number."""
    return Fact(f"id-{number}", "SchoolConcern", "fp", "k" * 32, "2026-01-01T00:00:00Z", bytes([number % 256]) * size)


def numbers(spool: Spool, after: int | None = None) -> list[int]:
    """What waits, by the number in each fact, read in small steps as the sender does."""
    found: list[int] = []
    at = spool.acked if after is None else after
    while more := spool.read(at, 2):
        found += [int(w.fact.event_id.removeprefix("id-")) for w in more]
        at = more[-1].number
    return found
