"""Entries into tables, set by set: what an entry means for `views`. Live work and rebuild write through here alone (I2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import Connection, TextClause, text

from domain import matching
from domain.model import Presentation
from domain.saying import said
from domain.searching import searched
from domain.standing import Standing
from projections.arrays import Column
from projections.book import MATCH_STATES, block_key, child_id_of
from projections.driver import execute
from projections.entries import ACCEPTED, ACT, FACT, REFERENCE, REFUSED, Entry, plain
from projections.outputs import addressee_of, late_letter, letter, outputs

COLUMNS: Final[Mapping[str, str]] = {
    "ledger": "number bigint, value bytea, outputs bytea",
    "reference": "kind text, fingerprint text, number bigint, clear bytea",
    "presentation": "presentation_id text, agency text, local_id text, number bigint, accepted_at bigint, fields bytea, "
    "child_id text, searched text",
    "block": "key bytea, presentation_id text",
    "fact": "agency text, event_id text, number bigint, content bytea, presentation_id text, replaces text, data bytea",
    "act": "topic text, event_id text, number bigint, verdict text, reason text, content bytea, said bytea",
    "link": "presentation_id text, from_number bigint, seq int, child_id text, from_at bigint, to_number bigint, to_at bigint, "
    "rule text, evidence bytea, by text",
    "edge": "a text, b text, rule text, match_id text",
    "possible_match": "match_id text, presentation_id text, anchor text, state text, evidence bytea, number bigint, "
    "raised_at bigint",
    "conclusion": "number bigint, seq int, child_id text, about text, kind text, data bytea, accepted_at bigint",
    "letter": "number bigint, agency text, data bytea",
    "child": "child_id text, version bigint, as_of bigint, due_at bigint, owed_at bigint, urgency bigint, counts bytea",
}
"""The columns of each table in the order of a row's values: "name type, …"."""


class Rows:
    """Rows to write for a run of entries in number order.

    `sent` is a number up to which the outputs of every entry are acknowledged: they are not made, and their place is empty. It is
    the relay's to make them again, should a topic have lost them.
    """

    def __init__(self, sent: int = 0) -> None:
        self._sent = sent
        self.ledger: list[tuple[Any, ...]] = []
        self.reference: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.fact: list[tuple[Any, ...]] = []
        self.act: list[tuple[Any, ...]] = []
        self.presentation: list[list[Any]] = []
        self.block: list[tuple[Any, ...]] = []
        self.link: list[list[Any]] = []
        self.closed: list[tuple[Any, ...]] = []
        self.edge: dict[tuple[str, str], tuple[Any, ...] | None] = {}
        self.match: list[tuple[Any, ...]] = []
        self.match_state: list[tuple[Any, ...]] = []
        self.conclusion: list[tuple[Any, ...]] = []
        self.letter: list[tuple[Any, ...]] = []
        self._open_link: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}

    def add(self, entry: Entry, value: bytes) -> None:
        """Take in one entry and its encoded bytes."""
        if entry.number <= self._sent:
            self.ledger.append((entry.number, value, b""))
        else:
            owed = outputs(entry)
            self.ledger.append((entry.number, value, orjson.dumps(owed) if owed else None))
        if entry.kind == REFERENCE:
            self.reference[entry.record, entry.writer] = (entry.record, entry.writer, entry.number, entry.clear)
        if entry.kind == FACT and entry.verdict == ACCEPTED:
            self._fact(entry)
        if (addressee := addressee_of(entry)) is not None:
            self.letter.append((entry.number, addressee, plain(letter(entry))))
        if entry.kind == ACT and entry.event_id is not None and entry.source is not None and entry.verdict in (ACCEPTED, REFUSED):
            told = said(entry.record or "", entry.value) if entry.value is not None else b""
            self.act.append(
                (entry.source[0], entry.event_id, entry.number, entry.verdict, entry.reason, entry.content or b"", told)
            )
        for seq, (kind, data) in enumerate(entry.conclusions):
            self._conclusion(entry, seq, kind, data)

    def _fact(self, entry: Entry) -> None:
        pid = entry.presentation_id
        if entry.identity is not None and pid is not None:
            shown = Presentation(pid, entry.agency or "", entry.number, entry.accepted_at, dict(entry.identity))
            row = [
                pid,
                shown.agency,
                shown.local_id,
                entry.number,
                entry.accepted_at,
                plain(entry.identity),
                child_id_of(pid),
                searched(shown.fields),
            ]
            self.presentation.append(row)
            self._new[pid] = row
            self.block += [(block_key(k), pid) for k in matching.person(shown).blocking_keys()]
        if entry.value is not None:
            env = entry.value["envelope"]
            replaces = env["supersedes"] or env["retracts"]
            self.fact.append((entry.agency, entry.event_id, entry.number, entry.content or b"", pid, replaces, entry.told()))

    def _conclusion(self, entry: Entry, seq: int, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "linked":
            pid = data["presentation_id"]
            if pid in self._open_link:
                self._open_link[pid][5:7] = [entry.number, entry.accepted_at]
            elif pid not in self._new:
                self.closed.append((pid, entry.number, entry.accepted_at))
            row = [
                pid,
                entry.number,
                seq,
                data["child_id"],
                entry.accepted_at,
                None,
                None,
                data["rule"],
                orjson.dumps(data["evidence"]),
                data["by"],
            ]
            self._open_link[pid] = row
            self.link.append(row)
            if pid in self._new:
                self._new[pid][6] = data["child_id"]
        elif kind == "edge":
            self.edge[(data["a"], data["b"])] = (data["a"], data["b"], data["rule"], data["match_id"])
        elif kind == "edge_removed":
            self.edge[(data["a"], data["b"])] = None
        else:
            about = data.get("recommendation_id") or data.get("message_id") or data.get("match_id")
            self.conclusion.append((entry.number, seq, data["child_id"], about, kind, plain(data), entry.accepted_at))
            if kind == "not_the_owner":  # under the correction's own number, which has no letter: it had been accepted
                self.letter.append((data["number"], data["agency"], plain(late_letter(entry, data))))
            if kind == "possible_match":
                ids = (data["match_id"], data["presentation_id"], data["anchor"])
                self.match.append((*ids, "OPEN", orjson.dumps(data["evidence"]), entry.number, entry.accepted_at))
            elif kind in MATCH_STATES:
                self.match_state.append((data["match_id"], MATCH_STATES[kind]))

    def follow(self, later: Rows) -> None:
        """Take in what a later run of entries brings and what has to be written in order: all but links."""
        self.reference |= later.reference
        self.act += later.act
        self.edge |= later.edge
        self.match += later.match
        self.match_state += later.match_state
        self.letter += later.letter

    def forget(self) -> None:
        """Let go of what only `write` needs of presentations and links."""
        for held in (self.closed, self._open_link, self._new):
            held.clear()

    def write(self, conn: Connection) -> None:
        """Write everything taken in. `ledger` takes no number twice: that is a defect."""
        if self.closed:
            ids, numbers, instants = zip(*self.closed, strict=True)
            closed = {"p": Column("text", ids), "n": Column("bigint", numbers), "t": Column("bigint", instants)}
            execute(conn, _CLOSE_LINK, closed)
        if gone := [k for k, v in self.edge.items() if v is None]:
            execute(conn, _DELETE_EDGE, {"a": [a for a, _ in gone], "b": [b for _, b in gone]})
        edges = [v for v in self.edge.values() if v is not None]
        insert(
            conn,
            ("ledger", self.ledger, ""), ("reference", self.reference.values(), AGAIN), ("presentation", self.presentation, ""),
            ("block", self.block, ""), ("fact", self.fact, ""), ("link", self.link, ""), ("edge", edges, LATEST),
            # an act that could not be read is not looked up before it is refused: the first under an id stands
            ("act", self.act, FIRST), ("possible_match", self.match, ""), ("conclusion", self.conclusion, ""),
            ("letter", self.letter, ""),
        )  # fmt: skip
        if moved := [row for pid, row in self._open_link.items() if pid not in self._new]:
            execute(conn, _MOVE, {"p": [row[0] for row in moved], "c": [row[3] for row in moved]})
        for match_id, state in self.match_state:
            execute(conn, _STATE, {"s": state, "m": match_id})


def save_children(conn: Connection, stands: Iterable[Standing]) -> None:
    """Write where children stand, each in the place of what was there before."""
    insert(conn, ("child", map(child_row, stands), NEWEST))


def child_row(stands: Standing) -> tuple[Any, ...]:
    """A row of table `child`."""
    s = stands
    return (s.child_id, s.version, s.as_of, s.due_at, s.owed_at, s.urgency, plain(s.counts))


def insert(conn: Connection, *parts: tuple[str, Iterable[Iterable[Any]], str]) -> None:
    """Rows of tables of `COLUMNS`, all in one statement; each part's last text ends its own `insert`."""
    given = [(table, tail, data) for table, rows, tail in parts if (data := list(zip(*rows, strict=True)))]
    if given:
        sql, kinds = _inserting(tuple((table, tail) for table, tail, _ in given))
        columns = [column for _, _, data in given for column in data]
        execute(conn, sql, {f"c{i}": Column(kind, column) for i, (kind, column) in enumerate(zip(kinds, columns, strict=True))})


@cache
def _inserting(parts: tuple[tuple[str, str], ...]) -> tuple[TextClause, tuple[str, ...]]:
    """The statement, and the types of its columns."""
    inserts, kinds = list[str](), list[str]()
    for table, tail in parts:
        names = [c.split() for c in COLUMNS[table].split(", ")]
        arrays = ", ".join(f"cast(:c{len(kinds) + i} as {kind}[])" for i, (_, kind) in enumerate(names))
        quoted = ", ".join(f'"{name}"' for name, _ in names)
        inserts.append(f"insert into {table} ({quoted}) select * from unnest({arrays}) {tail}")
        kinds += [kind for _, kind in names]
    first = ", ".join(f"t{n} as ({sql})" for n, sql in enumerate(inserts[:-1]))
    return text((f"with {first} " if first else "") + inserts[-1]), tuple(kinds)


FIRST: Final = "on conflict do nothing"
"""What was there before stays."""

NEWEST: Final = (
    "on conflict (child_id) do update set version = excluded.version, as_of = excluded.as_of, "
    "due_at = excluded.due_at, owed_at = excluded.owed_at, urgency = excluded.urgency, counts = excluded.counts"
)
"""Where a child stands takes the place of where it stood."""

AGAIN: Final = "on conflict (kind, fingerprint) do update set number = excluded.number"
"""A policy that is in force again is so from its newest entry on."""

LATEST: Final = "on conflict (a, b) do update set rule = excluded.rule, match_id = excluded.match_id"
"""An edge that was removed and came again among these entries is by what was said last."""

_CLOSE_LINK = text(
    "update link set to_number = u.n, to_at = u.t "
    "from unnest(cast(:p as text[]), cast(:n as bigint[]), cast(:t as bigint[])) as u(p, n, t) "
    "where link.presentation_id = u.p and link.to_number is null"
)
_STATE = text("update possible_match set state = :s where match_id = :m")
_MOVE = text(
    "update presentation set child_id = u.c from unnest(cast(:p as text[]), cast(:c as text[])) as u(p, c) "
    "where presentation.presentation_id = u.p and presentation.child_id <> u.c"
)
_DELETE_EDGE = text(
    "delete from edge using unnest(cast(:a as text[]), cast(:b as text[])) as u(a, b) where edge.a = u.a and edge.b = u.b"
)
