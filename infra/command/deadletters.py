"""`sightline deadletters`: what could not be accepted, why, and how to mend it."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Column, Table

from domain.model import make_id
from domain.problems import InvalidFact, SightlineError
from domain.times import iso
from infra import assembly
from infra.errors import InfraError
from infra.settings import Settings
from producers.client import AgencyClient
from schemas.topics import AGENCIES, HOUSE

WAITING: Final = 4
FLUSH_S: Final = 30.0
"""So long `mend` waits for the broker before it leaves the fact on this disk."""


@click.group()
def command() -> None:
    """List, show and mend dead letters. They hold reason and pointer, never content."""


@command.command("list")
@click.option("--agency", type=click.Choice((*AGENCIES, HOUSE)), help="Only this agency's; `house`: our own topics'.")
@click.option("-n", "limit", default=50, show_default=True, help="At most so many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def list_(*, agency: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    found = assembly.reading(Settings.load()).dead_letters(agency, limit)
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("There are no dead letters.")
        return
    letter = Column("letter", no_wrap=True, min_width=36)  # whole, however narrow the screen: `show` needs it
    table = Table(letter, "agency", "record", "reason", "when", box=None, pad_edge=False)
    for x in found:
        table.add_row(x["letter_id"], x["agency"], x["record"] or "", x["reason"], iso(x["accepted_at"]))
    Console().print(table)


@command.command()
@click.argument("letter")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def show(*, letter: str, as_json: bool) -> None:
    """Show why LETTER was refused: which field breaks which rule, and where the agency's bytes still lie."""
    found = _letter(Settings.load(), letter)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found['reason']}: {found['message']}")
    for p in found["problems"]:
        click.echo(f"  {p['field']}: {p['message']} [{p['rule']}]")
    click.echo(f"agency {found['agency']}, record {found['record'] or 'unknown'}, fact {found['event_id'] or 'unknown'}")
    click.echo(
        f"intake {found['source_topic']}[{found['source_partition']}] offset {found['source_offset']}, "
        f"ledger entry {found['number']}"
    )


@command.command()
@click.argument("letter")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def mend(*, letter: str, file: Path) -> None:
    """Publish FILE (one JSON object `{"record", "value"}`) in place of LETTER, as its agency.

    It supersedes the fact that was refused (a Retraction replaces nothing), under a new id made of letter and content: the same
    file said again is the same fact. Exit status 4: it is kept on this disk, and goes out with the next `mend` as this agency.
    """
    settings = Settings.load()
    found = _letter(settings, letter)
    if found["agency"] == HOUSE:
        raise InfraError("this letter is about a record of the house's own topic: mend the program that wrote it")
    record, value = _replacement(file, found)
    agency = found["agency"]
    secret = settings.secret(f"agency.{agency}.key").encode()
    spool = settings.spool_dir(f"{agency}-mend")
    with closing(AgencyClient(settings.access(f"agency.{agency}"), agency, assembly.codec(settings), secret, spool)) as client:
        try:
            event_id = client.publish(record, value)
        except InvalidFact as err:
            raise InfraError(f"{file.name}: still not acceptable: " + "; ".join(str(p) for p in err.problems)) from err
        try:
            client.flush(FLUSH_S)
        except SightlineError as err:
            click.echo(
                f"kept on this disk as {event_id}: {err}. The next `mend` as {agency} sends it; this one again adds nothing."
            )
            sys.exit(WAITING)
    click.echo(f"published as {event_id}")


def _replacement(file: Path, letter: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Record and value to publish. The id is made of letter and content, so that saying it twice adds nothing (I1)."""
    try:
        given: dict[str, Any] = json.loads(file.read_text())
        record, value = given["record"], given["value"]
        envelope = value["envelope"]
        envelope.pop("event_id", None)
        if letter["event_id"] is not None and record != "Retraction":
            envelope["supersedes"] = letter["event_id"]
        content = json.dumps([record, value], sort_keys=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise InfraError(f"{file.name}: needs one JSON object with `record` and `value.envelope`") from err
    envelope["event_id"] = make_id("mended", letter["letter_id"], content)
    return record, value


def _letter(settings: Settings, letter: str) -> dict[str, Any]:
    found = assembly.reading(settings).dead_letter(letter)
    if found is None:
        raise InfraError(f"there is no dead letter {letter}")
    return found
