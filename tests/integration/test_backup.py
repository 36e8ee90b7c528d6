"""`keep` and the ledger go to disk and come back, on real servers, as somebody does it who has lost everything else."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from consumers import ledger_backup
from consumers.archive import Archive, ArchiveDamaged
from consumers.keys import KeyUnreadable, WrappedKeys, read_keys
from consumers.ledger import ENTRY, LedgerReader, headers
from consumers.ledger_backup import LedgerNotEmpty, OtherLedger, back_up, restore
from infra import assembly, keep_backup, migrate
from infra.errors import InfraError
from infra.intake import known_positions, raise_ends
from infra.keep_check import check_keep
from infra.sealed_file import BackupRefused
from infra.workers import PREPARATIONS
from producers.client import AgencyClient
from producers.halton.borough import Borough
from producers.halton.simulate import publish_all
from projections.accounts import add_account, sign_in
from projections.keyring import KeyRing, WrongMasterKey
from projections.rebuild import Difference, rebuild, verify
from schemas.topics import AGENCIES
from tests.services import Deployment, Services

Deploy = Callable[..., Deployment]
NAMES = [("p" * 64, "identity"), ("p" * 64, "concern"), ("q" * 64, "identity")]
PASSWORD = "correct horse battery staple"
KEYS = "select holder, record_class, wrapped, created_at, published from presentation_key order by 1, 2"
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _tools(services: Services) -> None:
    if services.settings("").given_database and shutil.which("pg_dump") is None:
        pytest.skip("a database was given, and PostgreSQL's client tools are not on PATH")


class TestKeep:
    """Accounts, secrets and keys."""

    def test_lost_and_restored(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """The database is dropped: accounts sign in again, every key opens what it sealed, sessions have ended."""
        d = new_deployment(only=["keys"])
        _account(d)
        ring = _ring(d)
        ring.ensure(NAMES)
        secret, sealed = ring.secret("presentation"), ring.seal(NAMES[0], b"what was said", b"bound")
        size = keep_backup.back_up(d.settings, tmp_path / "keep", assembly.now_us())
        assert size == (tmp_path / "keep").stat().st_size
        assert b"mo.manager" not in (tmp_path / "keep").read_bytes()
        migrate.drop_database(d.keep_dsn)
        done = _restore(d, tmp_path / "keep")
        assert (0, 0) == (done.keys.put_back, done.keys.sent)
        again = _ring(d)
        assert secret == again.secret("presentation")
        assert b"what was said" == again.unseal(NAMES[0], *sealed, b"bound")
        with _keep(d).begin() as conn:
            assert 0 == conn.exec_driver_sql("select count(*) from session").scalar_one()
            assert sign_in(conn, name="mo.manager", password=PASSWORD, now=assembly.now_us()) is not None

    def test_keys_made_since_come_back(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """A key younger than the backup comes from topic `keys`, with when it was made; one that the topic lacks goes there."""
        d = new_deployment(only=["keys"])
        _ring(d, publish=lambda keys: None).ensure(NAMES[:1])  # an old broker acknowledged it
        keep_backup.back_up(d.settings, tmp_path / "keep", assembly.now_us())
        ring = _ring(d)
        ring.ensure(NAMES[1:])
        sealed = ring.seal(NAMES[2], b"said since", b"")
        before = _rows(d.keep_dsn, KEYS)
        done = _restore(d, tmp_path / "keep")
        assert (2, 1) == (done.keys.put_back, done.keys.sent)
        assert b"said since" == _ring(d).unseal(NAMES[2], *sealed, b"")
        assert before == _rows(d.keep_dsn, KEYS)
        assert sorted(NAMES) == sorted(_read(d))

    def test_destroyed_stays_destroyed(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Destroyed since the backup, by a null or a tombstone in the topic; destroyed before it, with the topic not knowing."""
        d = new_deployment(only=["keys"])
        _ring(d).ensure(NAMES)
        _execute(d.keep_dsn, "update presentation_key set wrapped = null where record_class = 'concern'")
        keep_backup.back_up(d.settings, tmp_path / "keep", assembly.now_us())
        value = {"holder": NAMES[0][0], "record_class": NAMES[0][1], "wrapped": None, "created_at": 1}
        _say(d, "keys", "unify", "/".join(NAMES[0]).encode(), _codec(d).encode("WrappedKey", value))
        _say(d, "keys", "unify", "/".join(NAMES[2]).encode(), None)
        assert 0 == _restore(d, tmp_path / "keep").keys.put_back
        assert [(None,)] * 3 == _rows(d.keep_dsn, "select wrapped from presentation_key")

    def test_what_is_refused_changes_nothing(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """A torn file, another master key, and keys of another deployment: the living `keep` stays, and nothing beside it."""
        d, other = new_deployment(only=["keys"]), new_deployment(only=["keys"])
        _account(d)
        for one in (d, other):
            keep_backup.back_up(one.settings, tmp_path / one.prefix, assembly.now_us())
        (tmp_path / "torn").write_bytes((tmp_path / d.prefix).read_bytes()[:-1])
        with pytest.raises(BackupRefused, match="torn"):
            _restore(d, tmp_path / "torn")
        with pytest.raises(BackupRefused, match="another master key"):
            _restore(d, tmp_path / other.prefix)
        _ring(other).ensure(NAMES)
        with pytest.raises(WrongMasterKey):
            keep_backup.restore(d.settings, tmp_path / d.prefix, lambda: _read(other), lambda keys: None)
        _say(d, "keys", "unify", b"a/b", b"not a key")
        with pytest.raises(KeyUnreadable, match="offset 0"):
            _restore(d, tmp_path / d.prefix)
        assert [("mo.manager",)] == _rows(d.keep_dsn, "select name from account")
        with psycopg.connect(d.keep_dsn) as connection:
            names = "select datname from pg_database where datname like %s"
            assert [] == connection.execute(names, ("%keep_restored",)).fetchall()

    def test_no_database_to_back_up(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """One line in PostgreSQL's words, and no file."""
        d = new_deployment(only=["keys"])
        migrate.drop_database(d.keep_dsn)
        with pytest.raises(keep_backup.KeepError, match=r"pg_dump failed: .*does not exist"):
            keep_backup.back_up(d.settings, tmp_path / "keep", assembly.now_us())
        assert [] == list(tmp_path.iterdir())


class TestLedger:
    """The ledger topic and its archive."""

    def test_the_same_records_in_a_fresh_deployment(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Two incremental backups; restored under another prefix, every value and header is the same at the same offset."""
        old, new = new_deployment(only=["ledger"]), new_deployment(only=["ledger"])
        archive = Archive.create(tmp_path / "ledger")
        for first, count in ((0, 300), (300, 5)):
            _entries(old, first, count)
            assert count == back_up(old.access("relay"), archive)
        assert 0 == back_up(old.access("relay"), archive)
        assert 305 == archive.verify().records
        assert 305 == restore(new.access("relay"), Archive(tmp_path / "ledger"))
        assert _contents(old) == _contents(new)
        assert 305 == len(_contents(new))
        _entries(new, 305, 2)
        assert 2 == back_up(new.access("relay"), archive), "the archive goes on with the restored topic"
        with closing(LedgerReader(new.access("relay"))) as reader:
            assert list(range(1, 308)) == [s.number for s in reader.entries()]

    def test_only_into_an_empty_topic(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """One foreign record refuses; a restore that was cut short is completed; a damaged archive sends nothing."""
        old, foreign, half = (new_deployment(only=["ledger"]) for _ in range(3))
        _entries(old, 0, 20)
        archive = Archive.create(tmp_path / "ledger")
        back_up(old.access("relay"), archive)
        _entries(foreign, 7, 1)
        with pytest.raises(LedgerNotEmpty, match="holds records already"):
            restore(foreign.access("relay"), archive)
        with pytest.raises(OtherLedger, match="ends at 1"):
            back_up(foreign.access("relay"), archive)
        _entries(foreign, 0, 30)
        with pytest.raises(OtherLedger, match="another ledger"):
            back_up(foreign.access("relay"), archive)
        _entries(half, 0, 8)
        segment = next((tmp_path / "ledger").glob("*.segment"))
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-1])
        with pytest.raises(ArchiveDamaged):
            restore(half.access("relay"), archive)
        assert 8 == len(_contents(half))
        segment.write_bytes(whole)
        assert 12 == restore(half.access("relay"), archive)
        assert _contents(old) == _contents(half)


class TestIntake:
    """A broker that lost the intake."""

    def test_offsets_go_on(self, new_deployment: Deploy) -> None:
        """At the next start a partition goes on at its position, empty; one that has records beyond it keeps them all."""
        d = new_deployment()
        columns = "position (topic, partition, next_offset, epoch, owner)"
        _execute(d.views_dsn, f"insert into {columns} values ('facts.police', 1, 12345, 1, ''), ('clock', 0, 2, 1, '')")
        for _ in range(3):
            _say(d, "clock", "clock", b"", b"x")
        for _ in range(2):  # saying it twice changes nothing
            for preparation in PREPARATIONS:
                preparation.run(d.settings)
            assert (12345, 12345) == _ends(d, "facts.police", 1)
            assert (0, 3) == _ends(d, "clock", 0)


class TestStart:
    """What a start refuses rather than make things worse."""

    def test_the_keep_of_another_ledger(self, new_deployment: Deploy) -> None:
        """Entries and no secret: restore first. Another master key: put the right one back. The right ones: go on."""
        d = new_deployment(only=["ledger"])
        check_keep(d.settings)
        _entries(d, 0, 3)
        with pytest.raises(InfraError, match="keep restore FILE"):
            check_keep(d.settings)
        ring = _ring(d)
        KeyRing(_keep(d), bytes(32)).secret("presentation")
        with pytest.raises(InfraError, match=r"master\.key"):
            check_keep(d.settings)
        _execute(d.keep_dsn, "delete from secret")
        ring.secret("presentation")
        check_keep(d.settings)


class TestCommand:
    """The commands of the runbook, in processes of their own."""

    def test_keep(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Backup, loss, restore; refused while a supervisor holds its lock, unless forced."""
        d = new_deployment()
        _account(d)
        assert "keep.backup" in _sightline(d, tmp_path, "keep", "backup", "keep.backup")
        assert "exists: name a new file" in _sightline(d, tmp_path, "keep", "backup", "keep.backup", status=1)
        migrate.drop_database(d.keep_dsn)
        with _supervised(d):
            assert "workers run" in _sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", status=1)
            assert "Restored to" in _sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", "--force")
        told = json.loads(_sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", "--json"))
        assert (0, 0) == (told["put_back"], told["sent"])
        assert "0 keys" in _sightline(d, tmp_path, "keep", "reconcile")
        assert [("mo.manager",)] == _rows(d.keep_dsn, "select name from account")

    def test_ledger(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Backup, verify; restore refuses a topic that goes on; a folder without an archive is one line."""
        d = new_deployment()
        assert {"added": 0, "records": 0} == json.loads(_sightline(d, tmp_path, "ledger", "backup", "ledger", "--json"))
        assert "0 records" in _sightline(d, tmp_path, "ledger", "verify", "ledger")
        assert "0 records restored" in _sightline(d, tmp_path, "ledger", "restore", "ledger", "--yes")
        _entries(d, 0, 1)
        assert "holds records already" in _sightline(d, tmp_path, "ledger", "restore", "ledger", "--yes", status=1)
        assert "holds no ledger archive" in _sightline(d, tmp_path, "ledger", "verify", "elsewhere", status=1)


class TestEverything:
    """The whole path: broker and databases gone, only the two backups and the master key left."""

    @pytest.mark.slow
    def test_lost_and_restored(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Restored into a new deployment, the views are what they were byte for byte, and facts go on being accepted."""
        old = new_deployment()
        assembly.register_schemas(old.settings)
        with _workers(old):
            assert 100 < _borough(old, tmp_path / "old")
            _settled(old)
            keep_backup.back_up(old.settings, tmp_path / "keep", assembly.now_us())
            back_up(old.access("relay"), Archive.create(tmp_path / "ledger"))
        new = new_deployment()
        new.settings.state.secret(f"{new.prefix}master.key", value=base64.urlsafe_b64encode(old.settings.master_key).decode())
        archive = Archive(tmp_path / "ledger")
        sent = _restore(new, tmp_path / "keep").keys.sent
        assert 0 < sent == len(_read(old)), "the new broker's topic has every key again"
        assert archive.end == restore(new.access("relay"), archive)
        assert {k: n for k, n in known_positions(old.views_dsn).items() if n} == ledger_backup.positions(archive)
        assert 0 < raise_ends(new.access("admin"), new.prefix, ledger_backup.positions(archive))
        assert archive.end - _takeovers(archive) == _rebuild(new)
        assert [] == _differences(new, new)[1]
        children, found = _differences(old, new)
        assert [] == found, "the old views are a fold of the restored ledger under the restored keys"
        assert 0 < children
        with _workers(new):
            last = _rows(new.views_dsn, "select number from counter")
            accepted = _borough(new, tmp_path / "new", seed=5)
            _settled(new)
            entries = "select count(*) from ledger where number > (select %s::bigint)"
            assert accepted <= _rows(new.views_dsn, entries, last[0])[0][0], "no fact on the new broker was taken for an old one"
        assert [] == _differences(new, new)[1]


# -- what the tests are told with ---------------------------------------------------------------------------------------


def _account(d: Deployment) -> None:
    with _keep(d).begin() as conn:
        add_account(conn, name="mo.manager", display_name="Mo", role="icart_manager", password=PASSWORD, now=assembly.now_us())
        assert sign_in(conn, name="mo.manager", password=PASSWORD, now=assembly.now_us()) is not None


def _keep(d: Deployment) -> Engine:
    return create_engine(migrate.engine_url(d.keep_dsn), poolclass=NullPool)


def _codec(d: Deployment) -> Any:
    return assembly.codec(d.settings)


def _ring(d: Deployment, publish: Any = None) -> KeyRing:
    return KeyRing(_keep(d), d.settings.master_key, publish or assembly.KeyPublisher(d.access("unify"), _codec(d)))


def _read(d: Deployment) -> WrappedKeys:
    return read_keys(d.access("relay"), _codec(d))


def _restore(d: Deployment, path: Path) -> keep_backup.Restored:
    return keep_backup.restore(d.settings, path, lambda: _read(d), assembly.KeyPublisher(d.access("unify"), _codec(d)))


def _rows(dsn: str, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, tuple(values)).fetchall()


def _execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)


def _say(d: Deployment, topic: str, user: str, key: bytes, value: bytes | None) -> None:
    producer = KafkaProducer(**d.access(user).options(), acks="all")
    producer.send(d.prefix + topic, value, key=key).get(10)
    producer.close(timeout=2)


def _ends(d: Deployment, topic: str, partition: int) -> tuple[int, int]:
    tp = TopicPartition(d.prefix + topic, partition)
    with closing(KafkaConsumer(**d.access("admin").options())) as consumer:
        return int(consumer.beginning_offsets([tp])[tp]), int(consumer.end_offsets([tp])[tp])


def _entries(d: Deployment, first: int, count: int) -> None:
    """Records as the relay sends them; what is in an entry does not matter here."""
    producer = KafkaProducer(**d.access("relay").options(), acks="all", enable_idempotence=True)
    for n in range(first + 1, first + count + 1):
        producer.send(d.prefix + "ledger", f"entry {n}".encode() * 20, headers=headers(ENTRY, 1, 1, n), partition=0)
    producer.flush(20)
    producer.close(timeout=2)


def _contents(d: Deployment) -> list[tuple[int, Any]]:
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


def _sightline(d: Deployment, folder: Path, *words: str, status: int = 0) -> str:
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
def _supervised(d: Deployment) -> Iterator[None]:
    """As if a supervisor ran: its lock is held."""
    d.settings.state.run.mkdir(parents=True, exist_ok=True)
    with (d.settings.state.run / "supervisor.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def _workers(d: Deployment) -> Iterator[None]:
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


def _borough(d: Deployment, spool: Path, seed: int = 4) -> int:
    """A small borough's year, said by its agencies; how many facts."""
    end = assembly.now_us()
    facts = [f for f in Borough(end, seed, 400).facts() if max(f.arrives_at, _latest(f.value["envelope"])) <= end]
    with ExitStack() as stack:
        clients = {}
        for agency in AGENCIES:
            client = AgencyClient(d.access(f"agency.{agency}"), agency, _codec(d), os.urandom(32), spool / agency)
            clients[agency] = stack.enter_context(closing(client))
        publish_all(facts, clients)
        for client in clients.values():
            client.flush(30)
    return len(facts)


def _latest(envelope: dict[str, Any]) -> int:
    return int(max(envelope["occurred_at"], envelope["recorded_at"]))


def _settled(d: Deployment) -> None:
    """Wait until every intake record is decided and every entry relayed."""
    deadline = time.monotonic() + WAIT_S
    access = d.access("admin")
    with closing(KafkaConsumer(**access.options())) as consumer:
        tps = [TopicPartition(d.prefix + f"facts.{a}", p) for a in AGENCIES for p in (0, 1)]
        ends = {(tp.topic.removeprefix(d.prefix), tp.partition): n for tp, n in consumer.end_offsets(tps).items()}
    while time.monotonic() < deadline:
        at = known_positions(d.views_dsn)
        relayed = _rows(d.views_dsn, "select 1 from counter, relay where counter.id = 1 and relay.id = 1 and number = relayed")
        if relayed and all(at.get(key, 0) >= n for key, n in ends.items()):
            return
        time.sleep(0.1)
    raise AssertionError({key: (at.get(key, 0), n) for key, n in ends.items() if at.get(key, 0) < n})


def _takeovers(archive: Archive) -> int:
    return sum(1 for r in archive.records() if dict(r.headers)["record"] != ENTRY.encode())


def _rebuild(d: Deployment) -> int:
    with closing(LedgerReader(d.access("relay"))) as reader:
        values = (sent.value for sent in reader.entries())
        return rebuild(assembly.long_engine(d.views_dsn, "rebuild"), values, assembly.applier(d.settings))


def _differences(views: Deployment, ledger: Deployment) -> tuple[int, list[Difference]]:
    """The views of one deployment against a clean fold of the ledger and under the keys of another."""
    with closing(LedgerReader(ledger.access("relay"))) as reader:
        values = (sent.value for sent in reader.entries())
        engine = assembly.long_engine(views.views_dsn, "verify")
        return verify(engine, values, assembly.applier(ledger.settings), assembly.current_reference())
