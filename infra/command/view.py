"""`sightline view`: a child's view as a document."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Final

import click
from rich.console import Console

from domain.identifiers import CHECKS
from domain.matching import SYSTEMS
from domain.problems import SightlineError
from domain.sharing import Reader, records_beside, redact
from domain.times import LONDON, to_us
from infra import assembly, stores
from infra.errors import InfraError
from infra.settings import Settings
from projections.accesses import record_access

FIELDS: Final[Mapping[str, str]] = {"nhs": "nhs_number", "upn": "upn", "la": "la_child_id", "pnc": "pnc"}
ROLES = ("icart_social_worker", "icart_manager", "icart_police", "icart_health", "icart_education", "edt")


@click.command()
@click.option("--identifier", metavar="SYSTEM:VALUE", help="nhs:, upn:, la: or pnc: and a checked identifier.")
@click.option("--child", "child_id", metavar="CHILD", help="The child's id.")
@click.option("--as-of", metavar="WHEN", help="What was true then: ISO 8601, London time when without an offset.")
@click.option("--known-at", metavar="WHEN", help="What we knew then.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="icart_manager",
    show_default=True,
    help="As whom: what this role may not see is withheld.",
)
@click.option("--purpose", required=True, help="Why you look: it is recorded with your name.")
@click.option("--json", "as_json", is_flag=True, help="The whole document, for a script.")
def command(
    *,
    identifier: str | None,
    child_id: str | None,
    as_of: str | None,
    known_at: str | None,
    role: str,
    purpose: str,
    as_json: bool,
) -> None:
    """Show what is known of one child, as a role may see it. The look is recorded before anything is shown."""
    settings = Settings.load()
    found = lookup(settings, identifier, child_id, role, purpose, as_of, known_at)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from domain.explain import explain

    console = Console(highlight=False)
    for line in explain(found):
        console.print(line, markup=False)


def lookup(  # noqa: PLR0917  the command's options
    settings: Settings,
    identifier: str | None,
    child_id: str | None,
    role: str,
    purpose: str,
    as_of: str | None = None,
    known_at: str | None = None,
) -> dict[str, object]:
    """The redacted view, once the access record is committed.

    Raises:
        InfraError: no such child, several records with that number, or the options are not usable.
    """
    reading = assembly.reading(settings)
    if (identifier is None) == (child_id is None):
        raise InfraError("give either --identifier SYSTEM:VALUE or --child CHILD")
    found = [child_id] if identifier is None else reading.children_by_identifier(*checked(identifier))
    child_id = found[0] if len(found) == 1 else None
    view = (
        None
        if child_id is None
        else reading.child_view(reading.current_child(child_id) or child_id, instant(as_of), instant(known_at))
    )
    try:
        told = None if view is None else redact(view, Reader(role, None, "command"))
    except SightlineError as err:
        raise InfraError(str(err)) from err
    keep = stores.engine(settings.keep_dsn, "command")
    shown = [] if view is None or told is None else [str(view["child_id"]), *reading.children_of(records_beside(told))]
    with closing(keep.connect()) as conn, conn.begin():
        record_access(
            conn,
            actor_id=f"command:{getpass.getuser()}",
            role=role,
            action="view",
            purpose=purpose,
            children=shown,
            now=stores.now_us(),
        )
    if len(found) > 1:
        raise InfraError(
            "several records carry that number, and nobody has said that they are one child: "
            "their possible match is to be decided (page Possible matches); --child shows one of them"
        )
    if told is None:
        raise InfraError("no child is known by that")
    return told


def checked(identifier: str) -> tuple[str, str]:
    """(system, number as it is kept) of SYSTEM:VALUE as typed.

    Raises:
        InfraError: no such system, or the value is not one of its numbers.
    """
    system, _, value = identifier.partition(":")
    system = system.strip().lower()
    if system not in FIELDS or not value:
        raise InfraError("--identifier is SYSTEM:VALUE with one of nhs, upn, la, pnc")
    found = CHECKS[FIELDS[system]](value)
    if found is None:
        raise InfraError(f"that is not a valid {SYSTEMS[system]}: nothing was looked up; see whether it was mistyped")
    return system, found


def instant(text: str | None) -> int | None:
    """An option as µs.

    Raises:
        InfraError: not ISO 8601.
    """
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as err:
        raise InfraError("WHEN is an ISO 8601 date or instant, like 2026-03-01 or 2026-03-01T12:00+00:00") from err
    return to_us(when if when.tzinfo else when.replace(tzinfo=LONDON))
