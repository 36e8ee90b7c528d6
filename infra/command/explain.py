"""`sightline explain`: why is this child in the queue, or not."""

from __future__ import annotations

import json

import click

from domain.explain import explain
from infra.command.view import ROLES, lookup
from infra.settings import Settings


@click.command()
@click.argument("child", metavar="CHILD")
@click.option("--role", type=click.Choice(ROLES), default="icart_manager", show_default=True, help="As whom.")
@click.option("--purpose", required=True, help="Why you look: it is recorded with your name.")
@click.option("--json", "as_json", is_flag=True, help="Lines as a JSON list.")
def command(*, child: str, role: str, purpose: str, as_json: bool) -> None:
    """Say in words which rules hold for CHILD, on which facts, of which policy version, and what would change it."""
    lines = explain(lookup(Settings.load(), None, child, role, purpose))
    click.echo(json.dumps(lines, ensure_ascii=False) if as_json else "\n".join(lines))
