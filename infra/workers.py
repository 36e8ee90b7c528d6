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
from infra.heartbeat import Heartbeat
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Worker:
    """A kind of process: its name, how it runs, how many of it, and whether it says after each step that it gets on."""

    name: str
    run: Callable[[Settings], None]
    processes: int = 1
    beats: bool = True


@dataclass(frozen=True, slots=True)
class Preparation:
    """A step of every start, after topics, databases and schemas exist and before the first worker; must be repeatable."""

    title: str
    run: Callable[[Settings], None]


def instance() -> int:
    """Which process of its kind this one is, from 0."""
    return int(os.environ.get("SIGHTLINE_INSTANCE", "0"))


def _unify(settings: Settings) -> None:
    from infra import assembly

    assembly.until_stopped(assembly.unify(settings, instance(), beat=Heartbeat.of_this_process()))


def _relay(settings: Settings) -> None:
    from infra import assembly

    assembly.until_stopped(assembly.relay(settings, instance(), beat=Heartbeat.of_this_process()))


def _clock(settings: Settings) -> None:
    from infra import assembly

    assembly.until_stopped(assembly.clock(settings, instance(), beat=Heartbeat.of_this_process()))


def _deliver(settings: Settings) -> None:
    from infra import assembly

    assembly.until_stopped(assembly.deliver(settings, instance(), beat=Heartbeat.of_this_process()))


def _pulse(settings: Settings) -> None:
    from consumers.pulse import run
    from infra import assembly

    run(settings.access("pulse"), assembly.codec(settings), assembly.pulse_folder(settings), Heartbeat.of_this_process())


def _web(settings: Settings) -> None:
    from infra import web

    web.serve(settings)


def _go_on_with_the_intake(settings: Settings) -> None:
    from infra import intake

    intake.raise_ends(settings.admin(), settings.prefix, intake.known_positions(settings.views_dsn))


def _check_keep(settings: Settings) -> None:
    from infra import keep_check

    keep_check.check_keep(settings)


PREPARATIONS: Final[tuple[Preparation, ...]] = (
    Preparation("Trying the keys", _check_keep),
    Preparation("Looking where the intake goes on", _go_on_with_the_intake),
)

WORKERS: Final[tuple[Worker, ...]] = (
    Worker("web", _web, beats=False),
    Worker("unify", _unify, 2),
    Worker("relay", _relay),
    Worker("clock", _clock),
    Worker("deliver", _deliver),
    Worker("pulse", _pulse),
)
"""In the order in which they start. Imports are inside: a worker loads its own libraries only, and a broken one leaves the others
standing.
"""


def worker(name: str) -> Worker:
    """The worker of this name. Raises: MissingWorker naming those there are."""
    for one in WORKERS:
        if one.name == name:
            return one
    raise MissingWorker(f"there is no worker {name!r}; there are {', '.join(w.name for w in WORKERS)}")
