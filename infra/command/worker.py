"""`sightline worker NAME`: one worker in this process."""

from __future__ import annotations

import os
import sys

import click
import structlog

from infra.errors import InfraError, MissingWorker
from infra.logs import configure
from infra.settings import Settings
from infra.supervised import EX_CONFIG
from infra.workers import WORKERS, worker


@click.command()
@click.argument("name", type=click.Choice([w.name for w in WORKERS]))
def command(name: str) -> None:
    """Run one worker here, with JSON logs, until SIGTERM.

    `sightline up` and `sightline run` start them all; run one by hand to look at it, or to add one elsewhere.
    """
    configure(name)
    log = structlog.get_logger("sightline.worker")
    try:
        worker(name).run(Settings.load())
    except (MissingWorker, ModuleNotFoundError) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else str(error)
        log.exception("worker cannot be built", missing=missing)
        sys.exit(EX_CONFIG)
    except InfraError:
        log.exception("worker stops")
        sys.exit(1)
    except Exception:  # the last one to see it: logged without its text (I7), then the supervisor starts us again
        log.exception("worker died")
        os._exit(1)  # not sys.exit: threads of client libraries must not keep a dead worker alive
