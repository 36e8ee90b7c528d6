"""`sightline verify`: are the living views what a clean fold of the ledger gives?"""

from __future__ import annotations

import json
import sys
from contextlib import closing

import click

from consumers.ledger import LedgerReader
from infra import assembly, stores
from infra.command.progress import counted
from infra.settings import Settings
from projections.verify import verify

SHOWN: int = 20


@click.command()
@click.option("--sample", type=click.IntRange(min=1), help="Compare where so many children stand, drawn anew each time, not all.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(*, sample: int | None, as_json: bool) -> None:
    """Compare the living views with a clean fold of the ledger, byte for byte (I2). Exit status 1 when they differ.

    Differences name table and key, never content.
    """
    settings = Settings.load()
    with closing(LedgerReader(settings.access("relay"))) as reader, counted(quiet=as_json) as bar:
        task = bar.add_task("entries", total=reader.end()[0])
        applier = assembly.applier(settings, lambda n: bar.advance(task, n))
        values = (sent.value for sent in reader.entries())
        engine = stores.long_engine(settings.views_dsn, "verify")
        count, found = verify(engine, values, applier, stores.current_reference(), sample)
    if as_json:
        listed = [{"table": d.table, "key": d.key, "side": d.side} for d in found]
        click.echo(json.dumps({"children": count, "differences": listed}))
    else:
        for d in found[:SHOWN]:
            click.echo(f"{d.table} {d.key}: {d.side}")
        click.echo(f"{count} children compared, {len(found)} differences" + (f" ({SHOWN} shown)" if len(found) > SHOWN else ""))
    sys.exit(1 if found else 0)
