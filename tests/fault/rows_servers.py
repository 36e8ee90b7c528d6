"""Rows about broker, database and registry: killed, replaced, refusing, away, forgetful (3, 4, 5, 6, 12, 16)."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Final

import psycopg
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from tests.fault import databases
from tests.fault.cluster import ClusterServices
from tests.fault.crew import ROOT
from tests.fault.evidence import read_ledger, views
from tests.fault.harness import House, Member
from tests.fault.proxy import Proxy
from tests.fault.rows_workers import PILE, in_flight, not_relayed, piled_up
from tests.fault.trial import Trial
from tests.living import living

BROKER_S: Final = 20.0
DATABASE_S: Final = 10.0
"""I6."""


def broker_killed(trial: Trial) -> None:
    """Row 3."""
    one_broker(trial)
    with contextlib.closing(ClusterServices()) as three, trial.house("three brokers", services=three) as house:
        one_of_three_then_two(trial, three, house)
        trial.holds(house)


def one_broker(trial: Trial) -> None:
    """The one broker killed with facts under way, and started again: the part of row 3 that `make test` tells too."""
    with trial.house("one broker") as house:
        times = 2 if trial.whole else 1
        with house.people.busy(), house.talking(house.story.facts, 40, turns=2 * times):
            for _ in range(times):
                piled_up(house)
                trial.services.kill("kafka")
                time.sleep(1.0)  # away for a while
                trial.services.restart("kafka")
                house.resumes("broker killed", time.monotonic(), BROKER_S)
        house.settle()
        trial.holds(house)


def one_of_three_then_two(trial: Trial, three: ClusterServices, house: House) -> None:
    """One of three killed: nobody needs it. A second: writes stop (two copies are asked for), nothing is lost, they resume."""
    ledger = house.deployment.prefix + "ledger"
    with house.people.busy(), house.talking(house.story.facts, 40, turns=4):
        house.wait("entries flow", lambda: house.now().relayed > 0)
        piled_up(house)
        first = three.leader(ledger)
        first.kill()
        house.resumes("one of three brokers killed", time.monotonic(), BROKER_S)
        piled_up(house)
        second = three.leader(ledger)
        second.kill()
        time.sleep(3.0)  # two of three are away: nobody can have anything acknowledged
        stuck = house.now().relayed
        second.start()
        since = time.monotonic()
        house.resumes("two of three brokers killed, one back", since, BROKER_S)
        assert house.now().relayed > stuck
        first.start()
    house.settle()


def leaders_change(trial: Trial) -> None:
    """Row 4."""
    with contextlib.closing(ClusterServices()) as three, trial.house("leaders", services=three) as house:
        ledger = house.deployment.prefix + "ledger"
        with house.people.busy(), house.talking(house.story.facts, 40, turns=5 + len(three.nodes)):
            house.wait("entries flow", lambda: house.now().relayed > 0)
            leader = three.leader(ledger)
            in_flight(house)
            leader.stop()
            house.resumes("the ledger's leader stopped in good order", time.monotonic(), BROKER_S)
            leader.start()
            controller = three.controller()
            in_flight(house)
            controller.kill()
            house.resumes("the controller killed", time.monotonic(), BROKER_S)
            controller.start()
            for node in three.nodes:  # a clean roll: each waits until the one before is in step again
                three.in_step(ledger)
                in_flight(house)
                node.stop()
                node.start()
            three.in_step(ledger)
            house.resumes("a clean roll of three brokers", time.monotonic(), BROKER_S)
        house.settle()
        trial.holds(house)


def database_lost(trial: Trial) -> None:
    """Row 5."""
    with trial.house("database") as house:
        waves = house.story.waves(4)
        times = 3 if trial.whole else 1
        with house.people.busy(), house.talking(waves[0], 40, turns=2 * times):
            for _ in range(times):
                piled_up(house)
                trial.services.kill("postgres")
                trial.services.restart("postgres")
                house.resumes("PostgreSQL killed", time.monotonic(), DATABASE_S)
        house.settle()
        house.reviewed(trial.oracle(house).people.answer)
        older(house, waves[1])
        with house.people.busy(), house.talking(waves[2], 40, turns=2):
            piled_up(house)
            before = house.now().incarnation
            databases.drop(house)
            house.resumes("views dropped", time.monotonic(), DATABASE_S)
        house.settle()
        assert house.now().incarnation > before, "a dropped database took no new incarnation"
        house.publish(waves[3])
        house.flush(waves[3])
        trial.holds(house)
    erased(trial)


def older(house: House, facts: Any) -> None:
    """Entries are committed that the relay has not sent; then the database is put back to before them, workers connected."""
    dump = databases.back_up(house)
    at = house.now()
    with house.people.busy(), house.talking(facts, 40, turns=2):
        house.wait("the ledger has gone on", lambda: house.now().relayed > at.relayed + 10)
        house.freeze("relay")
        house.more()
        house.wait("news waits for the relay", lambda: not_relayed(house) >= PILE)
        house.history.note("struck")
        lost = house.now()
        databases.restore(house, dump)
        house.thaw("relay")
        house.resumes("views restored to an older state", time.monotonic(), DATABASE_S)
    house.settle()
    assert at.number < lost.relayed < lost.number, (
        "the backup was to be behind the ledger, and entries to be lost with the database"
    )
    assert house.now().incarnation > lost.incarnation, "a restored database took no new incarnation"
    assert read_ledger(house).incarnation > lost.incarnation
    house.history.note("lost with the database", entries=lost.number - lost.relayed)


def erased(trial: Trial) -> None:
    """`keep` put back to before an erasure: what was erased stays so, and rebuilt views do not show it."""
    with trial.house("erased", children=60) as house:
        fact = next(f for f in house.story.facts if f.value["envelope"]["subject"]["family_name"] and not f.copy)
        who = (fact.agency, fact.value["envelope"]["subject"]["local_id"])
        of_others = [f for f in house.story.facts if (f.agency, f.value["envelope"]["subject"]["local_id"]) != who]
        later = of_others[-LATER:]
        before = [f for f in house.story.facts if f not in later]
        house.publish(before)
        house.flush(before)
        house.settle()
        backup = house.folder / "keep.backup"
        sightline(house, "keep", "backup", str(backup))
        ((holder,),) = house.rows("select presentation_id from fact where event_id = %s and agency = %s", [fact.key, fact.agency])
        with psycopg.connect(house.deployment.keep_dsn) as conn:
            classes = conn.execute("select record_class from presentation_key where holder = %s", [holder]).fetchall()
            conn.execute("update presentation_key set wrapped = null where holder = %s", [holder])
        for (record_class,) in classes:
            tombstone(house, f"{holder}/{record_class}".encode())
        assert classes
        databases.rebuilt(house)
        assert not shows(house, fact.key), "an erased fact is shown"
        told = sightline(house, "keep", "restore", str(backup), "--yes", "--force")
        assert "Restored" in told, told
        databases.rebuilt(house)
        house.settle()
        assert not shows(house, fact.key), "a restored `keep` brought an erased fact back"
        found = databases.verified(house)[1]
        assert not found, f"I2: {found[:4]}"
        with house.talking(later, 40):
            house.resumes("keep restored after an erasure", time.monotonic(), DATABASE_S)
        trial.holds(house, placed=False)  # of what was erased the oracle knows too much


LATER: Final = 20
"""Facts that are said when all is over."""


def shows(house: House, event_id: str) -> bool:
    """Does any child's view hold what a fact said?"""
    documents = views(house).values()
    return any(c["event_id"] == event_id and c["body"] for v in documents for c in v["chronology"])


def tombstone(house: House, key: bytes) -> None:
    """Erase a key from topic `keys`."""
    producer = KafkaProducer(**house.deployment.access("unify").options(), acks="all")
    producer.send(house.deployment.access("unify").topic("keys"), None, key=key).get(15)
    producer.close(timeout=2)


def sightline(house: House, *arguments: str) -> str:
    """The command, in a process of its own; what it says."""
    command = [sys.executable, "-m", "infra.command", *arguments]
    done = subprocess.run(command, env=house.environment, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    return done.stdout + done.stderr


REFUSING: Final = """
create sequence refuse_seq;
create function refuse() returns trigger language plpgsql as $$
begin
  if nextval('refuse_seq') % 3 <> 0 and currval('refuse_seq') < 40 then raise exception 'no' using errcode = '40001'; end if;
  return new;
end $$;
create trigger refuse before insert on ledger for each statement execute function refuse();
"""
"""Two of three inserts fail, some thirty times; a sequence is not rolled back."""


def database_refuses(trial: Trial) -> None:
    """Row 6."""
    with trial.house("refuses") as house:
        with house.people.busy(), house.talking(house.story.facts, 40, turns=8):
            house.wait("entries flow", lambda: house.now().relayed > 0)
            in_flight(house)
            with psycopg.connect(house.deployment.views_dsn, autocommit=True) as conn:
                conn.execute(REFUSING)
                house.wait("batches were refused", lambda: conn.execute("select last_value from refuse_seq").fetchone()[0] > 20)  # type: ignore[index]
                conn.execute("drop trigger refuse on ledger; drop function refuse; drop sequence refuse_seq")
            house.resumes("serialization failures", time.monotonic(), DATABASE_S)
            in_flight(house)
            deadlock(house)
            house.resumes("deadlock", time.monotonic(), DATABASE_S)
            in_flight(house)
            cancelled(house, 20)
            house.resumes("statements cancelled", time.monotonic(), DATABASE_S)
            in_flight(house)
            crowded(house)
            house.resumes("every connection taken", time.monotonic(), DATABASE_S)
        house.acted()
        house.settle()
        trial.holds(house)
    pages_crowded(trial)


PAGES_S: Final = 5.0
"""I6: until a page is shown again."""

READERS: Final = 30
"""More than the pages have connections (twice ten), fewer than they have threads (forty)."""


def pages_crowded(trial: Trial) -> None:
    """Statements of the pages stand still until their pool is empty: who comes then is told so, soon; nobody is told less."""
    folder = trial.folder / "pages"
    folder.mkdir()
    with living(trial.services, folder) as site, ThreadPoolExecutor(READERS) as readers:
        house = site.house
        site.publish(house.story.facts)
        person = site.person("icart_manager")
        assert person.get("/queue").status == 200
        with psycopg.connect(house.deployment.views_dsn) as ours:
            ours.execute("lock table relay in access exclusive mode")  # where every page begins: is it all there?
            asked = [readers.submit(person.get, "/queue") for _ in range(READERS)]
            told = next(as_completed(asked, timeout=20)).result()
            standing = sum(not a.done() for a in asked)
        since = time.monotonic()
        assert (told.status, "Nothing was shown or recorded" in told.body) == (503, True), told
        assert standing >= 1, "no statement stood still"
        answered = Counter(a.result().status for a in asked)
        assert set(answered) == {200, 503}, answered
        assert person.get("/queue").status == 200
        house.took("every connection of the pages taken", time.monotonic() - since, PAGES_S)
        house.settle()
        trial.holds(house, least={})
        trial.resumed |= house.resumed


DEADLOCKS: Final = "select deadlocks from pg_stat_database where datname = current_database()"
WAITING: Final = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
    "and application_name like 'unify%'"
)


def deadlock(house: House) -> None:
    """A unify worker holds the counter and waits for our row; then we ask for the counter: PostgreSQL ends one of us."""
    before = house.rows(DEADLOCKS)[0][0]
    with psycopg.connect(house.deployment.views_dsn, application_name="rival") as ours:
        ours.execute("select 1 from position for update")
        house.wait("a worker waits for us", lambda: house.rows(WAITING)[0][0] > 0, 30)
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            ours.execute("select 1 from counter where id = 1 for update")
        ours.rollback()
    house.wait("PostgreSQL has counted a deadlock", lambda: house.rows(DEADLOCKS)[0][0] > before, 30)


def cancelled(house: House, times: int) -> None:
    """Statements of the workers end as by a statement timeout (57014), whichever is under way."""
    done = 0
    query = (
        "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and state = 'active' "
        "and application_name like any(array['unify%%', 'relay', 'deliver', 'clock'])"
    )

    def some() -> bool:
        nonlocal done
        done += len(house.rows(query.replace("%%", "%")))
        return done >= times

    house.wait("statements were cancelled", some, 60)


def crowded(house: House) -> None:
    """Every connection of the server is taken, and the workers' own are ended: they cannot come back until there is room."""
    held: list[psycopg.Connection[Any]] = []
    try:
        with psycopg.connect(house.deployment.views_dsn, autocommit=True) as conn:
            while len(held) < 400:
                try:
                    held.append(psycopg.connect(house.deployment.views_dsn, connect_timeout=5))
                except psycopg.OperationalError:
                    break
            assert len(held) < 400, "the server took every connection"
            for _ in range(5):
                conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                    "and application_name like any(array['unify%', 'relay', 'deliver', 'clock'])"
                )
                with contextlib.suppress(psycopg.OperationalError):
                    while len(held) < 400:
                        held.append(psycopg.connect(house.deployment.views_dsn, connect_timeout=5))
                time.sleep(0.6)  # the fault itself
    finally:
        for one in held:
            one.close()


def registry_away(trial: Trial) -> None:
    """Row 12."""
    with contextlib.ExitStack() as stack:
        port, path = trial.services.registry_url.split(":")[2].split("/", 1)
        proxies = {n: stack.enter_context(Proxy(int(port))) for n in ("unify-0", "unify-1")}
        house = stack.enter_context(trial.house("registry"))
        for name, proxy in proxies.items():  # its own, from its next start on: what the proxy meets is this worker's
            house.crew.workers[name].environment["SIGHTLINE_REGISTRY"] = f"http://127.0.0.1:{proxy.port}/{path}"
        first, second, *others, last = house.story.waves(6)
        house.publish(first[:5])
        house.flush(first[:5])
        house.settle()
        with house.talking(first[5:], 40, turns=2):
            member = struck(house, "unify-0", lambda: trial.services.kill("registry"))  # it starts without one
            house.crew.kill("relay")
            time.sleep(3.0)  # away for a while
            trial.services.restart("registry")
            house.resumes("registry away while workers started", time.monotonic(), DATABASE_S, member)
        with house.talking(second, 40, turns=2):
            proxies["unify-1"].weather.delay_s = 1.0
            member = struck(house, "unify-1")
            house.resumes("registry slow", time.monotonic(), SLOW_REGISTRY_S, member)
            assert proxies["unify-1"].met["delayed"] > 1, "nobody was answered slowly"
            proxies["unify-1"].weather.delay_s = 0.0
        answers = ((500, b"{}"), (200, b"<html>a captive portal</html>"), (200, b'{"schema": "no schema"}'))
        for (status, body), third in zip(answers, others, strict=True):
            asked: list[str] = []
            with house.talking(third, 40, turns=2), wrong(status, body, asked) as other:
                proxies["unify-0"].target, right = other, proxies["unify-0"].target
                member = struck(house, "unify-0")
                house.wait("it was answered wrongly", partial(bool, asked), 30)
                proxies["unify-0"].target = right
                house.resumes(f"registry answering {status} {body.decode()[:20]}", time.monotonic(), DATABASE_S, member)
        house.publish(last)
        house.flush(last)
        trial.holds(house)


def struck(house: House, name: str, first: Callable[[], object] = lambda: None) -> Member:
    """A worker is killed with news under way, after `first`; as it was then."""
    member = house.member(name)
    in_flight(house)
    first()
    house.crew.kill(name)
    return member


SLOW_REGISTRY_S: Final = 40.0
"""A worker that has just started asks for the schema of each kind of fact that it meets, one after another, two seconds each."""


@contextlib.contextmanager
def wrong(status: int, body: bytes, asked: list[str]) -> Iterator[int]:
    """A server that answers everything like this, and writes down for what it was `asked`; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the server's own names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def retention_passed(trial: Trial) -> None:
    """Row 16."""
    with trial.house("retention") as house:
        first, rest = house.story.waves(2)
        rest, later = rest[:-LATER], rest[-LATER:]
        house.publish(first)
        house.flush(first)
        house.settle()
        for name in ("unify-0", "unify-1"):
            house.crew.rest(name)
        house.publish(rest)
        house.flush(rest)
        ends, stands = house.ends(["facts.police"]), house.now()
        topic, partition = max(ends, key=lambda k: ends[k] - stands.positions[k][0])
        stored, upto = stands.positions[(topic, partition)][0], ends[(topic, partition)] - 1
        trial.suited(upto - 1 > stored, "too little was said to be lost")
        lost = [r for r in house.read(topic) if r.partition == partition and stored <= r.offset < upto]
        house.acknowledged["police"].subtract(house.codec.decode(r.value).value["envelope"]["event_id"] for r in lost)
        admin = KafkaAdminClient(**house.deployment.access("admin").options())
        admin.delete_records({TopicPartition(house.deployment.prefix + topic, partition): upto})
        admin.close()
        deaths = {n: len(house.crew.workers[n].deaths) for n in ("unify-0", "unify-1")}
        for name in deaths:
            house.crew.wake(name)
        house.wait("a worker stops, twice", lambda: any(len(house.crew.workers[n].deaths) > d + 1 for n, d in deaths.items()), 60)
        words = house.logs().decode()
        assert f"{topic}[{partition}]: offsets {stored} to {upto - 1} are no longer in the intake" in words, (
            "it does not say what"
        )
        after = house.now()
        assert after.positions[(topic, partition)][0] == stored, "I4: the position moved past records that nobody has read"
        entries = [e for e in read_ledger(house).entries if (e["source_topic"], e["source_partition"]) == (topic, partition)]
        assert max(e["source_offset"] for e in entries) < stored, "I1: something was decided past what is missing"
        with psycopg.connect(house.deployment.views_dsn) as conn:  # as the words say: by hand, once the agency sends it again
            conn.execute("update position set next_offset = %s where topic = %s and partition = %s", [upto, topic, partition])
        house.publish(rest)  # sent again, as the words ask
        with house.talking(later, 60):
            house.resumes("position set by hand", time.monotonic(), DATABASE_S)
        house.settle()
        trial.holds_but(house, {"I1", "I4"}, f"{topic}[{partition}]")
