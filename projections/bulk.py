"""Runs of ledger entries into the empty tables of a rebuild, by several processes at once.

What does not depend on order is copied by whoever opens the run; what does (edges, match states, references) comes back in `Part`
and is written when all runs are in. Tables have no index while they fill. Nothing here decides or sends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from domain.policy import Reference
from domain.standing import standing
from projections.book import Book
from projections.copying import copy
from projections.entries import REFERENCE, header, opened, section_keys
from projections.folding import chunks, newest
from projections.keyring import KeyRing
from projections.shelf import Shelf
from projections.writing import COLUMNS, Rows, child_row
from schemas.codec import FactReader

COPIED: Final = ("ledger", "presentation", "block", "fact", "link", "conclusion")
"""Tables whose rows can be written in any order."""

OPENED_AT_ONCE: Final = 100
"""Entries, which a processor's cache holds: a thousand took a sixth more CPU."""

Tally = Counter[tuple[str, str, str]]
"""(table, kind, `rows` or `sum`) → number: what a finished table must hold."""


@dataclass(slots=True)
class Tools:
    """What a process of a rebuild works with."""

    engine: Engine
    keys: KeyRing
    reference: Reference


@dataclass(slots=True)
class Part:
    """What is left of a run to be written in order. `lacking`: a schema stands in another run; nothing was written."""

    rows: Rows
    entries: int
    last: tuple[int, int] = (0, 0)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Counter)
    writers: dict[str, str] = field(default_factory=dict)
    lacking: bool = False


class Work:
    """One process's connection and tools; `schema` is where the new tables fill."""

    def __init__(self, tools: Tools, schema: str) -> None:
        self._tools, self._schema, self._conn = tools, schema, tools.engine.connect()
        self._conn.detach()  # never back to the pool: whoever took it next would look into the wrong schema
        with self._conn.begin():
            self._conn.execute(text(f"set search_path to {schema}"))
            self._conn.execute(text("set synchronous_commit to off"))  # the switch at the end is synchronous
            self._conn.execute(text("set max_parallel_maintenance_workers to 0"))  # there is a process for each core already
            self._conn.execute(text("set default_statistics_target to 10"))
        self._every_key, self._facts = tools.keys.load(), FactReader()

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()
        self._tools.engine.dispose()

    def run(self, values: Sequence[bytes], writers: dict[str, str], sent: int) -> Part:
        """Open a run of encoded entries and copy what needs no order; `sent` as for `Rows`."""
        part, keys, known, numbers = Part(Rows(sent), len(values)), self._tools.keys, dict(writers), 0
        for some in chunks(values, OPENED_AT_ONCE):
            heads = [header(v) for v in some]
            if not self._every_key:
                keys.ensure(section_keys(heads))
            for head, value in zip(heads, some, strict=True):
                if head["kind"] == REFERENCE and head["record"] == "schema":
                    part.writers[head["writer"]] = known[head["writer"]] = (head["clear"] or b"").decode()
                if part.lacking:
                    continue  # to the schemas in what follows
                try:
                    entry = opened(head, keys, known, self._facts)
                except KeyError:
                    part.lacking = True
                    continue
                part.rows.add(entry, value)
                numbers += entry.number
                if entry.source is not None:
                    topic, partition, offset = entry.source
                    part.positions[topic, partition] = offset + 1
                part.last = (entry.number, entry.accepted_at)
        if part.lacking:
            return Part(Rows(), len(values), writers=part.writers, lacking=True)
        part.tally = _tallied(part.rows)
        part.tally["ledger", "", "rows"], part.tally["ledger", "", "sum"] = len(values), numbers
        self._copy(part.rows)
        return part

    def _copy(self, rows: Rows) -> None:
        with self._conn.begin():
            raw: Any = self._conn.connection.dbapi_connection
            for table in COPIED:
                copy(raw, table, COLUMNS[table], getattr(rows, table))
        for table in COPIED:
            getattr(rows, table).clear()
        rows.forget()

    def execute(self, statement: str) -> None:
        """One statement, in a transaction of its own."""
        with self._conn.begin():
            self._conn.execute(text(statement))

    def fold(self, child_ids: Sequence[str]) -> int:
        """Write where these children stand; how many of them have a presentation or had one."""
        with self._conn.begin():
            book = Book(shelf=Shelf(0))
            book.load_children(self._conn, child_ids)
            histories = [h for c in child_ids if (h := book.history(c)).links]
            stands = [child_row(standing(h, self._tools.reference, newest(h))) for h in histories]
            raw: Any = self._conn.connection.dbapi_connection
            copy(raw, "child", COLUMNS["child"], stands)
        return len(stands)


def index(conn: Connection, schema: str, tables: Iterable[str]) -> None:
    """The indices that these living tables have, primary keys among them, on the tables of `schema`."""
    made, keys = indices(conn, schema, tables)
    with conn.begin():
        for statement in made + keys:
            conn.execute(text(statement))


def indices(conn: Connection, schema: str, tables: Iterable[str]) -> tuple[list[str], list[str]]:
    """Statements for `index`, of which the first ones can be executed at once by several: indices, the greatest first; then what
    makes primary keys of some.
    """
    with conn.begin():
        found = conn.execute(_INDICES, {"t": list(tables)}).all()
    made = [r.made.replace(" ON public.", f" ON {schema}.", 1) for r in found]
    key = 'alter table {}."{}" add constraint "{}" primary key using index "{}"'
    return made, [key.format(schema, r.tab, r.name, r.name) for r in found if r.constrained]


def analysis(table: str) -> str:
    """The statement for what planning the fold takes. Documents are left out: a whole ANALYZE took a third of PostgreSQL's time
    here, and would keep autovacuum from doing it once the tables live.
    """
    columns = [c.split() for c in COLUMNS[table].split(", ")]
    return f"analyze {table} ({', '.join(name for name, kind in columns if kind != 'bytea')})"


_INDICES = text(
    "select x.tablename as tab, x.indexname as name, x.indexdef as made, c.conname is not null as constrained "
    "from pg_indexes x left join pg_constraint c on c.conname = x.indexname "
    "and c.conrelid = ('public.' || x.tablename)::regclass "
    "where x.schemaname = 'public' and x.tablename = any(cast(:t as text[])) "
    "order by pg_relation_size(('public.' || x.indexname)::regclass) desc, x.indexname"
)


def _tallied(rows: Rows) -> Tally:
    found: Tally = Counter()

    def add(table: str, counted: Iterable[tuple[str, int]]) -> None:
        amounts = defaultdict[str, list[int]](list)
        for kind, amount in counted:
            amounts[kind].append(amount)
        for kind, some in amounts.items():
            found[table, kind, "rows"], found[table, kind, "sum"] = len(some), sum(some)

    add("fact", ((f[0], int.from_bytes(f[3][:6], "big")) for f in rows.fact))
    add("presentation", ((p[1], p[3]) for p in rows.presentation))
    add("link", ((x[7], x[1]) for x in rows.link))
    add("conclusion", ((c[4], c[0]) for c in rows.conclusion))
    return found


TALLIES: Final = {
    "ledger": ("''", "number"),
    "fact": ("agency", "('x' || encode(substring(content from 1 for 6), 'hex'))::bit(48)::bigint"),
    "presentation": ("agency", "number"),
    "link": ("rule", "from_number"),
    "conclusion": ("kind", "number"),
}
"""Table → (kind, summed) in SQL, as `_tallied` counts them."""


def tally(conn: Connection) -> Tally:
    """What the tables of this connection's schema hold."""
    found: Tally = Counter()
    for table, (kind, summed) in TALLIES.items():
        for r in conn.execute(text(f"select {kind} as kind, count(*) as rows, sum({summed}) as total from {table} group by 1")):
            found[table, r.kind, "rows"], found[table, r.kind, "sum"] = r.rows, int(r.total)
    return found
