"""What a fact costs as history grows: of a child of whom much is known, and among many children."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import pytest
from sqlalchemy import text

from consumers.host import Intake
from consumers.unify import Unify, start_counter
from domain.times import DAY_US
from infra import assembly, stores
from producers.halton.facts import SimulatedFact
from projections.collecting import collect_rarely
from projections.keyring import KeyRing
from schemas.policies import policy_hash, policy_text
from tests.bench import crowd
from tests.bench.histories import Life, lives
from tests.bench.meters import Meter, server_processes
from tests.bench.report import Report, Section, split
from tests.bench.stage import FACTS, FACTS_FULL
from tests.bench.workload import SEED, workload
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(2_400)

FLAT: Final = 1.25
"""The most expensive size costs at most so many times what the cheapest costs."""

WHOLE: Final = FACTS >= FACTS_FULL
HISTORIES: Final = (1_000, 100, 10) if WHOLE else (100, 10)
CHILDREN_EACH: Final = 25
ROUNDS: Final = 3
"""Times that all of it is done with other children: by itself one round, some hundred facts of a size, moves by a tenth."""

SINGLY, TOGETHER = 10, 10
"""Days on which facts are decided about one by one, then days on which those of all children of a size come in one batch."""

DAYS_A_BATCH: Final = 10
"""Days of history decided about in one batch: quicker, and long enough for what follows from one fact to meet the next."""

CROWDS: Final = (10_000, 100_000, 1_000_000) if WHOLE else (1_000, 10_000)
MEASURED: Final = 2_000
BEFORE: Final = 500
"""Facts of the workload before those that are measured: its own children are known, and what is compiled is compiled."""

BATCH: Final = 100


@dataclass(slots=True)
class Cost:
    """What some facts cost: CPU seconds by kind of process, wall seconds."""

    facts: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0

    def add(self, more: Cost) -> None:
        """Count these, too."""
        self.facts += more.facts
        self.wall += more.wall
        self.cpu = {kind: self.cpu.get(kind, 0.0) + used for kind, used in more.cpu.items()}

    @property
    def us(self) -> float:
        """CPU µs a fact, of both processes."""
        return sum(self.cpu.values()) / self.facts * 1e6

    def __str__(self) -> str:
        """For the table."""
        return f"{self.us:,.0f} µs ({split(self.cpu, self.facts)}), {self.wall / self.facts * 1e3:.2f} ms wall"


class Worker:
    """`Unify` in this process on a deployment's databases; its clock is the last fact's arrival, and nothing goes to Kafka."""

    def __init__(self, services: Services, deployment: Deployment) -> None:
        self.services, self.deployment = services, deployment
        self._clock = self._offset = 0
        settings = self.deployment.settings
        self._codec = assembly.codec(settings)
        self._engines = [
            stores.engine(settings.views_dsn, "bench", by_key=True),
            stores.engine(settings.keep_dsn, "bench-keys", by_key=True),
        ]
        keys = KeyRing(self._engines[1], settings.master_key, lambda _: lambda: None, lambda: self._clock)
        reference = stores.current_reference()
        policy = (policy_hash(), policy_text())
        self._unify = Unify(self._codec, keys, reference, policy, lambda: (0, 0), lambda: self._clock)
        self._conn = self._engines[0].connect()
        with self._conn.begin():
            start_counter(self._conn)
        collect_rarely()  # as a worker does

    def close(self) -> None:
        """Disconnect."""
        self._conn.close()
        for engine in self._engines:
            engine.dispose()

    def decide(self, batches: Iterable[Sequence[SimulatedFact]]) -> Cost:
        """Decide about each batch in one transaction; what that cost, encoding not counted."""
        ready = [(max(f.arrives_at for f in batch), [self._intake(f) for f in batch]) for batch in batches]
        servers = server_processes(self.services)
        meter = Meter({"postgres": [servers["postgres"]]} if servers else {})
        meter.start()
        begun, own = time.monotonic(), time.process_time()
        for at, batch in ready:
            self._clock = max(self._clock, at)
            prepared = self._unify.prepare(self._conn, batch)
            with self._conn.begin():
                self._unify.lock(self._conn)
                self._unify.handle(self._conn, prepared)
        used = {"worker": time.process_time() - own, **meter.used()}
        return Cost(sum(len(b) for _, b in ready), used, time.monotonic() - begun)

    def accepted(self) -> int:
        """Facts accepted so far."""
        with self._conn.begin():
            return int(self._conn.execute(text("select count(*) from fact")).scalar_one())

    def _intake(self, fact: SimulatedFact) -> Intake:
        self._offset += 1
        return Intake(f"facts.{fact.agency}", 0, self._offset, fact.arrives_at, self._codec.encode(fact.record, fact.value))


@contextmanager
def worker(services: Services) -> Iterator[Worker]:
    """A worker on a deployment of its own, which is removed with its databases before another takes the disk."""
    deployment = services.deploy(only=["ledger"])
    try:
        made = Worker(services, deployment)
        try:
            yield made
        finally:
            made.close()
    finally:
        deployment.close()


class TestHistory:
    """The next fact of a child of whom 10, 100 or 1,000 are known."""

    def test_flat(self, services: Services, report: Report) -> None:
        """The same last facts, told of children with longer and longer histories."""
        days = SINGLY + TOGETHER
        section = report.section(
            "A fact's cost as one child's history grows",
            f"{CHILDREN_EACH} children of each size, told of once a day by every agency in Halton's mix; all of it comes to "
            f"one child. Measured: the {days} facts that follow so many, the same for every size; on {SINGLY} days one by one, "
            f"then on {TOGETHER} days those of {CHILDREN_EACH} children in one batch; every day each size has its turn, so that "
            f"the machine's moods fall on all alike. {ROUNDS} rounds, each with other children on databases of its own. `Unify` "
            "in this process, PostgreSQL real; from bytes to commit. CPU is of the process and of all of PostgreSQL's.",
        )
        singly, together = {size: Cost() for size in HISTORIES}, {size: Cost() for size in HISTORIES}
        for n in range(ROUNDS):
            told = lives(SEED + n, HISTORIES, CHILDREN_EACH, days)
            with worker(services) as unify:
                unify.decide(_history(told))
                for day in range(days):
                    for size, children in told.items():
                        facts = [c.after[day] for c in children]
                        if day < SINGLY:
                            singly[size].add(unify.decide([f] for f in facts))
                        else:
                            together[size].add(unify.decide([facts]))
                assert unify.accepted() == sum((size + days) * CHILDREN_EACH for size in HISTORIES)
        _report(section, "after {:,} facts, one by one", singly)
        _report(section, f"after {{:,}} facts, {CHILDREN_EACH} children a batch", together)


class TestCrowd:
    """The same facts among more and more children."""

    def test_flat(self, services: Services, report: Report) -> None:
        """One workload among crowds of strangers, batch by batch in turns."""
        made = workload(BEFORE + MEASURED)
        section = report.section(
            "A fact's cost as the number of children grows",
            f"{made}; the last {MEASURED:,} are measured, in batches of {BATCH}, "
            "among so many other children, each with one presentation, its blocking keys, a link, a fact, a key, and names "
            "as common as Halton's, written straight into the tables; each batch is decided among all the crowds in turn, each "
            "time among another first, so that the machine's moods fall on all alike. `Unify` in this process, PostgreSQL real; "
            "from bytes to commit. CPU is of the process and of all of PostgreSQL's.",
        )
        found = {size: Cost() for size in CROWDS}
        batches = [made.facts[n : n + BATCH] for n in range(0, len(made.facts), BATCH)]
        with ExitStack() as stack:
            workers = {size: stack.enter_context(worker(services)) for size in CROWDS}
            for size, unify in workers.items():
                begun = time.monotonic()
                crowd.fill(unify.deployment.views_dsn, unify.deployment.keep_dsn, size)
                filled = time.monotonic() - begun
                disk = sum(crowd.size_mib(dsn) for dsn in (unify.deployment.views_dsn, unify.deployment.keep_dsn))
                section.add(f"{size:,} children: filling; databases", f"{filled:.0f} s; {disk:,} MiB")
            for n, batch in enumerate(batches):
                first = n % len(CROWDS)
                for size in (*CROWDS[first:], *CROWDS[:first]):
                    cost = workers[size].decide([batch])
                    if n >= BEFORE // BATCH:
                        found[size].add(cost)
            for size, unify in workers.items():
                assert unify.accepted() - size >= len(made.facts) * 0.98, "the workload is of facts that are accepted"
        _report(section, "among {:,} children", found)


def _history(told: Mapping[int, Sequence[Life]]) -> Iterator[list[SimulatedFact]]:
    """All children's facts before those that are measured, some days of them a batch."""
    facts = sorted((f for children in told.values() for c in children for f in c.before), key=lambda f: f.arrives_at)
    day = facts[0].arrives_at
    for _, some in groupby(facts, key=lambda f: (f.arrives_at - day) // (DAYS_A_BATCH * DAY_US)):
        yield list(some)


def _report(section: Section, what: str, found: dict[int, Cost]) -> None:
    """A row a size, then how much more the most expensive costs than the cheapest."""
    for size, cost in sorted(found.items()):
        section.add(what.format(size), str(cost))
    ratio = max(c.us for c in found.values()) / min(c.us for c in found.values())
    label = what.replace("{:,}", f"{min(found):,} to {max(found):,}")
    section.add(f"{label}: most to least CPU", f"{ratio:.2f}", f"<= {FLAT} (flat)", met=ratio <= FLAT)
