"""Database `keep` into an encrypted file and back, by PostgreSQL's own tools; the plaintext never touches a disk.

A restore works beside the living database and takes its place last, in one transaction, so that a failure leaves everything as it
was and nobody reads a half-restored `keep`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from consumers.keys import WrappedKeys
from infra import migrate, sealed_file
from infra.errors import InfraError
from infra.postgres import wheel
from infra.settings import Settings
from projections.accesses import Access, Merged, merge_accesses
from projections.keyring import KeyRing, Publish

READ_BYTES: Final = 1024 * 1024
NOT_KEPT: Final = "public.session"
"""Sessions are not backed up: a restore must not open one again that has ended since. Everybody signs in anew."""


class KeepError(InfraError):
    """`keep` could not be backed up or restored; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Keys that `keep` lacked and topic `keys` held, and the other way round."""

    put_back: int
    sent: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. `created_at`: when the backup was made, µs (UTC)."""

    created_at: int
    keys: Reconciled
    accesses: Merged


Accesses = Callable[[], Iterable[Access]]
"""Reads topic `accesses`."""


Told = Callable[[int], None]
"""Told of bytes that have passed."""


def back_up(settings: Settings, path: Path, now_us: int, progress: Told = lambda _: None) -> int:
    """Write `keep`, as of one instant, to a new encrypted file; returns its size in bytes.

    Raises:
        KeepError, BackupRefused.
    """
    return sealed_file.write(path, settings.master_key, _watched(_dump(settings), progress), now_us)


def restore(  # noqa: PLR0917  what is restored, and the two topics it is completed from
    settings: Settings, path: Path, keys: Callable[[], WrappedKeys], publish: Publish, accesses: Accesses, now_us: int,
    progress: Told = lambda _: None,
) -> Restored:  # fmt: skip
    """Put the `keep` of `path` in the place of the one there is, if there is one. `keys` and `accesses` read the topics that
    hold what happened since: keys that were made, and who was shown which children (I7).

    Raises:
        BackupRefused, KeepError, MigrationError, WrongMasterKey, KeyUnreadable, AccessUnreadable, KafkaError: nothing has
            changed then.
    """
    header = sealed_file.check(path, settings.master_key)
    aside, before = (_with_suffix(settings.keep_dsn, s) for s in ("_restored", "_before"))
    with _database_errors():
        for left in (aside, before):  # by an earlier attempt
            migrate.drop_database(left)
        migrate.create_database(aside)
        try:
            _load(settings, aside, _watched(sealed_file.read(path, settings.master_key), progress))
            migrate.ensure(aside, "keep")
            with _cut_off(settings.keep_dsn):  # whoever makes a key from here on would make it where it is lost
                reconciled = reconcile(aside, settings.master_key, keys(), publish)
                # Here, and nowhere later: re-apply the ledger's destructions to `aside`. Nobody has read it yet (design, "Two
                # databases"). The ledger has no entry that destroys keys so far; what topic `keys` calls destroyed is so by now.
                merged = reconcile_accesses(aside, accesses, now_us)
                _take_place(settings.keep_dsn, aside, before)
        except BaseException:
            migrate.drop_database(aside)
            raise
    with _database_errors("`keep` is restored; drop what it was before"):
        migrate.drop_database(before)
    return Restored(header.created_at, reconciled, merged)


def reconcile(dsn: str, master: bytes, there: WrappedKeys, publish: Publish) -> Reconciled:
    """Make the `keep` at `dsn` and topic `keys` (whose content is `there`) hold the same keys; destroyed ones stay so.

    Raises:
        WrongMasterKey: the topic's keys are another deployment's.
    """
    engine = create_engine(migrate.engine_url(dsn), poolclass=NullPool, hide_parameters=True)
    ring = KeyRing(engine, master, publish)
    return Reconciled(ring.merge(there), ring.publish_lacking(there))


def reconcile_accesses(dsn: str, accesses: Accesses, now_us: int) -> Merged:
    """Make the `keep` at `dsn` hold every access record of the topic; those that the topic lacks the web sends again."""
    engine = create_engine(migrate.engine_url(dsn), poolclass=NullPool, hide_parameters=True)
    with engine.begin() as conn:
        return merge_accesses(conn, accesses(), now=now_us)


def _watched(data: Iterable[bytes], progress: Told) -> Iterator[bytes]:
    for some in data:
        yield some
        progress(len(some))


def _dump(settings: Settings) -> Iterator[bytes]:
    command = [_tool(settings, "pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--exclude-table-data={NOT_KEPT}"]
    with _running(command, settings.keep_dsn, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while some := process.stdout.read(READ_BYTES):
            yield some


def _load(settings: Settings, dsn: str, data: Iterable[bytes]) -> None:
    command = [_tool(settings, "pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    with _running(command, dsn, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            for some in data:
                process.stdin.write(some)
            process.stdin.close()
        except BrokenPipeError:
            process.stdin = None  # it has ended: why is in its own words


@contextmanager
def _running(
    command: list[str], dsn: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A tool of PostgreSQL's on one database; leaving waits for its end. Its password is on no command line."""
    parts = conninfo_to_dict(dsn)
    password = parts.pop("password", None)
    env = {**os.environ, **({} if password is None else {"PGPASSWORD": str(password)})}
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [*command, f"--dbname={make_conninfo('', **parts)}"], env=env, stdin=stdin, stdout=stdout, stderr=words
        )
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait() != 0:
            raise KeepError(f"{Path(command[0]).name} failed: {_last_line(words)}")


def _last_line(words: IO[bytes]) -> str:
    words.seek(0)
    lines = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line] or lines
    return telling[0].strip() if telling else "it said nothing"


def _tool(settings: Settings, name: str) -> str:
    """The wheel's tools for our own server; for a given one those on PATH, which its operator keeps at its version."""
    if not settings.given_database:
        return str(wheel() / "bin" / name)
    found = shutil.which(name)
    if found is None:
        raise KeepError(f"{name} is not on PATH: install PostgreSQL's client tools, of the server's version or newer")
    return found


@contextmanager
def _cut_off(dsn: str) -> Iterator[None]:
    """Nobody is or can be connected to the database of `dsn`, if there is one; they can again if what is done meanwhile fails."""
    name = migrate.database_name(dsn)
    allow = sql.SQL("alter database {} allow_connections {}")
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True, connect_timeout=5) as connection:
        if not migrate.is_there(connection, name):
            yield
            return
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            yield
        except BaseException:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
            raise


def _take_place(dsn: str, aside: str, before: str) -> None:
    """`aside` becomes the database of `dsn`, and that, if there is one, becomes `before`: both at once."""
    rename = sql.SQL("alter database {} rename to {}")
    living, new, old = (sql.Identifier(migrate.database_name(d)) for d in (dsn, aside, before))
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), connect_timeout=5) as connection:
        if migrate.is_there(connection, migrate.database_name(dsn)):
            connection.execute(rename.format(living, old))
        connection.execute(rename.format(new, living))


def _with_suffix(dsn: str, suffix: str) -> str:
    parts = urlsplit(dsn)
    return parts._replace(path=parts.path + suffix).geturl()


@contextmanager
def _database_errors(wanted: str = "the role needs CREATEDB, and the server must answer") -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise KeepError(f"PostgreSQL refused: {line}; {wanted}") from error
