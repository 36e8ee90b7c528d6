"""`sightline status`: what runs, and how it is."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Final
from urllib.request import urlopen

import click
import psycopg
from rich.console import Console
from rich.table import Table

from infra import records
from infra.errors import AccessError
from infra.figures import figures, lines, troubles
from infra.handshake import check_access
from infra.registry import compatibility
from infra.settings import Settings

READY_S: Final = 2.0
COLOURS = {"up": "green", "given": "green", "starting": "yellow", "waiting": "yellow"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    kind: str
    condition: str
    address: str = ""
    pid: int | None = None
    restarts: int = 0

    @property
    def well(self) -> bool:
        """True when it works."""
        return self.condition in {"up", "given"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(*, as_json: bool) -> None:
    """Show what runs, and how it is. Exit status 0 when all is well, 1 otherwise.

    Well: every process is up and gets on, and nothing has waited over a minute to be decided or to reach the ledger.
    """
    settings = Settings.load()
    rows = survey(settings)
    runs = any(row.well for row in rows)
    found = figures(settings) if runs else {}
    wrong = troubles(found)
    healthy = bool(rows) and all(row.well for row in rows) and not wrong
    if as_json:
        listed = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
        click.echo(
            json.dumps(
                {"healthy": healthy, "troubles": wrong, "prefix": settings.prefix, "processes": listed, "figures": found},
                default=str,
            )
        )
    else:
        _show(rows, found, wrong)
    sys.exit(0 if healthy else 1)


def survey(settings: Settings) -> list[Row]:
    """Every part and worker with its condition now: parts are asked, workers are looked up by pid and start time."""
    record = records.read(settings.state)
    running = record.processes if record and record.alive else ()
    known = {process.name: process for process in running}
    rows: list[Row] = []
    for name, given, address, well in _parts(settings):
        process = known.get(name)
        condition = (
            ("given" if given else "up") if well else (process.condition if process and process.condition != "up" else "down")
        )
        rows.append(Row(name, "part", condition, address, process.pid if process else None, process.restarts if process else 0))
    for process in running:
        if process.kind == "worker":
            alive = process.identity is not None and process.identity.alive()
            condition = process.condition if alive or process.condition != "up" else "down"
            address = ""
            if process.name == "web":
                address = f"{settings.web_host}:{settings.web_port}"
                condition = "stalled" if condition == "up" and not _ready(address) else condition
            rows.append(Row(process.name, "worker", condition, address, process.pid, process.restarts))
    return rows


def _parts(settings: Settings) -> list[tuple[str, bool, str, bool]]:
    return [
        ("postgres", settings.given_database, _database_address(settings), _database(settings)),
        ("kafka", settings.given_kafka, settings.bootstrap, _broker(settings)),
        ("registry", settings.given_registry, settings.registry_url, compatibility(settings.registry_url) is not None),
    ]


def _database_address(settings: Settings) -> str:
    return settings.views_dsn.rpartition("@")[2].partition("/")[0]


def _database(settings: Settings) -> bool:
    try:
        for dsn in (settings.views_dsn, settings.keep_dsn):
            psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.Error:
        return False
    return True


def _broker(settings: Settings) -> bool:
    try:
        check_access(settings.admin(), timeout_s=2)
    except AccessError:
        return False
    return True


def _ready(address: str) -> bool:
    """Does the web show pages: with its databases, and views that have caught up with the ledger?"""
    try:
        with urlopen(f"http://{address}/readyz", timeout=READY_S):
            return True
    except OSError:
        return False


def _show(rows: list[Row], found: dict[str, object], wrong: list[str]) -> None:
    console = Console(highlight=False)
    if not any(row.pid for row in rows) and not any(row.well for row in rows):
        console.print("Nothing runs. Start it with `sightline up` (background) or `sightline run` (foreground).")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("", "", "condition", "pid", "restarts", "address"):
        table.add_column(column)
    for row in rows:
        colour = COLOURS.get(row.condition, "red")
        condition = f"[{colour}]{row.condition}[/]"
        table.add_row(row.name, row.kind, condition, str(row.pid or ""), str(row.restarts or ""), row.address)
    console.print(table)
    for line in lines(found):
        console.print(line)
    for words in wrong:
        console.print(f"[red]{words}[/]")
