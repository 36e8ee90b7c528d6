"""`sightline users agency`: what an agency's own system signs in with, shown once; rotated and revoked here."""

from __future__ import annotations

import json

import click

from infra import agencies
from infra.settings import Settings
from schemas.topics import AGENCIES

AGENCY = click.argument("agency", type=click.Choice(AGENCIES))
JSON = click.option("--json", "as_json", is_flag=True, help="For a script.")


@click.group("agency")
def command() -> None:
    """Credentials of agency systems, by agency."""


@command.command()
@AGENCY
@JSON
def issue(*, agency: str, as_json: bool) -> None:
    """Give AGENCY's system a password, and show once all that it needs to connect."""
    told = agencies.issue(Settings.load(), agency)
    if as_json:
        click.echo(json.dumps({name.lower().replace(" ", "_"): value for name, value in told.lines()}))
        return
    for name, value in told.lines():
        click.echo(f"{name:<11} {value}")
    click.echo("The password is shown this once. Hand it and the key secret over by a way that is safe for secrets.")


@command.command()
@AGENCY
@JSON
def rotate(*, agency: str, as_json: bool) -> None:
    """Give AGENCY's system a new password; the old one ends at its next login. Nothing else changes."""
    password = agencies.issue(Settings.load(), agency).access.password
    click.echo(json.dumps({"password": password}) if as_json else f"password    {password}   (shown this once)")


@command.command()
@AGENCY
def revoke(*, agency: str) -> None:
    """Lock AGENCY's system out from its next login on; `issue` lets it in again."""
    agencies.issue(Settings.load(), agency)
    click.echo(f"The system of {agency} is locked out from its next login on. Restart the broker to cut what is connected now.")
