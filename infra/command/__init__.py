"""The `sightline` command. Each subcommand is an attribute `command` of a module of this package, imported when used.

To add one: write the module, and name it in `COMMANDS`. Wrap what a person can mend in an `InfraError` (or click's own
errors): it becomes one line and exit status 1.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from typing import Final

import click

from domain.problems import SightlineError

COMMANDS: Final[dict[str, str]] = {
    "run": "infra.command.run",
    "up": "infra.command.up",
    "down": "infra.command.down",
    "status": "infra.command.status",
    "reset": "infra.command.reset",
    "demo": "infra.command.demo",
    "publish": "infra.command.publish",
    "tail": "infra.command.tail",
    "view": "infra.command.view",
    "explain": "infra.command.explain",
    "rebuild": "infra.command.rebuild",
    "verify": "infra.command.verify",
    "deadletters": "infra.command.deadletters",
    "keep": "infra.command.keep",
    "ledger": "infra.command.ledger",
    "users": "infra.command.users",
    "worker": "infra.command.worker",
    "revision": "infra.command.revision",
    "supervise": "infra.command.supervise",
}
"""Subcommand → module, in the order of the help."""


class Commands(click.Group):
    """A group that imports a subcommand only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the subcommands, in our order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "worker":  # structlog would load rich, for tracebacks in colour: 5 MB in every worker, whose log is JSON
            sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
        gc.disable()  # all that an import makes stays: looking through it meanwhile took an eighth of the start
        try:
            found = importlib.import_module(COMMANDS[cmd_name]).command
        finally:
            gc.enable()
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="sightline", prog_name="sightline")
def sightline() -> None:
    """Sightline: agencies around a child tell one another what they know, so that the child is seen whole and in time.

    The state folder is .sightline in the repository; SIGHTLINE_STATE names another.
    """


def main() -> None:
    """The console script: one line and exit status 1 for what a person can mend."""
    atexit.register(gc.freeze)  # or it ends with a look through all that was imported: 0.2 s, and nothing to find
    try:
        sightline(prog_name="sightline")
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        click.echo(f"sightline: {line}", err=True)
        sys.exit(1)


def in_one_line(error: Exception) -> str | None:
    """What a person can mend, without values (I7): our own errors, and a server that is away or refuses. None: our fault."""
    if isinstance(error, SightlineError):
        return str(error)
    import psycopg
    from kafka.errors import KafkaError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
    if isinstance(error, SQLAlchemyError | psycopg.Error):
        return f"a database is away, or not what it should be ({kind}); `sightline status` shows what runs"
    if isinstance(error, KafkaError):
        return f"the broker is away, or refuses ({kind}); `sightline status` shows what runs"
    return None
