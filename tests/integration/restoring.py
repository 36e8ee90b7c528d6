"""What the tests of backup and restore do to a deployment, and ask of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from consumers.accesses import read_accesses
from consumers.archive import Archive
from consumers.keys import WrappedKeys, read_keys
from consumers.ledger import ENTRY, LedgerReader, headers
from infra import assembly, keep_backup, migrate, stores
from infra.intake import known_positions
from infra.provision import admin_client, provision
from infra.web import AccessPublisher
from producers.client import AgencyClient
from producers.halton.borough import Borough
from producers.halton.simulate import publish_all
from projections.accesses import record_access
from projections.accounts import add_account, sign_in
from projections.keyring import KeyRing
from projections.verify import Difference, verify
from schemas.topics import AGENCIES, topics
from tests.services import Deployment

PASSWORD = "correct horse battery staple"
WAIT_S = 60.0


def account(d: Deployment) -> None:
    """Somebody who may sign in, and has."""
    with keep_engine(d).begin() as conn:
        add_account(conn, name="mo.manager", display_name="Mo", role="icart_manager", password=PASSWORD, now=stores.now_us())
        assert sign_in(conn, name="mo.manager", password=PASSWORD, now=stores.now_us()) is not None


def keep_engine(d: Deployment) -> Engine:
    """Connections to `keep`, none kept open."""
    return create_engine(migrate.engine_url(d.keep_dsn), poolclass=NullPool)


def codec_of(d: Deployment) -> Any:
    """The codec on the deployment's registry."""
    return assembly.codec(d.settings)


def children(d: Deployment) -> list[str]:
    """The ids of all children."""
    return [r[0] for r in rows(d.views_dsn, "select child_id from child order by child_id")]


def key_ring(d: Deployment, publish: Any = None) -> KeyRing:
    """A key ring that knows nothing yet and publishes as unify does."""
    return KeyRing(keep_engine(d), d.settings.master_key, publish or assembly.KeyPublisher(d.access("unify"), codec_of(d)))


def keys_topic(d: Deployment) -> WrappedKeys:
    """What topic `keys` holds."""
    return read_keys(d.access("relay"), codec_of(d))


def looked(d: Deployment, purpose: str, *children: str) -> str:
    """Somebody was shown children, as the web records and sends it; the record's id."""
    with keep_engine(d).begin() as conn:
        made = record_access(
            conn, actor_id="m1", role="icart_manager", action="GET /children", purpose=purpose, children=children,
            now=stores.now_us(),
        )  # fmt: skip
    published(d, [made.access_id])
    return made.access_id


def published(d: Deployment, access_ids: Iterable[str]) -> None:
    """The web's own publisher has sent these, and noted it."""
    ids = list(access_ids)
    with keep_engine(d).begin() as conn:
        conn.execute(text("update access_record set published_at = null where access_id = any(:i)"), {"i": ids})
    publisher = AccessPublisher(d.settings, keep_engine(d))
    deadline = time.monotonic() + WAIT_S
    publisher(None)  # type: ignore[arg-type]  it only wakes it
    while rows(d.keep_dsn, "select 1 from access_record where published_at is null"):
        assert time.monotonic() < deadline, "not sent in time"
        time.sleep(0.05)
    publisher.close()


def restore_keep(d: Deployment, path: Path, keys_of: Deployment | None = None) -> keep_backup.Restored:
    """As the command does it; with the keys of another deployment's topic, if one is given."""
    publish = assembly.KeyPublisher(d.access("unify"), codec_of(d))
    return keep_backup.restore(
        d.settings,
        path,
        lambda: keys_topic(keys_of or d),
        publish,
        lambda: read_accesses(d.access("web"), codec_of(d)),
        stores.now_us(),
    )


def rows(dsn: str, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """The answer to a query."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, tuple(values)).fetchall()


def execute(dsn: str, statement: str) -> None:
    """One statement, committed."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)


def say(d: Deployment, topic: str, user: str, key: bytes, value: bytes | None) -> None:
    """One record, acknowledged."""
    producer = KafkaProducer(**d.access(user).options(), acks="all")
    producer.send(d.prefix + topic, value, key=key).get(10)
    producer.close(timeout=2)


def ends(d: Deployment, topic: str, partition: int) -> tuple[int, int]:
    """(first offset still there, one past the last)."""
    tp = TopicPartition(d.prefix + topic, partition)
    with closing(KafkaConsumer(**d.access("admin").options())) as consumer:
        return int(consumer.beginning_offsets([tp])[tp]), int(consumer.end_offsets([tp])[tp])


def outputs(d: Deployment, topic: str) -> list[tuple[int, int, bytes, bytes]]:
    """(number, place, key, value) of each record of an output topic."""
    found = list[tuple[int, int, bytes, bytes]]()
    end = ends(d, topic, 0)[1]
    with closing(KafkaConsumer(**d.access("admin").options(), enable_auto_commit=False)) as consumer:
        tp = TopicPartition(d.prefix + topic, 0)
        consumer.assign([tp])
        consumer.seek_to_beginning(tp)
        deadline = time.monotonic() + WAIT_S
        while consumer.position(tp) < end:
            assert time.monotonic() < deadline, f"{topic} could not be read"
            for record in consumer.poll(200).get(tp, []):
                head = dict(record.headers)
                found.append((int(head["number"]), int(head["place"]), record.key, record.value))
    return found


def lose(d: Deployment, topic: str) -> None:
    """The broker's log of a topic is gone; the topic is there again, and empty."""
    with admin_client(d.access("admin")) as client:
        client.delete_topics([d.prefix + topic])
    provision(d.access("admin"), d.prefix, topics(), d.settings.passwords(), replication=1)


def entries(d: Deployment, first: int, count: int) -> None:
    """Records as the relay sends them; what is in an entry does not matter here."""
    producer = KafkaProducer(**d.access("relay").options(), acks="all", enable_idempotence=True)
    for n in range(first + 1, first + count + 1):
        producer.send(d.prefix + "ledger", f"entry {n}".encode() * 20, headers=headers(ENTRY, 1, 1, n), partition=0)
    producer.flush(20)
    producer.close(timeout=2)


def contents(d: Deployment) -> list[tuple[int, Any]]:
    """(offset, key, value, headers) as a consumer that shares no code with the archive reads them."""
    tp = TopicPartition(d.prefix + "ledger", 0)
    consumer = KafkaConsumer(**d.access("relay").options(), enable_auto_commit=False)
    consumer.assign([tp])
    consumer.seek_to_beginning(tp)
    end = consumer.end_offsets([tp])[tp]
    found: list[tuple[int, Any]] = []
    while len(found) < end:
        found += [(r.offset, (r.key, r.value, r.headers)) for r in consumer.poll(500).get(tp, [])]
    consumer.close()
    return found


def sightline(d: Deployment, folder: Path, *words: str, status: int = 0) -> str:
    """What `sightline …` says on both outputs, run in `folder`."""
    environment = d.environment()
    if d.settings.given_database:
        environment |= {"SIGHTLINE_DATABASE": d.views_dsn, "SIGHTLINE_KEEP": d.keep_dsn}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "infra.command", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert status == done.returncode, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@contextmanager
def supervised(d: Deployment) -> Iterator[None]:
    """As if a supervisor ran: its lock is held."""
    d.settings.state.run.mkdir(parents=True, exist_ok=True)
    with (d.settings.state.run / "supervisor.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def workers(d: Deployment) -> Iterator[None]:
    """A unify and a relay, in threads."""
    running = [assembly.unify(d.settings, 0), assembly.relay(d.settings, 0)]
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in running]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in running:
            worker.stop()
        for thread in threads:
            thread.join(30)


def borough(d: Deployment, spool: Path, seed: int = 4) -> int:
    """A small borough's year, said by its agencies; how many facts."""
    end = stores.now_us()
    facts = [f for f in Borough(end, seed, 400).facts() if max(f.arrives_at, _latest(f.value["envelope"])) <= end]
    with ExitStack() as stack:
        clients = {}
        for agency in AGENCIES:
            client = AgencyClient(d.access(f"agency.{agency}"), agency, codec_of(d), os.urandom(32), spool / agency)
            clients[agency] = stack.enter_context(closing(client))
        publish_all(facts, clients)
        for client in clients.values():
            client.flush(30)
    return len(facts)


def _latest(envelope: dict[str, Any]) -> int:
    return int(max(envelope["occurred_at"], envelope["recorded_at"]))


def settled(d: Deployment) -> None:
    """Wait until every intake record is decided and every entry relayed."""
    deadline = time.monotonic() + WAIT_S
    access = d.access("admin")
    with closing(KafkaConsumer(**access.options())) as consumer:
        tps = [TopicPartition(d.prefix + f"facts.{a}", p) for a in AGENCIES for p in (0, 1)]
        ends = {(tp.topic.removeprefix(d.prefix), tp.partition): n for tp, n in consumer.end_offsets(tps).items()}
    while time.monotonic() < deadline:
        at = known_positions(d.views_dsn)
        relayed = rows(d.views_dsn, "select 1 from counter, relay where counter.id = 1 and relay.id = 1 and number = relayed")
        if relayed and all(at.get(key, 0) >= n for key, n in ends.items()):
            return
        time.sleep(0.1)
    raise AssertionError({key: (at.get(key, 0), n) for key, n in ends.items() if at.get(key, 0) < n})


def takeovers(archive: Archive) -> int:
    """Records of the archive that are no entries."""
    return sum(1 for r in archive.records() if dict(r.headers)["record"] != ENTRY.encode())


def rebuilt(d: Deployment, archive: Archive | None = None) -> int:
    """As `sightline rebuild` does it; how many entries."""
    with stores.rebuild_crew(d.settings) as pool:
        return assembly.rebuild_views(d.settings, pool, archive)


def differences(views: Deployment, ledger: Deployment) -> tuple[int, list[Difference]]:
    """The views of one deployment against a clean fold of the ledger and under the keys of another."""
    with closing(LedgerReader(ledger.access("relay"))) as reader:
        values = (sent.value for sent in reader.entries())
        engine = stores.long_engine(views.views_dsn, "verify")
        return verify(engine, values, assembly.applier(ledger.settings), stores.current_reference())
