"""`sightline revision`: write a migration after the tables changed (for developers)."""

from __future__ import annotations

import click
from psycopg.conninfo import conninfo_to_dict

from infra.migrate import Which, write_revision
from infra.settings import Settings


@click.command(hidden=True)
@click.argument("which", type=click.Choice(["views", "keep"]))
@click.argument("message")
def command(which: Which, message: str) -> None:
    """Write the revision that makes database WHICH match the tables in projections/, titled MESSAGE.

    Needs PostgreSQL to be up (`sightline up`); it works in a scratch database of its own.
    """
    dsn = Settings.load().views_dsn
    scratch = dsn.replace(f"/{conninfo_to_dict(dsn)['dbname']}", "/sightline_scratch")
    written = write_revision(scratch, which, message)
    click.echo(f"Read it, then commit it: {written}" if written else f"The revisions of {which} match its tables.")
