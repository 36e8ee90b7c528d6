"""The composition root: which processes a deployment has, and how each is put together from `Settings`.

A function here imports what it starts, hands it its own addresses and secrets, and returns when asked to stop
(SIGTERM). `SIGHTLINE_INSTANCE` (0, 1, …) tells the processes of one worker apart, say for `group_instance_id`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.errors import MissingWorker
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Worker:
    """A kind of process: its name, how it runs, how many of it."""

    name: str
    run: Callable[[Settings], None]
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Preparation:
    """A step of every start, after topics and databases exist and before the first worker; must be repeatable."""

    title: str
    run: Callable[[Settings], None]


def instance() -> int:
    """Which process of its kind this one is, from 0."""
    return int(os.environ.get("SIGHTLINE_INSTANCE", "0"))


def _unwritten(name: str) -> Callable[[Settings], None]:
    def run(settings: Settings) -> None:
        del settings
        raise MissingWorker(f"worker {name} is not written yet: give it an entry in infra/workers.py")

    return run


PREPARATIONS: Final[tuple[Preparation, ...]] = ()

WORKERS: Final[tuple[Worker, ...]] = tuple(
    Worker(name, _unwritten(name), processes)
    for name, processes in (("unify", 2), ("relay", 1), ("clock", 1), ("deliver", 1), ("pulse", 1), ("web", 1))
)


def worker(name: str) -> Worker:
    """The worker of this name. Raises: MissingWorker naming those there are."""
    for one in WORKERS:
        if one.name == name:
            return one
    raise MissingWorker(f"there is no worker {name!r}; there are {', '.join(w.name for w in WORKERS)}")
