"""Entries into `views` one run after another: catching up with the ledger, and folding children anew.

It folds; it never decides and never sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Final, TypeVar

from sqlalchemy import Connection, text

from domain.model import History
from domain.policy import Reference
from domain.standing import standing
from projections.book import Book
from projections.entries import FACT, REFERENCE, Entry, header, opened, section_keys
from projections.keyring import KeyRing
from projections.outputs import Output, outputs
from projections.writing import Rows, save_children

CHUNK: Final = 1_000
"""Entries a transaction: measured flat from 500 on."""

Progress = Callable[[int], None]
"""Told of entries applied; of none, when it was only children that were folded."""

T = TypeVar("T")


class Applier:
    """Applies entries to tables, with the keys that remain."""

    def __init__(self, keys: KeyRing, reference: Reference, progress: Progress = lambda _: None) -> None:
        self._keys, self._reference, self._progress = keys, reference, progress

    def catch_up(
        self, conn: Connection, values: Iterable[bytes], incarnation: int, sent: int = 0, *, resumed: bool = False
    ) -> int:
        """Apply encoded entries in number order, refold the children they touch, then take on `incarnation`.

        `sent` is as for `Rows`. Each chunk is a transaction; the incarnation comes last, so nobody decides on a half-applied
        database. `resumed`: one that began before has ended midway, and nobody knows whom its entries touched: every child is
        folded. Returns how many entries.
        """
        done, presentations, children = 0, set[str](), set[str]()
        writers = self._writers(conn)
        for chunk in chunks(values, CHUNK):
            with conn.begin():
                entries = self._apply(conn, chunk, writers, sent)
            for entry in entries:
                if entry.presentation_id is not None and entry.kind == FACT:
                    presentations.add(entry.presentation_id)
                for kind, data in entry.conclusions:
                    if kind == "linked" or "match_id" in data:
                        presentations |= {data[k] for k in ("presentation_id", "anchor") if k in data}
                    children |= {data["child_id"]} if "child_id" in data else set()
            done += len(chunk)
            self._progress(len(chunk))
        if resumed or done:
            self._fold(conn, every_child(conn) if resumed else self._touched(conn, presentations, children))
        with conn.begin():
            conn.execute(text("update counter set incarnation = greatest(incarnation, :i) where id = 1"), {"i": incarnation})
        return done

    def outputs(self, conn: Connection, values: Sequence[bytes]) -> list[list[Output]]:
        """What follows from each of these encoded entries, made again; less from one whose key was destroyed.

        Raises:
            KeysAbsent.
        """
        entries = list(self._opened(values, self._writers(conn)))
        self._keys.demand(section_keys(header(v) for v, e in zip(values, entries, strict=True) if e.erased))
        return [outputs(entry) for entry in entries]

    def _writers(self, conn: Connection) -> dict[str, str]:
        with conn.begin():
            found = conn.execute(text("select fingerprint, clear from reference where kind = 'schema'"))
            return {r.fingerprint: bytes(r.clear).decode() for r in found}

    def _opened(self, values: Sequence[bytes], writers: dict[str, str]) -> Iterator[Entry]:
        heads = [header(value) for value in values]
        self._keys.ensure(section_keys(heads))
        for head in heads:
            entry = opened(head, self._keys, writers)
            if entry.kind == REFERENCE and entry.record == "schema":
                writers[entry.writer or ""] = (entry.clear or b"").decode()
            yield entry

    def _apply(self, conn: Connection, chunk: list[bytes], writers: dict[str, str], sent: int) -> list[Entry]:
        rows, entries = Rows(sent), list[Entry]()
        positions: dict[tuple[str, int], int] = {}
        for entry, value in zip(self._opened(chunk, writers), chunk, strict=True):
            rows.add(entry, value)
            entries.append(entry)
            if entry.source is not None:
                topic, partition, offset = entry.source
                positions[(topic, partition)] = offset + 1
        rows.write(conn)
        at = {"t": [t for t, _ in positions], "p": [p for _, p in positions], "n": list(positions.values())}
        conn.execute(POSITIONS, at)
        conn.execute(
            text("update counter set number = :n, accepted_at = :a where id = 1"),
            {"n": entries[-1].number, "a": entries[-1].accepted_at},
        )
        return entries

    @staticmethod
    def _touched(conn: Connection, presentations: set[str], children: set[str]) -> set[str]:
        with conn.begin():
            rows = conn.execute(
                text("select distinct child_id from link where presentation_id = any(:p)"), {"p": sorted(presentations)}
            )
            ids = {r.child_id for r in rows} | children
            book = Book()
            book.load_founders(conn, children)
            return ids | {book.current(c) for c in children}

    def _fold(self, conn: Connection, child_ids: Iterable[str]) -> None:
        for some in chunks(sorted(child_ids), CHUNK // 2):
            with conn.begin():
                self.refold(conn, some)
            self._progress(0)

    def refold(self, conn: Connection, child_ids: Iterable[str], as_of: Mapping[str, int] = MappingProxyType({})) -> None:
        """Fold these children anew from the tables, each as of its own instant (µs), by default the last thing said of it."""
        wanted = list(child_ids)
        book = Book()
        book.load_children(conn, wanted)
        histories = [book.history(c) for c in wanted]
        save_children(conn, [standing(h, self._reference, as_of.get(h.child_id) or newest(h)) for h in histories if h.links])


def newest(history: History) -> int:
    """When the last thing that a history holds was accepted, µs."""
    times = [f.accepted_at for f in history.facts] + [c.accepted_at for c in history.conclusions]
    times += [t for x in history.links for t in (x.from_at, x.to_at) if t is not None]
    return max(times, default=0)


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    it = iter(values)
    while some := list(islice(it, size)):
        yield some


def every_child(conn: Connection) -> list[str]:
    """The ids of all children. Of erased presentations nothing but what others' entries say of them is left: they make none."""
    with conn.begin():
        return [r.child_id for r in conn.execute(_CHILDREN)]


_CHILDREN = text("select distinct l.child_id from link l join presentation p using (presentation_id) order by l.child_id")
POSITIONS = text(
    "insert into position (topic, partition, next_offset, epoch, owner) "
    "select t, p, n, 0, 'ledger' from unnest(cast(:t as text[]), cast(:p as int[]), cast(:n as bigint[])) as u(t, p, n) "
    "on conflict (topic, partition) do update set next_offset = greatest(position.next_offset, excluded.next_offset)"
)
