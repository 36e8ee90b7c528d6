"""Rebuilding beside the living: from an archive too, verified before the switch, and nothing left of one that was ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from consumers.archive import Archive
from consumers.ledger_backup import back_up, entries
from consumers.unify import Unify
from infra import assembly, stores
from infra.postgres import Postgres
from infra.state import REPOSITORY
from projections import bulk
from projections import rebuild as rebuilding
from projections import verify as verifying
from projections.folding import Applier
from projections.rebuild import NotAsTheLedger, RebuildBusy, rebuild
from projections.tables import FOLDED
from tests.integration import restoring
from tests.services import Deployment, LocalServices, Services

pytestmark = pytest.mark.slow

ENDS_S = 60.0
FEW = 20
EAGER = {
    "autovacuum_vacuum_threshold": 0, "autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_cost_limit": 1,
    "autovacuum_vacuum_cost_delay": 100,
}  # fmt: skip
"""Autovacuum comes as soon as it can, and takes a second for a few pages."""

COUNTS = "select " + ", ".join(f"(select count(*) from {t})" for t in ("fact", "child", "link", "conclusion"))


@pytest.fixture(scope="module")
def house(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment in which a small borough was decided about and relayed; its workers are gone."""
    d = services.deploy()
    assembly.register_schemas(d.settings)
    with restoring.workers(d):
        assert 100 < restoring.borough(d, tmp_path_factory.mktemp("borough"))
        restoring.settled(d)
    yield d
    d.close()


def made(d: Deployment, values: Any) -> int:
    """Rebuild from these entries."""
    engine = stores.long_engine(d.views_dsn, "rebuild")
    try:
        with stores.rebuild_crew(d.settings) as pool:
            return rebuild(engine, values, assembly.applier(d.settings), pool)
    finally:
        engine.dispose()


def facts_seen(worker: Unify, engine: Engine, presentation_ids: list[str]) -> int:
    """How many facts of these records a worker decides upon, with what it remembers and reads."""
    with engine.connect() as conn:
        worker.prepare(conn, [])
        with conn.begin():
            book = worker._book
            book.load_children(conn, {book.child_of[p] for p in book.load_presentations(conn, presentation_ids)})
    return sum(len(book.facts[p]) for p in presentation_ids)


def living(d: Deployment) -> tuple[list[tuple[Any, ...]], ...]:
    """What the living tables hold, and which they are."""
    return restoring.rows(d.views_dsn, COUNTS), restoring.rows(d.views_dsn, "select 'public.fact'::regclass::oid")


def untouched(d: Deployment, before: tuple[list[tuple[Any, ...]], ...]) -> None:
    """The living tables are the ones that were there, and nothing stands beside them."""
    assert before == living(d)
    assert [] == restoring.rows(d.views_dsn, "select 1 from pg_namespace where nspname = 'rebuilt'")


class TestRebuild:
    """One deployment, rebuilt again and again."""

    def test_from_the_topic_and_from_an_archive(self, house: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Either gives what a clean fold gives, in many runs or few; epochs stay, so whoever works goes on."""
        archive = Archive.create(tmp_path / "ledger")
        back_up(house.access("relay"), archive)
        positions = restoring.rows(
            house.views_dsn, "select topic, partition, next_offset, epoch, owner from position order by 1, 2"
        )
        number = restoring.rows(house.views_dsn, "select number, incarnation from counter")
        for source, size in ((None, 50), (archive, 50), (archive, 100_000)):
            monkeypatch.setattr(rebuilding, "RUN", size)
            assert number[0][0] == restoring.rebuilt(house, source)
            assert [] == restoring.differences(house, house)[1]
            assert number == restoring.rows(house.views_dsn, "select number, incarnation from counter")
            again = restoring.rows(
                house.views_dsn, "select topic, partition, next_offset, epoch, owner from position order by 1, 2"
            )
            assert positions == again

    def test_what_is_not_as_the_ledger_is_not_switched(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fact missing from the new tables: they are thrown away, table and kind are named, the old ones serve."""
        before = living(house)
        in_order = rebuilding._in_order

        def loses_one(conn: Connection, parts: Any) -> Any:
            expected = in_order(conn, parts)
            with conn.begin():
                conn.execute(text("delete from fact where number = (select max(number) from fact where agency = 'police')"))
            return expected

        monkeypatch.setattr(rebuilding, "_in_order", loses_one)
        with pytest.raises(NotAsTheLedger, match=r"\(fact police\): nothing was switched"):
            made(house, entries(house.access("relay")))
        untouched(house, before)

    def test_a_child_that_is_not_written_is_noticed(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Folded, and its row not there: nothing is switched either."""
        before = living(house)
        fold = bulk.Work.fold

        def loses_one(self: bulk.Work, child_ids: Any) -> int:
            folded = fold(self, child_ids)
            with self._conn.begin():
                self._conn.execute(text("delete from child where child_id = :c"), {"c": child_ids[0]})
            return folded

        monkeypatch.setattr(bulk.Work, "fold", loses_one)
        with pytest.raises(NotAsTheLedger, match=r"(\d+) children, \1 folded, \d+ written: nothing was switched"):
            made(house, entries(house.access("relay")))
        untouched(house, before)

    def test_what_cannot_be_read_is_not_left_out(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Entries whose schema no entry holds, as those of a newer release: nothing is switched, and it says why."""
        before = living(house)

        def unknown(*_: Any) -> Any:
            raise KeyError("a fingerprint")

        monkeypatch.setattr(bulk, "opened", unknown)
        with pytest.raises(NotAsTheLedger, match="no entry holds the schema of another"):
            made(house, entries(house.access("relay")))
        untouched(house, before)

    def test_a_run_that_lacks_a_schema(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """It writes nothing and brings nothing back but the schemas that it holds, those after the entry in question too."""
        opened = bulk.opened

        def lacks(head: Any, *others: Any) -> Any:
            if head["number"] == 2:
                raise KeyError("a fingerprint")
            return opened(head, *others)

        monkeypatch.setattr(bulk, "opened", lacks)
        work = bulk.Work(stores.tools(house.settings), "public")
        part = work.run(list(entries(house.access("relay"))), {}, 0)
        work.close()
        assert part.lacking
        assert not any(vars(part.rows).values())
        written = restoring.rows(house.views_dsn, "select fingerprint from reference where kind = 'schema'")
        assert {w for (w,) in written} == part.writers.keys() != set()

    def test_ended_midway(self, house: Deployment) -> None:
        """Ctrl-C while entries are read: nothing is left of it, and the next one runs."""
        before = living(house)

        def ended() -> Iterator[bytes]:
            for n, value in enumerate(entries(house.access("relay"))):
                if n == 60:
                    raise KeyboardInterrupt
                yield value

        with pytest.raises(KeyboardInterrupt):
            made(house, ended())
        untouched(house, before)
        assert restoring.rows(house.views_dsn, "select number from counter")[0][0] == restoring.rebuilt(house)

    def test_a_reader_is_not_ended(self, house: Deployment) -> None:
        """Who has read one table when the switch comes, and then reads another, gets it; and the rebuild comes to its end."""
        waiting = "select count(*) from pg_stat_activity where application_name = 'rebuild' and wait_event_type = 'Lock'"
        number = restoring.rows(house.views_dsn, "select number from counter")
        with ThreadPoolExecutor(1) as pool, psycopg.connect(house.views_dsn) as reader:
            reader.execute("select 1 from link limit 1")
            done = pool.submit(restoring.rebuilt, house)
            until = time.monotonic() + ENDS_S
            while not restoring.rows(house.views_dsn, waiting)[0][0]:
                assert time.monotonic() < until, "the switch did not wait for the reader"
                assert not done.done()
                time.sleep(0.02)
            for _ in range(3):
                assert number == reader.execute("select number from counter").fetchall()
                time.sleep(0.7)  # longer than the switch waits: it has to come again
            reader.commit()
            assert number[0][0] == done.result(ENDS_S)

    def test_a_reader_who_takes_long(self, house: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is decided while the switch waits is taken over before it holds the tables: nobody waits for that."""
        followed, tails = list[int](), list[int]()
        follow, catch_up = rebuilding._follow, Applier.catch_up

        def follows(conn: Connection, applier: Applier) -> None:
            follow(conn, applier)
            followed.append(1)

        def catches_up(self: Applier, conn: Connection, values: Any, incarnation: int, **others: Any) -> int:
            tails.extend([len(values)] if isinstance(values, list) else [])  # the relay's are none
            return catch_up(self, conn, values, incarnation, **others)

        monkeypatch.setattr(rebuilding, "CHUNK", FEW)
        monkeypatch.setattr(rebuilding, "HOLD_TRIES", 1_000)
        monkeypatch.setattr(rebuilding, "_follow", follows)
        monkeypatch.setattr(Applier, "catch_up", catches_up)

        def tries(count: int) -> None:
            until = time.monotonic() + ENDS_S
            while len(followed) < count:
                assert time.monotonic() < until, "the switch does not try again"
                assert not done.done()
                time.sleep(0.02)

        number = restoring.rows(house.views_dsn, "select number from counter")[0][0]
        with ThreadPoolExecutor(1) as pool, psycopg.connect(house.views_dsn) as reader, restoring.workers(house):
            reader.execute("select 1 from link limit 1")
            done = pool.submit(made, house, entries(house.access("relay")))
            tries(1)
            restoring.borough(house, tmp_path, 5)
            restoring.settled(house)
            tries(len(followed) + 2)
            reader.commit()
            assert done.result(ENDS_S) > number + 2 * FEW
        assert tails[-1] < FEW, tails
        assert max(tails) == FEW, "all was there before the first try"

    def test_autovacuum_does_not_keep_it_waiting(
        self, house: Deployment, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PostgreSQL ends it for who waits a second; it did not for a switch that gives up sooner each time, until the last."""
        if not isinstance(services, LocalServices):
            pytest.skip("needs the super user of a server of its own")
        server = services.parts["postgres"]
        assert isinstance(server, Postgres)
        monkeypatch.setattr(rebuilding, "HOLD_TRIES", 10)
        by_itself = "select 1 from pg_stat_progress_vacuum where relid = 'public.fact'::regclass"
        dsn = server.dsn(psycopg.conninfo.conninfo_to_dict(house.views_dsn)["dbname"], superuser=True)
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("alter table fact set (" + ", ".join(f"{k} = {v}" for k, v in EAGER.items()) + ")")
            for table in FOLDED:
                if table.name != "fact":  # at another as well, it would cost a second try
                    admin.execute(f'alter table "{table.name}" set (autovacuum_enabled = off)')
            admin.execute("update fact set number = number")
            admin.execute("alter system set autovacuum_naptime = '1s'")
            admin.execute("select pg_reload_conf()")
            try:
                until = time.monotonic() + ENDS_S
                while not admin.execute(by_itself).fetchall():
                    assert time.monotonic() < until, "autovacuum does not begin"
                    time.sleep(0.05)
                hold, there = rebuilding._hold, list[int]()

                def holds(holder: Connection) -> Any:
                    there.append(len(admin.execute(by_itself).fetchall()))
                    return hold(holder)

                monkeypatch.setattr(rebuilding, "_hold", holds)
                number = restoring.rows(house.views_dsn, "select number from counter")[0][0]
                assert number == made(house, entries(house.access("relay")))
                assert there == [1], "one try with autovacuum at the table is enough"
            finally:
                admin.execute("alter system reset autovacuum_naptime")
                admin.execute("select pg_reload_conf()")
            assert [] == admin.execute("select 1 from pg_class where relname = 'fact' and reloptions is not null").fetchall()

    def test_vacuum_by_hand(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever vacuums for longer than a rebuild waits is not ended; it says so and leaves everything as it was."""
        before = living(house)
        monkeypatch.setattr(rebuilding, "VACUUM_MS", 100)
        monkeypatch.setattr(rebuilding, "HOLD_TRIES", 3)
        with psycopg.connect(house.views_dsn) as somebody:
            somebody.execute("lock table fact in share update exclusive mode")  # as VACUUM does
            with pytest.raises(RebuildBusy, match="vacuums them"):
                made(house, entries(house.access("relay")))
        untouched(house, before)

    def test_what_differs_is_found_and_mended(self, house: Deployment, tmp_path: Path) -> None:
        """`sightline verify` names a row that is not what the ledger gives; `sightline rebuild` puts it right."""
        assert "5 children compared, 0 differences" in restoring.sightline(house, tmp_path, "verify", "--sample", "5")
        first, last = "select min(child_id) from child", "select max(number) from fact"
        with psycopg.connect(house.views_dsn) as conn:
            ((child,),) = conn.execute(f"update child set urgency = urgency + 1 where child_id = ({first}) returning child_id")
            ((fact,),) = conn.execute(f"delete from fact where number = ({last}) returning agency || '/' || event_id")
        restoring.sightline(house, tmp_path, "verify", status=1)
        found = {(d.table, d.key, d.side) for d in restoring.differences(house, house)[1]}
        assert {("child", child, "differs"), ("fact", fact, "only clean")} <= found
        assert 0 < restoring.rebuilt(house)
        assert [] == restoring.differences(house, house)[1]

    def test_a_comparison_that_failed_leaves_nothing(self, house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Everything lay there once more, in the clear; what a killed one has left goes with the next rebuild."""
        left = "select count(*) from pg_namespace where nspname = 'verify'"

        def fails(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(verifying, "_compare", fails)
            with pytest.raises(ZeroDivisionError):
                restoring.differences(house, house)
        assert [(0,)] == restoring.rows(house.views_dsn, left)
        restoring.execute(house.views_dsn, "create schema verify")
        restoring.rebuilt(house)
        assert [(0,)] == restoring.rows(house.views_dsn, left)

    def test_a_blocking_key_is_not_shown(self, house: Deployment) -> None:
        """It is a hash, but of a number that has few enough values to try: whose it is says where to look."""
        one = "(select ctid from block limit 1)"
        ((whose,),) = restoring.rows(house.views_dsn, f"delete from block where ctid = {one} returning presentation_id")
        assert [("block", whose)] == [(d.table, d.key) for d in restoring.differences(house, house)[1]]
        restoring.rebuilt(house)

    def test_a_position_that_was_moved_stays(self, house: Deployment) -> None:
        """Past facts that the intake had lost, by hand: no rebuild moves it back."""
        where = "topic = 'facts.police' and partition = 0"
        restoring.execute(house.views_dsn, f"update position set next_offset = next_offset + 1000 where {where}")
        moved = restoring.rows(house.views_dsn, f"select * from position where {where}")
        assert moved
        restoring.rebuilt(house)
        assert moved == restoring.rows(house.views_dsn, f"select * from position where {where}")
        restoring.execute(house.views_dsn, f"update position set next_offset = next_offset - 1000 where {where}")

    def test_a_key_made_anew(self, house: Deployment) -> None:
        """Lost with `keep` and made again under its name: what lay under it is as if erased, and the rest is rebuilt."""
        restoring.execute(house.keep_dsn, "create table saved as table presentation_key")
        one = "(select min(holder) from presentation_key)"
        names = restoring.rows(
            house.keep_dsn, f"delete from presentation_key where holder = {one} returning holder, record_class"
        )
        restoring.key_ring(house, publish=lambda keys: lambda: None).ensure([(h, c) for h, c in names])
        restoring.rebuilt(house)
        assert [] == restoring.differences(house, house)[1]
        back = "truncate presentation_key; insert into presentation_key select * from saved; drop table saved"
        restoring.execute(house.keep_dsn, back)
        restoring.rebuilt(house)

    def test_two_at_once(self, house: Deployment) -> None:
        """The second is refused before it touches anything; so is a comparison: it would see half of a rebuild."""
        engine = stores.long_engine(house.views_dsn, "other")
        with engine.connect() as conn:
            conn.execute(text("select pg_advisory_lock(:l)"), {"l": rebuilding.LOCK})
            conn.commit()
            with pytest.raises(RebuildBusy, match="under way"):
                made(house, ())
            with pytest.raises(RebuildBusy, match="under way"):
                restoring.differences(house, house)
            conn.execute(text("select pg_advisory_unlock_all()"))
            conn.commit()
        engine.dispose()

    def test_killed_while_its_processes_begin(self, house: Deployment) -> None:
        """They end as well: one that had not so much as connected waited for ever, for a parent that was gone."""
        command = [sys.executable, "-m", "infra.command", "rebuild", "--json"]
        one = subprocess.Popen(
            command, env=house.environment(), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        begun = psutil.Process(one.pid)
        until = time.monotonic() + ENDS_S
        while not (processes := [p for p in begun.children() if p.name() == begun.name()]):
            assert time.monotonic() < until and one.poll() is None, "no process of its own was seen"
            time.sleep(0.005)
        one.kill()
        one.wait()
        assert [] == psutil.wait_procs(processes, ENDS_S)[1]

    def test_an_erased_record_that_others_name(self, house: Deployment) -> None:
        """Its keys are gone; matches, edges and links in other records' entries still name it: the rest is rebuilt.

        A worker that was connected all along keeps nothing of it.
        """
        named = "select presentation_id from possible_match union select anchor from possible_match union select a from edge"
        erased = [p for (p,) in restoring.rows(house.views_dsn, f"select presentation_id from ({named}) n order by 1 limit 12")]
        assert len(erased) == 12
        at_work = stores.engine(house.views_dsn, "at-work")
        worker = Unify(
            assembly.codec(house.settings), assembly.key_ring(house.settings), stores.current_reference(), ("", b""),
            lambda: (0, 0), stores.now_us,
        )  # fmt: skip
        assert facts_seen(worker, at_work, erased) > 0
        facts = restoring.rows(house.views_dsn, "select count(*) from fact where presentation_id = any(%s)", [erased])[0][0]
        before = restoring.rows(house.views_dsn, "select count(*) from fact")[0][0]
        with psycopg.connect(house.keep_dsn) as conn:
            conn.execute("update presentation_key set wrapped = null where holder = any(%s)", [erased])
        with psycopg.connect(house.views_dsn) as conn:  # what was decided of late lies in the clear where others follow it
            conn.execute("insert into footprint (after, number, marks, news) values (0, 1, '', '{}') on conflict do nothing")
        assert 0 < restoring.rebuilt(house)
        assert [] == restoring.rows(house.views_dsn, "select 1 from footprint")
        assert before - facts == restoring.rows(house.views_dsn, "select count(*) from fact")[0][0] > 0
        assert [] == restoring.rows(house.views_dsn, "select 1 from presentation where presentation_id = any(%s)", [erased])
        assert [] == restoring.differences(house, house)[1]
        assert 0 == facts_seen(worker, at_work, erased)
        at_work.dispose()
