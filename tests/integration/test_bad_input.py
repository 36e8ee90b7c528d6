"""What bad input gets, on the real path: the stated verdict and letter, never the value, and the partition goes on."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
import orjson
import pytest
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from domain.problems import InvalidFact
from domain.times import DAY_US, local
from producers.acts import ActProducer
from producers.client import AgencyClient
from producers.errors import NotYours
from producers.facts import prepare
from producers.halton.facts import blank
from producers.outcomes import Word
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, encode_body
from schemas.registry import Registry
from tests.fault.harness import House
from tests.fault.story import tell
from tests.looking import reading
from tests.services import Services

pytestmark = [pytest.mark.timeout(240)]

CANARY: Final = "Zebedee-Canary-4711"
"""Stands in every value that is refused; nothing that is told back may hold it."""

SECRET: Final = b"0123456789abcdef"
SOURCE: Final = ("source_topic", "source_partition", "source_offset")
Value = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What an agency was told about one record of its topic."""

    outcome: Word
    letter: Word | None


class Desk:
    """A living house, and a way to put any bytes at a known place of an agency's topic."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._since: dict[str, dict[str, int]] = {}
        self._words: list[Word] = []

    def put(self, agency: str, value: bytes) -> tuple[str, int, int]:
        """Bytes on partition 0 of the agency's topic."""
        access = self.house.deployment.access(f"agency.{agency}")
        producer = KafkaProducer(**access.options(), acks="all", max_request_size=2_000_000, max_block_ms=10_000)
        try:
            sent = producer.send(access.topic(f"facts.{agency}"), value, partition=0).get(15)
            return f"facts.{agency}", 0, int(sent.offset)
        finally:
            producer.close(timeout=2)

    def encoded(self, record: str, value: Value) -> bytes:
        """A value as any program may write it, checked by nobody."""
        one = spec(record)
        return HEADER.pack(MAGIC, self.house.codec.schema_id(one.subject, one.text)) + encode_body(one, value)

    def told(self, agency: str, source: tuple[str, int, int]) -> Told:
        """Outcome and dead letter about a record, once they are there."""

        def found(kind: str) -> Word | None:
            return next((w for w in self._words if w.record == kind and tuple(w.value[k] for k in SOURCE) == source), None)

        def look() -> bool:
            self.told_since(agency)
            outcome = found("Outcome")
            refused = outcome is not None and outcome.value["verdict"] in ("REFUSED", "CONFLICT")
            return outcome is not None and (not refused or found("DeadLetter") is not None)

        self.house.wait(f"{agency} is told about {source}", look, 30)
        outcome = found("Outcome")
        assert outcome is not None
        return Told(outcome, found("DeadLetter"))

    def told_since(self, agency: str) -> list[Word]:
        """Everything agencies were told so far, this one's newest included."""
        news = self.house._clients[agency].outcomes(self._since.get(agency, {}))
        self._since[agency] = dict(news.position)
        self._words += news.words
        return self._words

    def client(self, agency: str) -> AgencyClient:
        """The agency's own client."""
        return self.house._clients[agency]


@pytest.fixture(scope="module")
def desk(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Workers of a deployment of its own."""
    story = tell(1, time.time_ns() // 1000, 10)
    with House(services, story, tmp_path_factory.mktemp("bad-input")) as house:
        yield Desk(house)


def now_us() -> int:
    """This instant."""
    return time.time_ns() // 1000


def concern(**changes: Any) -> Value:
    """A good school concern; `changes` by dotted path with `__`."""
    value = blank("SchoolConcern")
    at = now_us() - DAY_US
    subject = {
        "local_id": f"P-{uuid4().hex[:12]}", "given_name": "Anna", "family_name": CANARY, "birth_date": "2012-05-06",
    }  # fmt: skip
    value["envelope"] |= {
        "event_id": str(uuid4()),
        "agency": "education",
        "occurred_at": at,
        "recorded_at": at,
        "reported_by": "Lead",
        "sensitivity": "ORDINARY",
        "subject": {**value["envelope"]["subject"], **subject},
    }
    value |= {"concern_id": "SC-1", "concerns": ["WEIGHT_LOSS"], "narrative": CANARY, "exploitation": []}
    return changed(value, **changes)


def ended(**changes: Any) -> Value:
    """A good end of a missing episode."""
    value = blank("MissingEpisodeEnded")
    at = now_us() - DAY_US
    value["envelope"] |= copy.deepcopy(concern()["envelope"]) | {"agency": "police", "event_id": str(uuid4())}
    value |= {"episode_id": "MP-1", "outcome": "FOUND", "started_at": at - DAY_US, "ended_at": at, "found_with": [], "harm": []}
    return changed(value, **changes)


def retraction(**changes: Any) -> Value:
    """A good retraction."""
    value = blank("Retraction") | {"reason": "ENTERED_IN_ERROR"}
    value["envelope"] |= concern()["envelope"] | {"retracts": str(uuid4())}
    return changed(value, **changes)


def changed(value: Value, **changes: Any) -> Value:
    """`value` with fields replaced, by path with `__`."""
    for path, new in changes.items():
        *way, last = path.split("__")
        node = value
        for key in way:
            node = node[key]
        node[last] = new
    return value


def tomorrow() -> str:
    """The day after today, in London."""
    return (local(now_us()).date() + timedelta(days=1)).isoformat()


BAD: Final[dict[str, tuple[str, str, Callable[[], Value], str, str | None]]] = {
    # what: (record, agency, value, reason, field)
    "unknown code": ("SchoolConcern", "education", lambda: concern(concerns=[CANARY]), "unknown-code", "concerns"),
    "born tomorrow": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__subject__birth_date=tomorrow()),
        "future",
        "envelope.subject.birth_date",
    ),
    "born on a day that does not exist": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__subject__birth_date="2012-02-30"),
        "date",
        "envelope.subject.birth_date",
    ),
    "returned before missing": (
        "MissingEpisodeEnded",
        "police",
        lambda: ended(started_at=now_us() - DAY_US, ended_at=now_us() - 2 * DAY_US),
        "before-start",
        "ended_at",
    ),
    "over-long field": ("SchoolConcern", "education", lambda: concern(concern_id=CANARY * 20), "max-length", "concern_id"),
    "happens next week": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__occurred_at=now_us() + 7 * DAY_US),
        "future",
        "envelope.occurred_at",
    ),
    "names another agency": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__agency="csc"),
        "wrong-agency",
        "envelope.agency",
    ),
    "record of another agency": ("SchoolConcern", "police", lambda: concern(envelope__agency="police"), "wrong-topic", None),
    "blank name of reporter": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__reported_by=" "),
        "required",
        "envelope.reported_by",
    ),
    "nanoseconds for microseconds": (
        "MissingEpisodeEnded",
        "police",
        lambda: ended(started_at=None, ended_at=now_us() * 1000),
        "future",
        "ended_at",
    ),
    "a number with U+0000": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__subject__upn="A1\0"),
        "control-character",
        "envelope.subject.upn",
    ),
    "a placeholder alone": (
        "SchoolConcern",
        "education",
        lambda: concern(
            envelope__subject__local_id="UNKNOWN",
            envelope__subject__given_name=None,
            envelope__subject__family_name=None,
            envelope__subject__birth_date=None,
        ),
        "placeholder",
        "envelope.subject.local_id",
    ),
    "id that is none": ("SchoolConcern", "education", lambda: concern(envelope__event_id=CANARY), "uuid", "envelope.event_id"),
    "retracts without being a retraction": (
        "SchoolConcern",
        "education",
        lambda: concern(envelope__retracts=str(uuid4())),
        "retraction",
        "envelope.retracts",
    ),
    "retraction that replaces": (
        "Retraction",
        "education",
        lambda: retraction(envelope__supersedes=str(uuid4())),
        "retraction",
        "envelope.supersedes",
    ),
}


class TestRefused:
    """Each goes to its agency's dead letters with reason and field, never the value."""

    @pytest.mark.parametrize("what", BAD)
    def test_unfit_fact(self, desk: Desk, what: str) -> None:
        """The backbone refuses what the client would have refused, whoever wrote it, and goes on with the partition."""
        record, agency, value, reason, field = BAD[what]
        source = desk.put(agency, desk.encoded(record, value()))
        refused(desk.told(agency, source), reason, field)
        goes_on(desk, agency)

    @pytest.mark.parametrize("what", [w for w in BAD if w not in {"names another agency", "record of another agency"}])
    def test_client_says_so_first(self, what: str) -> None:
        """The client names the same field and rule before anything is sent, and never the value."""
        record, agency, value, reason, field = BAD[what]
        with pytest.raises(InvalidFact) as error:
            prepare(agency, SECRET, record, value(), now_us())
        assert (field, reason) in {(p.field, p.rule) for p in error.value.problems}
        assert CANARY not in str(error.value)

    def test_client_sends_only_its_own(self) -> None:
        """Another agency's record, or another agency in the envelope, is refused by the client."""
        with pytest.raises(NotYours):
            prepare("police", SECRET, "SchoolConcern", concern(envelope__agency="police"), now_us())
        with pytest.raises(NotYours):
            prepare("education", SECRET, "SchoolConcern", concern(envelope__agency="csc"), now_us())

    def test_bytes_that_are_no_fact(self, desk: Desk) -> None:
        """Not Avro, a truncated fact, bytes after its end, an empty value."""
        good = desk.encoded("SchoolConcern", concern())
        for data, reason in (
            (CANARY.encode(), "not-avro-wire-format"),
            (b"", "not-avro-wire-format"),
            (good[:-20], "corrupt"),
            (good + b"x", "corrupt"),
            (good[:40], "corrupt"),
        ):
            refused(desk.told("education", desk.put("education", data)), reason, None)
        goes_on(desk, "education")

    def test_schema_nobody_knows(self, desk: Desk) -> None:
        """A schema id that the registry does not know."""
        data = HEADER.pack(MAGIC, 88_888_888) + CANARY.encode()
        refused(desk.told("education", desk.put("education", data)), "unknown-schema-id", None)
        goes_on(desk, "education")

    def test_schema_of_another_contract(self, desk: Desk) -> None:
        """A registered schema that is none of ours."""
        text = orjson.dumps(
            {"type": "record", "name": "Else", "namespace": "org.other", "fields": [{"name": "x", "type": "string"}]}
        ).decode()
        registry = Registry(desk.house.settings.registry_url)
        schema = registry.register("org.other.Else", text)
        registry.close()
        data = HEADER.pack(MAGIC, schema) + bytes([len(CANARY) * 2]) + CANARY.encode()
        refused(desk.told("education", desk.put("education", data)), "unknown-record", None)
        goes_on(desk, "education")

    def test_schema_of_another_format(self, desk: Desk) -> None:
        """A registered schema that is no Avro: refused like any other that is none of ours, and nobody waits for it."""
        given = {"schema": 'syntax = "proto3"; message Else { string x = 1; }', "schemaType": "PROTOBUF"}
        url = f"{desk.house.settings.registry_url}/subjects/org.other.Proto/versions"
        schema = httpx.post(url, json=given, timeout=10).raise_for_status().json()["id"]
        data = HEADER.pack(MAGIC, schema) + CANARY.encode()
        refused(desk.told("education", desk.put("education", data)), "unknown-record", None)
        goes_on(desk, "education")

    def test_record_under_the_wrong_schema(self, desk: Desk) -> None:
        """The bytes of one record under the schema of another: they do not decode."""
        one = spec("SchoolAbsence")
        data = HEADER.pack(MAGIC, desk.house.codec.schema_id(one.subject, one.text)) + encode_body(
            spec("SchoolConcern"), concern()
        )
        refused(desk.told("education", desk.put("education", data)), "corrupt", None)
        goes_on(desk, "education")

    def test_act_on_a_topic_of_facts(self, desk: Desk) -> None:
        """A person's decision sent as an agency's fact."""
        act = {
            "event_id": str(uuid4()), "actor_id": CANARY, "actor_role": "icart_manager", "child_id": None, "acted_at": now_us(),
            "based_on": None, "correlation_id": None,
        }  # fmt: skip
        value = {"act": act, "match_id": str(uuid4()), "rationale": CANARY}
        refused(desk.told("education", desk.put("education", desk.encoded("MatchConfirmed", value))), "wrong-topic", None)
        goes_on(desk, "education")

    def test_fact_over_its_limit(self, desk: Desk) -> None:
        """Over 256 KiB the client refuses; past it the backbone, and the broker what is greater still."""
        with pytest.raises(InvalidFact) as error:  # its fields' own limits come first: a fact within them is never over
            desk.client("education").prepare("SchoolConcern", concern(narrative=CANARY * 20_000))
        assert [("narrative", "max-length")] == [(p.field, p.rule) for p in error.value.problems]
        assert CANARY not in str(error.value)
        data = desk.encoded("SchoolConcern", concern(narrative=CANARY * 13_800))
        assert 256 * 1024 < len(data) < 258 * 1024
        refused(desk.told("education", desk.put("education", data)), "too-large", None)
        with pytest.raises(MessageSizeTooLargeError):
            desk.put("education", desk.encoded("SchoolConcern", concern(narrative=CANARY * 20_000)))
        goes_on(desk, "education")

    def test_same_id_other_content(self, desk: Desk) -> None:
        """The first is accepted, the same again is a duplicate, the same id with other content a conflict with a letter."""
        value = concern()
        first = desk.told("education", desk.put("education", desk.encoded("SchoolConcern", value)))
        again = desk.told("education", desk.put("education", desk.encoded("SchoolConcern", value)))
        other = desk.told(
            "education", desk.put("education", desk.encoded("SchoolConcern", {**value, "narrative": CANARY + " indeed"}))
        )
        assert ["ACCEPTED", "DUPLICATE", "CONFLICT"] == [t.outcome.value["verdict"] for t in (first, again, other)]
        assert first.letter is None and again.letter is None
        assert other.letter is not None and "same-id-other-content" == other.letter.value["reason"]
        assert "supersedes" in other.letter.value["message"]
        says_nothing(other)


class TestKept:
    """What is doubtful and not wrong is kept, marked, and trusted with nothing."""

    def test_nhs_number_that_fails_its_check(self, desk: Desk) -> None:
        """Kept and marked; two agencies that share it and the name and birth date are not linked by it."""
        wrong = {"nhs_number": "9990000001", "nhs_number_status": "01", "given_name": "Bea", "family_name": "Failing-Check"}
        one, two = concern(), concern(envelope__agency="csc")
        for value in (one, two):
            value["envelope"]["subject"] |= wrong
        status = blank("SocialCareStatus") | {"status": "CIN", "from_date": "2026-01-05"}
        status["envelope"] |= two["envelope"] | {"subject": two["envelope"]["subject"]}
        assert (
            "ACCEPTED"
            == desk.told("education", desk.put("education", desk.encoded("SchoolConcern", one))).outcome.value["verdict"]
        )
        assert "ACCEPTED" == desk.told("csc", desk.put("csc", desk.encoded("SocialCareStatus", status))).outcome.value["verdict"]
        first, second = (view_with(desk, v["envelope"]["event_id"]) for v in (one, two))
        assert first["child_id"] != second["child_id"]
        for view in (first, second):
            marks = [(i["system"], i["valid"], i["trusted"]) for p in view["identity"] for i in p["identifiers"]]
            assert [("nhs", False, False)] == [(s.split("_")[0].lower(), v, t) for s, v, t in marks]
        evidence = [e for v in (first, second) for m in v["possible_matches"] for e in m["evidence"]]
        assert evidence, "they share name and birth date"
        assert all("NHS" not in e for e in evidence)

    def test_correction_and_retraction(self, desk: Desk) -> None:
        """A correction supersedes, a retraction withdraws, also before its target."""
        old = concern()
        subject = old["envelope"]["subject"]
        new = concern(envelope__subject=subject, envelope__supersedes=old["envelope"]["event_id"], narrative="Mended")
        mistaken = concern(envelope__subject=subject)
        withdrawal = blank("Retraction") | {"reason": "ENTERED_IN_ERROR"}
        withdrawal["envelope"] |= concern(envelope__subject=subject, envelope__retracts=mistaken["envelope"]["event_id"])[
            "envelope"
        ]
        stays = concern(envelope__subject=subject)
        said = [
            ("Retraction", withdrawal),
            ("SchoolConcern", new),
            ("SchoolConcern", old),
            ("SchoolConcern", mistaken),
            ("SchoolConcern", stays),
        ]
        for record, value in said:
            assert (
                "ACCEPTED" == desk.told("education", desk.put("education", desk.encoded(record, value))).outcome.value["verdict"]
            )
        states = {c["event_id"]: c["state"] for c in view_with(desk, stays["envelope"]["event_id"])["chronology"]}
        wanted = {
            old["envelope"]["event_id"]: "SUPERSEDED",
            new["envelope"]["event_id"]: "CURRENT",
            mistaken["envelope"]["event_id"]: "RETRACTED",
            withdrawal["envelope"]["event_id"]: "CURRENT",
            stays["envelope"]["event_id"]: "CURRENT",
        }
        assert wanted == states


class TestNotTheOwner:
    """Only who said a fact may correct it."""

    def test_another_agencys_fact(self, desk: Desk) -> None:
        """A retraction and a correction of what education said, sent by police: refused, told, and without effect."""
        stays = concern()
        desk.told("education", desk.put("education", desk.encoded("SchoolConcern", stays)))
        for record, field in (("Retraction", "retracts"), ("MissingEpisodeEnded", "supersedes")):
            told = desk.told("police", desk.put("police", desk.encoded(record, foreign(record, field, stays))))
            refused(told, "not-the-owner", f"envelope.{field}")
        (kept,) = view_with(desk, stays["envelope"]["event_id"])["chronology"]
        assert "CURRENT" == kept["state"]
        goes_on(desk, "police")

    def test_before_its_target(self, desk: Desk) -> None:
        """Nobody can know yet whose fact it names: accepted; when the target comes, from another agency, its sender is told."""
        stays = concern()
        value = foreign("Retraction", "retracts", stays)
        source = desk.put("police", desk.encoded("Retraction", value))
        assert "ACCEPTED" == desk.told("police", source).outcome.value["verdict"]
        desk.told("education", desk.put("education", desk.encoded("SchoolConcern", stays)))
        letters: list[Value] = []

        def look() -> bool:
            letters[:] = [w.value for w in desk.told_since("police") if w.record == "DeadLetter"]
            return any(x["event_id"] == value["envelope"]["event_id"] for x in letters)

        desk.house.wait("police is told of its retraction", look, 30)
        letter = next(x for x in letters if x["event_id"] == value["envelope"]["event_id"])
        assert ("not-the-owner", source) == (letter["reason"], tuple(letter[k] for k in SOURCE))
        assert [("envelope.retracts", "not-the-owner")] == [(p["field"], p["rule"]) for p in letter["problems"]]
        assert CANARY not in str(letter)
        (kept,) = view_with(desk, stays["envelope"]["event_id"])["chronology"]
        assert "CURRENT" == kept["state"]
        shown = desk.house.rows(f"select data from letter where number = {letter['number']}")
        assert letter == orjson.loads(bytes(shown[0][0]))


def foreign(record: str, field: str, target: Value) -> Value:
    """What police sends to correct `target`."""
    value = ended() if record == "MissingEpisodeEnded" else blank("Retraction") | {"reason": "ENTERED_IN_ERROR"}
    value["envelope"] |= concern(envelope__agency="police")["envelope"] | {field: target["envelope"]["event_id"]}
    return value


class TestDecisions:
    """A decision that comes too late, or about nothing."""

    def test_stale_decision(self, desk: Desk) -> None:
        """Two managers confirm one match: the first wins, the second is told; one about nothing is refused."""
        name = f"Twice-{uuid4().hex[:6]}"
        one, two = concern(envelope__subject__family_name=name), ended(envelope__subject__family_name=name)
        desk.told("education", desk.put("education", desk.encoded("SchoolConcern", one)))
        desk.told("police", desk.put("police", desk.encoded("MissingEpisodeEnded", two)))
        view = view_with(desk, one["envelope"]["event_id"])
        (match,) = view["possible_matches"]
        verdicts = []
        ((seen,),) = desk.house.rows(f"select number from possible_match where match_id = '{match['match_id']}'")
        with ActProducer(desk.house.deployment.access("web"), desk.house.codec) as people:
            for match_id in (match["match_id"], match["match_id"], str(uuid4())):
                act = {
                    "event_id": str(uuid4()), "actor_id": "mo", "actor_role": "icart_manager", "child_id": view["child_id"],
                    "acted_at": now_us(), "based_on": seen, "correlation_id": None,
                }  # fmt: skip
                people.send("MatchConfirmed", {"act": act, "match_id": match_id, "rationale": None})
                verdicts.append(decided(desk, act["event_id"]))
        assert [("ACCEPTED", None), ("REFUSED", "stale-decision"), ("REFUSED", "no-such-thing")] == verdicts
        assert {c["event_id"] for c in view_with(desk, one["envelope"]["event_id"])["chronology"]} == {
            one["envelope"]["event_id"], two["envelope"]["event_id"],
        }  # fmt: skip


def refused(told: Told, reason: str, field: str | None) -> None:
    """Refused for `reason`, by a letter that points to the record, names the field, and holds nothing of it."""
    assert ("REFUSED", reason) == (told.outcome.value["verdict"], told.outcome.value["reason"])
    assert told.letter is not None
    assert reason == told.letter.value["reason"]
    assert told.letter.value["message"]
    if field is not None:
        assert field in {p["field"] for p in told.letter.value["problems"]}
    says_nothing(told)


def says_nothing(told: Told) -> None:
    """No word of what was sent comes back (I7)."""
    for word in (told.outcome, told.letter):
        assert word is None or CANARY not in str(word.value)


def goes_on(desk: Desk, agency: str) -> None:
    """A good fact behind the bad one, on the same partition, is accepted; and so is another agency's."""
    assert {agency, "police", "education"} == {"police", "education"}, "both are heard below"
    for whose, record, value in (("police", "MissingEpisodeEnded", ended()), ("education", "SchoolConcern", concern())):
        assert "ACCEPTED" == desk.told(whose, desk.put(whose, desk.encoded(record, value))).outcome.value["verdict"]


def view_with(desk: Desk, event_id: str) -> Value:
    """The view of the child on whom a fact hangs."""
    rows = desk.house.rows(
        f"select c.child_id from child c join presentation p on p.child_id = c.child_id "
        "join fact f on f.presentation_id = p.presentation_id "
        f"where f.event_id = '{event_id}'"
    )
    with reading(desk.house.settings) as shown:
        found = shown.child_view(rows[0][0])
    assert found is not None
    return found


def decided(desk: Desk, event_id: str) -> tuple[str, str | None]:
    """Verdict and reason of an act, once decided."""
    rows: list[Any] = []

    def look() -> bool:
        rows[:] = desk.house.rows(f"select verdict, reason from act where event_id = '{event_id}'")
        return bool(rows)

    desk.house.wait("the act is decided", look, 30)
    return rows[0][0], rows[0][1]
