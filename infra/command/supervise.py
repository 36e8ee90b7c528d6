"""`sightline supervise`: what `sightline up` starts in the background."""

from __future__ import annotations

import click
import structlog

from infra.logs import configure
from infra.state import State
from infra.supervisor import Supervisor


@click.command(hidden=True)
def command() -> None:
    """Run the supervisor with JSON logs; `sightline up` starts it in the background."""
    configure("supervisor")
    log = structlog.get_logger("sightline.supervisor")
    Supervisor(State.open(), lambda step: log.info("step", step=step)).run(lambda settings: log.info("all is up"))
