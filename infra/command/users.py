"""`sightline users`: who may sign in, and the credentials of agency systems and GP practices."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from domain.times import iso
from infra.command import agency
from infra.errors import InfraError
from infra.migrate import engine_url
from infra.settings import Settings
from producers.client import now_us
from projections import accesses, accounts
from projections.accounts import AccountError


@contextmanager
def keep() -> Iterator[Connection]:
    """A transaction on `keep`; what a person can mend becomes one line."""
    engine = create_engine(engine_url(Settings.load().keep_dsn), poolclass=NullPool, hide_parameters=True)
    try:
        with engine.begin() as conn:
            yield conn
    except AccountError as err:
        raise InfraError(str(err)) from err
    except SQLAlchemyError as err:
        raise InfraError("database keep does not answer; is the deployment up? (`sightline status`)") from err


@click.group()
def command() -> None:
    """Manage accounts, and the credentials of agency systems and GP practices."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def list_(*, as_json: bool) -> None:
    """List accounts: name, role, disabled or locked."""
    with keep() as conn:
        found = accounts.accounts(conn)
    if as_json:
        click.echo(json.dumps([asdict(a) for a in found]))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "shown as", "role", "state"):
        table.add_column(column)
    for a in found:
        locked = a.locked_until is not None and a.locked_until > now_us()
        table.add_row(a.name, a.display_name, a.role, "disabled" if a.disabled else "locked" if locked else "")
    Console().print(table)


@command.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(accounts.PEOPLE_ROLES))
@click.option("--display-name", default="", help="What others see beside a decision; NAME when not given.")
@click.password_option(help="Asked for when not given; at least 12 characters.")
def add(*, name: str, role: str, display_name: str, password: str) -> None:
    """Add an account that signs in as NAME."""
    with keep() as conn:
        accounts.add_account(conn, name=name, display_name=display_name, role=role, password=password, now=now_us())
    click.echo(f"{name} may sign in as {role}.")


@command.command()
@click.argument("name")
@click.option("--password", default=None, help="Made up and shown once when not given.")
def reset(*, name: str, password: str | None) -> None:
    """Give NAME a new password, unlock and enable the account, and end its sessions."""
    chosen = password or secrets.token_urlsafe(12)
    with keep() as conn:
        accounts.reset_password(conn, name, chosen, now=now_us())
    click.echo(f"{name} is signed out everywhere and may sign in again." + ("" if password else f" New password: {chosen}"))


@command.command()
@click.argument("name")
def disable(*, name: str) -> None:
    """Let NAME sign in no more, and end its sessions."""
    with keep() as conn:
        accounts.disable_account(conn, name, now=now_us())
    click.echo(f"{name} is signed out everywhere and may not sign in.")


command.add_command(agency.command)


@command.group()
def practice() -> None:
    """Credentials of GP practices, by ODS code."""


@practice.command("list")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def list_credentials(*, as_json: bool) -> None:
    """List credentials; secrets are not kept and cannot be shown."""
    with keep() as conn:
        found = accesses.credentials(conn)
    if as_json:
        click.echo(json.dumps([asdict(c) for c in found]))
        return
    for c in found:
        ends = f"revoked {iso(c.revoked_at)}" if c.revoked_at else f"until {iso(c.expires_at)}" if c.expires_at else "live"
        click.echo(f"{c.practice_ods}  {c.client_id}  {ends}")


@practice.command()
@click.argument("ods")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def issue(*, ods: str, as_json: bool) -> None:
    """Issue a credential to practice ODS; its secret is shown this once."""
    with keep() as conn:
        credential, secret = accesses.issue_credential(conn, ods.upper(), now=now_us())
    _show(credential, secret, as_json)


@practice.command()
@click.argument("ods")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def rotate(*, ods: str, as_json: bool) -> None:
    """Issue a new credential to practice ODS; the old ones work for 7 more days."""
    with keep() as conn:
        credential, secret = accesses.rotate_credential(conn, ods.upper(), now=now_us())
    _show(credential, secret, as_json)


@practice.command()
@click.argument("ods")
def revoke(*, ods: str) -> None:
    """End every credential of practice ODS at once."""
    with keep() as conn:
        ended = accesses.revoke_credentials(conn, ods.upper(), now=now_us())
    click.echo(f"{ended} credential{'' if ended == 1 else 's'} of {ods.upper()} revoked.")


def _show(credential: accesses.Credential, secret: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"practice_ods": credential.practice_ods, "client_id": credential.client_id, "secret": secret}))
        return
    click.echo(
        f"practice   {credential.practice_ods}\nclient id  {credential.client_id}\nsecret     {secret}   (shown this once)"
    )
