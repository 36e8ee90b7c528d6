"""`sightline ledger`: back up, verify and restore the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from kafka.errors import KafkaError

from consumers import ledger_backup
from consumers.archive import Archive
from domain.problems import SightlineError
from infra.asleep import asleep
from infra.command.progress import counted
from infra.errors import InfraError
from infra.handshake import check_access
from infra.intake import known_positions, raise_ends
from infra.settings import Settings
from infra.state import State

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Back up, verify and restore the ledger. Its entries lie in the archive as in the topic: encrypted."""


@command.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def backup(*, folder: Path, as_json: bool) -> None:
    """Add to the archive in FOLDER what the ledger topic holds beyond it; the first time, all. The house may live meanwhile."""
    settings = Settings.load()
    check_access(settings.access("relay"))
    with _plainly():
        archive = Archive.create(folder)
        with counted(quiet=as_json) as bar:
            task = bar.add_task("records", total=None)
            done = ledger_backup.back_up(settings.access("relay"), archive, lambda n: bar.advance(task, n))
    if as_json:
        click.echo(json.dumps({"added": done, "records": archive.end}))
    else:
        click.echo(f"{done} records added; the archive holds {archive.end}.")


@command.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def verify(*, folder: Path, as_json: bool) -> None:
    """Read the archive in FOLDER and check every byte. Exit status 1 when it is damaged."""
    with _plainly():
        archive = Archive(folder)
        with counted(quiet=as_json) as bar:
            task = bar.add_task("records", total=archive.end)
            found = archive.verify(lambda n: bar.advance(task, n))
    if as_json:
        click.echo(json.dumps({"segments": found.segments, "records": found.records, "bytes": found.size}))
    else:
        click.echo(f"{found.records} records in {found.segments} segments ({found.size} bytes): all whole.")


@command.command()
@click.argument("folder", type=FOLDER)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def restore(*, folder: Path, yes: bool, as_json: bool) -> None:
    """Send the archive in FOLDER to the ledger topic, which must be empty; workers must be stopped.

    On a new broker the offsets of the intake then go on where the ledger's entries stopped.
    """
    if not yes:
        click.confirm("Restore the ledger topic from this archive?", abort=True)
    with _plainly():
        archive = Archive(folder)
        with asleep(State.open(), tell=partial(click.echo, err=True)) as settings, counted(quiet=as_json) as bar:
            task = bar.add_task("records", total=archive.end)
            done = ledger_backup.restore(settings.access("relay"), archive, lambda n: bar.advance(task, n))
            positions = ledger_backup.positions(archive)
            for at, offset in known_positions(settings.views_dsn).items():
                positions[at] = max(positions.get(at, 0), offset)
            moved = raise_ends(settings.admin(), settings.prefix, positions)
    if as_json:
        click.echo(json.dumps({"restored": done, "records": archive.end, "intake_partitions_moved": moved}))
    else:
        click.echo(
            f"{done} records restored; the ledger topic holds {archive.end}. "
            f"{moved} intake partitions go on where the entries stopped."
        )


@contextmanager
def _plainly() -> Iterator[None]:
    """What a person can mend, as one line."""
    try:
        yield
    except SightlineError as err:
        raise InfraError(f"{err}") from err
    except KafkaError as err:
        raise InfraError(f"the broker refused: {type(err).__name__}; say it again when it is well") from err
