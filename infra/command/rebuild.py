"""`sightline rebuild`: the views anew, from the ledger and the keys alone."""

from __future__ import annotations

import json
import time
from contextlib import closing

import click

from consumers.ledger import LedgerReader
from infra import assembly, migrate
from infra.command.progress import counted
from infra.settings import Settings
from projections.rebuild import rebuild


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Figures for a script.")
def command(*, as_json: bool) -> None:
    """Make every view anew from the ledger in Kafka and the keys, beside the living ones, then put it in their place.

    Nothing is decided and nothing is sent. It may run while the house lives.
    """
    settings = Settings.load()
    migrate.ensure(settings.views_dsn, "views")
    started = time.monotonic()
    with closing(LedgerReader(settings.access("relay"))) as reader, counted(quiet=as_json) as bar:
        task = bar.add_task("entries", total=reader.end()[0])
        applier = assembly.applier(settings, lambda n: bar.advance(task, n))
        values = (sent.value for sent in reader.entries())
        done = rebuild(assembly.long_engine(settings.views_dsn, "rebuild"), values, applier)
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json.dumps({"entries": done, "seconds": round(seconds, 2)}))
    else:
        click.echo(f"{done} entries in {seconds:.1f} s ({done / seconds:.0f} a second); the new views are in place.")
