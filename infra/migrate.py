"""Create and migrate the two databases: `views` (can be dropped at any time) and `keep` (cannot)."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from infra.errors import MigrationError

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported where it is used: every worker imports this module, and hardly one of them migrates.

Which = Literal["views", "keep"]
MIGRATIONS: Final = Path(__file__).with_name("migrations")

AUTOVACUUM_S: Final = 20.0
"""The longest wait for an autovacuum to leave a database that is dropped; on tables of ours it takes a second or two."""

_ALEMBIC = threading.Lock()
"""Alembic's context is a module global: one migration at a time in a process."""

LOCK: Final = 0x516874
"""Advisory lock under which a database is migrated, so that two starts do not do it at once."""


def ensure(dsn: str, which: Which) -> str | None:
    """Create the database of `dsn` when it is missing and bring it to the newest revision; returns that revision.

    `dsn` is a libpq URL. None when no revision exists yet. Raises: MigrationError.
    """
    if (there := _newest_already(dsn, which)) is not None:
        return there
    from alembic.util import CommandError

    try:
        create_database(dsn)
        with psycopg.connect(dsn, autocommit=True) as guard:
            guard.execute("select pg_advisory_lock(%s)", (LOCK,))
            with _ALEMBIC:
                return _upgrade(dsn, which)
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        raise MigrationError(
            f"database {which}: {_short(error)}; nothing was changed that a second try would not mend"
        ) from error


def newest(which: Which) -> str | None:
    """The newest revision there is, by the name of its file; None when there is none."""
    return max((p.name[:4] for p in (MIGRATIONS / which / "versions").glob("[0-9]*.py")), default=None)


def _newest_already(dsn: str, which: Which) -> str | None:
    """The newest revision, when the database is at it: most starts end here, without half a second of importing Alembic."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        row = connection.execute("select version_num from alembic_version").fetchone()
        if row is not None and row[0] == newest(which):
            return str(row[0])
    return None


def write_revision(dsn: str, which: Which, message: str) -> Path | None:
    """Write the revision that makes an up-to-date database match the tables of `projections`; None when it does.

    `dsn` names a scratch database, which is made and dropped. Read what it writes before you commit it.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    drop_database(dsn)
    try:
        ensure(dsn, which)
        settings = config(which, dsn)
        try:
            command.check(settings)
        except CommandError:
            number = len(list(ScriptDirectory.from_config(settings).walk_revisions())) + 1
            script = command.revision(settings, message=message, autogenerate=True, rev_id=f"{number:04}")
            return Path(script.path) if script and not isinstance(script, list) else None
        return None
    finally:
        drop_database(dsn)


def create_database(dsn: str) -> bool:
    """Create the database a DSN names; False when it exists. The role needs CREATEDB, or an admin makes it."""
    name = database_name(dsn)
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True, connect_timeout=5) as connection:
        if is_there(connection, name):
            return False
        try:
            connection.execute(sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False  # another process was quicker
        return True


def drop_database(dsn: str) -> bool:
    """Drop the database a DSN names with whoever is connected to it; False when it was not there."""
    name = database_name(dsn)
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True, connect_timeout=5) as connection:
        there = is_there(connection, name)
        drop_by_force(connection, name)
        return there


def database_name(dsn: str) -> str:
    """The database that a DSN names."""
    return str(conninfo_to_dict(dsn)["dbname"])


def is_there(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    """Does the server have a database of this name?"""
    return connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone() is not None


def drop_by_force(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """Drop a database with whoever is connected to it. An autovacuum may not be ended by our role: it is waited for."""
    until = time.monotonic() + AUTOVACUUM_S
    while True:
        try:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def config(which: Which, dsn: str) -> Config:
    """Alembic's configuration for one database, without an ini file."""
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS / which).replace("%", "%%"))
    found.set_main_option("path_separator", "os")
    found.attributes["dsn"] = dsn
    return found


def engine_url(dsn: str) -> str:
    """The SQLAlchemy URL (psycopg 3) of a libpq URL."""
    return "postgresql+psycopg://" + dsn.split("://", 1)[1]


def _upgrade(dsn: str, which: Which) -> str | None:
    from alembic import command
    from alembic.script import ScriptDirectory

    settings = config(which, dsn)
    head = ScriptDirectory.from_config(settings).get_current_head()
    if head is None:
        return None
    engine = create_engine(engine_url(dsn), poolclass=NullPool, hide_parameters=True)
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return head


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
