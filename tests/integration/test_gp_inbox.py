"""A practice's poll of its inbox: it costs no more for many messages than for few, and says what the children's views say."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from sqlalchemy import Connection, event, text

from consumers.host import Intake
from consumers.unify import start_counter
from domain.fold import fold
from domain.times import DAY_US
from infra import stores
from producers.halton import scenarios
from projections import inbox
from projections import reading as reading_module
from projections.reading import Reading
from tests.bench.workload import END
from tests.integration.test_remembered import PEOPLE, Agencies, Clock, Worker
from tests.services import Deployment

ALL: Final = ("WAITING", "ACCEPTED", "READ", "CODED", "REJECTED")
PRACTICES: Final = ("N81001", "Y90008")
ROUNDS: Final = 140


class Health(Agencies):
    """What is said of a few people who are taken for one another: outcomes, practices and their change; and practices answer."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        told = [f for seed in range(60) for f in scenarios.gp_change(seed, END - DAY_US).facts]
        self._facts = [(f.agency, f.record, copy.deepcopy(f.value)) for f in told if f.record != "RiskGraded"]
        rng.shuffle(self._facts)
        for _, record, value in self._facts:
            if record == "GpRegistration":
                value |= {"practice_ods": rng.choice(PRACTICES), "previous_ods": None, "registered_from": "2025-01-01"}

    def _act(self, conn: Connection) -> Intake:
        with conn.begin():
            sql = "select about, child_id, data from conclusion where kind = 'gp_message' order by number, about"
            raised = [r for r in conn.execute(text(sql)) if orjson.loads(r.data)["practice_ods"]]
        if not raised or self._rng.random() < 0.4:
            return super()._act(conn)
        message = self._rng.choice(raised)
        ods = orjson.loads(message.data)["practice_ods"]
        state = self._rng.choice(("ACCEPTED", "READ", "CODED", "REJECTED"))
        act = {
            "event_id": str(UUID(int=self._rng.getrandbits(128), version=4)), "actor_id": ods, "actor_role": "gp_practice",
            "child_id": message.child_id, "acted_at": END, "based_on": 1, "correlation_id": None,
        }  # fmt: skip
        reason = "NOT_OUR_PATIENT" if state == "REJECTED" else None
        return self._intake(
            "receipts",
            "GpReceipt",
            {"act": act, "message_id": message.about, "practice_ods": ods, "state": state, "reason": reason},
        )

    def outcomes(self, child: int, count: int) -> list[Intake]:
        """A child with a practice, and so many outcomes of it."""
        registered = next(x for x in self._facts if x[1] == "GpRegistration")
        outcome = next(x for x in self._facts if x[1] == "CsogOutcome")
        out = []
        for n, (agency, record, value) in enumerate(copy.deepcopy([registered, *[outcome] * count])):
            envelope = value["envelope"]
            envelope["event_id"] = str(UUID(int=self._rng.getrandbits(128), version=4))
            told = PEOPLE[child] | {"local_id": f"{child}", "nhs_number_status": "01"}
            envelope["subject"] = dict.fromkeys(envelope["subject"], None) | told
            value.update({"practice_ods": PRACTICES[0]} if record == "GpRegistration" else {"outcome_id": f"{child}/{n}"})
            out.append(self._intake(f"facts.{agency}", record, value))
        return out


class Desk:
    """One worker that decides, the inboxes, and who reads them."""

    def __init__(self, d: Deployment, seed: int) -> None:
        self.clock = Clock()
        self.said = Health(random.Random(seed))
        self.worker = Worker(d, d, self.clock)
        self.engine = stores.engine(d.views_dsn, "inbox")
        self.reading = Reading(self.engine, stores.current_reference(), self.clock)
        with self.worker.conn.begin():
            start_counter(self.worker.conn)
            self.worker.conn.execute(text("update relay set catching_up = false"))

    def close(self) -> None:
        """Disconnect."""
        self.worker.close()
        self.engine.dispose()

    def decide(self, batch: list[Intake]) -> None:
        """About what was said."""
        self.worker.ready = self.worker.unify.prepare(self.worker.conn, batch)
        self.worker.decide()

    def deliver(self) -> None:
        """All that the ledger has told practices of, as `consumers.deliver` keeps it."""
        newest: dict[tuple[str, str], dict[str, Any]] = {}
        with self.worker.conn.begin():
            for made in self.worker.conn.execute(text("select outputs from ledger where outputs is not null order by number")):
                for _, _, record, pointer in orjson.loads(made.outputs):
                    if record == "GpMessagePointer":
                        newest[pointer["message_id"], pointer["practice_ods"]] = pointer
            self.worker.conn.execute(text("delete from gp_inbox"))
            for pointer in newest.values():
                sql = "insert into gp_inbox values (:message_id, :practice_ods, :number, :change, :at)"
                self.worker.conn.execute(text(sql), pointer)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """An answer of `views`."""
        with self.worker.conn.begin():
            return [tuple(r) for r in self.worker.conn.execute(text(sql))]

    def by_views(self, ods: str) -> list[tuple[str, str, int]]:
        """The inbox as the views of the children tell it, one message after another."""
        lying = "select message_id, at from gp_inbox where change = 'WAITING' and practice_ods = '{}' order by at, message_id"
        found = ((m, at, self.reading.gp_message(m, ods)) for m, at in self.rows(lying.format(ods)))
        return [(m, x[1]["state"], at) for m, at, x in found if x is not None and x[1]["state"] in ALL]

    def excepted_by_views(self) -> list[tuple[str, str]]:
        """(message id, child) of the exceptions that are open, as the views of all children tell it."""
        views = [self.reading.child_view(c) for (c,) in self.rows("select distinct child_id from presentation")]
        found = [(m["exception"]["at"], m["message_id"], v["child_id"]) for v in views if v for m in v["messages"] if open_in(m)]
        return [(message_id, child_id) for _, message_id, child_id in sorted(found)]


def open_in(message: dict[str, Any]) -> bool:
    """Has a message, as a view shows it, an exception that nobody has resolved?"""
    return message["exception"] is not None and message["exception"]["resolved_at"] is None


@pytest.fixture
def desk(new_deployment: Callable[..., Deployment], request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Nothing said yet."""
    with closing(Desk(new_deployment(only=["ledger"]), getattr(request, "param", 1))) as made:
        yield made


def test_a_poll_costs_the_same_for_few_and_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many statements for one message as for twenty, on however many children; and no child is folded."""
    folds, asked = list[Any](), list[str]()
    monkeypatch.setattr(reading_module, "fold", lambda *given: folds.append(given) or fold(*given))
    event.listen(desk.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    costs = []
    for children, each in (((0,), 1), ((1, 2, 3, 4, 5, 6, 7), 3)):
        for child in children:
            desk.decide(desk.said.outcomes(child, each))
        desk.deliver()
        asked.clear()
        found = desk.reading.gp_inbox(PRACTICES[0], ALL)
        costs.append((len(found), len(asked), len(folds)))
    assert [(1, 3, 0), (22, 3, 0)] == costs


@pytest.mark.parametrize("desk", [1, 2], indirect=True)
def test_what_the_views_say(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is joined, undone, moved, corrected, answered or withdrawn, and however late `deliver` is; whole and by page."""
    monkeypatch.setattr(inbox, "CHUNK", 3)
    seen, reasons, late, settled = set[str](), set[str](), 0, 0
    for n in range(ROUNDS):
        desk.clock.us += 3_600_000_000
        desk.decide(desk.said.batch(desk.worker.conn))
        if n % 10 == 5:
            desk.deliver()
        if n % 5:
            continue
        for ods in PRACTICES:
            wanted = desk.by_views(ods)
            assert wanted == desk.reading.gp_inbox(ods, ALL), n
            waiting = f"select count(*) from gp_inbox where change = 'WAITING' and practice_ods = '{ods}'"
            late += len(wanted) < desk.rows(waiting)[0][0]
            for states in (("WAITING", "ACCEPTED"), ALL):
                fit = [x for x in wanted if x[1] in states]
                paged, after = list[tuple[str, str, int]](), None
                while page := desk.reading.gp_inbox(ods, states, after, 2):
                    assert len(page) <= 2
                    paged += page
                    after = (page[-1][2], page[-1][0])
                assert fit == paged
            seen |= {state for _, state, _ in wanted}
        found, total = desk.reading.gp_exceptions(1000)
        assert desk.excepted_by_views() == [(m, v["child_id"]) for m, v, _ in found], n
        assert all(message["message_id"] == m and open_in(message) for m, _, message in found)
        assert [found[1:3], total] == [desk.reading.gp_exceptions(2, 1)[0], len(found)]
        reasons |= {message["exception"]["why"] for *_, message in found}
        settled += total < desk.rows("select count(distinct about) from conclusion where kind = 'gp_exception'")[0][0]
    apart = "select about from conclusion where kind like 'gp\\_%' group by about having count(distinct child_id) > 1"
    assert (set(ALL), True, True) == (seen, late > 0, bool(desk.rows(apart)))
    assert ({"REJECTED", "NO_PRACTICE", "NO_NHS_NUMBER"}, True) == (reasons, settled > 0)
    raised = (m for (m,) in desk.rows("select about from conclusion where kind = 'gp_message'"))
    singly = {m: one for m in raised if (one := desk.reading.gp_exception(m)) is not None}
    assert singly == {m: (view, message) for m, view, message in desk.reading.gp_exceptions(1000)[0]}
    folds = list[Any]()
    monkeypatch.setattr(reading_module, "fold", lambda *given: folds.append(given) or fold(*given))
    assert desk.reading.gp_exceptions(1)[1] > 1 == len(folds), "only those of the page are folded"


def test_an_erased_child(desk: Desk) -> None:
    """What another's entry still says of it makes no message."""
    for child in (0, 1):
        desk.decide(desk.said.outcomes(child, 1))
    desk.deliver()
    before = desk.reading.gp_inbox(PRACTICES[0], ALL)
    with desk.worker.conn.begin():
        desk.worker.conn.execute(text("delete from presentation where local_id = '0'"))
    after = desk.reading.gp_inbox(PRACTICES[0], ALL)
    assert (2, 1) == (len(before), len(after))
    assert desk.by_views(PRACTICES[0]) == after


def test_what_was_said_on_another_child(desk: Desk) -> None:
    """A receipt given while a match held two records together, on the older child: since the undo the message waits again."""
    for child in (0, 1):
        desk.decide(desk.said.outcomes(child, 1))
    desk.deliver()
    (_, older), (message_id, _) = desk.rows("select about, child_id from conclusion where kind = 'gp_message' order by number")
    told = {"child_id": older, "message_id": message_id, "practice_ods": PRACTICES[0], "state": "CODED", "reason": None}
    sql = "insert into conclusion values (1000, 0, :c, :m, 'gp_receipt', :d, :at)"
    with desk.worker.conn.begin():
        given = {"c": older, "m": message_id, "d": orjson.dumps(told), "at": desk.clock.us}
        desk.worker.conn.execute(text(sql), given)
    found = desk.reading.gp_inbox(PRACTICES[0], ALL)
    assert ["WAITING", "WAITING"] == [state for _, state, _ in found]
    assert desk.by_views(PRACTICES[0]) == found
