"""`keep` and the ledger go to disk and come back, on real servers, as somebody does it who has lost everything else."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from consumers import ledger_backup
from consumers.accesses import AccessUnreadable
from consumers.archive import Archive, ArchiveDamaged
from consumers.keys import KeyUnreadable
from consumers.ledger import LedgerReader
from consumers.ledger_backup import LedgerNotEmpty, OtherLedger, back_up, restore
from infra import assembly, keep_backup, migrate, stores
from infra.errors import InfraError
from infra.intake import known_positions, raise_ends
from infra.keep_check import check_keep
from infra.sealed_file import BackupRefused
from infra.workers import PREPARATIONS
from projections.accesses import Access, record_access
from projections.accounts import sign_in
from projections.keyring import KeyRing, WrongMasterKey
from tests.integration import restoring
from tests.services import Deployment, Services

Deploy = Callable[..., Deployment]
NAMES = [("p" * 64, "identity"), ("p" * 64, "concern"), ("q" * 64, "identity")]
KEYS = "select holder, record_class, wrapped, created_at from presentation_key order by 1, 2"
UNSENT = "select holder from presentation_key where not published"
"""Not known to have arrived: noted with the next keys that are made, so the last made are among these until then."""


ACCESSES = "select access_id, at, actor_id, role, action, purpose, children from access_record order by 1"
SENT = "select access_id from access_record where published_at is not null"


@pytest.fixture(autouse=True)
def _tools(services: Services) -> None:
    if services.settings("").given_database and shutil.which("pg_dump") is None:
        pytest.skip("a database was given, and PostgreSQL's client tools are not on PATH")


class TestKeep:
    """Accounts, secrets and keys."""

    def test_lost_and_restored(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """The database is dropped: accounts sign in again, every key opens what it sealed, sessions have ended."""
        d = new_deployment(only=["keys", "accesses"])
        restoring.account(d)
        ring = restoring.key_ring(d)
        ring.ensure(NAMES)
        secret, sealed = ring.secret("presentation"), ring.seal(NAMES[0], b"what was said", b"bound")
        size = keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        assert size == (tmp_path / "keep").stat().st_size
        assert b"mo.manager" not in (tmp_path / "keep").read_bytes()
        migrate.drop_database(d.keep_dsn)
        done = restoring.restore_keep(d, tmp_path / "keep")
        assert (0, 0) == (done.keys.put_back, done.keys.sent)
        again = restoring.key_ring(d)
        assert secret == again.secret("presentation")
        assert b"what was said" == again.unseal(NAMES[0], *sealed, b"bound")
        with restoring.keep_engine(d).begin() as conn:
            assert 0 == conn.exec_driver_sql("select count(*) from session").scalar_one()
            assert sign_in(conn, name="mo.manager", password=restoring.PASSWORD, now=stores.now_us()) is not None

    def test_keys_made_since_come_back(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """A key younger than the backup comes from topic `keys`, with when it was made; one that the topic lacks goes there."""
        d = new_deployment(only=["keys", "accesses"])
        restoring.key_ring(d, publish=lambda keys: lambda: None).ensure(NAMES[:1])  # an old broker acknowledged it
        keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        ring = restoring.key_ring(d)
        ring.ensure(NAMES[1:])
        sealed = ring.seal(NAMES[2], b"said since", b"")
        before = restoring.rows(d.keep_dsn, KEYS)
        done = restoring.restore_keep(d, tmp_path / "keep")
        assert (2, 1) == (done.keys.put_back, done.keys.sent)
        assert b"said since" == restoring.key_ring(d).unseal(NAMES[2], *sealed, b"")
        assert before == restoring.rows(d.keep_dsn, KEYS)
        assert [] == restoring.rows(d.keep_dsn, UNSENT)
        assert sorted(NAMES) == sorted(restoring.keys_topic(d))

    def test_destroyed_stays_destroyed(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Destroyed since the backup, by a null or a tombstone in the topic; destroyed before it, with the topic not knowing."""
        d = new_deployment(only=["keys", "accesses"])
        restoring.key_ring(d).ensure(NAMES)
        restoring.execute(d.keep_dsn, "update presentation_key set wrapped = null where record_class = 'concern'")
        keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        value = {"holder": NAMES[0][0], "record_class": NAMES[0][1], "wrapped": None, "created_at": 1}
        restoring.say(d, "keys", "unify", "/".join(NAMES[0]).encode(), restoring.codec_of(d).encode("WrappedKey", value))
        restoring.say(d, "keys", "unify", "/".join(NAMES[2]).encode(), None)
        assert 0 == restoring.restore_keep(d, tmp_path / "keep").keys.put_back
        assert [(None,)] * 3 == restoring.rows(d.keep_dsn, "select wrapped from presentation_key")

    def test_who_was_shown_what_since(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Access records younger than the backup come back from topic `accesses`, once; what the topic lacks is sent again."""
        d = new_deployment(only=["keys", "accesses"])
        before = restoring.looked(d, "before the backup", "c1", "c2")
        with restoring.keep_engine(d).begin() as conn:
            record_access(
                conn, actor_id="a", role="edt", action="GET /", purpose="FRONT_DOOR", children=["c9"], now=stores.now_us()
            )
        restoring.execute(d.keep_dsn, "update access_record set published_at = 1 where children like '%c9%'")
        keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        since = restoring.looked(d, "since", "c3")
        nobody = restoring.looked(d, "a search without hits")
        restoring.published(d, [since])  # the web was killed between sending and noting it: it is there twice
        held = restoring.rows(d.keep_dsn, ACCESSES)
        migrate.drop_database(d.keep_dsn)
        done = restoring.restore_keep(d, tmp_path / "keep")
        assert (2, 1) == (done.accesses.put_back, done.accesses.unsent)
        assert held == restoring.rows(d.keep_dsn, ACCESSES)
        assert {before, since, nobody} == {r[0] for r in restoring.rows(d.keep_dsn, SENT)}
        again = restoring.sightline(d, tmp_path, "keep", "reconcile", "--json")
        assert (0, 0) == tuple(json.loads(again)[k] for k in ("accesses_put_back", "accesses_unsent"))

    def test_what_is_refused_changes_nothing(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """A torn file, another master key, and keys of another deployment: the living `keep` stays, and nothing beside it."""
        d, other = new_deployment(only=["keys", "accesses"]), new_deployment(only=["keys", "accesses"])
        restoring.account(d)
        for one in (d, other):
            keep_backup.back_up(one.settings, tmp_path / one.prefix, stores.now_us())
        (tmp_path / "torn").write_bytes((tmp_path / d.prefix).read_bytes()[:-1])
        with pytest.raises(BackupRefused, match="torn"):
            restoring.restore_keep(d, tmp_path / "torn")
        with pytest.raises(BackupRefused, match="another master key"):
            restoring.restore_keep(d, tmp_path / other.prefix)
        restoring.key_ring(other).ensure(NAMES)
        with pytest.raises(WrongMasterKey):
            restoring.restore_keep(d, tmp_path / d.prefix, keys_of=other)
        restoring.say(d, "keys", "unify", b"a/b", b"not a key")
        with pytest.raises(KeyUnreadable, match="offset 0"):
            restoring.restore_keep(d, tmp_path / d.prefix)
        restoring.say(other, "accesses", "web", b"a", b"not an access record")
        with pytest.raises(AccessUnreadable, match="offset 0"):
            restoring.restore_keep(other, tmp_path / other.prefix)
        assert [("mo.manager",)] == restoring.rows(d.keep_dsn, "select name from account")
        with psycopg.connect(d.keep_dsn) as connection:
            names = "select datname from pg_database where datname like %s"
            assert [] == connection.execute(names, ("%keep_restored",)).fetchall()

    def test_nobody_is_connected_meanwhile(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """While the topics are read, and not after: a key made then would be lost. If the last step fails, all is as it was."""
        d = new_deployment(only=["keys", "accesses"])
        restoring.account(d)
        keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        publish, names = assembly.KeyPublisher(d.access("unify"), restoring.codec_of(d)), "select name from account"
        with psycopg.connect(d.keep_dsn) as worker, ExitStack() as until:

            def refused() -> Iterator[Access]:
                with pytest.raises(psycopg.OperationalError, match="terminat"):
                    worker.execute("select 1")
                with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
                    restoring.rows(d.keep_dsn, names)
                yield from ()

            def in_the_way() -> Iterator[Access]:
                until.enter_context(psycopg.connect(f"{d.keep_dsn}_restored"))
                yield from ()

            def restored(accesses: Callable[[], Iterator[Access]]) -> None:
                keep_backup.restore(
                    d.settings, tmp_path / "keep", lambda: restoring.keys_topic(d), publish, accesses, stores.now_us()
                )

            with pytest.raises(keep_backup.KeepError, match="being accessed by other users"):
                restored(in_the_way)
            assert [("mo.manager",)] == restoring.rows(d.keep_dsn, names)
            worker.close()
        with psycopg.connect(d.keep_dsn) as worker:
            restored(refused)
        assert [("mo.manager",)] == restoring.rows(d.keep_dsn, names)
        beside = "select count(*) from pg_database where datname like %s"
        assert [(1,)] == restoring.rows(d.keep_dsn, beside, [f"{d.keep_dsn.rpartition('/')[2]}%"])

    def test_no_database_to_back_up(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """One line in PostgreSQL's words, and no file."""
        d = new_deployment(only=["keys", "accesses"])
        migrate.drop_database(d.keep_dsn)
        with pytest.raises(keep_backup.KeepError, match=r"pg_dump failed: .*does not exist"):
            keep_backup.back_up(d.settings, tmp_path / "keep", stores.now_us())
        assert [] == list(tmp_path.iterdir())


class TestLedger:
    """The ledger topic and its archive."""

    def test_the_same_records_in_a_fresh_deployment(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Two incremental backups; restored under another prefix, every value and header is the same at the same offset."""
        old, new = new_deployment(only=["ledger"]), new_deployment(only=["ledger"])
        archive = Archive.create(tmp_path / "ledger")
        for first, count in ((0, 300), (300, 5)):
            restoring.entries(old, first, count)
            assert count == back_up(old.access("relay"), archive)
        assert 0 == back_up(old.access("relay"), archive)
        assert 305 == archive.verify().records
        assert 305 == restore(new.access("relay"), Archive(tmp_path / "ledger"))
        assert restoring.contents(old) == restoring.contents(new)
        assert 305 == len(restoring.contents(new))
        restoring.entries(new, 305, 2)
        assert 2 == back_up(new.access("relay"), archive), "the archive goes on with the restored topic"
        with closing(LedgerReader(new.access("relay"))) as reader:
            assert list(range(1, 308)) == [s.number for s in reader.entries()]

    def test_only_into_an_empty_topic(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """One foreign record refuses; a restore that was cut short is completed; a damaged archive sends nothing."""
        old, foreign, half = (new_deployment(only=["ledger"]) for _ in range(3))
        restoring.entries(old, 0, 20)
        archive = Archive.create(tmp_path / "ledger")
        back_up(old.access("relay"), archive)
        restoring.entries(foreign, 7, 1)
        with pytest.raises(LedgerNotEmpty, match="holds records already"):
            restore(foreign.access("relay"), archive)
        with pytest.raises(OtherLedger, match="ends at 1"):
            back_up(foreign.access("relay"), archive)
        restoring.entries(foreign, 0, 30)
        with pytest.raises(OtherLedger, match="another ledger"):
            back_up(foreign.access("relay"), archive)
        restoring.entries(half, 0, 8)
        segment = next((tmp_path / "ledger").glob("*.segment"))
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-1])
        with pytest.raises(ArchiveDamaged):
            restore(half.access("relay"), archive)
        assert 8 == len(restoring.contents(half))
        segment.write_bytes(whole)
        assert 12 == restore(half.access("relay"), archive)
        assert restoring.contents(old) == restoring.contents(half)


class TestIntake:
    """A broker that lost the intake."""

    def test_offsets_go_on(self, new_deployment: Deploy) -> None:
        """At the next start a partition goes on at its position, empty; one that has records beyond it keeps them all."""
        d = new_deployment()
        columns = "position (topic, partition, next_offset, epoch, owner)"
        restoring.execute(d.views_dsn, f"insert into {columns} values ('facts.police', 1, 12345, 1, ''), ('clock', 0, 2, 1, '')")
        for _ in range(3):
            restoring.say(d, "clock", "clock", b"", b"x")
        for _ in range(2):  # saying it twice changes nothing
            for preparation in PREPARATIONS:
                preparation.run(d.settings)
            assert (12345, 12345) == restoring.ends(d, "facts.police", 1)
            assert (0, 3) == restoring.ends(d, "clock", 0)


class TestStart:
    """What a start refuses rather than make things worse."""

    def test_the_keep_of_another_ledger(self, new_deployment: Deploy) -> None:
        """Entries and no secret: restore first. Another master key: put the right one back. The right ones: go on."""
        d = new_deployment(only=["ledger"])
        check_keep(d.settings)
        restoring.entries(d, 0, 3)
        with pytest.raises(InfraError, match="keep restore FILE"):
            check_keep(d.settings)
        ring = restoring.key_ring(d)
        KeyRing(restoring.keep_engine(d), bytes(32)).secret("presentation")
        with pytest.raises(InfraError, match=r"master\.key"):
            check_keep(d.settings)
        restoring.execute(d.keep_dsn, "delete from secret")
        ring.secret("presentation")
        check_keep(d.settings)


class TestCommand:
    """The commands of the runbook, in processes of their own."""

    def test_keep(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Backup, loss, restore; refused while a supervisor holds its lock, unless forced."""
        d = new_deployment()
        restoring.account(d)
        assert "keep.backup" in restoring.sightline(d, tmp_path, "keep", "backup", "keep.backup")
        assert "exists: name a new file" in restoring.sightline(d, tmp_path, "keep", "backup", "keep.backup", status=1)
        migrate.drop_database(d.keep_dsn)
        with restoring.supervised(d):
            assert "workers run" in restoring.sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", status=1)
            assert "Restored to" in restoring.sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", "--force")
        told = json.loads(restoring.sightline(d, tmp_path, "keep", "restore", "keep.backup", "--yes", "--json"))
        assert (0, 0) == (told["put_back"], told["sent"])
        assert "0 keys" in restoring.sightline(d, tmp_path, "keep", "reconcile")
        assert [("mo.manager",)] == restoring.rows(d.keep_dsn, "select name from account")

    def test_ledger(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Backup, verify; restore refuses a topic that goes on; a folder without an archive is one line."""
        d = new_deployment()
        assert {"added": 0, "records": 0} == json.loads(restoring.sightline(d, tmp_path, "ledger", "backup", "ledger", "--json"))
        assert "0 records" in restoring.sightline(d, tmp_path, "ledger", "verify", "ledger")
        assert "0 records restored" in restoring.sightline(d, tmp_path, "ledger", "restore", "ledger", "--yes")
        restoring.entries(d, 0, 1)
        assert "holds records already" in restoring.sightline(d, tmp_path, "ledger", "restore", "ledger", "--yes", status=1)
        assert "holds no ledger archive" in restoring.sightline(d, tmp_path, "ledger", "verify", "elsewhere", status=1)


class TestEverything:
    """The whole path: broker and databases gone, only the two backups and the master key left."""

    @pytest.mark.slow
    def test_lost_and_restored(self, new_deployment: Deploy, tmp_path: Path) -> None:
        """Restored into a new deployment, the views are what they were byte for byte, and facts go on being accepted."""
        old = new_deployment()
        assembly.register_schemas(old.settings)
        with restoring.workers(old):
            assert 100 < restoring.borough(old, tmp_path / "old")
            restoring.settled(old)
            keep_backup.back_up(old.settings, tmp_path / "keep", stores.now_us())
            back_up(old.access("relay"), Archive.create(tmp_path / "ledger"))
        new = new_deployment()
        new.settings.state.secret(f"{new.prefix}master.key", value=base64.urlsafe_b64encode(old.settings.master_key).decode())
        archive = Archive(tmp_path / "ledger")
        sent = restoring.restore_keep(new, tmp_path / "keep").keys.sent
        assert 0 < sent == len(restoring.keys_topic(old)), "the new broker's topic has every key again"
        assert archive.end == restore(new.access("relay"), archive)
        assert {k: n for k, n in known_positions(old.views_dsn).items() if n} == ledger_backup.positions(archive)
        assert 0 < raise_ends(new.access("admin"), new.prefix, ledger_backup.positions(archive))
        assert archive.end - restoring.takeovers(archive) == restoring.rebuilt(new)
        assert [] == restoring.differences(new, new)[1]
        children, found = restoring.differences(old, new)
        assert [] == found, "the old views are a fold of the restored ledger under the restored keys"
        assert 0 < children
        with restoring.workers(new):
            last = restoring.rows(new.views_dsn, "select number from counter")
            accepted = restoring.borough(new, tmp_path / "new", seed=5)
            restoring.settled(new)
            entries = "select count(*) from ledger where number > (select %s::bigint)"
            assert accepted <= restoring.rows(new.views_dsn, entries, last[0])[0][0], (
                "no fact on the new broker was taken for an old one"
            )
        assert [] == restoring.differences(new, new)[1]
