"""Due times on the real broker: who is waited for, to whom what is overdue goes, and what was done in time is never late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from consumers.clock import SOON_US, WAIT_US_MAX
from domain.missing import next_overnight
from domain.problems import SightlineError
from domain.times import HOUR_US, SECOND_US
from infra import assembly, stores
from producers.acts import ActProducer
from producers.client import AgencyClient
from producers.halton.facts import blank
from tests.integration import restoring
from tests.looking import reading
from tests.services import Deployment

pytestmark = [pytest.mark.timeout(240)]
Value = dict[str, Any]
OF_RECORD = "from child c join presentation p using (child_id) where p.local_id = %s"
MEMBERS = f"select c.child_id {OF_RECORD}"


class World:
    """A deployment whose clock is behind ours and moved on by the test: due times come without waiting for them."""

    def __init__(self, d: Deployment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.d, self.behind_us, self.codec = d, 48 * HOUR_US, assembly.codec(d.settings)
        monkeypatch.setattr(stores, "now_us", self.now)
        secret = d.settings.secret("agency.police.key").encode()
        (folder / "spool").mkdir(mode=0o700)
        self.police = AgencyClient(d.access("agency.police"), "police", self.codec, secret, folder / "spool")
        self.people = ActProducer(d.access("web"), self.codec)
        self.clock = assembly.clock(d.settings, 0)
        self.consumer = KafkaConsumer(**d.access("clock").options(), group_id=None, enable_auto_commit=False)

    def close(self) -> None:
        """Close what speaks and listens."""
        self.consumer.close()
        self.people.close()
        self.police.close(0.5)

    def now(self) -> int:
        """This deployment's time, µs."""
        return time.time_ns() // 1000 - self.behind_us

    def passes_to(self, at: int) -> None:
        """It is `at` now, or a little later."""
        self.behind_us -= max(0, at - self.now())

    @contextmanager
    def working(self) -> Iterator[None]:
        """While unify and relay run; one that dies is started again, as the supervisor does."""
        leaving, running = threading.Event(), dict[str, assembly.Stoppable]()
        makers = {"unify": lambda: assembly.unify(self.d.settings, 0), "relay": lambda: assembly.relay(self.d.settings, 0)}

        def live(name: str) -> None:
            while not leaving.is_set():
                running[name] = makers[name]()
                with suppress(KafkaError, SightlineError):
                    running[name].run()

        threads = [threading.Thread(target=live, args=(name,), daemon=True) for name in makers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            leaving.set()
            for worker in running.values():
                worker.stop()
            for thread in threads:
                thread.join(30)

    def tick(self) -> int:
        """The clock looks once; how many records its topic holds then."""
        self.clock.tick(self.consumer)
        return restoring.ends(self.d, "clock", 0)[1]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Bounded."""
        deadline = time.monotonic() + restoring.WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.05)

    def says(self, child: str, *concerns: str) -> None:
        """Police say something of a child; by default what is a harm trigger by itself."""
        self.submits(child, list(concerns) or ["DISCLOSURE_ABUSE"])

    def submits(self, child: str, concerns: list[str], *exploitation: str) -> None:
        """A vulnerability submission."""
        seen = {"submission_id": "v", "seen": "YES", "seen_alone": "YES", "spoken_to": "YES"}
        self.tells(child, "VulnerabilitySubmission", seen | {"concerns": concerns, "exploitation": list(exploitation)})

    def is_away(self, child: str) -> int:
        """Police report a child missing at noon; when it will have been away overnight."""
        self.passes_to(next_overnight(self.now()) + 8 * HOUR_US)
        away = {"episode_id": "e", "episode_type": "M", "last_seen_at": self.now() - HOUR_US}
        self.tells(child, "MissingEpisodeReported", away)
        return next_overnight(self.now())

    def tells(self, child: str, record: str, body: Value) -> None:
        """Police tell something of an hour ago."""
        at = self.now() - HOUR_US
        value = blank(record) | body
        subject = {**value["envelope"]["subject"], "local_id": child, "family_name": child, "birth_date": "2012-05-06"}
        value["envelope"] |= {
            "event_id": str(uuid4()), "agency": "police", "occurred_at": at, "recorded_at": at, "reported_by": "Officer",
            "sensitivity": "ORDINARY", "subject": subject,
        }  # fmt: skip
        self.police.publish(record, value)
        self.police.flush(20)

    def view(self, child: str) -> Value | None:
        """What a reader is shown."""
        rows = restoring.rows(self.d.views_dsn, MEMBERS, (child,))
        with reading(self.d.settings) as shown:
            return shown.child_view(rows[0][0]) if rows else None

    def due(self, child: str) -> int | None:
        """When the clock is to look at it."""
        rows = restoring.rows(self.d.views_dsn, f"select c.due_at {OF_RECORD}", (child,))
        found: int | None = rows[0][0] if rows else None
        return found

    def recommendation(self, child: str) -> Value:
        """Its one recommendation, once there."""
        self.wait(lambda: bool((self.view(child) or {"recommendations": []})["recommendations"]))
        view = self.view(child)
        assert view is not None
        (rec,) = view["recommendations"]
        return {**rec, "child_id": view["child_id"]}

    def state(self, child: str) -> str:
        """Of the recommendation."""
        return str(self.recommendation(child)["state"])

    def decides(self, rec: Value, acted_at: int, **said: Any) -> None:
        """A manager declines, acting at `acted_at`."""
        act = {
            "event_id": str(uuid4()), "actor_id": "m1", "actor_role": "icart_manager", "child_id": rec["child_id"],
            "acted_at": acted_at, "based_on": rec["version"], "correlation_id": None,
        }  # fmt: skip
        value = {"decision": "DECLINE", "reason": "OTHER_RESPONSE", "rationale": "Seen", "meeting_at": None, **said}
        self.people.send("RecommendationDecided", {"act": act, "recommendation_id": rec["recommendation_id"], **value})

    def happened(self, child: str) -> list[str]:
        """Kinds of what happened to its recommendation."""
        return [h["kind"] for h in self.recommendation(child)["history"]]

    def notices(self, rec: Value) -> list[tuple[str, list[str]]]:
        """(state, passed to) of every notice about it on topic `recommendations`, as the web may read them."""
        topic = self.d.prefix + "recommendations"
        with closing(KafkaConsumer(**self.d.access("web").options(), auto_offset_reset="earliest")) as consumer:
            (tp,) = [restoring.TopicPartition(topic, 0)]
            consumer.assign([tp])
            consumer.seek_to_beginning(tp)
            end, found = consumer.end_offsets([tp])[tp], list[Value]()
            while consumer.position(tp) < end:
                found += [self.codec.decode(r.value).value for rs in consumer.poll(200).values() for r in rs]
        return [(v["state"], v["passed_to"]) for v in found if v["recommendation_id"] == rec["recommendation_id"]]


@pytest.fixture
def world(new_deployment: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Nothing said yet."""
    with closing(World(new_deployment(), tmp_path, monkeypatch)) as made:
        yield made


def test_overdue_goes_to_somebody_else(world: World) -> None:
    """Undecided: in the ledger, in the view, and as a notice that a pager can read. Convened and never held: the same."""
    with world.working():
        world.says("late")
        rec = world.recommendation("late")
        assert 0 == world.tick(), "not due yet"
        world.passes_to(rec["due_at"])
        world.wait(lambda: world.tick() == 1)
        world.wait(lambda: world.state("late") == "OVERDUE")
        assert ["icart_manager", "edt"] == [t["role"] for t in world.recommendation("late")["passed_on"]["to"]]
        world.decides(rec, world.now(), decision="CONVENE", reason=None)
        world.wait(lambda: world.state("late") == "CONVENED")
        held_due = world.recommendation("late")["held_due_at"]
        world.passes_to(held_due)
        world.wait(lambda: world.tick() == 2)
        world.wait(lambda: world.recommendation("late")["passed_on"] is not None)
        found = world.recommendation("late")["passed_on"]
        assert ("MEETING", held_due, ["m1"]) == (found["what"], found["due_at"], found["to"][0]["other_than"])
        told = [("OPEN", []), ("OVERDUE", ["icart_manager", "edt"]), ("CONVENED", []), ("OVERDUE", ["icart_manager", "edt"])]
        world.wait(lambda: told == world.notices(rec))


def test_away_overnight(world: World) -> None:
    """Nobody says anything more, and the night alone makes it enough: it is recommended then."""
    with world.working():
        world.submits("away", ["BAD_HOUSING", "CRIME_SUSPECT"])
        world.submits("away", ["SUBSTANCE"], "OLDER_ASSOCIATES")
        at = world.is_away("away")
        world.wait(lambda: len((world.view("away") or {"missing": []})["missing"]) == 1)
        before = world.view("away")
        assert before is not None
        assert (at, [], 10) == (before["due_at"], before["recommendations"], before["risk"]["points"])
        assert 0 == world.tick(), "not due yet"
        world.passes_to(at + SECOND_US)
        world.wait(lambda: world.tick() == 1)
        rec = world.recommendation("away")
    assert "missing-overnight" in {r["rule"] for r in rec["reasons"]}


def test_said_before(world: World) -> None:
    """A rebuild folds a child as of what was last told of it: what the clock said since is not said again, and it goes on."""
    with world.working():
        at = world.is_away("away")
        world.wait(lambda: world.due("away") == at)
        world.passes_to(at + SECOND_US)
        world.wait(lambda: world.tick() == 1)
        world.wait(lambda: world.due("away") != at)
    ((child,),) = restoring.rows(world.d.views_dsn, MEMBERS, ("away",))
    with stores.engine(world.d.settings.views_dsn, "t").connect() as conn, conn.begin():
        assembly.applier(world.d.settings).refold(conn, [child])
    assert at == world.due("away")
    assert 1 == world.tick()
    assert world.due("away") != at


def test_decided_about_too_early(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever decides is minutes behind the clock: what is due for the clock alone is said again, once a minute, until it is due
    for them; a rebuild meanwhile takes none of it for said.
    """
    monkeypatch.setattr(world.clock, "_now", lambda: world.now() + 5 * SOON_US)

    def decided() -> int:
        return int(restoring.rows(world.d.views_dsn, "select count(*) from act where topic = 'clock'")[0][0])

    with world.working():
        world.says("early")
        rec = world.recommendation("early")
        world.passes_to(rec["due_at"] - 2 * SOON_US)
        world.wait(lambda: world.tick() == 1)
        world.wait(lambda: decided() == 1)
        assert [1, 1] == [world.tick(), world.tick()]
        with stores.engine(world.d.settings.views_dsn, "t").connect() as conn, conn.begin():
            assembly.applier(world.d.settings).refold(conn, [rec["child_id"]])
        assert (1, rec["due_at"]) == (world.tick(), world.due("early"))
        world.passes_to(rec["due_at"] - SOON_US // 2)
        world.wait(lambda: world.tick() == 2)
        world.wait(lambda: decided() == 2)
        assert ["recommended"] == world.happened("early")
        world.passes_to(rec["due_at"] + SOON_US)
        world.wait(lambda: world.tick() == 3)
        world.wait(lambda: world.state("early") == "OVERDUE")
        assert 3 == world.tick()


def test_outage_longer_than_the_due_time(world: World) -> None:
    """Nothing is decided for hours: a decision that lies in the intake from before the due time wins, however long it takes."""
    with world.working():
        world.says("in time")
        rec = world.recommendation("in time")
    world.passes_to(rec["due_at"] - 60 * SECOND_US)
    world.decides(rec, world.now())
    world.passes_to(rec["due_at"] + SECOND_US)
    for _ in range(5):
        assert 0 == world.tick()
        world.behind_us -= WAIT_US_MAX
    with world.working():
        world.wait(lambda: world.state("in time") == "DECLINED")
        assert 0 == world.tick()
        assert 0 == world.tick()
    assert ["recommended", "declined"] == world.happened("in time")


def test_facts_are_waited_for_five_minutes(world: World) -> None:
    """An agency's facts that are not read hold nobody up longer, and the agency is named."""
    with world.working():
        world.says("behind")
        rec = world.recommendation("behind")
    world.says("somebody else")
    world.passes_to(rec["due_at"] + SECOND_US)
    assert 0 == world.tick()
    world.behind_us -= WAIT_US_MAX
    assert 1 == world.tick()
    with world.working():
        world.wait(lambda: world.state("behind") == "OVERDUE")
    assert ["facts.police"] == world.recommendation("behind")["passed_on"]["behind"]


def test_acted_in_time_and_sent_late(world: World) -> None:
    """The broker was away when they pressed the button: the clock fired first, and the decision takes it back."""
    with world.working():
        world.says("sent late")
        rec = world.recommendation("sent late")
        world.passes_to(rec["due_at"])
        world.wait(lambda: world.tick() == 1)
        world.wait(lambda: world.state("sent late") == "OVERDUE")
        world.decides(rec, rec["due_at"] - 1)
        world.wait(lambda: world.state("sent late") == "DECLINED")
        assert ["recommended", "recommendation_overdue", "overdue_withdrawn", "declined"] == world.happened("sent late")
        world.wait(lambda: ("OVERDUE_WITHDRAWN", []) in world.notices(rec))
