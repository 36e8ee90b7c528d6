"""`views` out of the ledger: catching up, rebuilding beside the living, and verifying.

It folds; it never decides and never sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, text

from domain.model import History
from domain.policy import Reference
from domain.standing import standing
from projections.book import Book
from projections.entries import FACT, REFERENCE, Entry, unseal
from projections.keyring import KeyRing
from projections.tables import FOLDED
from projections.writing import Rows, child_row, save_children

CHUNK: Final = 1_000
"""Entries a transaction: measured flat from 500 on."""

Progress = Callable[[int], None]
"""Told of entries applied; of none, when it was only children that were folded."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the living tables and a clean fold do not share. Names the table and key, never content (I7)."""

    table: str
    key: str
    side: str


class Applier:
    """Applies entries to tables, with the keys that remain."""

    def __init__(self, keys: KeyRing, reference: Reference, progress: Progress = lambda _: None) -> None:
        self._keys, self._reference, self._progress = keys, reference, progress

    def catch_up(self, conn: Connection, values: Iterable[bytes], incarnation: int) -> int:
        """Apply encoded entries in number order, refold the children they touch, then take on `incarnation`.

        Each chunk is a transaction; the incarnation comes last, so nobody decides on a half-applied database. Returns how many.
        """
        done, presentations, children = 0, set[str](), set[str]()
        with conn.begin():
            writers = {
                r.fingerprint: bytes(r.clear).decode()
                for r in conn.execute(text("select * from reference where kind = 'schema'"))
            }
        for chunk in chunks(values, CHUNK):
            with conn.begin():
                entries = self._apply(conn, chunk, writers)
            for entry in entries:
                if entry.presentation_id is not None and entry.kind == FACT:
                    presentations.add(entry.presentation_id)
                for kind, data in entry.conclusions:
                    presentations |= {data["presentation_id"]} if kind == "linked" else set()
                    children |= {data["child_id"]} if "child_id" in data else set()
            done += len(chunk)
            self._progress(len(chunk))
        if done:
            self._refold(conn, presentations, children)
        with conn.begin():
            conn.execute(text("update counter set incarnation = :i where id = 1"), {"i": incarnation})
        return done

    def _apply(self, conn: Connection, chunk: list[bytes], writers: dict[str, str]) -> list[Entry]:
        rows, entries = Rows(), []
        positions: dict[tuple[str, int], int] = {}
        for value in chunk:
            entry = unseal(value, self._keys, writers)
            if entry.kind == REFERENCE and entry.record == "schema":
                writers[entry.writer or ""] = (entry.clear or b"").decode()
            rows.add(entry, value)
            entries.append(entry)
            if entry.source is not None:
                topic, partition, offset = entry.source
                positions[(topic, partition)] = offset + 1
        rows.write(conn)
        at = {"t": [t for t, _ in positions], "p": [p for _, p in positions], "n": list(positions.values())}
        conn.execute(_POSITIONS, at)
        conn.execute(
            text("update counter set number = :n, accepted_at = :a where id = 1"),
            {"n": entries[-1].number, "a": entries[-1].accepted_at},
        )
        return entries

    def _refold(self, conn: Connection, presentations: set[str], children: set[str]) -> None:
        with conn.begin():
            rows = conn.execute(
                text("select distinct child_id from link where presentation_id = any(:p)"), {"p": sorted(presentations)}
            )
            ids = {r.child_id for r in rows} | children
            book = Book()
            book.load_founders(conn, children)
            ids |= {book.current(c) for c in children}
        for some in chunks(sorted(ids), CHUNK // 2):
            with conn.begin():
                self.refold(conn, some)
            self._progress(0)

    def refold(self, conn: Connection, child_ids: Iterable[str], as_of: int | None = None) -> None:
        """Fold these children anew from the tables; `as_of` (µs) defaults to the last entry that concerns each."""
        wanted = list(child_ids)
        book = Book()
        book.load_children(conn, wanted)
        histories = [book.history(c) for c in wanted]
        save_children(conn, [standing(h, self._reference, as_of or newest(h)) for h in histories if h.links])


def newest(history: History) -> int:
    """When the last thing that a history holds was accepted, µs."""
    times = [f.accepted_at for f in history.facts] + [c.accepted_at for c in history.conclusions]
    times += [t for x in history.links for t in (x.from_at, x.to_at) if t is not None]
    return max(times, default=0)


def rebuild(engine: Engine, values: Iterable[bytes], applier: Applier) -> int:
    """Make every folded table anew from the ledger, beside the living ones, and put it in their place in one transaction.

    What was decided meanwhile, and what the relay has not sent yet, is taken over from the living ledger rows under the
    counter's lock. Returns the number of entries.
    """
    with engine.connect() as conn:
        with conn.begin():  # an empty `views` has no counter yet, and its lock is what the swap needs
            conn.execute(text("insert into public.counter values (1, 0, 0, 0) on conflict do nothing"))
        build(conn, "rebuilt")
        done = applier.catch_up(conn, values, 0)
        while True:
            tail = _living_tail(conn)
            if len(tail) < CHUNK:
                break
            done += applier.catch_up(conn, tail, 0)
        done += _swap(engine, applier)
        return done


def build(conn: Connection, schema: str) -> None:
    """Empty folded tables in a schema of their own; the connection then works there."""
    with conn.begin():
        conn.execute(text(f"drop schema if exists {schema} cascade"))
        conn.execute(text(f"create schema {schema}"))
        for table in FOLDED:
            conn.execute(text(f'create table {schema}."{table.name}" (like public."{table.name}" including all)'))
        conn.execute(text(f"insert into {schema}.counter values (1, 0, 0, 0)"))
    _enter(conn, schema)


def _enter(conn: Connection, schema: str) -> None:
    conn.detach()  # never back to the pool: whoever took it next would look into the wrong schema
    with conn.begin():
        conn.execute(text(f"set search_path to {schema}"))


def _living_tail(conn: Connection) -> list[bytes]:
    with conn.begin():
        sql = "select value from public.ledger where number > (select number from counter where id = 1) order by number limit :n"
        return [bytes(r.value) for r in conn.execute(text(sql), {"n": CHUNK})]


def _swap(engine: Engine, applier: Applier) -> int:
    """Under the counter's lock: the last entries, then the new tables take the old ones' place."""
    with engine.connect() as holder, engine.connect() as conn:
        _enter(conn, "rebuilt")
        with holder.begin():
            holder.execute(text("lock table public.counter in access exclusive mode"))
            number = holder.execute(text("select number from counter where id = 1")).scalar_one()
            incarnation = holder.execute(text("select incarnation from counter where id = 1")).scalar_one()
            sql = "select value from ledger where number > (select number from rebuilt.counter where id = 1) order by number"
            tail = [bytes(r.value) for r in holder.execute(text(sql))]
            done = applier.catch_up(conn, tail, incarnation)
            holder.execute(_KEEP_EPOCHS)
            there = holder.execute(text("select number from rebuilt.counter where id = 1")).scalar_one()
            if there < number:
                raise AssertionError(f"rebuilt up to {there}, living up to {number}")
            for table in FOLDED:
                holder.execute(text(f'drop table public."{table.name}"'))
                holder.execute(text(f'alter table rebuilt."{table.name}" set schema public'))
            holder.execute(text("drop schema rebuilt"))
            return done


def verify(
    engine: Engine, values: Iterable[bytes], applier: Applier, reference: Reference, sample: int | None = None
) -> tuple[int, list[Difference]]:
    """Compare the living tables with a clean build from the ledger: (children compared, differences).

    The living side is one snapshot; entries after it are left out, those it holds and the topic does not yet are its own.
    """
    with engine.connect() as living, engine.connect() as conn:
        living.execute(text("set transaction isolation level repeatable read"))
        number = living.execute(text("select number from counter where id = 1")).scalar_one()
        build(conn, "verify")
        upto = (v for n, v in enumerate(values, start=1) if n <= number)
        applier.catch_up(conn, upto, 0)
        sql = "select value from public.ledger where number > :a and number <= :z order by number"
        with conn.begin():
            there = conn.execute(text("select number from counter where id = 1")).scalar_one()
        applier.catch_up(conn, (bytes(r.value) for r in living.execute(text(sql), {"a": there, "z": number}).all()), 0)
        found = [d for t in FOLDED if t.name not in ("counter", "child", "position") for d in _compare(living, conn, t.name)]
        count, different = _compare_children(living, conn, reference, sample)
        with conn.begin():
            conn.execute(text("drop schema verify cascade"))
        return count, [*found, *different]


def _compare(living: Connection, clean: Connection, table: str) -> Iterator[Difference]:
    columns = [c.name for t in FOLDED if t.name == table for c in t.primary_key.columns]
    key = " || '/' || ".join(f'"{c}"::text' for c in columns)
    if table == "block":
        key = "encode(key, 'hex') || '/' || presentation_id"
    sql = text(f'select {key} as key, md5(t::text) as digest from "{table}" t')
    ours = {r.key: r.digest for r in living.execute(sql)}
    with clean.begin():
        theirs = {r.key: r.digest for r in clean.execute(sql)}
    for k in sorted(ours.keys() | theirs.keys()):
        if ours.get(k) != theirs.get(k):
            yield Difference(table, k, "differs" if k in ours and k in theirs else "only living" if k in ours else "only clean")


def _compare_children(
    living: Connection, clean: Connection, reference: Reference, sample: int | None
) -> tuple[int, list[Difference]]:
    sql = "select * from child order by child_id"
    rows = living.execute(text(sql)).all()
    if sample is not None and rows:
        rows = rows[:: max(1, len(rows) // sample)][:sample]
    found: list[Difference] = []
    for some in chunks(rows, CHUNK // 2):
        with clean.begin():
            book = Book()
            book.load_children(clean, [r.child_id for r in some])
            found += [
                Difference("child", r.child_id, "differs")
                for r in some
                if child_row(standing(book.history(r.child_id), reference, r.as_of)) != tuple(r)
            ]
    with clean.begin():
        ids = {r.child_id for r in clean.execute(text("select child_id from child"))}
    if sample is None:
        found += [Difference("child", c, "only clean") for c in sorted(ids - {r.child_id for r in rows})]
    return len(rows), found


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    it = iter(values)
    while some := list(islice(it, size)):
        yield some


_POSITIONS = text(
    "insert into position (topic, partition, next_offset, epoch, owner) "
    "select t, p, n, 0, 'ledger' from unnest(cast(:t as text[]), cast(:p as int[]), cast(:n as bigint[])) as u(t, p, n) "
    "on conflict (topic, partition) do update set next_offset = greatest(position.next_offset, excluded.next_offset)"
)
_KEEP_EPOCHS = text(
    "insert into rebuilt.position select topic, partition, next_offset, epoch, owner from public.position "
    "on conflict (topic, partition) do update set epoch = excluded.epoch, owner = excluded.owner"
)
