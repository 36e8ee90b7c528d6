"""Workers that remember children decide as one that remembers nothing would, whatever the others touch meanwhile."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import Connection, text

from consumers.host import Intake
from consumers.unify import REMEMBERED_MAX as MOST
from consumers.unify import Unify, start_counter
from infra import assembly, stores
from projections import footprint
from projections.book import Book
from projections.tables import FOLDED
from projections.writing import Rows
from schemas.policies import policy_hash, policy_text
from tests.bench.histories import lives
from tests.bench.workload import END, workload
from tests.fault.memory import CODEC
from tests.services import Deployment

FACTS = 700
LIVES, DAYS = 8, 70
ROUNDS = 120
PEOPLE = [
    {"given_name": "Aria", "family_name": f"Wood{n // 3}", "birth_date": f"2011-0{1 + n // 2}-11", "nhs_number": number}
    for n, number in enumerate(
        ["9990000018", "9990000026", "9990000034", "9990000042", "9990000050", "9990000069", "9990000077", "9990000085"]
    )
]
"""Some share a family name, some a birth date: told now in full, now in part, so that records are joined, doubted and parted."""

Deploy = Callable[..., Deployment]


class Clock:
    """The instant at which the next decision is made."""

    us = END

    def __call__(self) -> int:
        return self.us


class Keys(assembly.KeyRing):
    """Of a deployment whose secrets are known: ids, and with them what a seed leads to, are the same in each run."""

    def secret(self, name: str) -> bytes:
        return name.encode().ljust(32)


class Worker:
    """`Unify` with a connection of its own."""

    def __init__(self, views: Deployment, keep: Deployment, clock: Clock, policy: tuple[str, bytes] | None = None) -> None:
        """`policy`: its name and text, for another release's."""
        self.engine = stores.engine(views.views_dsn, "remembered", by_key=True)
        self.keep = stores.engine(keep.keep_dsn, "remembered-keys", by_key=True)
        keys = Keys(self.keep, keep.settings.master_key, lambda _: lambda: None, clock)
        rules = stores.current_reference()
        self.unify = Unify(CODEC, keys, rules, policy or (policy_hash(), policy_text()), lambda: (0, 0), clock)
        self.conn = self.engine.connect()
        self.ready: Any = None

    def decide(self) -> None:
        """What was made ready, in one transaction."""
        ready, self.ready = self.ready, None
        with self.conn.begin():
            self.unify.lock(self.conn)
            self.unify.handle(self.conn, ready)

    def close(self) -> None:
        """Disconnect."""
        self.conn.close()
        self.engine.dispose()
        self.keep.dispose()


class Agencies:
    """What is said: much of some children; or, `mixed`, a simulated year's facts of a few people who are taken for one another,
    some twice, some corrected by whomever. And people's answers to matches.
    """

    def __init__(self, rng: random.Random, *, mixed: bool = True) -> None:
        self._rng, self._offsets, self._mixed = rng, dict[str, int](), mixed
        seed = rng.randrange(1000)
        told = workload(FACTS, seed).facts if mixed else [f for life in lives(seed, [DAYS], LIVES, 0)[DAYS] for f in life.before]
        told = told if mixed else sorted(told, key=lambda f: f.arrives_at)
        self._facts = [(f.agency, f.record, f.value) for f in told]
        self._next, self._said = 0, list[tuple[str, str, dict[str, Any]]]()

    def batch(self, conn: Connection) -> list[Intake]:
        """Some records."""
        out = [self._fact() for _ in range(self._rng.randrange(1, 9 if self._mixed else 16))]
        return out + [self._act(conn) for _ in range(self._rng.choice((0, 0, 1, 2) if self._mixed else (0, 0, 0, 0, 0, 1)))]

    def _intake(self, topic: str, record: str, value: dict[str, Any]) -> Intake:
        offset = self._offsets[topic] = self._offsets.get(topic, -1) + 1
        return Intake(topic, 0, offset, END, CODEC.encode(record, value))

    def _fact(self) -> Intake:
        rng = self._rng
        agency, record, value = self._facts[self._next % len(self._facts)]
        what = rng.random()
        if not self._mixed:
            self._next += 1
        elif what < 0.1 and self._said:
            agency, record, value = rng.choice(self._said)
        elif what < 0.35 and self._said:
            value = copy.deepcopy(value)
            envelope = value["envelope"]
            envelope["event_id"] = str(UUID(int=rng.getrandbits(128), version=4))
            if what < 0.25:  # a correction: of what was said, or of what will be
                later = self._facts[(self._next + rng.randrange(1, 12)) % len(self._facts)]
                target = rng.choice([*self._said[-12:], later])
                envelope["supersedes"] = target[2]["envelope"]["event_id"]
                envelope["subject"] = target[2]["envelope"]["subject"] if agency == target[0] else envelope["subject"]
            else:
                envelope["subject"] = {k: v if k == "local_id" else None for k, v in envelope["subject"].items()}
        else:
            self._next += 1
            value = copy.deepcopy(value)
            value["envelope"]["subject"] = self._subject(value["envelope"]["subject"])
        self._said.append((agency, record, value))
        return self._intake(f"facts.{agency}", record, value)

    def _subject(self, sent: dict[str, Any]) -> dict[str, Any]:
        """One of a few people, as one agency or another may know them."""
        rng = self._rng
        n = rng.randrange(len(PEOPLE))
        told = (
            dict.fromkeys(sent, None) | PEOPLE[n] | {"local_id": f"{n if rng.random() < 0.8 else rng.randrange(4)}", "sex": "F"}
        )
        told["nhs_number_status"] = rng.choice(("01", "02"))
        for name, often in (("nhs_number", 0.6), ("birth_date", 0.15), ("given_name", 0.15), ("family_name", 0.1)):
            if rng.random() < often:
                told[name] = {"given_name": "Arya", "family_name": "Marsh"}.get(name)
        return told

    def _act(self, conn: Connection) -> Intake:
        sql = (
            "select m.match_id, m.state, (select max(c.number) from conclusion c where c.about = m.match_id) as based "
            "from possible_match m order by m.match_id"
        )
        with conn.begin():
            found = conn.execute(text(sql)).all()
        match = self._rng.choice(found) if found else None
        record = {"OPEN": self._rng.choice(("MatchConfirmed", "MatchRejected")), "CONFIRMED": "MatchUndone"}.get(
            match.state if match else "", "MatchConfirmed"
        )
        act = {
            "event_id": str(UUID(int=self._rng.getrandbits(128), version=4)), "actor_id": "m", "actor_role": "icart_manager",
            "child_id": None, "acted_at": END, "based_on": match.based if match else 1, "correlation_id": None,
        }  # fmt: skip
        match_id = match.match_id if match else act["event_id"]
        return self._intake("decisions", record, {"act": act, "match_id": match_id, "rationale": "Seen."})


@pytest.fixture
def pair(new_deployment: Deploy) -> tuple[Deployment, Deployment]:
    """Where workers decide together, and where one decides the same again."""
    return new_deployment(only=["ledger"]), new_deployment(only=["ledger"])


def as_sets(book: Book, child: str) -> list[Any]:
    """The child's history, order and repetition left aside."""
    h = book.history(child)
    facts = {(f.agency, f.event_id, f.number, f.presentation_id) for f in h.facts}
    said = {(c.number, c.kind, orjson.dumps(c.data, option=orjson.OPT_SORT_KEYS)) for c in h.conclusions}
    return [{p.presentation_id for p in h.presentations}, set(h.links), facts, said, h.others.keys()]


def check_memory(worker: Worker) -> None:
    """What it remembers of any child is what lies in the tables, up to what others did since; what it has asked for once as well:
    that is not read again.
    """
    book, fresh = worker.unify._book, Book()
    with worker.conn.begin():
        fresh.load_children(worker.conn, {*book.whole, *book.conclusions})
    for child in sorted(book.whole):
        assert as_sets(fresh, child) == as_sets(book, child)
        for pid in book.members[child]:
            assert edges(fresh, pid) == edges(book, pid)
    for child in sorted(book.conclusions):
        assert {(c.number, c.kind) for c in fresh.conclusions[child]} == {(c.number, c.kind) for c in book.conclusions[child]}


def edges(book: Book, presentation_id: str) -> dict[tuple[str, str], Any]:
    """What holds a record together with others."""
    return {e: book.edges[e] for e in book.joined[presentation_id] if e in book.edges}


def digest(conn: Connection) -> dict[str, Any]:
    """Every table but what is encrypted, or names no content."""
    names = [t.name for t in FOLDED if t.name not in ("ledger", "position")]
    sql = "select count(*), md5(string_agg(t::text, '|' order by t::text)) from \"{}\" t"
    with conn.begin():
        return {n: tuple(conn.execute(text(sql.format(n))).one()) for n in names}


@pytest.mark.parametrize(
    ("seed", "mixed", "kept", "most"),
    [(2, True, 5_000, MOST), (109, True, 8, MOST), (300, True, 5_000, MOST), (7, False, 5_000, MOST), (11, True, 5_000, 60)],
)
def test_as_one_that_remembers_nothing(
    pair: tuple[Deployment, Deployment], monkeypatch: pytest.MonkeyPatch, seed: int, kept: int, most: int, *, mixed: bool
) -> None:
    """Three workers read ahead and decide in any order, and forget now and then; then one decides the same, batch by batch.

    Where footprints are swept away after a few numbers, who comes late begins anew; so does who remembers too much.
    """
    monkeypatch.setattr("consumers.unify.REMEMBERED_MAX", most)
    monkeypatch.setattr(footprint, "KEPT", kept)
    monkeypatch.setattr(footprint, "SWEPT", kept // 5 or 1)
    rng, clock = random.Random(seed), Clock()
    together, alone = pair
    said = Agencies(rng, mixed=mixed)
    workers = [Worker(together, together, clock) for _ in range(3)]
    again = Worker(alone, together, clock)
    order: list[tuple[list[Intake], int]] = []
    waiting: dict[int, list[Intake]] = {}
    try:
        for one in (workers[0], again):
            with one.conn.begin():
                start_counter(one.conn)
        for _ in range(ROUNDS):
            n = rng.randrange(len(workers))
            worker = workers[n]
            if worker.ready is None:
                if rng.random() < 0.03:
                    worker.unify.forget()
                waiting[n] = said.batch(worker.conn)
                worker.ready = worker.unify.prepare(worker.conn, waiting[n])
                continue
            clock.us += rng.randrange(3_600_000_000)
            order.append((waiting.pop(n), clock.us))
            worker.decide()
            check_memory(worker)
        for batch, at in order:
            clock.us = at
            again.unify.forget()
            again.ready = again.unify.prepare(again.conn, batch)
            again.decide()
        found = digest(workers[0].conn)
        assert digest(again.conn) == found, f"seed {seed}"
        with workers[0].conn.begin():
            kinds = set(workers[0].conn.execute(text("select distinct kind from conclusion")).scalars())
        told = ("fact", "act", "edge", "possible_match", "conclusion", "link") if mixed else ("fact", "act", "conclusion", "link")
        assert all(found[t][0] > 0 for t in told), found
        assert mixed or "recommended" in kinds, kinds
        with workers[0].conn.begin():
            left = workers[0].conn.execute(text("select count(*) from footprint")).scalar_one()
        assert left <= kept and (left < len(order)) == (kept < len(order)), f"{left} footprints of {len(order)} batches"
    finally:
        for one in (*workers, again):
            one.close()


def test_begins_anew_before_it_reads_ahead(pair: tuple[Deployment, Deployment], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that remembers too much forgets it while nobody waits; under the lock it still has what it read for the batch."""
    most = 60
    monkeypatch.setattr("consumers.unify.REMEMBERED_MAX", most)
    said, worker = Agencies(random.Random(11)), Worker(pair[0], pair[0], Clock())
    kept, anew = None, 0
    try:
        with worker.conn.begin():
            start_counter(worker.conn)
        for _ in range(ROUNDS):
            worker.ready = worker.unify.prepare(worker.conn, said.batch(worker.conn))
            book = worker.unify._book
            assert len(book.stands) <= most + worker.unify._brought
            assert book is worker.unify._decider._book, "one lies in memory, and none is taken apart under the lock"
            anew += book is not kept
            worker.decide()
            kept = worker.unify._book
            assert kept is book
        assert anew > 1
    finally:
        worker.close()


def test_an_edge_that_comes_again(pair: tuple[Deployment, Deployment]) -> None:
    """Removed and said anew by a person, among entries that are written at once: it is the person's from then on."""
    worker = Worker(pair[0], pair[0], Clock())
    try:
        for rule, match_id in (("LOCAL_ID", None), ("CONFIRMED", "m")):
            rows = Rows()
            rows.edge["a", "b"] = ("a", "b", rule, match_id)
            with worker.conn.begin():
                rows.write(worker.conn)
                assert (rule, match_id) == tuple(worker.conn.execute(text("select rule, match_id from edge")).one())
    finally:
        worker.close()


def test_two_releases_at_once(pair: tuple[Deployment, Deployment]) -> None:
    """Workers under two policies enter each once, not in turns: every entry would have every child judged again."""
    said, clock, policies = Agencies(random.Random(5)), Clock(), list[list[Any]]()
    workers = [Worker(pair[0], pair[0], clock, policy) for policy in (None, ("f" * 64, b"another"))]
    try:
        with workers[0].conn.begin():
            start_counter(workers[0].conn)
        for worker in workers * 2:
            worker.ready = worker.unify.prepare(worker.conn, said.batch(worker.conn))
            worker.decide()
            with worker.conn.begin():
                found = worker.conn.execute(text("select fingerprint, number from reference where kind = 'policy' order by 2"))
                policies.append([tuple(r) for r in found])
        assert [1, 2, 2, 2] == [len(p) for p in policies]
        assert policies[1] == policies[-1]
    finally:
        for worker in workers:
            worker.close()


def test_two_meet_one_new_child(pair: tuple[Deployment, Deployment]) -> None:
    """Both have read that nobody knows the child; the second to decide sees the first one's record all the same."""
    said, clock = Agencies(random.Random(5)), Clock()
    facts = {agency: (record, value) for agency, record, value in said._facts}
    person = PEOPLE[0] | {"nhs_number_status": "01", "local_id": "7"}
    workers = [Worker(pair[0], pair[0], clock) for _ in range(2)]
    try:
        with workers[0].conn.begin():
            start_counter(workers[0].conn)
        for worker, agency in zip(workers, sorted(facts), strict=False):
            record, value = copy.deepcopy(facts[agency])
            value["envelope"]["subject"] = dict.fromkeys(value["envelope"]["subject"], None) | person
            worker.ready = worker.unify.prepare(worker.conn, [said._intake(f"facts.{agency}", record, value)])
        for worker in workers:
            worker.decide()
        with workers[0].conn.begin():
            found = workers[0].conn.execute(text("select count(*), count(distinct child_id) from presentation")).one()
        assert (2, 1) == tuple(found)
    finally:
        for worker in workers:
            worker.close()
