"""`sightline demo`: the simulated borough on a house that is up."""

from __future__ import annotations

import signal
import threading
import time
from typing import Final

import click
from rich.console import Console

from infra import records
from infra.errors import StartError, StateError
from infra.processes import Identity, signal_process
from infra.settings import Settings
from infra.state import DEMONSTRATION, State

AGAIN_S: Final = 60.0
"""The longest that the pages are waited for after they were started again."""


@click.command()
@click.option("--children", type=click.IntRange(min=100), help="Of a smaller borough, at its first start.")
def command(*, children: int | None) -> None:
    """Let the simulated borough live on a house that `sightline up` started, until Ctrl-C.

    The first time it makes the people who may sign in and imports a year. `sightline run` does the same by itself.
    """
    state = State.open()
    record = records.read(state)
    if record is None or not record.alive or not record.settled:
        raise StateError("the house is not up: `sightline up` starts it, `sightline status` shows how it is")
    from infra import demo

    settings = Settings.load(state=state)
    unmarked = not state.read_json(DEMONSTRATION)
    demo.begin(settings, children)
    if unmarked:
        mark_pages(state)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console = Console(highlight=False)
    demo.run(settings, console, stop=stop)
    console.print("The borough has stopped; the house goes on.")


def mark_pages(state: State) -> None:
    """Have the supervisor start the web anew: it says on every page that the children are invented from its start on.

    Raises: StartError when it does not come back.
    """
    before = _web(state)
    if before is None:
        return
    signal_process(before, signal.SIGTERM)
    until = time.monotonic() + AGAIN_S
    while time.monotonic() < until:
        record, now = records.read(state), _web(state)
        if record and record.settled and now not in (None, before):
            return
        time.sleep(0.1)
    raise StartError(f"the web did not start again within {AGAIN_S:.0f} s; see `sightline status`")


def _web(state: State) -> Identity | None:
    record = records.read(state)
    return next((p.identity for p in (record.processes if record else ()) if p.name == "web"), None)
