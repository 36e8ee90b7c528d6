"""What is done to the databases of a house: verified, rebuilt by the real command, backed up, lost, and put back older."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumers.ledger import LedgerReader
from infra import assembly, migrate, stores
from infra.postgres import wheel
from projections.rebuild import RebuildBusy
from projections.verify import Difference, verify
from tests.fault.crew import LOOK_S, ROOT
from tests.fault.harness import House
from tests.fault.history import watch_moves


def verified(house: House) -> tuple[int, list[Difference]]:
    """`sightline verify`: children compared, differences. A rebuild that was killed is gone when its server has noticed."""
    found: list[tuple[int, list[Difference]]] = []

    def done() -> bool:
        with contextlib.suppress(RebuildBusy):
            found.append(_verified(house))
        return bool(found)

    house.wait("nobody rebuilds", done, 30)
    return found[0]


def _verified(house: House) -> tuple[int, list[Difference]]:
    with contextlib.closing(LedgerReader(house.settings.access("relay"))) as reader:
        values = (sent.value for sent in reader.entries())
        engine = stores.long_engine(house.settings.views_dsn, "verify")
        try:
            return verify(engine, values, assembly.applier(house.settings), stores.current_reference())
        finally:
            engine.dispose()


def start_rebuild(house: House) -> subprocess.Popen[str]:
    """`sightline rebuild --json`, beside the living, as an operator starts it."""
    command = [sys.executable, "-m", "infra.command", "rebuild", "--json"]
    return subprocess.Popen(
        command,
        env=house.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rebuilt(house: House, seconds: float = 90) -> int:
    """Run `sightline rebuild` to its end; how many entries."""
    told, words = start_rebuild(house).communicate(timeout=seconds)
    assert told.strip(), f"sightline rebuild says: {words[-500:]}"
    return int(json.loads(told.splitlines()[-1])["entries"])


def back_up(house: House, dsn: str | None = None) -> Path:
    """pg_dump of `views` (or another database) as it is now, nobody stopped."""
    dsn = dsn or house.deployment.views_dsn
    path = house.folder / f"{_name(dsn)}.dump"
    _tool(house, "pg_dump", "--format=custom", f"--file={path}", _name(dsn))
    return path


def restore(house: House, dump: Path, dsn: str | None = None) -> None:
    """Put a backup in the place of the living database, under whoever is connected."""
    dsn = dsn or house.deployment.views_dsn
    living = _name(dsn)
    old, new = f"{living}_gone", f"{living}_restored"
    house.history.note("restored", database=living)
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as conn:
        conn.execute(sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(new)))
        _tool(house, "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={new}", str(dump))
        conn.execute(sql.SQL("alter database {} with allow_connections false").format(sql.Identifier(living)))
        deadline = time.monotonic() + 10
        while True:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = current_user", (living,)
            )
            try:
                with conn.transaction():
                    for a, b in ((living, old), (new, living)):
                        conn.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(a), sql.Identifier(b)))
                break
            except psycopg.errors.ObjectInUse:
                assert time.monotonic() < deadline, "somebody will not let go of the old database"
                time.sleep(LOOK_S)
        migrate.drop_by_force(conn, old)


def drop(house: House) -> None:
    """`views` is gone entirely; an empty one stands in its place."""
    house.history.note("dropped", database="views")
    house.deployment.drop_views()
    watch_moves(house.deployment.views_dsn)


def _name(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def _tool(house: House, name: str, *arguments: str) -> None:
    parts = conninfo_to_dict(house.deployment.views_dsn)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    env = {**os.environ, **{k: str(parts[v]) for k, v in names.items()}}
    done = subprocess.run([wheel() / "bin" / name, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr[:500]}"
