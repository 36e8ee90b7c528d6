"""`sightline up`: everything in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import click
from rich.console import Console

from infra import records
from infra.errors import StartError
from infra.processes import Identity
from infra.settings import Settings
from infra.state import REPOSITORY, State


@click.command()
@click.option("--timeout", "timeout_s", default=600, show_default=True, help="Seconds to wait until all is healthy.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as JSON.")
def command(*, timeout_s: int, as_json: bool) -> None:
    """Bring everything up in the background and return when it is healthy.

    Does nothing when it is up already. The first time it fetches about 250 MB.
    """
    state = State.open()
    console = Console(stderr=True, highlight=False)
    record = records.read(state)
    if not (record and record.alive):
        record = _await(state, _start(state), console, timeout_s)
    elif not record.settled:
        record = _await(state, record.identity, console, timeout_s)
    settings = Settings.load(state=state)
    for process in record.processes:
        if process.condition == "absent":
            console.print(f"[yellow]worker {process.name} is not there:[/] see {state.logs / process.name}.log")
    if as_json:
        click.echo(json.dumps({"web": settings.web_address, "kafka": settings.bootstrap, "registry": settings.registry_url}))
    else:
        click.echo(f"Sightline is up: {settings.web_address}   (sightline status · sightline down)")


def _start(state: State) -> Identity:
    """Start the supervisor, detached from this terminal."""
    state.logs.mkdir(parents=True, exist_ok=True)
    with (state.logs / "supervisor.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "infra.command", "supervise"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=REPOSITORY,
            env={**os.environ, "SIGHTLINE_STATE": str(state.root), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    identity = Identity.of(started.pid)
    if identity is None:
        raise StartError(f"the supervisor did not start; see {state.logs / 'supervisor.log'}")
    return identity


def _await(state: State, supervisor: Identity, console: Console, timeout_s: int) -> records.Record:
    until = time.monotonic() + timeout_s
    with console.status("Starting") as spinner:
        while time.monotonic() < until:
            record = records.read(state)
            mine = record is not None and record.identity == supervisor
            if record and mine and record.settled:
                return record
            if record and mine and record.phase == "failed":
                raise StartError(record.error)
            if not supervisor.alive():
                raise StartError(f"the supervisor ended while starting; see {state.logs / 'supervisor.log'}")
            if record and mine and record.step:
                spinner.update(record.step)
            time.sleep(0.1)
    raise StartError(f"not healthy within {timeout_s} s, and left running; see `sightline status`, or `sightline down`")
