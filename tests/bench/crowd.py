"""Children by the hundred thousand, straight into the tables: a presentation, its blocking keys, a link and a fact each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict

from domain import matching
from domain.model import FACT_FIELDS, Json, Presentation, fact_of
from domain.searching import searched
from producers.halton import names, numbers
from producers.halton.agencies import FIELDS, LOCAL_ID
from projections.book import BLOCK_SECRET, block_key, child_id_of
from projections.entries import fact_fields, plain
from tests.bench.workload import END, workload

LA: Final = "888"
"""Their authority, so that no number of theirs is a child's of the workload."""

FIRST: Final = 900_000_000
"""Local numbers from here on: one digit more than the workload's."""

RECORDS: Final = {"csc": "WorkerAllocated", "education": "SchoolConcern", "police": "VulnerabilitySubmission"}
"""Who told of them, in turn, and what."""

AGENCIES: Final = tuple(RECORDS)
NUMBERED: Final = {"csc": ("la_child_id", "la"), "education": ("upn", "upn")}
"""Who holds a checked number, in which field, and what blocking keys call it."""

SAMPLE: Final = 200
"""Presentations whose blocking keys are made again in Python."""

HOLLOW: Final = bytes(64)
"""In place of a ledger entry, which deciding writes but does not read."""


def fill(views: str, keep: str, count: int) -> None:
    """Put `count` children into an empty deployment (libpq URLs of its databases); a million take some 3 GB.

    Ledger rows are hollow, and keys in `keep` are nobody's: they are there to be passed by. Ends with `vacuum analyze`.
    """
    with psycopg.connect(views, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        conn.execute("create temp table id (n bigint, pid text, child text, strong text)")
        with conn.cursor().copy("copy id from stdin") as out:
            for row in _ids(count):
                out.write_row(row)
        conn.execute(_CROWD, _listed())
        for agency, body in _bodies().items():
            about = {"agency": agency, "at": END, "hollow": HOLLOW, **_templates(agency, body), **_pads()}
            for table, values in _VALUES:
                if agency in NUMBERED or values != _NUMBER:
                    conn.execute(f"insert into {table} select {values} from crowd where agency = %(agency)s", about)
        conn.execute("update counter set number = %s, accepted_at = %s where id = 1", (count, END))
        conn.execute("drop table id, crowd")
        conn.execute("vacuum analyze ledger, presentation, block, fact, link, child")
        _check(conn)
    with psycopg.connect(keep, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        conn.execute(_KEYS, {"count": count, "at": END})
        conn.execute("vacuum analyze presentation_key")


def size_mib(dsn: str) -> int:
    """What a database takes on disk, MiB."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("select pg_database_size(current_database()) / 1048576").fetchone()
    assert row is not None, conninfo_to_dict(dsn)["dbname"]
    return int(row[0])


def _ids(count: int) -> Iterator[tuple[int, str, str, str | None]]:
    """(n, presentation, child, the checked number by which the agency knows the child)."""
    for n in range(1, count + 1):
        pid = hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest()
        match AGENCIES[n % len(AGENCIES)]:
            case "csc":
                strong: str | None = f"{LA}-{FIRST + n}"
            case "education":
                strong = numbers.upn(LA, n)
            case _:
                strong = None
        yield n, pid, child_id_of(pid), strong


def _listed() -> dict[str, Any]:
    return {
        "agencies": list(AGENCIES), "girls": list(names.GIRLS), "boys": list(names.BOYS), "families": list(names.FAMILY),
        "streets": list(names.STREETS), "first": FIRST,
    }  # fmt: skip


def _templates(agency: str, body: Json) -> dict[str, Any]:
    """What a card, a fact and the board's counts look like, as PostgreSQL's `format` fills them in."""
    given = {"local_id": 1, "given_name": 2, "family_name": 3, "birth_date": 4, "sex": 5, "address_line": 6}
    field, system = NUMBERED.get(agency, ("", ""))
    held = given | ({field: 7} if field else {})
    card = dict.fromkeys(FIELDS) | {name: f"%{at}$s" for name, at in held.items()} | {"postcode": "WA7 1AA"}
    said = body | {"envelope": body["envelope"] | {"event_id": "%2$s"}}
    fact = fact_of(fact_fields(0, END, "%1$s", RECORDS[agency], said))
    values = [getattr(fact, f) for f in FACT_FIELDS]
    assert FACT_FIELDS[0] == "number"
    return {
        "prefix": LOCAL_ID[agency][0], "system": system, "card": plain(card).decode(),
        "fact": orjson.dumps(["%3$s", *values[1:]]).decode().replace('"%3$s"', "%3$s"),
        "counts": plain({"facts": {agency: 1}, "recommendations": [], "episodes": [], "messages": {}}),
    }  # fmt: skip


def _pads() -> dict[str, bytes]:
    """HMAC's two pads: with them PostgreSQL makes a blocking key as `projections.book.block_key` does."""
    key = BLOCK_SECRET.ljust(64, b"\0")
    return {"inner": bytes(b ^ 0x36 for b in key), "outer": bytes(b ^ 0x5C for b in key)}


def _bodies() -> dict[str, Json]:
    """One fact of each agency, as the simulated ones say it."""
    said = {(f.agency, f.record): f.value for f in workload(2_000).facts}
    return {agency: said[agency, record] for agency, record in RECORDS.items()}


def _check(conn: psycopg.Connection[Any]) -> None:
    """What PostgreSQL made of a sample is what our own code makes of it."""
    for pid, agency, number, fields, sought in conn.execute(
        "select presentation_id, agency, number, fields, searched from presentation limit %s", (SAMPLE,)
    ).fetchall():
        shown = Presentation(pid, agency, number, END, orjson.loads(fields))
        keys = {block_key(k) for k in matching.person(shown).blocking_keys()}
        assert keys == {k for (k,) in conn.execute("select key from block where presentation_id = %s", (pid,))}
        assert searched(shown.fields) == sought


def _hashed(*parts: str) -> str:
    """SQL for the blocking key of these SQL expressions."""
    sized = " || ".join(f"int4send(octet_length({p})) || convert_to({p}, 'UTF8')" for p in parts)
    return f"substring(sha256(%(outer)s::bytea || sha256(%(inner)s::bytea || {sized})) for 16)"


_CROWD: Final = (
    "create temp table crowd as select n, pid, child, strong, agency, given, family, sex, born, local, line, "
    "gen_random_uuid()::text as event_id from (select *, "
    "(%(agencies)s::text[])[1 + n %% 3] as agency, %(first)s::bigint + n as local, "
    "case when n %% 2 = 0 then (%(girls)s::text[])[1 + floor(cardinality(%(girls)s::text[]) * random() ^ 2)] "
    "else (%(boys)s::text[])[1 + floor(cardinality(%(boys)s::text[]) * random() ^ 2)] end as given, "
    "(%(families)s::text[])[1 + floor(cardinality(%(families)s::text[]) * random() ^ 2)] as family, "
    "case when n %% 2 = 0 then 'F' else 'M' end as sex, "
    "(date '2007-11-02' + floor(6570 * random())::int)::text as born, "
    "floor(1 + 139 * random()) || ' ' || (%(streets)s::text[])[1 + floor(cardinality(%(streets)s::text[]) * random())] as line "
    "from id) made"
)
"""Who they are: names as Halton's, commoner ones more often, and birth dates of 18 years."""

_LOCAL: Final = "(%(prefix)s::text || local)"
_CARD: Final = f"convert_to(format(%(card)s::text, {_LOCAL}, given, family, born, sex, line, strong), 'UTF8')"
_SOUGHT: Final = f"concat_ws(' ', '', lower(given), lower(family), born, strong, {_LOCAL}, '')"
_FACT: Final = "convert_to(format(%(fact)s::text, pid, event_id, n), 'UTF8')"
_BY_LOCAL: Final = _hashed("'local'::text", "agency", _LOCAL)
_NUMBER: Final = f"{_hashed('%(system)s::text', 'strong')}, pid"
_BY_NAME: Final = _hashed("'name'::text", "lower(given)", "lower(family)", "born")
_VALUES: Final = (
    ("ledger (number, value)", "n, %(hollow)s"),
    (
        "presentation (presentation_id, agency, local_id, number, accepted_at, fields, child_id, searched)",
        f"pid, agency, {_LOCAL}, n, %(at)s, {_CARD}, child, {_SOUGHT}",
    ),
    ("block (key, presentation_id)", f"{_BY_LOCAL}, pid"),
    ("block (key, presentation_id)", _NUMBER),
    ("block (key, presentation_id)", f"{_BY_NAME}, pid"),
    (
        "fact (agency, event_id, number, content, presentation_id, data)",
        f"agency, event_id, n, decode(md5(event_id), 'hex'), pid, {_FACT}",
    ),
    (
        "link (presentation_id, from_number, seq, child_id, from_at, rule, evidence)",
        "pid, n, 0, child, %(at)s, 'FIRST_SEEN', '[]'::bytea",
    ),
    ("child (child_id, version, as_of, urgency, counts)", "child, n, %(at)s, 2, %(counts)s"),
)
"""What goes into which table of one agency's children."""

_KEYS: Final = (
    "insert into presentation_key (holder, record_class, wrapped, created_at, published) "
    "select md5(n::text), c, decode(repeat(md5(n::text), 3), 'hex') || '\\x00000000000000000000'::bytea, %(at)s, true "
    "from generate_series(1, %(count)s::bigint) n cross join (values ('identity')) as t(c)"
)
