"""`sightline rebuild`: the views anew, from the ledger and the keys alone."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import click

from infra import migrate, stores
from infra.command.progress import counted
from infra.settings import Settings
from projections.collecting import collect_rarely


def _records(settings: Settings) -> int:
    """How many records the topic holds: the entries, and the few takeovers between them."""
    from consumers.ledger import LedgerReader

    with closing(LedgerReader(settings.access("relay"))) as reader:
        return reader.end_offset()


@click.command()
@click.option(
    "--archive",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="A ledger archive to read first.",
)
@click.option("--json", "as_json", is_flag=True, help="Figures for a script.")
def command(*, archive: Path | None, as_json: bool) -> None:
    """Make every view anew from the ledger and the keys, beside the living ones; once verified, put them in their place.

    The living views serve until then. Nothing is decided and nothing is sent. It may run while the house lives; ended by
    Ctrl-C it leaves the living views as they were.
    """
    settings = Settings.load()
    collect_rarely()
    started = time.monotonic()
    with stores.rebuild_crew(settings) as pool:
        from consumers.archive import Archive  # with Kafka's client: a quarter of a second, in which the crew connects
        from infra import assembly

        migrate.ensure(settings.views_dsn, "views")
        with counted(quiet=as_json) as bar:
            task = bar.add_task("entries", total=None if as_json else _records(settings))
            found = None if archive is None else Archive(archive)
            done = assembly.rebuild_views(settings, pool, found, lambda n: bar.advance(task, n))
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json.dumps({"entries": done, "seconds": round(seconds, 2)}))
    else:
        click.echo(f"{done} entries in {seconds:.1f} s ({done / seconds:.0f} a second); the new views are in place.")
