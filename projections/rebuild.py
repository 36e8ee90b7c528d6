"""`views` out of the ledger, beside the living ones: filled by several processes, checked, then put in their place at once.

The old views serve until the new ones are verified; the switch is one transaction; whatever ends a rebuild before that leaves
nothing behind. It folds; it never decides and never sends.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from sqlalchemy import Connection, Engine, RootTransaction, text
from sqlalchemy.exc import OperationalError

from domain.problems import SightlineError
from projections import bulk, crew
from projections.bulk import Part, Tally, analysis, index, indices
from projections.crew import SCHEMA
from projections.folding import CHUNK, POSITIONS, Applier, Progress, chunks, every_child
from projections.tables import FOLDED
from projections.writing import COLUMNS, Rows

RUN: Final = 2_000
"""Entries a run: about 2 MB to a process, some 0.2 s of its work, which is how long one may wait for the other at the end. With
half as many a rebuild took 3 % longer.
"""

AHEAD: Final = 3
"""Runs waiting for each process: it never waits, and memory stays bounded."""

CHILDREN: Final = 250
"""Children folded at a time: some thousands of facts."""

SMALL: Final = tuple(t.name for t in FOLDED if t.name not in bulk.COPIED)
MOVED: Final = ("presentation", "link")
"""Tables whose rows are changed when all runs are in: their indices come after."""

LARGE: Final = tuple(t for t in bulk.COPIED if t not in MOVED)
"""The others: their indices are made by all processes, while what depends on order is written."""

HOLD_MS: Final = 500
"""So long the switch waits for the living tables: PostgreSQL looks for a deadlock, and ends somebody, after a second."""

HOLD_TRIES: Final = 100

VACUUM_MS: Final = 3_000
"""So long it first waits for whoever vacuums them: longer than a second (`deadlock_timeout`), when PostgreSQL ends autovacuum."""

LOCK: Final = 0x51_67_68_74
"""Advisory lock of whoever rebuilds, or compares what stands with a clean build."""


class RebuildBusy(SightlineError):
    """A rebuild is under way, or a comparison that a rebuild would mislead."""


class NotAsTheLedger(SightlineError):
    """The new tables do not hold what the ledger gave: nothing was switched."""


def rebuild(
    engine: Engine, values: Iterable[bytes], applier: Applier, pool: ProcessPoolExecutor, progress: Progress = lambda _: None
) -> int:
    """Make every folded table anew from `values` (encoded entries in number order), and put it in the living one's place.

    What was decided meanwhile, and what the relay has not sent yet, is taken over from the living ledger rows while nobody else
    is at them. `pool` is a `crew`, and is shut down here. Returns the number of the last entry that is in them.

    Raises:
        RebuildBusy, NotAsTheLedger; whatever reading `values` raises. The living views are then as they were.
    """
    with engine.connect() as conn:
        with conn.begin():  # an empty `views` has no counter yet, and its lock is what the switch needs
            conn.execute(text("insert into public.counter values (1, 0, 0, 0) on conflict do nothing"))
            alone(conn)
            sent = conn.execute(text("select served from public.relay where id = 1")).scalar_one_or_none() or 0
        try:
            build(conn, SCHEMA, indexed=False)
            try:
                _fill(conn, values, pool, sent, progress)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)  # nobody writes any more: to switch, or to throw away
            return _switch(engine, conn, applier)
        finally:
            with conn.begin():
                conn.execute(text(f"drop schema if exists {SCHEMA} cascade"))
                conn.execute(text("select pg_advisory_unlock_all()"))
            conn.invalidate()  # it looks into a schema that is gone


def alone(conn: Connection) -> None:
    """From here on nobody else rebuilds or verifies, until this connection ends or unlocks.

    Raises:
        RebuildBusy: somebody does.
    """
    if not conn.execute(text("select pg_try_advisory_lock(:l)"), {"l": LOCK}).scalar_one():
        raise RebuildBusy("another rebuild or verification is under way: wait for it, or end it")


def build(conn: Connection, schema: str, *, indexed: bool = True) -> None:
    """Empty folded tables in a schema of their own; the connection then works there.

    `indexed` is False for tables that are filled first: autovacuum keeps off them as well until `_switch`. It would vacuum each
    as soon as it has rows, which takes the CPU, and lets whoever indexes or analyses it wait for a second.
    """
    by_itself = "" if indexed else " with (autovacuum_enabled = off)"
    with conn.begin():
        conn.execute(text(f"drop schema if exists {SCHEMA}, verify cascade"))  # what one that was killed has left
        conn.execute(text(f"create schema {schema}"))
        for table in FOLDED:
            conn.execute(text(f'create table {schema}."{table.name}" (like public."{table.name}" including defaults){by_itself}'))
        conn.execute(text(f"insert into {schema}.counter values (1, 0, 0, 0)"))
    enter(conn, schema)
    if indexed:
        index(conn, schema, [t.name for t in FOLDED])


def enter(conn: Connection, schema: str) -> None:
    """The connection works in `schema` from here on, and never goes back to the pool."""
    conn.detach()
    with conn.begin():
        conn.execute(text(f"set search_path to {schema}"))


# -- filling ----------------------------------------------------------------------------------------------------------


def _fill(conn: Connection, values: Iterable[bytes], pool: ProcessPoolExecutor, sent: int, progress: Progress) -> None:
    """Every table from `values`, by the pool, and checked; `sent` as for `Rows`.

    Raises: NotAsTheLedger.
    """
    parts, writers = list(_runs(pool, chunks(values, RUN), {}, sent, progress)), dict[str, str]()
    for part, _ in parts:
        writers |= part.writers
    again = [run for part, run in parts if part.lacking]
    later = dict(zip(map(id, again), (p for p, _ in _runs(pool, again, writers, sent, progress)), strict=True)) if again else {}
    found = [later.get(id(run), part) for part, run in parts]
    if any(p.lacking for p in found):
        raise NotAsTheLedger("no entry holds the schema of another, as a newer release's might: nothing was switched")
    made, keys = indices(conn, SCHEMA, LARGE)
    indexing = [pool.submit(crew.execute, statement) for statement in made]
    index(conn, SCHEMA, SMALL)
    expected = _in_order(conn, found)
    index(conn, SCHEMA, MOVED)
    for future in indexing:
        future.result()
    with conn.begin():
        for statement in keys:
            conn.execute(text(statement))
    list(pool.map(crew.execute, map(analysis, COLUMNS)))
    ids = every_child(conn)
    folding = pool.map(crew.fold, chunks(ids, CHILDREN))
    _check(conn, expected)  # meanwhile what they are folded from
    folded = sum(folding)
    with conn.begin():
        there = conn.execute(text("select count(*) from child")).scalar_one()
    if not len(ids) == folded == there:
        raise NotAsTheLedger(f"{len(ids)} children, {folded} folded, {there} written: nothing was switched")


def _runs(
    pool: ProcessPoolExecutor, runs: Iterable[list[bytes]], writers: dict[str, str], sent: int, progress: Progress
) -> Iterator[tuple[Part, list[bytes]]]:
    """Each run's part, in order; the run itself only where it has to be done again."""
    waiting: deque[tuple[list[bytes], Future[Part]]] = deque()
    limit = AHEAD * crew.SIZE

    def first() -> tuple[Part, list[bytes]]:
        some, future = waiting.popleft()
        part = future.result()
        if part.lacking:
            return part, some
        progress(part.entries)
        return part, []

    for some in runs:
        waiting.append((some, pool.submit(crew.run, some, writers, sent)))
        while len(waiting) >= limit:
            yield first()
    while waiting:
        yield first()


def _in_order(conn: Connection, parts: list[Part]) -> Tally:
    """What depends on order, over all runs: links end, presentations move, edges and states are the last told."""
    rest, expected, positions, last = Rows(), Tally(), dict[tuple[str, int], int](), (0, 0)
    for part in parts:
        rest.follow(part.rows)
        expected.update(part.tally)
        for at, offset in part.positions.items():
            positions[at] = max(offset, positions.get(at, 0))
        last = max(last, part.last)
    with conn.begin():
        conn.execute(_CLOSE_LINKS)
        conn.execute(_MOVE_PRESENTATIONS)
        rest.write(conn)
        stand = {"t": [t for t, _ in positions], "p": [p for _, p in positions], "n": list(positions.values())}
        conn.execute(POSITIONS, stand)
        conn.execute(text("update counter set number = :n, accepted_at = :a where id = 1"), {"n": last[0], "a": last[1]})
    return expected


def _check(conn: Connection, expected: Tally) -> None:
    """The new tables hold what the ledger gave: rows and sums, kind by kind.

    Raises: NotAsTheLedger.
    """
    with conn.begin():
        found = bulk.tally(conn)
    wrong = sorted({(t, k) for t, k, w in expected.keys() | found.keys() if expected[t, k, w] != found[t, k, w]})
    if wrong:
        where = ", ".join(f"{t} {k}".strip() for t, k in wrong[:5])
        raise NotAsTheLedger(f"the new tables are not what the ledger gives ({where}): nothing was switched")


# -- switching --------------------------------------------------------------------------------------------------------


def _switch(engine: Engine, conn: Connection, applier: Applier) -> int:
    """Nobody else at the living tables: the last entries, then the new tables take the old ones' place. The last number.

    Raises: RebuildBusy.
    """
    with engine.connect() as holder:
        for _ in range(HOLD_TRIES):
            _follow(conn, applier)
            if (transaction := _hold(holder)) is not None:
                break
            time.sleep(random.uniform(0.05, 0.15))  # noqa: S311  no secret: those who waited for us go first
        else:
            raise RebuildBusy(
                "somebody has held on to the living tables all the time: end what reads them for long, or vacuums them, then try "
                "again"
            )
        with transaction:
            number, incarnation = holder.execute(text("select number, incarnation from counter where id = 1")).one()
            sql = "select value from ledger where number > (select number from rebuilt.counter where id = 1) order by number"
            applier.catch_up(conn, [bytes(r.value) for r in holder.execute(text(sql))], incarnation)
            holder.execute(_KEEP_EPOCHS)
            there = int(holder.execute(text("select number from rebuilt.counter where id = 1")).scalar_one())
            if there < number:
                raise AssertionError(f"rebuilt up to {there}, living up to {number}")
            for table in FOLDED:
                holder.execute(text(f'drop table public."{table.name}"'))
                holder.execute(text(f'alter table rebuilt."{table.name}" reset (autovacuum_enabled)'))
                holder.execute(text(f'alter table rebuilt."{table.name}" set schema public'))
            holder.execute(text("delete from footprint"))  # nobody follows over a switch, and what was erased lies there as well
            holder.execute(text("drop schema rebuilt"))
            return there


def _follow(conn: Connection, applier: Applier) -> None:
    """Catch up with the living ledger rows until less than a chunk is left: what is left is done while everybody waits."""
    sql = "select value from public.ledger where number > (select number from counter where id = 1) order by number limit :n"
    while True:
        with conn.begin():
            tail = [bytes(r.value) for r in conn.execute(text(sql), {"n": CHUNK})]
        if len(tail) < CHUNK:
            return
        applier.catch_up(conn, tail, 0)


def _hold(holder: Connection) -> RootTransaction | None:
    """A transaction that holds every living table. All are asked for at once, and given back soon where somebody holds one of
    them and may want another that we have: he is never the one whom PostgreSQL ends. None then.

    Autovacuum at one of them is another matter: PostgreSQL ends it for whoever has waited a second for it. So they are asked for
    first in a mode that nobody is in the way of but who vacuums, and that is in no worker's way.
    """
    transaction = holder.begin()
    try:
        for mode, wait_ms in (("share update exclusive", VACUUM_MS), ("access exclusive", HOLD_MS)):
            holder.execute(text(f"set local statement_timeout = {wait_ms}"))
            holder.execute(text(f"lock table {_LIVING} in {mode} mode"))
        holder.execute(text("set local statement_timeout to default"))
    except OperationalError as err:
        transaction.rollback()
        if getattr(err.orig, "sqlstate", None) not in HELD_BY_OTHERS:
            raise
        return None
    return transaction


_LIVING: Final = ", ".join(f'public."{t.name}"' for t in FOLDED)
HELD_BY_OTHERS: Final = ("57014", "40P01")
"""Statement timeout; a deadlock that PostgreSQL ended on our side."""

_CLOSE_LINKS = text(
    "update link set to_number = n.number, to_at = n.at from (select ctid, lead(from_number) over w as number, "
    "lead(from_at) over w as at from link window w as (partition by presentation_id order by from_number, seq)) n "
    "where link.ctid = n.ctid and n.number is not null and link.to_number is null"
)
_MOVE_PRESENTATIONS = text(
    "update presentation p set child_id = l.child_id from link l "
    "where l.presentation_id = p.presentation_id and l.to_number is null and l.child_id <> p.child_id"
)
_KEEP_EPOCHS = text(
    "insert into rebuilt.position select topic, partition, next_offset, epoch, owner from public.position "
    "on conflict (topic, partition) do update set epoch = excluded.epoch, owner = excluded.owner, "
    "next_offset = greatest(position.next_offset, excluded.next_offset)"
)
"""A position is ahead of the entries where a person moved it past facts that the intake has lost (runbook, PositionLost)."""
