"""People act on the real parts: two at once, accounts and sessions in PostgreSQL, the past through the real views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from domain.times import DAY_US, HOUR_US, local
from producers.halton import scenarios
from projections.accounts import ABSOLUTE_US, FAILURES_MAX, IDLE_US, LOCKED_US, disable_account, reset_password
from tests.living import Answer, Living, Person, at_once, fact, hidden, living, now_us
from tests.services import Services
from tests.webviews import PASSWORD

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

WHY = ("The first one's reasoning, at some length.", "The second one's reasoning, which must not be lost.")


@pytest.fixture(scope="module")
def house(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A living deployment; each test tells of children of its own."""
    with living(services, tmp_path_factory.mktemp("living")) as found:
        yield found


def recommended(house: Living, seed: int) -> tuple[str, str]:
    """A child graded high on a plan, all of it told: (child, recommendation)."""
    facts = scenarios.high_on_plan(seed, now_us() - HOUR_US).facts
    house.publish(facts)
    child = house.child_of(facts[0])
    return child, house.recommendation_of(child)


class TestTwoAtOnce:
    """One winner, one clear 409, and the loser's words are not lost."""

    @pytest.mark.parametrize("round_", range(3))
    def test_two_managers_decide_on_the_page(self, house: Living, round_: int) -> None:
        """Both had the form open; both press at the same moment."""
        child, rec = recommended(house, 100 + round_)
        path = f"/recommendations/{rec}"
        managers = [house.person(n) for n in ("icart_manager", "manager2")]
        forms = [hidden(m.get(path), f"{path}/decide") for m in managers]

        def press(index: int) -> Answer:
            form = {"decision": "DECLINE", "reason": "BELOW_THRESHOLD", "rationale": WHY[index]}
            return managers[index].post(f"{path}/decide", forms[index] | form)

        answers = at_once([lambda: press(0), lambda: press(1)])
        assert [303, 409] == sorted(a.status for a in answers)
        winner = 0 if answers[0].status == 303 else 1
        lost = answers[1 - winner].body
        assert "This recommendation has changed since you opened it" in lost
        assert WHY[1 - winner].replace("'", "&#39;") in lost
        (found,) = house.person("icart_police").json(f"/api/children/{child}")["recommendations"]
        assert "DECLINED" == found["state"]
        assert [WHY[winner]] == [h["text"] for h in found["history"] if h["kind"] == "declined"]

    def test_two_managers_decide_by_the_api(self, house: Living) -> None:
        """The same for programs: 200 and a problem with its code."""
        _, rec = recommended(house, 110)
        managers = [house.person(n) for n in ("icart_manager", "manager2")]
        version = managers[0].json(f"/api/recommendations/{rec}")["recommendation"]["version"]

        def press(index: int) -> Answer:
            body = {"event_id": str(uuid4()), "based_on": version, "decision": "DECLINE", "reason": "BELOW_THRESHOLD"}
            return managers[index].api(f"/api/recommendations/{rec}/decide", body | {"rationale": WHY[index]})

        answers = at_once([lambda: press(0), lambda: press(1)])
        assert [200, 409] == sorted(a.status for a in answers)
        lost = next(a for a in answers if a.status == 409)
        assert "application/problem+json" == lost.headers["content-type"]
        assert "urn:sightline:problem:stale-decision" in lost.body

    def test_pressing_twice_is_one_act(self, house: Living) -> None:
        """One form sent five times at once: one decision in the ledger, and nobody is told of a conflict."""
        child, rec = recommended(house, 111)
        manager, path = house.person("icart_manager"), f"/recommendations/{rec}"
        form = hidden(manager.get(path), f"{path}/decide") | {"decision": "DECLINE", "reason": "BELOW_THRESHOLD"}
        answers = at_once([lambda: manager.post(f"{path}/decide", form | {"rationale": WHY[0]})] * 5)
        assert {303} == {a.status for a in answers}
        assert ("1",) == house.ids(f"select count(*) from conclusion where kind = 'declined' and child_id = '{child}'")


class TestAccounts:
    """Sign-in, lockout, expiry and reset where they are kept: in PostgreSQL. Time is moved by moving what was written."""

    def test_a_lock_holds_against_many_at_once(self, house: Living) -> None:
        """Guesses at the same moment are each counted: after five the right password is refused, until the lock is over."""
        guessers = [house.stranger() for _ in range(FAILURES_MAX)]
        answers = at_once([partial(g.sign_in, "edt", "wrong password") for g in guessers])
        assert {400} == {a.status for a in answers}
        assert 400 == house.stranger().sign_in("edt").status
        change(house, f"update account set locked_until = locked_until - {LOCKED_US - 120_000_000} where name = 'edt'")
        assert 400 == house.stranger().sign_in("edt").status
        change(house, "update account set locked_until = locked_until - 121000000 where name = 'edt'")
        assert 303 == house.stranger().sign_in("edt").status

    @pytest.mark.parametrize(("column", "length"), [("seen_at", IDLE_US), ("created_at", ABSOLUTE_US)])
    def test_a_session_ends(self, house: Living, column: str, length: int) -> None:
        """After so long without a request, and after so long in all; then the page asks to sign in and shows nothing."""
        person = signed_in(house, "icart_health")
        account = "account_id = (select account_id from account where name = 'icart_health')"
        change(house, f"update session set {column} = {column} - {length - 60_000_000} where {account}")
        assert 200 == person.get("/queue").status
        change(house, f"update session set {column} = {column} - 61000000 where {account}")
        if column == "seen_at":
            change(house, f"update session set seen_at = {now_us() - IDLE_US - 1} where {account}")
        answer = person.get("/queue")
        assert (303, "/sign-in?next=/queue") == (answer.status, answer.headers["location"])
        assert 401 == person.api("/api/queue", None, "GET").status

    def test_reset_and_disable_end_every_session(self, house: Living) -> None:
        """At once, wherever somebody is signed in; the old password is no longer one."""
        here, there = signed_in(house, "icart_education"), signed_in(house, "icart_education")
        with house.keep.begin() as conn:
            reset_password(conn, "icart_education", "another good passphrase", now=now_us())
        assert [303, 303] == [p.get("/queue").status for p in (here, there)]
        assert 400 == house.stranger().sign_in("icart_education").status
        again = house.stranger()
        assert 303 == again.sign_in("icart_education", "another good passphrase").status
        assert 200 == again.get("/queue").status
        with house.keep.begin() as conn:
            disable_account(conn, "icart_education", now=now_us())
        assert 303 == again.get("/queue").status
        assert 400 == house.stranger().sign_in("icart_education", "another good passphrase").status

    def test_signing_out_ends_it_for_the_server(self, house: Living) -> None:
        """A kept cookie opens nothing."""
        person = signed_in(house, "icart_police")
        token = person.token
        assert 303 == person.post("/sign-out", {}).status
        person.http.cookies.set("sightline", token)
        assert 303 == person.get("/queue").status

    def test_no_secret_is_stored(self, house: Living) -> None:
        """Neither a password nor a session's token is in `keep`."""
        token = signed_in(house, "icart_police").token
        with house.keep.connect() as conn:
            for table in ("account", "session"):
                kept = str(conn.exec_driver_sql(f"select * from {table}").all())
                assert token not in kept
                assert PASSWORD not in kept


class TestThePast:
    """`as_of`: what was true; `known_at`: what we knew. Through page and API on the real views."""

    def test_a_late_fact_and_its_withdrawal(self, house: Living) -> None:
        """Told late: true then, not known then. Withdrawn: known as it stood before."""
        subject = {"local_id": "past-1", "given_name": "Past", "family_name": "Tense", "birth_date": "2011-06-07"}
        first = fact("SchoolConcern", "education", subject, concern("early words"), ago_us=10 * DAY_US)
        house.publish([first])
        before = now_us()
        late = fact("SchoolConcern", "education", subject, concern("late words"), ago_us=5 * DAY_US)
        house.publish([late])
        between = now_us()
        gone = fact("Retraction", "education", subject, {"reason": "ENTERED_IN_ERROR"}, ago_us=0, retracts=late.key)
        house.publish([gone])
        child, person = house.child_of(first), house.person("icart_social_worker")

        def seen(**at: int) -> dict[str, str]:
            asked = "&".join(f"{k}={iso(v)}" for k, v in at.items())
            told = person.json(f"/api/children/{child}?{asked}")["chronology"]
            return {w: c["state"] for c in told for w in ("early words", "late words") if w in str(c["lines"])}

        assert {"early words": "CURRENT", "late words": "RETRACTED"} == seen()
        assert {"early words": "CURRENT"} == seen(known_at=before)
        assert {"early words": "CURRENT", "late words": "CURRENT"} == seen(known_at=between)
        assert {"early words": "CURRENT"} == seen(as_of=now_us() - 7 * DAY_US)
        assert {} == seen(as_of=now_us() - 12 * DAY_US)
        when = local(now_us() - 7 * DAY_US)
        asked = f"as_of-day={when.day}&as_of-month={when.month}&as_of-year={when.year}"
        page = person.get(f"/children/{child}?{asked}").body
        assert "You see the past" in page and "early words" in page and "late words" not in page

    def test_a_confirmed_match_is_not_known_before(self, house: Living) -> None:
        """The R19 child: the facts of police were told before, and were hers only from the confirmation on."""
        facts = scenarios.r19(31, now_us() - HOUR_US).facts
        house.publish(facts)
        child = house.child_of(next(f for f in facts if f.agency == "education"))
        worker, before = house.person("icart_social_worker"), now_us()
        (match,) = worker.json(f"/api/children/{child}")["possible_matches"]
        page = worker.get(f"/matches/{match['match_id']}")
        ticket = hidden(page, f"/matches/{match['match_id']}")
        answer = worker.post(f"/matches/{match['match_id']}", ticket | {"what": "confirm", "rationale": "Same aunt."})
        assert 303 == answer.status, answer.body[:2000]
        now = worker.json(f"/api/children/{child}")
        then = worker.json(f"/api/children/{child}?known_at={iso(before)}")
        assert {"police"} == {f["agency"] for f in now["chronology"]} - {f["agency"] for f in then["chronology"]}
        assert ([1, 0], [0, 1]) == tuple([len(v["recommendations"]), len(v["possible_matches"])] for v in (now, then))
        assert now["risk"]["points"] >= now["risk"]["threshold"] > then["risk"]["points"]


def concern(words: str) -> dict[str, Any]:
    """A school concern in these words."""
    return {"concern_id": words, "concerns": ["CHANGE_IN_BEHAVIOUR"], "narrative": words, "exploitation": []}


def iso(us: int) -> str:
    """An instant for a question."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return re.sub(r"\+00:00$", "Z", at.isoformat())


def change(house: Living, statement: str) -> None:
    """What time would have done, in `keep`."""
    with house.keep.begin() as conn:
        assert conn.exec_driver_sql(statement).rowcount > 0


def signed_in(house: Living, name: str) -> Person:
    """A new browser of somebody."""
    person = house.stranger()
    assert 303 == person.sign_in(name).status
    return person


class TestOneQuestion:
    """Records that turn out to be one child are asked about once, whatever order they came in."""

    def test_one_row_and_one_answer(self, house: Living) -> None:
        """Police fit health and school, which social care then shows to be one: one row; the answer clears it."""
        family = "Onequestion"
        named = {"given_name": "Robin", "family_name": family, "birth_date": "2012-05-06"}
        nhs, upn = {"nhs_number": "9990000050", "nhs_number_status": "01"}, {"upn": "R876252705460"}
        said: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
            ("VulnerabilitySubmission", "police", {}, {
                "concerns": ["BAD_HOUSING"], "submission_id": "q", "seen": "YES", "seen_alone": "YES", "spoken_to": "YES"}),
            ("GpRegistration", "health", nhs, {"practice_ods": "Y90001", "registered_from": "2020-01-05"}),
            ("SchoolConcern", "education", upn, {"concern_id": "q", "concerns": ["WEIGHT_LOSS"]}),
            ("SocialCareStatus", "csc", nhs | upn, {"status": "CIN", "from_date": "2026-01-05"}),
        ]  # fmt: skip
        for record, agency, numbers, body in said:
            house.publish([fact(record, agency, {"local_id": f"{agency}-{family}", **named, **numbers}, body)])
        worker = house.person("icart_social_worker")
        page = worker.get("/matches").body
        (match,) = re.findall(rf'href="/matches/([^"]+)"[^>]*>Robin {family} and a record of', page)
        assert ("2",) == house.ids(
            "select count(*) from possible_match m join presentation p using (presentation_id) "
            f"join presentation a on a.presentation_id = m.anchor where p.searched like '%{family.lower()}%' "
            "and m.state = 'OPEN' and p.child_id <> a.child_id"
        )
        form = hidden(worker.get(f"/matches/{match}"), f"/matches/{match}") | {"what": "reject", "rationale": "Cousins."}
        assert 303 == worker.post(f"/matches/{match}", form).status
        assert family not in worker.get("/matches").body
        assert 2 == worker.get("/matches?state=REJECTED").body.count(f"Robin {family} and a record of")
