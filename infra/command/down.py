"""`sightline down`: stop what runs."""

from __future__ import annotations

import click

from infra import records
from infra.processes import end
from infra.state import State

GRACE_S = 60.0


@click.command()
def command() -> None:
    """Stop everything in good order; the data is kept."""
    click.echo("Everything is stopped; the data is kept." if stop(State.open()) else "Nothing runs.")


def stop(state: State) -> bool:
    """End the supervisor and what it started, and whatever outlived one. False when nothing ran."""
    record = records.read(state)
    if record is None:
        return False
    ran = end(record.identity, grace_s=GRACE_S)
    for process in reversed((records.read(state) or record).processes):
        if process.identity and end(process.identity, grace_s=5.0):
            ran = True
    return ran
