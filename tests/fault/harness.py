"""A deployment under faults: real worker processes, real kills, a scripted reviewer, and bounded waits for conditions.

What is checked afterwards is in `tests.fault.checker`, from topics and tables alone, never from log lines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID, uuid5

import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumers.ledger import LedgerReader
from domain.problems import SightlineError
from infra import assembly, migrate
from infra.postgres import wheel
from infra.processes import Identity, end, spawn
from producers.acts import ActProducer
from producers.client import AgencyClient
from producers.halton.facts import SimulatedFact
from producers.halton.simulate import publish_all
from projections.verify import Difference, verify
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, encode_body
from schemas.topics import AGENCIES, topics
from tests.fault.story import Story
from tests.services import Deployment, Services

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = ("unify-0", "unify-1", "relay", "clock", "deliver")
INTAKE: Final = (*(f"facts.{a}" for a in AGENCIES), "decisions", "receipts", "clock")
OUTPUTS: Final = (
    "recommendations",
    "gp.messages",
    *(f"outcomes.{a}" for a in AGENCIES),
    *(f"dead-letters.{a}" for a in AGENCIES),
)
PARTITIONS: Final = {t.name: t.partitions for t in topics()}
LOOK_S: Final = 0.05
SETTLE_S: Final = 90.0
"""The longest wait for a condition; most hold within two seconds."""

ACTS: Final = UUID("f2a4a0d8-53cf-5f3b-9f19-7a1f0a6d3c11")

Point = tuple[str, int]
"""A named point and the passing of it, from 1, at which a worker is killed."""


class Late(AssertionError):
    """A condition did not come to hold in time."""


@dataclass(slots=True)
class Worker:
    """One worker process and what is to befall it: `armed` points strike one after another, one a life."""

    name: str
    environment: dict[str, str]
    log: Path
    armed: list[Point] = field(default_factory=list)
    struck: list[Point] = field(default_factory=list)
    deaths: list[int] = field(default_factory=list)
    popen: subprocess.Popen[bytes] | None = None
    point: Point | None = None

    def start(self) -> None:
        """Start it, with the next point armed."""
        self.point = self.armed.pop(0) if self.armed else None
        extra = {} if self.point is None else {"SIGHTLINE_FAULT_POINT": self.point[0], "SIGHTLINE_FAULT_NTH": str(self.point[1])}
        command = [sys.executable, "-m", "tests.fault.worker", self.name]
        self.popen = spawn(command, log=self.log, env={**self.environment, **extra}, cwd=ROOT)

    def look(self) -> bool:
        """Has it died since? Then how is noted."""
        assert self.popen is not None
        code = self.popen.poll()
        if code is None:
            return False
        self.deaths.append(code)
        if self.point is not None and code == -signal.SIGKILL:
            self.struck.append(self.point)
        return True


class House:
    """One deployment with its workers, agencies and reviewer. Use as a context manager."""

    def __init__(
        self,
        services: Services,
        story: Story,
        folder: Path,
        *,
        armed: Mapping[str, Sequence[Point]] | None = None,
        sabotage: str | None = None,
    ) -> None:
        self.services, self.story, self.folder = services, story, folder
        self.deployment: Deployment = services.deploy()
        self.settings = self.deployment.settings
        assembly.register_schemas(self.settings)
        self.codec = assembly.codec(self.settings)
        environment = self.deployment.environment() | ({"SIGHTLINE_FAULT_SABOTAGE": sabotage} if sabotage else {})
        armed = armed or {}
        self.workers = {n: Worker(n, environment, folder / f"{n}.log", list(armed.get(n, ()))) for n in WORKERS}
        self.acknowledged: dict[str, set[str]] = {a: set() for a in AGENCIES}
        self.conflicts: dict[str, int] = {}
        self.poison: dict[tuple[str, int, int], str] = {}
        self.resumed_s: dict[str, float] = {}
        self._decided: dict[str, int] = {}
        self._frozen: set[str] = set()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._clients: dict[str, AgencyClient] = {}
        self._consumer: KafkaConsumer | None = None
        self._reviewer = ActProducer(self.deployment.access("web"), self.codec)

    def __enter__(self) -> Self:
        try:
            for agency in AGENCIES:
                secret = self.settings.secret(f"agency.{agency}.key").encode()
                spool = self.folder / f"spool-{agency}"
                spool.mkdir(mode=0o700)
                self._clients[agency] = AgencyClient(
                    self.deployment.access(f"agency.{agency}"), agency, self.codec, secret, spool
                )
            for worker in self.workers.values():
                worker.start()
            self._keeper.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_workers()
        self._reviewer.close()
        for client in self._clients.values():
            with contextlib.suppress(SightlineError):
                client.close(0.5)
        if self._consumer is not None:
            self._consumer.close()
        self.deployment.close()

    # -- workers ----------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Whoever dies is started again, as the supervisor does."""
        while not self._stopping.wait(0.1):
            for worker in self.workers.values():
                if worker.look() and not self._stopping.is_set():
                    worker.start()

    def stop_workers(self) -> None:
        """End every worker in good order; who will not is killed."""
        self._stopping.set()
        if self._keeper.is_alive():
            self._keeper.join(5)
        running = [i for w in self.workers.values() if w.popen is not None and (i := Identity.of(w.popen.pid)) is not None]
        for identity in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGCONT)
                os.kill(identity.pid, signal.SIGTERM)
        for identity in running:
            end(identity, grace_s=8)

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        popen = self.workers[name].popen
        assert popen is not None
        os.kill(popen.pid, signal.SIGSTOP)
        self._frozen.add(name)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        popen = self.workers[name].popen
        assert popen is not None
        os.kill(popen.pid, signal.SIGCONT)
        self._frozen.discard(name)

    def struck(self) -> dict[str, list[Point]]:
        """The points at which each worker was killed."""
        return {w.name: list(w.struck) for w in self.workers.values() if w.struck}

    def logs(self) -> bytes:
        """Everything the workers wrote."""
        return b"\n".join(w.log.read_bytes() for w in self.workers.values() if w.log.exists())

    # -- speaking ---------------------------------------------------------------------------------------------------

    def publish(self, facts: Sequence[SimulatedFact]) -> None:
        """Each fact by its agency's client, in order; they count as acknowledged once flushed."""
        publish_all(facts, self._clients)

    def flush(self, facts: Iterable[SimulatedFact]) -> None:
        """The broker has everything published; these facts are acknowledged."""
        for client in self._clients.values():
            client.flush(60)
        for f in facts:
            self.acknowledged[f.agency].add(f.key)

    def contradict(self, fact: SimulatedFact) -> None:
        """The same id with other content; to be sent after the fact itself was acknowledged."""
        envelope = {**fact.value["envelope"], "reported_by": "Somebody else"}
        self._clients[fact.agency].publish(fact.record, {**fact.value, "envelope": envelope})
        self._clients[fact.agency].flush(60)
        self.conflicts[fact.key] = self.conflicts.get(fact.key, 0) + 1

    def spoil(self, fact: SimulatedFact, kind: str) -> None:
        """Poison on the topic of the fact's agency: `not-avro-wire-format`, `unknown-schema-id`, `corrupt`, `unknown-code`."""
        record = spec(fact.record)
        schema = self.codec.schema_id(record.subject, record.text)
        value = {**fact.value, "envelope": {**fact.value["envelope"], "event_id": str(uuid5(ACTS, fact.key + kind))}}
        body = encode_body(record, value)
        coded = encode_body(record, {**value, "envelope": {**value["envelope"], "sensitivity": "NO_SUCH_CODE"}})
        data = {
            "not-avro-wire-format": b"these bytes are no fact",
            "unknown-schema-id": HEADER.pack(MAGIC, 99_999_999) + body,
            "corrupt": HEADER.pack(MAGIC, schema) + body[: len(body) // 2],
            "unknown-code": HEADER.pack(MAGIC, schema) + coded,
        }[kind]
        topic = f"facts.{fact.agency}"
        topic_, partition, offset = self.send_raw(f"agency.{fact.agency}", topic, data)
        self.poison[(topic_, partition, offset)] = kind

    def send_raw(self, user: str, topic: str, value: bytes) -> tuple[str, int, int]:
        """Bytes as they are, by a user that may write there; where they lie."""
        access = self.deployment.access(user)
        producer = KafkaProducer(**access.options(), acks="all", enable_idempotence=True, max_block_ms=10_000)
        try:
            sent = producer.send(access.topic(topic), value).get(15)
            return topic, int(sent.partition), int(sent.offset)
        finally:
            producer.close(timeout=2)

    # -- reviewing --------------------------------------------------------------------------------------------------

    def review(self, answer: Callable[[str, str, str, str], str | None]) -> int:
        """Decide every open match that the ledger topic holds; how many were sent. `answer` gives the act's record, or None."""
        rows = self.rows(
            "select m.match_id, p.agency, p.local_id, q.agency, q.local_id, p.child_id, "
            "(select max(c.number) from conclusion c where c.about = m.match_id) from possible_match m "
            "join presentation p on p.presentation_id = m.presentation_id join presentation q on q.presentation_id = m.anchor "
            "where m.state = 'OPEN' and m.number <= (select relayed from relay where id = 1) order by m.number, m.match_id"
        )
        sent = 0
        for match_id, *sides, child, version in rows:
            record = answer(*sides)
            if record is None or self._decided.get(match_id, 0) >= 5:
                continue
            self._decided[match_id] = self._decided.get(match_id, 0) + 1
            act = {
                "event_id": str(uuid5(ACTS, f"{match_id}/{self._decided[match_id]}")),
                "actor_id": "reviewer",
                "actor_role": "icart_manager",
                "child_id": child,
                "acted_at": time.time_ns() // 1000,
                "based_on": version,
                "correlation_id": None,
            }
            with contextlib.suppress(SightlineError):  # not acknowledged: still open when looked at again
                self._reviewer.send(record, {"act": act, "match_id": match_id, "rationale": "truth"})
                sent += 1
        return sent

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = SETTLE_S) -> float:
        """Look until `condition` holds; the seconds it took. A server that is away just now is `not yet`."""
        started = time.monotonic()
        while True:
            with contextlib.suppress(psycopg.Error, KafkaError):
                if condition():
                    return time.monotonic() - started
            if time.monotonic() - started > seconds:
                deaths = {w.name: w.deaths for w in self.workers.values() if w.deaths}
                raise Late(
                    f"seed {self.story.seed}, end {self.story.end}: not within {seconds:.0f} s: "
                    f"{what}; deaths {deaths}; logs in {self.folder}"
                )
            time.sleep(LOOK_S)

    def settle(self, seconds: float = SETTLE_S) -> float:
        """Wait until everything said is decided, relayed and delivered."""
        return self.wait("everything is decided, relayed and delivered", self.settled, seconds)

    def settled(self) -> bool:
        """Positions at the ends, every entry relayed, every pointer delivered."""
        ends = self.ends(INTAKE)
        positions = {(t, p): n for t, p, n in self.rows("select topic, partition, next_offset from position")}
        if any(positions.get(k, 0) < n for k, n in ends.items()):
            return False
        found = self.rows("select c.number, r.relayed from counter c, relay r where c.id = 1 and r.id = 1")
        delivered = {(t, p): n for t, p, n in self.rows("select topic, partition, next_offset from delivery")}
        if (
            not found
            or found[0][0] != found[0][1]
            or delivered.get(("gp.messages", 0), 0) != self.ends(["gp.messages"])[("gp.messages", 0)]
        ):
            return False
        return self.ends(INTAKE) == ends

    def reviewed(self, answer: Callable[[str, str, str, str], str | None]) -> None:
        """Settle, review, and again, until nothing is left to decide."""
        for _ in range(20):
            self.settle()
            if self.review(answer) == 0:
                return
        raise Late("the reviewer never came to an end")

    def resumed(self, what: str, since: float) -> None:
        """Note how many seconds after `since` (monotonic) everything was decided again."""
        self.resumed_s[what] = round(time.monotonic() - since, 2)

    # -- looking ----------------------------------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of `views`, on a connection of one's own."""
        with psycopg.connect(self.deployment.views_dsn, connect_timeout=5) as conn:
            return conn.execute(query).fetchall()

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
        deadline = time.monotonic() + 30
        while any(reader.position(tp) < ends[tp] for tp in tps):
            assert time.monotonic() < deadline, f"{name} could not be read"
            for records in reader.poll(200).values():
                out += records
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

    # -- the house's own means ---------------------------------------------------------------------------------------

    def verify(self) -> tuple[int, list[Difference]]:
        """`sightline verify`."""
        with contextlib.closing(LedgerReader(self.settings.access("relay"))) as reader:
            values = (sent.value for sent in reader.entries())
            return verify(
                assembly.long_engine(self.settings.views_dsn, "verify"),
                values,
                assembly.applier(self.settings),
                assembly.current_reference(),
            )

    def rebuild(self) -> int:
        """`sightline rebuild`, beside the living."""
        return assembly.rebuild_views(self.settings)

    # -- databases lost and restored ---------------------------------------------------------------------------------

    def back_up(self) -> Path:
        """pg_dump of `views` as it is now, nobody stopped."""
        path = self.folder / "views.dump"
        self._tool("pg_dump", "--format=custom", f"--file={path}", self._views)
        return path

    def restore(self, dump: Path) -> None:
        """Put the backup in the place of the living `views`, under whoever is connected."""
        old, new = f"{self._views}_gone", f"{self._views}_restored"
        with psycopg.connect(make_conninfo(self.deployment.views_dsn, dbname="postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(new)))
            self._tool("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={new}", str(dump))
            conn.execute(sql.SQL("alter database {} with allow_connections false").format(sql.Identifier(self._views)))
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = current_user",
                (self._views,),
            )
            deadline = time.monotonic() + 10
            while True:
                try:
                    with conn.transaction():
                        conn.execute(
                            sql.SQL("alter database {} rename to {}").format(sql.Identifier(self._views), sql.Identifier(old))
                        )
                        conn.execute(
                            sql.SQL("alter database {} rename to {}").format(sql.Identifier(new), sql.Identifier(self._views))
                        )
                    break
                except psycopg.errors.ObjectInUse:
                    assert time.monotonic() < deadline, "somebody will not let go of the old database"
                    time.sleep(LOOK_S)
            migrate.drop_by_force(conn, old)

    @property
    def _views(self) -> str:
        return str(conninfo_to_dict(self.deployment.views_dsn)["dbname"])

    def _tool(self, name: str, *arguments: str) -> None:
        parts = conninfo_to_dict(self.deployment.views_dsn)
        env = {
            **os.environ,
            "PGHOST": str(parts["host"]),
            "PGPORT": str(parts["port"]),
            "PGUSER": str(parts["user"]),
            "PGPASSWORD": str(parts["password"]),
        }
        done = subprocess.run(
            [wheel() / "bin" / name, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stderr[:500]}"
