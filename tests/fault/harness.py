"""A deployment under faults: real worker processes, real agencies and people, bounded waits for conditions.

What is checked afterwards is in `tests.fault.checker` and its neighbours: from what was recorded (`tests.fault.history`), from
topics and from tables, never from log lines.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from domain.problems import SightlineError
from infra import assembly
from producers.client import AgencyClient
from producers.halton.facts import SimulatedFact
from schemas.topics import AGENCIES, topics
from tests.fault.crew import ROOT, WORKERS, Crew, Point, Worker
from tests.fault.history import SAMPLE_S, History, Seen, look, watch_moves
from tests.fault.meanwhile import meanwhile
from tests.fault.people import People
from tests.fault.poison import spoiled
from tests.fault.story import Story
from tests.fault.talk import EVERY, Talk
from tests.services import Deployment, Services

__all__ = ["EVERYTHING", "INTAKE", "LOOK_S", "OUTPUTS", "ROOT", "SETTLE_S", "WORKERS", "House", "Late", "Point"]

INTAKE: Final = (*(f"facts.{a}" for a in AGENCIES), "decisions", "receipts", "clock")
OUTPUTS: Final = (
    "recommendations",
    "gp.messages",
    *(f"outcomes.{a}" for a in AGENCIES),
    *(f"dead-letters.{a}" for a in AGENCIES),
)
"""What leaves the house on the strength of an entry."""

PARTITIONS: Final = {t.name: t.partitions for t in topics()}
EVERYTHING: Final = tuple(PARTITIONS)
LOOK_S: Final = 0.05
SETTLE_S: Final = 90.0
"""The longest wait for a condition; most hold within two seconds."""

TALK_HZ: Final = 60
"""Facts a second of those who go on talking while a fault strikes."""

SLACK_MAX: Final = 8.0
"""I6 is promised of a machine that is not busy with other things: bounds are widened by its load a core, at most so far."""


OWNED: Final = ("topic", "partition", "epoch", "next_offset", "owner")


class Late(AssertionError):
    """A condition did not come to hold in time."""


class Member(NamedTuple):
    """A worker that owned partitions at a moment, and the epoch of every partition then."""

    name: str
    epochs: Mapping[tuple[str, int], int]


class Took(NamedTuple):
    """Seconds until entries flowed again, of at most `bound_s`; `slack`: by how much a busy machine widened that bound."""

    seconds: float
    bound_s: float
    slack: float


class House:
    """One deployment with its workers, agencies and people. Use as a context manager."""

    def __init__(
        self,
        services: Services,
        story: Story,
        folder: Path,
        *,
        armed: Mapping[str, Sequence[Point]] | None = None,
        sabotage: str | None = None,
        environment: Mapping[str, str] | None = None,
        names: Sequence[str] = WORKERS,
        prefix: Sequence[str] = (),
    ) -> None:
        """`environment` and `prefix` (of the command) are added for every worker."""
        self.services, self.story, self.folder = services, story, folder
        self.history = History()
        self.deployment: Deployment = services.deploy()
        self.settings = self.deployment.settings
        watch_moves(self.deployment.views_dsn)
        assembly.register_schemas(self.settings)
        self.codec = assembly.codec(self.settings)
        self.offset_file = folder / "clock-offset-us"
        self.offset_file.write_text("0")
        self.environment = {
            **self.deployment.environment(),
            "PYTHONPATH": str(ROOT),
            "SIGHTLINE_FAULT_CLOCK": str(self.offset_file),
            **({"SIGHTLINE_FAULT_SABOTAGE": sabotage} if sabotage else {}),
            **(environment or {}),
        }
        self._prefix, armed = tuple(prefix), armed or {}
        self.crew = Crew(self.history, {n: self.worker(n, armed.get(n, ())) for n in names})
        self.acknowledged: dict[str, Counter[str]] = {a: Counter() for a in AGENCIES}
        self.conflicts: dict[str, int] = {}
        self.poison: dict[tuple[str, int, int], str] = {}
        self.resumed: dict[str, Took] = {}
        self.people = People(self)
        self._said: dict[str, list[str]] = {a: [] for a in AGENCIES}
        self._told: set[tuple[str, str]] = set()
        self._talk: Talk | None = None
        self._counted = dict.fromkeys(AGENCIES, 0)
        self._speech, self._looking = threading.RLock(), threading.Lock()
        self._leaving = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._clients: dict[str, AgencyClient] = {}
        self._consumer: KafkaConsumer | None = None

    @property
    def slack(self) -> float:
        """By how much bounds are widened just now."""
        return min(SLACK_MAX, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))

    def worker(self, name: str, armed: Sequence[Point] = (), **environment: str) -> Worker:
        """A worker of this house, not started."""
        return Worker(name, self.environment | environment, self.folder / f"{name}.log", list(armed), prefix=self._prefix)

    def __enter__(self) -> Self:
        try:
            for agency in AGENCIES:
                self.open_client(agency)
            self.crew.start()
            self._sampler.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self.crew.stop()
        self.people.close()
        for client in self._clients.values():
            with contextlib.suppress(SightlineError, OSError):
                client.close(0.5)
        if self._sampler.is_alive():
            self._sampler.join(10)
        if self._consumer is not None:
            self._consumer.close()
        self.deployment.close()

    def open_client(self, agency: str, spool: Path | None = None, **bounds: int) -> AgencyClient:
        """The agency's own client on its spool."""
        secret = self.settings.secret(f"agency.{agency}.key").encode()
        spool = spool or self.folder / f"spool-{agency}"
        spool.mkdir(mode=0o700, exist_ok=True)
        access = self.deployment.access(f"agency.{agency}")
        client = AgencyClient(access, agency, self.codec, secret, spool, now=self.now_us, **bounds)
        self._clients[agency] = client
        return client

    # -- the sampler ------------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        while not self._leaving.wait(SAMPLE_S):
            self._count_acknowledged()
            with contextlib.suppress(psycopg.Error):
                self.now()

    def _count_acknowledged(self) -> None:
        """What of each agency's spool the broker has acknowledged by now, and how often: no less must be in the intake."""
        for agency, said in self._said.items():
            with self._speech:
                counted = self._counted[agency]
                self._counted[agency] = max(counted, len(said) - self._clients[agency].waiting)
                self.acknowledged[agency].update(said[counted : self._counted[agency]])

    def now(self) -> Seen:
        """The house as it is this moment. Raises: psycopg.Error when the database is away."""
        with self._looking:  # one after another: an older look that is noted after a newer one would read as going back
            seen = look(self.deployment.views_dsn)
            if seen is None:
                raise psycopg.OperationalError("the database has no counter yet")
            self.history.saw(seen)
            return seen

    def lag(self) -> int:
        """Intake records that are not decided yet, and entries not relayed yet."""
        seen, ends = self.now(), self.ends(INTAKE)
        return sum(max(0, n - seen.positions.get(k, (0, 0))[0]) for k, n in ends.items()) + seen.number - seen.relayed

    # -- time -------------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """This house's time: the machine's, and what `shift` added."""
        return time.time_ns() // 1000 + int(self.offset_file.read_text() or "0")

    def shift(self, us: int) -> None:
        """From now on the house's clocks are `us` ahead of the machine's."""
        draft = self.offset_file.with_suffix(".new")
        draft.write_text(str(us))
        draft.replace(self.offset_file)
        self.history.note("clock shifted", us=us)

    # -- workers ----------------------------------------------------------------------------------------------------

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self.crew.freeze(name)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self.crew.thaw(name)

    def struck(self) -> dict[str, list[Point]]:
        """The points at which each worker was killed."""
        return self.crew.struck()

    def logs(self) -> bytes:
        """Everything the workers wrote."""
        return self.crew.logs()

    # -- speaking ---------------------------------------------------------------------------------------------------

    def publish(self, facts: Sequence[SimulatedFact]) -> None:
        """Each fact by its agency's client, in order; acknowledged once the broker has it."""
        for fact in facts:
            self._say(fact.agency, fact.record, fact.value, fact.key)

    def _say(self, agency: str, record: str, value: Mapping[str, Any], key: str) -> None:
        with self._speech:
            self._clients[agency].publish(record, value)
            self._said[agency].append(key)
            self._told.add((agency, key))

    def flush(self, facts: Iterable[SimulatedFact]) -> None:
        """The broker has everything published; these facts are acknowledged."""
        for client in list(self._clients.values()):
            client.flush(60)
        self._count_acknowledged()
        for f in facts:
            assert self.acknowledged[f.agency][f.key], "flushed and not acknowledged"

    @contextlib.contextmanager
    def talking(
        self, facts: Sequence[SimulatedFact], hertz: float = TALK_HZ, turns: int = 1, every: int = EVERY
    ) -> Iterator[None]:
        """Agencies go on talking: these facts in order among copies of them, so that the intake never falls quiet.

        At most `hertz` a second: each is on its agency's disk before the next is said. `turns`: how often a fault asks for news
        (`more`), of which each time has its part; what is left is said at the end. See `Talk`.
        """
        talk = self._talk = Talk(facts, turns, every, self._told)

        def work(enough: threading.Event) -> None:
            while not enough.wait(1 / hertz):
                self.publish([talk.next()])

        try:
            with meanwhile("talker", work, 10):
                yield
        finally:
            self._talk = None
            self.publish(talk.rest())
        self.flush(facts)

    def more(self) -> None:
        """Let those who talk go on to their next part of news. Raises: AssertionError, when none is left."""
        assert self._talk is not None, "nobody talks"
        self._talk.more()

    def under_way(self) -> int:
        """Facts that were said and that nobody has accepted yet. Copies do not count."""
        said = len(self._told)  # before the look: what is said meanwhile is not under way yet
        return said - int(self.rows("select count(*) from fact")[0][0])

    def astray(self, fact: SimulatedFact) -> None:
        """The same fact once more, by a program that leaves it to chance in which partition it lies."""
        self.send_raw(f"agency.{fact.agency}", f"facts.{fact.agency}", self.codec.encode(fact.record, fact.value))
        with self._speech:
            self.acknowledged[fact.agency][fact.key] += 1

    def contradict(self, fact: SimulatedFact) -> None:
        """The same id with other content; to be sent after the fact itself was acknowledged."""
        envelope = {**fact.value["envelope"], "reported_by": "Somebody else"}
        self._say(fact.agency, fact.record, {**fact.value, "envelope": envelope}, fact.key)
        self._clients[fact.agency].flush(60)
        self.conflicts[fact.key] = self.conflicts.get(fact.key, 0) + 1

    def spoil(self, fact: SimulatedFact, kind: str) -> None:
        """Poison of one of `spoiled`'s kinds on the topic of the fact's agency; where it lies is remembered."""
        data = spoiled(self.codec, fact, kind, self.now_us())
        self.poison[self.send_raw(f"agency.{fact.agency}", f"facts.{fact.agency}", data)] = kind

    def send_raw(self, user: str, topic: str, value: bytes) -> tuple[str, int, int]:
        """Bytes as they are, by a user that may write there; where they lie."""
        access = self.deployment.access(user)
        producer = KafkaProducer(
            **access.options(), acks="all", enable_idempotence=True, max_block_ms=10_000, max_request_size=20_000_000
        )
        try:
            sent = producer.send(access.topic(topic), value).get(15)
            return topic, int(sent.partition), int(sent.offset)
        finally:
            producer.close(timeout=2)

    def review(self, answer: Callable[[str, str, str, str], str | None]) -> int:
        """Decide every open match that the ledger topic holds; how many were sent."""
        return self.people.review(answer)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = SETTLE_S) -> float:
        """Look until `condition` holds; the seconds it took. A server that is away just now is `not yet`."""
        started = time.monotonic()
        while True:
            with contextlib.suppress(psycopg.Error, KafkaError):
                if condition():
                    return time.monotonic() - started
            if time.monotonic() - started > seconds:
                raise Late(
                    f"seed {self.story.seed}, end {self.story.end}: not within {seconds:.0f} s: "
                    f"{what}; deaths {self.crew.deaths()}; logs in {self.folder}"
                )
            time.sleep(LOOK_S)

    def settle(self, seconds: float = SETTLE_S) -> float:
        """Wait until everything said is decided, relayed and delivered."""
        try:
            return self.wait("everything is decided, relayed and delivered", self.settled, seconds)
        except Late as late:
            raise Late(f"{late}; {', '.join(self.unsettled()) or 'it came just now'}") from late

    def settled(self) -> bool:
        """Positions at the ends, every entry relayed, every pointer delivered."""
        return not self.unsettled()

    def unsettled(self) -> list[str]:
        """What is not: where it stands, and where it ends."""
        ends = self.ends(INTAKE)
        positions = {(t, p): n for t, p, n in self.rows("select topic, partition, next_offset from position")}
        if waiting := [
            f"{t}[{p}] at {positions.get((t, p))} of {n}" for (t, p), n in ends.items() if positions.get((t, p), 0) < n
        ]:
            return waiting
        found = self.rows("select c.number, r.relayed from counter c, relay r where c.id = 1 and r.id = 1")
        if not found or found[0][0] != found[0][1]:
            return [f"relayed {found[0][1]} of {found[0][0]}" if found else "no counter"]
        delivered = {(t, p): n for t, p, n in self.rows("select topic, partition, next_offset from delivery")}
        pointers = self.ends(["gp.messages"])["gp.messages", 0]
        if delivered.get(("gp.messages", 0), 0) != pointers:
            return [f"delivered {delivered.get(('gp.messages', 0))} of {pointers}"]
        return [] if self.ends(INTAKE) == ends else ["somebody still speaks"]

    def reviewed(self, answer: Callable[[str, str, str, str], str | None]) -> None:
        """Settle, review, and again, until nothing is left to decide."""
        for _ in range(20):
            self.settle()
            if self.review(answer) == 0:
                return
        raise Late("the reviewer never came to an end")

    def member(self, name: str) -> Member:
        """Wait until a worker owns partitions: only then does a fault that strikes it touch anything."""
        found: list[Member] = []

        def owns() -> bool:
            rows = self.rows("select topic, partition, epoch, owner from position")
            found[:] = [Member(name, {(t, p): e for t, p, e, _ in rows})] if any(o == name for *_, o in rows) else []
            return bool(found)

        self.wait(f"{name} owns partitions", owns)
        return found[0]

    def resumes(self, what: str, since: float, bound_s: float, *members: Member) -> float:
        """Wait until an entry decided after now is relayed; its seconds after `since` (monotonic, when the fault was over) (I6).

        To be called while agencies talk: where they have news, some of that must have been accepted and relayed, too. `members`:
        workers as they were when they were struck; each must go on itself, under a claim that is newer than that.
        It is waited for longer than the bound, so that a failure says how long it took.
        """
        self.more()
        news = self._talk is not None and self._talk.news
        mark: list[int] = []
        waiting, began = {m.name: m for m in members}, dict[tuple[str, int, int], int]()

        def go_on() -> bool:
            """Has each moved a position that it claimed anew?"""
            for topic, partition, epoch, offset, owner in self.rows(f"select {', '.join(OWNED)} from position"):
                newer = owner in waiting and epoch > waiting[owner].epochs.get((topic, partition), 0)
                if newer and offset > began.setdefault((topic, partition, epoch), offset):
                    del waiting[owner]
            return not waiting

        def flows() -> bool:
            seen = self.now()
            mark[:] = mark or [max(seen.number, *(s.relayed for s in self.history.sightings))]
            query = "select count(*) from fact where number > %s and number <= %s"
            themselves = go_on()
            return themselves and seen.relayed > mark[0] and (not news or self.rows(query, [mark[0], seen.relayed])[0][0] > 0)

        self.wait(f"entries flow again after: {what}", flows, bound_s * SLACK_MAX + 30)
        return self.took(what, time.monotonic() - since, bound_s)

    def acted(self) -> None:
        """Somebody decided, and was acknowledged, between the first fault and the last. Raises: AssertionError."""
        first = min((e.at for e in self.history.of("struck", "killed", "died")), default=0.0)
        last = max(e.at for e in self.history.of("killed", "died", "resumed"))
        assert any(first < e.at < last for e in self.history.of("act acknowledged")), "nobody acted while faults struck"

    def took(self, what: str, seconds: float, bound_s: float) -> float:
        """Write down how long it took until things went on; the checker says whether that was in time (I6)."""
        took = Took(seconds, bound_s, self.slack)
        self.resumed[what] = max(took, self.resumed.get(what, took))
        self.history.note("resumed", after=what, seconds=round(seconds, 3), bound_s=bound_s * took.slack)
        return seconds

    # -- looking ----------------------------------------------------------------------------------------------------

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of `views`, on a connection of one's own."""
        with psycopg.connect(self.deployment.views_dsn, connect_timeout=5) as conn:
            return conn.execute(query, values or None).fetchall()

    def ends(self, names: Iterable[str]) -> dict[tuple[str, int], int]:
        """End offsets by (topic, partition)."""
        tps = {TopicPartition(self.deployment.prefix + t, p): (t, p) for t in names for p in range(PARTITIONS[t])}
        deadline = time.monotonic() + 20
        while True:
            try:
                return {tps[tp]: end for tp, end in self._reader().end_offsets(list(tps)).items()}
            except KeyError:  # kafka-python 3.0.12 leaves out partitions whose leader it does not know yet
                assert time.monotonic() < deadline, "the ends of topics could not be read"
                time.sleep(LOOK_S)
            except KafkaError:
                self._consumer = None
                raise

    def read(self, name: str) -> list[Any]:
        """Every record of a topic, partition by partition."""
        reader, out = self._reader(), []
        tps = [TopicPartition(self.deployment.prefix + name, p) for p in range(PARTITIONS[name])]
        ends = reader.end_offsets(tps)
        reader.assign(tps)
        reader.seek_to_beginning(*tps)
        came = time.monotonic()
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for records in reader.poll(200).values():
                out += records
                came = time.monotonic()
            assert time.monotonic() < came + 30, f"{name} could not be read"
        return sorted(out, key=lambda r: (r.partition, r.offset))

    def _reader(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self.deployment.access("admin").options(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=20,
                max_partition_fetch_bytes=4_000_000,
                bootstrap_timeout_ms=4_000,
            )
        return self._consumer
