"""Whatever goes wrong with one record is that record's alone: it is refused and told, and every other goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest
import structlog
from kafka import KafkaProducer

from consumers.deciding import Decider
from producers.halton.facts import blank
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, encode_body
from tests.integration import restoring
from tests.looking import reading
from tests.services import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CANARY: Final = "Zebedee-Canary-4711"
DAY_US: Final = 86_400_000_000
Value = dict[str, Any]


class Desk:
    """A deployment with a unify and a relay in threads of this process, and a way to put any bytes into any topic."""

    def __init__(self, d: Deployment) -> None:
        self.d, self.codec = d, restoring.codec_of(d)

    def put(self, topic: str, user: str, *values: bytes) -> list[int]:
        """On partition 0, all at once; their offsets."""
        access = self.d.access(user)
        with closing(KafkaProducer(**access.options(), acks="all", linger_ms=200)) as producer:
            sent = [producer.send(access.topic(topic), value, partition=0) for value in values]
            return [int(future.get(15).offset) for future in sent]

    def encoded(self, record: str, value: Value) -> bytes:
        """As any program may write it, checked by nobody."""
        one = spec(record)
        return HEADER.pack(MAGIC, self.codec.schema_id(one.subject, one.text)) + encode_body(one, value)

    def wait(self, topic: str, offset: int) -> None:
        """Until everything up to `offset` of partition 0 is decided and relayed."""
        sql = (
            "select 1 from position p, counter c, relay r where p.topic = %s and p.partition = 0 and p.next_offset > %s "
            "and c.number = r.relayed"
        )
        deadline = time.monotonic() + 60
        while not restoring.rows(self.d.views_dsn, sql, (topic, offset)):
            assert time.monotonic() < deadline, f"{topic} stands before {offset}"
            time.sleep(0.05)

    def letters(self, agency: str) -> dict[int, Value]:
        """The dead letters of an agency, by offset."""
        rows = restoring.rows(self.d.views_dsn, "select data from letter where agency = %s", (agency,))
        found = [orjson.loads(bytes(r[0])) for r in rows]
        return {x["source_offset"]: x for x in found}

    def letters_of_topic(self, topic: str) -> list[Value]:
        """The house's dead letters about one of its topics, oldest first."""
        rows = restoring.rows(self.d.views_dsn, "select data from letter where agency = 'house' order by number")
        return [x for x in (orjson.loads(bytes(r[0])) for r in rows) if x["source_topic"] == topic]

    def accepted(self) -> set[str]:
        """Ids of accepted facts."""
        return {r[0] for r in restoring.rows(self.d.views_dsn, "select event_id from fact")}

    def whole(self) -> None:
        """Numbers have no gap, each intake record has its one entry, and the views are a clean fold of the ledger (I2)."""
        ((count, most),) = restoring.rows(self.d.views_dsn, "select count(*), max(number) from ledger")
        assert count == most
        assert [] == restoring.differences(self.d, self.d)[1]


@pytest.fixture(scope="module")
def desk(services: Any) -> Iterator[Desk]:
    """One deployment for all."""
    d = services.deploy()
    with restoring.workers(d):
        yield Desk(d)
    d.close()


def concern(**subject: Any) -> Value:
    """A school concern about a child of its own."""
    value, at = blank("SchoolConcern"), time.time_ns() // 1000 - DAY_US
    name = f"Anna-{uuid4().hex[:12]}"
    shown = {"local_id": f"P-{uuid4().hex[:12]}", "given_name": name, "family_name": CANARY, "birth_date": "2012-05-06"}
    value["envelope"] |= {
        "event_id": str(uuid4()), "agency": "education", "occurred_at": at, "recorded_at": at, "reported_by": "Lead",
        "sensitivity": "ORDINARY", "subject": {**value["envelope"]["subject"], **shown, **subject},
    }  # fmt: skip
    return value | {"concern_id": "SC-1", "concerns": ["WEIGHT_LOSS"], "narrative": CANARY, "exploitation": []}


def ended(**changes: Any) -> Value:
    """The end of a missing episode."""
    value, at = blank("MissingEpisodeEnded"), time.time_ns() // 1000 - DAY_US
    value["envelope"] |= concern()["envelope"] | {"agency": "police"}
    body = {"episode_id": "MP-1", "outcome": "FOUND", "started_at": None, "ended_at": at, "found_with": [], "harm": []}
    return value | body | changes


def ids(values: list[Value]) -> list[str]:
    """Of facts."""
    return [v["envelope"]["event_id"] for v in values]


def mixed(desk: Desk, topic: str, record: str, good: Callable[[], Value], guilty: list[Value]) -> dict[int, Value]:
    """Guilty facts among good ones, in one go: all good are accepted, no guilty is; the letters, by offset of the guilty."""
    others = [good() for _ in range(20)]
    order = [*others[:7], *guilty[:1], *others[7:8], *guilty[1:], *others[8:]]
    agency = topic.removeprefix("facts.")
    with structlog.testing.capture_logs() as logs:
        offsets = desk.put(topic, f"agency.{agency}", *(desk.encoded(record, v) for v in order))
        desk.wait(topic, offsets[-1])
    accepted = desk.accepted()
    assert set(ids(others)) <= accepted
    assert not set(ids(guilty)) & accepted
    bad = {o for o, v in zip(offsets, order, strict=True) if v in guilty}
    letters = {o: x for o, x in desk.letters(agency).items() if o in offsets}
    assert bad == set(letters)
    alarms = [x for x in logs if x["event"] == "record-set-apart"]
    assert (len(guilty), {True}) == (len(alarms), {x["alarm"] for x in alarms})
    assert CANARY not in str(logs) + str(letters)
    assert set(ids(guilty)) == {x["event_id"] for x in letters.values()}
    desk.whole()
    return letters


class TestFacts:
    """A fact on which something fails that nobody foresaw."""

    def test_a_rule_of_ours(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception while deciding."""
        guilty = [concern(), concern(), concern()]
        real = Decider._fact

        def broken(self: Decider, item: Any, entry: Any) -> set[str]:
            if item.event_id in ids(guilty):
                raise ZeroDivisionError(CANARY)
            return real(self, item, entry)

        monkeypatch.setattr(Decider, "_fact", broken)
        letters = mixed(desk, "facts.education", "SchoolConcern", concern, guilty)
        assert {"rule-failed"} == {x["reason"] for x in letters.values()}
        assert all("not of the fact" in x["message"] for x in letters.values())
        monkeypatch.undo()
        again = desk.put("facts.education", "agency.education", *(desk.encoded("SchoolConcern", v) for v in guilty))
        desk.wait("facts.education", again[-1])
        assert set(ids(guilty)) <= desk.accepted(), "once the defect is mended, the same ids are accepted"

    def test_text_that_the_database_does_not_take(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """U+0000, had validation let it through: in a number (SQLSTATE 22021), and in a lone local id (psycopg's own error)."""
        unfit = [concern(local_id=f"P-{uuid4().hex[:6]}\0"), concern(upn="A\0")]
        alone = concern(local_id="P-\0", given_name=None, family_name=None, birth_date=None)
        offsets = desk.put("facts.education", "agency.education", desk.encoded("SchoolConcern", unfit[0]))
        desk.wait("facts.education", offsets[-1])
        assert "control-character" == desk.letters("education")[offsets[0]]["reason"]
        monkeypatch.setattr("schemas.validation.CONTROL", re.compile("(?!)"))
        letters = mixed(desk, "facts.education", "SchoolConcern", concern, [*unfit, alone])
        assert {"rule-failed"} == {x["reason"] for x in letters.values()}

    def test_instants_that_are_none(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """2^63 - 1, had validation let it through: no `bigint` holds what follows from it. Nanoseconds stop no later act."""
        offsets = desk.put("facts.police", "agency.police", desk.encoded("MissingEpisodeEnded", ended(ended_at=2**63 - 1)))
        desk.wait("facts.police", offsets[-1])
        assert "future" == desk.letters("police")[offsets[0]]["reason"]
        monkeypatch.setattr("schemas.validation.out_of_time", lambda *_: [])
        good, bad = [ended() for _ in range(5)], ended(ended_at=2**63 - 1)
        values = [desk.encoded("MissingEpisodeEnded", v) for v in (*good[:2], bad, *good[2:])]
        offsets = desk.put("facts.police", "agency.police", *values)
        desk.wait("facts.police", offsets[-1])
        assert set(ids(good)) <= desk.accepted()

    def test_more_than_an_entry_holds(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the ledger topic would not take is refused before it is committed."""
        great = concern() | {"narrative": "x" * 3_900}
        monkeypatch.setattr("consumers.unify.ENTRY_BYTES_MAX", 3_500)
        (letter,) = mixed(desk, "facts.education", "SchoolConcern", concern, [great]).values()
        assert "entry-too-large" == letter["reason"]


def taken(**changes: Any) -> Value:
    """Somebody takes a case that there is not."""
    act = {
        "event_id": str(uuid4()), "actor_id": CANARY, "actor_role": "icart_manager", "child_id": str(uuid4()),
        "acted_at": time.time_ns() // 1000, "based_on": None, "correlation_id": None,
    }  # fmt: skip
    return {"act": act | changes, "taken": True}


class TestActs:
    """Records of the house's own topics."""

    def test_the_same_refused_act_twice(self, desk: Desk) -> None:
        """Unfit twice and then fit under one id: refused, refused, and told that the id is spent. Nothing stops."""
        one = taken(actor_role="NO_SUCH_ROLE")
        fit = {**one, "act": {**one["act"], "actor_role": "icart_manager"}}
        last = taken()
        sent = [desk.encoded("CaseTaken", v) for v in (one, one, fit, last)]
        desk.put("decisions", "web", sent[0])
        offsets = desk.put("decisions", "web", *sent[1:])
        desk.wait("decisions", offsets[-1])
        sql = "select event_id, verdict, reason from act where event_id = any(%s)"
        rows = restoring.rows(desk.d.views_dsn, sql, ([one["act"]["event_id"], last["act"]["event_id"]],))
        assert {
            (one["act"]["event_id"], "REFUSED", "unknown-code"),
            (last["act"]["event_id"], "REFUSED", "no-such-thing"),
        } == set(rows)
        desk.whole()

    def test_an_accepted_id_again_in_unfit_form(self, desk: Desk) -> None:
        """Refused, and the first stands."""
        told = taken()
        unfit = {**told, "act": {**told["act"], "actor_role": "NO_SUCH_ROLE"}}
        offsets = desk.put("decisions", "web", *(desk.encoded("CaseTaken", v) for v in (told, unfit, unfit)))
        desk.wait("decisions", offsets[-1])
        rows = restoring.rows(desk.d.views_dsn, "select reason from act where event_id = %s", (told["act"]["event_id"],))
        assert [("no-such-thing",)] == rows
        desk.whole()

    @pytest.mark.parametrize(("topic", "user"), [("decisions", "web"), ("receipts", "web"), ("clock", "clock")])
    def test_poison(self, desk: Desk, topic: str, user: str) -> None:
        """No Avro, unknown schema, cut off, another topic's record, an unfit one: the house has a letter and an alarm each."""
        good = desk.encoded("CaseTaken", taken())
        poison = {
            "not-avro-wire-format": CANARY.encode(),
            "unknown-schema-id": HEADER.pack(MAGIC, 88_888_888) + CANARY.encode(),
            "corrupt": good[:-6],
            "wrong-topic": desk.encoded("SchoolConcern", concern()),
        }
        with structlog.testing.capture_logs() as logs:
            offsets = desk.put(topic, user, *poison.values())
            behind = desk.put(topic, user, desk.encoded("CaseTaken", taken()))
            desk.wait(topic, behind[-1])
        letters = [x for x in desk.letters_of_topic(topic) if x["source_offset"] in offsets]
        assert list(poison) == [x["reason"] for x in letters]
        assert all(x["message"] for x in letters)
        alarms = [x for x in logs if x["event"] == "own-record-refused" and x["offset"] in offsets]
        assert [(topic, r, True) for r in poison] == [(x["topic"], x["reason"], x["alarm"]) for x in alarms]
        assert CANARY not in str(letters) + str(logs)
        with reading(desk.d.settings) as shown:
            found = shown.dead_letter(letters[0]["letter_id"])
        assert found is not None and "house" == found["agency"]
        desk.whole()

    def test_a_rule_of_ours(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception while deciding about one act: refused, told to the house, and the next is decided."""
        guilty, good = taken(), taken()
        real = Decider._act

        def broken(self: Decider, item: Any, entry: Any) -> set[str]:
            if item.event_id == guilty["act"]["event_id"]:
                raise KeyError(CANARY)
            return real(self, item, entry)

        monkeypatch.setattr(Decider, "_act", broken)
        offsets = desk.put("decisions", "web", *(desk.encoded("CaseTaken", v) for v in (guilty, good)))
        desk.wait("decisions", offsets[-1])
        sql = "select reason from act where event_id = any(%s) order by number"
        rows = restoring.rows(desk.d.views_dsn, sql, ([v["act"]["event_id"] for v in (guilty, good)],))
        assert [("rule-failed",), ("no-such-thing",)] == rows
        assert "rule-failed" in {x["reason"] for x in desk.letters_of_topic("decisions")}
        desk.whole()
