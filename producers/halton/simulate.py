"""The thin edge of the simulation: facts go to the agencies' clients when they are due. Used by `sightline demo`.

What must be kept between starts is the borough's `seed` and `end` and whether its history was imported; nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, islice
from threading import Event
from typing import Any, Final, Protocol

from domain.times import SECOND_US
from producers.halton.facts import SimulatedFact

BATCH_FACTS: Final = 500
"""Facts between two reports of progress: about a fiftieth of a year, and one sync of the disk an agency."""

NAP_S: Final = 0.5
"""The longest sleep before looking at `stop` again."""


class Publisher(Protocol):
    """What is needed of an `AgencyClient`."""

    def publish_many(self, facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Publish `(record name, value)` pairs in order."""
        ...


Progress = Callable[[int, SimulatedFact], None]
"""Told how many facts were published so far, and the last of them."""


def publish_all(facts: Iterable[SimulatedFact], clients: Mapping[str, Publisher], progress: Progress | None = None) -> int:
    """Publish `facts` as fast as the clients take them, each by its agency's client, in order; returns how many.

    Raises:
        KeyError: an agency has no client; and what `publish_many` raises.
    """
    done, left = 0, iter(facts)
    while batch := list(islice(left, BATCH_FACTS)):
        by_agency = sorted(batch, key=lambda fact: fact.agency)
        for agency, mine in groupby(by_agency, key=lambda fact: fact.agency):
            clients[agency].publish_many([(fact.record, fact.value) for fact in mine])
        done += len(batch)
        if progress is not None:
            progress(done, batch[-1])
    return done


def live_on(
    facts: Iterable[SimulatedFact], clients: Mapping[str, Publisher], stop: Event, progress: Progress | None = None,
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> int:  # fmt: skip
    """Publish each fact when it is due (`arrives_at`, µs UTC) until `stop` is set or facts end; returns how many.

    Raises:
        KeyError: an agency has no client; and what `publish_many` raises.
    """
    done = 0
    for fact in facts:
        while (wait_s := (fact.arrives_at - now()) / SECOND_US) > 0 and not stop.is_set():
            stop.wait(min(wait_s, NAP_S))
        if stop.is_set():
            break
        clients[fact.agency].publish_many([(fact.record, fact.value)])
        done += 1
        if progress is not None:
            progress(done, fact)
    return done
