"""`sightline reset`: forget the data."""

from __future__ import annotations

import click

from infra.command.down import stop
from infra.state import State


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(*, yes: bool) -> None:
    """Stop everything and forget its data and secrets; the environment and the downloads stay.

    Only this machine's own broker, databases and registry are forgotten, never given ones.
    """
    state = State.open()
    if not yes:
        click.confirm(f"Forget all data under {state.root}?", abort=True)
    stop(state)
    click.echo("Forgotten." if state.forget() else "There was nothing to forget.")
