"""The pages over the small world: what each says, keeps, records and refuses."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest
from sqlalchemy import text

from projections.accounts import Tried
from tests.webfixtures import Site, csrf, fields, sign_in, site
from tests.webworld import AISHA_JOINED_REC, AISHA_REC, CALLUM, CALLUM_REC, MATCH, MIA, MIA_REC, NOAH_REC, NOW, PASSWORD, SEALED
from web import house
from web.house import AT_THE_DOOR
from web.pages.board import suppressed
from web.security import BODY_BYTES_MAX

__all__ = ["site"]

DECIDE = f"/recommendations/{CALLUM_REC}/decide"
WHY = "The core group met yesterday; the plan already covers this."


def decline(ticket: dict[str, str], why: str = WHY) -> dict[str, str]:
    """A filled-in form."""
    return ticket | {"decision": "DECLINE", "reason": "KNOWN_AND_PLANNED", "rationale": why}


class TestSignIn:
    """Accounts, lockout, sessions."""

    def test_a_wrong_password_says_neither_name_nor_password(self, site: Site) -> None:
        """The same answer for an unknown name and a wrong password."""
        told = [sign_in(site.stranger(), name, "not this one") for name in ("icart_manager", "nobody-here")]
        assert {400} == {t.status_code for t in told}
        assert all("The name or the password is not right" in t.text for t in told)

    def test_a_name_that_no_account_can_have(self, site: Site) -> None:
        """A NUL, which the database does not take: the same answer as for any other name."""
        told = sign_in(site.stranger(), "edt\0", PASSWORD)
        assert 400 == told.status_code
        assert "The name or the password is not right" in told.text

    def test_five_wrong_passwords_lock_for_a_while(self, site: Site) -> None:
        """The right password is refused while locked, and accepted after."""
        client = site.stranger()
        for _ in range(5):
            sign_in(client, "edt", "not this one")
        assert 400 == sign_in(client, "edt", PASSWORD).status_code
        site.now += 16 * 60 * 1_000_000
        assert 303 == sign_in(client, "edt", PASSWORD).status_code

    def test_many_at_once_hold_up_nobody(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who is in goes on; those at the door are let in in turn, and one more than fit is asked to come again."""
        gate, trying = threading.Event(), house.tried

        def slow(hashed: str, password: str) -> Tried:
            gate.wait(20)
            return trying(hashed, password)

        inside = site.person("icart_manager")
        monkeypatch.setattr(house, "tried", slow)
        strangers = [site.stranger() for _ in range(AT_THE_DOOR + 1)]
        with ThreadPoolExecutor(len(strangers)) as pool:
            asked = [pool.submit(sign_in, one, "edt", PASSWORD) for one in strangers]
            turned_away = next(as_completed(asked, 20)).result()
            assert (503, 200) == (turned_away.status_code, inside.get("/queue").status_code)
            gate.set()
            assert [303] * AT_THE_DOOR + [503] == sorted(a.result(20).status_code for a in asked)

    def test_an_idle_session_ends(self, site: Site) -> None:
        """After 31 minutes the queue asks to sign in."""
        client = site.person("icart_manager")
        assert 200 == client.get("/queue").status_code
        site.now += 31 * 60 * 1_000_000
        assert "/sign-in?next=/queue" == client.get("/queue").headers["location"]

    def test_a_session_ends_after_a_shift_however_used(self, site: Site) -> None:
        """Twelve hours of pages every 20 minutes, then out."""
        client = site.person("icart_manager")
        seen = []
        for _ in range(37):
            seen.append(client.get("/search").status_code)
            site.now += 20 * 60 * 1_000_000
        assert 200 == seen[35]
        assert 303 == client.get("/search").status_code

    def test_sign_out_ends_the_session_on_the_server(self, site: Site) -> None:
        """The old cookie is worth nothing afterwards."""
        client = site.person("icart_manager")
        cookie = client.cookies["sightline"]
        client.post("/sign-out", data={"csrf": csrf(client.get("/queue"))})
        other = site.stranger()
        other.cookies.set("sightline", cookie)
        assert 303 == other.get("/queue").status_code

    def test_it_leads_only_to_our_own_pages(self, site: Site) -> None:
        """`next` to elsewhere is dropped."""
        client = site.stranger()
        page = client.get("/sign-in?next=//evil.example/queue")
        data = {"csrf": csrf(page), "name": "edt", "password": PASSWORD, "next": "//evil.example"}
        assert "/queue" == client.post("/sign-in", data=data).headers["location"]

    def test_a_form_without_its_token_is_refused(self, site: Site) -> None:
        """Also with a session."""
        client = site.person("icart_manager")
        assert 403 == client.post("/search", data={"name": "Callum", "purpose": "REFERRAL_CHECK"}).status_code


class TestHeaders:
    """Every answer."""

    @pytest.mark.parametrize("path", ["/sign-in", "/queue", f"/children/{CALLUM}", "/nowhere", "/api/queue", "/healthz"])
    def test_security_headers(self, site: Site, path: str) -> None:
        """A strict policy without `unsafe-inline`, no caching, no framing."""
        found = site.person("icart_manager").get(path).headers
        assert "default-src 'none'" in found["content-security-policy"]
        assert "unsafe" not in found["content-security-policy"]
        assert ("no-store", "nosniff", "DENY") == (
            found["cache-control"],
            found["x-content-type-options"],
            found["x-frame-options"],
        )

    def test_nothing_of_govuk_only(self, site: Site) -> None:
        """No Transport font, no crown."""
        page = site.person("icart_manager").get("/queue").text
        css = [site.stranger().get(u).text for u in _between(page, 'rel="stylesheet" href="', '"')]
        assert 3 == len(css)
        assert not any("GDS Transport" in c or "@font-face" in c for c in css)
        assert "crown" not in page.casefold()

    def test_a_long_body_is_refused(self, site: Site) -> None:
        """Over 64 KiB, with the limit in words; to a stranger it is their session that has ended."""
        long = {"csrf": "x" * (BODY_BYTES_MAX + 1)}
        answer = site.person("edt").post("/search", data=long)
        assert (413, True) == (answer.status_code, "64 KiB" in answer.text)
        assert 401 == site.stranger().post("/search", data=long).status_code

    @pytest.mark.parametrize(
        "sent",
        [
            {"files": {"photo": ("photo.jpg", b"not for here")}},
            {"files": [(f"field-{n}", (None, "x")) for n in range(101)]},
            {"data": {f"field-{n}": "x" for n in range(101)}},
            {"content": b"--wrong", "headers": {"content-type": "multipart/form-data; boundary=right"}},
            {"content": b"", "headers": {"content-type": "multipart/form-data"}},
            {"content": b"--b--", "headers": {"content-type": "multipart/form-data; boundary=b; charset=a\0b"}},
        ],
        ids=["a file", "many parts", "many fields", "another boundary", "no boundary", "a charset that is none"],
    )
    def test_a_form_that_cannot_be_read_is_refused(self, site: Site, sent: dict[str, Any]) -> None:
        """400 in words, never a defect; without a session that is what is said."""
        answer = site.person("edt").post("/search", **sent)
        assert (400, True) == (answer.status_code, "The request cannot be read" in answer.text)
        assert 401 == site.stranger().post("/search", **sent).status_code
        assert 404 == site.person("edt").post("/nowhere", **sent).status_code


class TestQueue:
    """By child, with clocks and reasons."""

    def test_it_names_child_due_time_and_agencies(self, site: Site) -> None:
        """Overdue, why, and by whom."""
        page = site.person("icart_social_worker").get("/queue").text
        assert all(w in page for w in ("Callum Ashworth", "Overdue by 2 hours", "Cheshire Constabulary", "999"))
        assert "Mia" not in page

    def test_take_and_give_back(self, site: Site) -> None:
        """Take, and the page offers to give back."""
        client = site.person("icart_social_worker")
        page = client.get(f"/children/{CALLUM}")
        answer = client.post(f"/children/{CALLUM}/case", data=fields(page, f"/children/{CALLUM}/case") | {"taken": "yes"})
        assert 303 == answer.status_code
        assert "Give the case back" in client.get(f"/children/{CALLUM}").text

    def test_police_see_a_decline_and_may_disagree(self, site: Site) -> None:
        """Visible at once, with the button beside it (R5)."""
        client = site.person("icart_police")
        assert "safety plan" in client.get("/decisions").text
        page = client.get(f"/recommendations/{MIA_REC}")
        answer = client.post(
            f"/recommendations/{MIA_REC}/disagree",
            data=fields(page, f"/recommendations/{MIA_REC}/disagree") | {"ground": "We found her with an adult."},
        )
        assert 303 == answer.status_code
        assert "We found her with an adult." in site.person("icart_manager").get(f"/recommendations/{MIA_REC}").text


class TestDecision:
    """Convene, decline; once; by one."""

    def test_decline_is_recorded_with_who_and_what_was_seen(self, site: Site) -> None:
        """The act carries actor, role, child, version."""
        client = site.person("icart_manager")
        answer = client.post(DECIDE, data=decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE)))
        assert f"/recommendations/{CALLUM_REC}?saved=decide" == answer.headers["location"]
        name, value = site.world.sent[0]
        assert "RecommendationDecided" == name
        assert ("icart_manager", CALLUM, 100) == (value["act"]["actor_role"], value["act"]["child_id"], value["act"]["based_on"])
        assert "Declined" in client.get(answer.headers["location"]).text

    def test_convene_needs_a_time(self, site: Site) -> None:
        """And keeps what was typed."""
        client = site.person("icart_manager")
        data = fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE) | {
            "decision": "CONVENE",
            "convene_note": "Ask the school nurse along",
        }
        answer = client.post(DECIDE, data=data)
        assert 400 == answer.status_code
        assert "Enter when the discussion will be held" in answer.text
        assert "Ask the school nurse along" in answer.text
        good = data | {"meeting-day": "29", "meeting-month": "5", "meeting-year": "2026", "meeting-time": "10:30"}
        assert 303 == client.post(DECIDE, data=good).status_code
        assert "2026-05-29T10:30:00+01:00" == site.world.sent[0][1]["meeting_at"]

    def test_a_decline_without_rationale_is_not_sent(self, site: Site) -> None:
        """An error summary that links to the field."""
        client = site.person("icart_manager")
        answer = client.post(DECIDE, data=decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE), ""))
        assert 'href="#rationale"' in answer.text
        assert [] == site.world.sent

    def test_pressing_twice_is_one_act(self, site: Site) -> None:
        """The same ticket, the same bytes, one entry."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        assert [303, 303] == [client.post(DECIDE, data=data).status_code for _ in range(2)]
        assert 1 == len(site.world.sent)

    def test_two_managers_one_winner_one_clear_conflict(self, site: Site) -> None:
        """The other is told who decided, and gets the text back."""
        first, second = site.person("icart_manager"), site.person("manager2")
        forms = [fields(c.get(f"/recommendations/{CALLUM_REC}"), DECIDE) for c in (first, second)]
        assert 303 == first.post(DECIDE, data=decline(forms[0])).status_code
        lost = second.post(DECIDE, data=decline(forms[1], "Something quite different from the other"))
        assert 409 == lost.status_code
        assert "Declined by Sam Icart Manager, iCART manager" in lost.text
        assert "Something quite different from the other" in lost.text
        assert 1 == len(site.world.sent)

    def test_the_ledger_settles_a_race(self, site: Site) -> None:
        """Both were sent before either was known: the ledger refuses the second."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        site.world.stale_by_surprise = True
        lost = client.post(DECIDE, data=data)
        assert 409 == lost.status_code
        assert "Somebody else had acted" in lost.text
        assert WHY in lost.text

    def test_new_evidence_makes_a_decision_stale(self, site: Site) -> None:
        """What was seen is not what is in force."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        site.world.views[CALLUM]["recommendations"][0]["version"] = 105
        assert 409 == client.post(DECIDE, data=data).status_code

    def test_pending_keeps_every_word_and_asks_again(self, site: Site) -> None:
        """The ledger is slow: 202, then the same act found recorded."""
        site.world.slow_s = 1.3
        client = site.person("icart_manager")
        waiting = client.post(DECIDE, data=decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE)))
        assert 202 == waiting.status_code
        assert WHY in waiting.text
        again = client.post(DECIDE, data=decline(fields(waiting, DECIDE)))
        assert 303 == again.status_code
        assert 1 == len({v["act"]["event_id"] for _, v in site.world.sent})
        assert 1 == len({json.dumps(v, sort_keys=True) for _, v in site.world.sent})

    def test_the_broker_away_loses_nothing(self, site: Site) -> None:
        """503 with every word and the same ticket; sent once it is back."""
        site.world.away = True
        client = site.person("icart_manager")
        lost = client.post(DECIDE, data=decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE)))
        assert 503 == lost.status_code
        assert WHY in lost.text
        site.world.away = False
        assert 303 == client.post(DECIDE, data=decline(fields(lost, DECIDE))).status_code

    def test_the_views_end_after_it_was_sent(self, site: Site) -> None:
        """Whether it is recorded is not known: it says so with every word, and asked again it is one act."""
        site.world.ends_after_sending, client = True, site.person("icart_manager")
        waiting = client.post(DECIDE, data=decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE)))
        assert (202, True) == (waiting.status_code, WHY in waiting.text)
        still = client.post(DECIDE, data=decline(fields(waiting, DECIDE)))
        assert (503, True) == (still.status_code, WHY in still.text)
        site.world.entries_away = False
        assert 303 == client.post(DECIDE, data=decline(fields(still, DECIDE))).status_code
        assert 1 == len({v["act"]["event_id"] for _, v in site.world.sent})

    def test_the_views_are_away_before_it_is_sent(self, site: Site) -> None:
        """Nothing was recorded, and it says so."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        site.world.entries_away = True
        lost = client.post(DECIDE, data=data)
        assert (503, True, []) == (lost.status_code, "Nothing was shown or recorded" in lost.text, site.world.sent)

    def test_sent_again_to_another_process(self, site: Site) -> None:
        """The pages were restarted before they answered: the same form finds what it recorded, and is no conflict."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        assert 303 == client.post(DECIDE, data=data).status_code
        site.app.state.house.acting._sent.clear()
        assert 303 == client.post(DECIDE, data=data).status_code
        assert 1 == len(site.world.sent)

    def test_a_session_that_ended_gives_the_text_back(self, site: Site) -> None:
        """What was typed is shown, nothing was sent."""
        client = site.person("icart_manager")
        data = decline(fields(client.get(f"/recommendations/{CALLUM_REC}"), DECIDE))
        site.now += 13 * 3600 * 1_000_000
        answer = client.post(DECIDE, data=data)
        assert 401 == answer.status_code
        assert WHY in answer.text

    def test_what_is_posted_after_the_session_ended_is_answered(self, site: Site) -> None:
        """Also without a long text: it says that nothing was recorded, and leads to no address that takes no GET."""
        client = site.person("icart_social_worker")
        path = f"/children/{CALLUM}/case"
        data = fields(client.get(f"/children/{CALLUM}"), path) | {"taken": "yes"}
        site.now += 31 * 60 * 1_000_000
        answer = client.post(path, data=data)
        assert (401, True) == (answer.status_code, "Nothing was recorded just now" in answer.text)
        assert 'href="/sign-in"' in answer.text
        assert [] == site.world.sent

    def test_only_those_who_decide_decide(self, site: Site) -> None:
        """A social worker has no form, and a made-up POST is refused."""
        client = site.person("icart_social_worker")
        page = client.get(f"/recommendations/{CALLUM_REC}")
        assert DECIDE not in page.text
        assert 403 == client.post(DECIDE, data={"csrf": csrf(page)}).status_code

    def test_held_and_closed(self, site: Site) -> None:
        """The outcome of a convened discussion; a recommendation whose evidence changed."""
        client = site.person("icart_manager")
        held = f"/recommendations/{NOAH_REC}/held"
        data = fields(client.get(f"/recommendations/{NOAH_REC}"), held) | {
            "held-day": "28",
            "held-month": "5",
            "held-year": "2026",
            "held-time": "9:00",
            "outcome": "S47_JOINT",
            "outcome_text": "Joint enquiry from today",
            "attended": ["police", "csc", "health"],
        }
        assert 303 == client.post(held, data=data).status_code
        assert ["police", "csc", "health"] == site.world.sent[0][1]["attended"]
        close = f"/recommendations/{AISHA_REC}/close"
        reason = fields(client.get(f"/recommendations/{AISHA_REC}"), close) | {"closing": "It was another child's record."}
        assert 303 == client.post(close, data=reason).status_code

    def test_decided_with_another(self, site: Site) -> None:
        """It says so, leads there, asks for no decision, and takes none."""
        client = site.person("icart_manager")
        page = client.get(f"/recommendations/{AISHA_JOINED_REC}").text
        assert "Decided with another" in page
        assert f'href="/recommendations/{AISHA_REC}"' in page
        assert "Your decision" not in page
        assert AISHA_JOINED_REC not in client.get("/queue").text
        ticket = fields(client.get(DECIDE.removesuffix("/decide")), DECIDE)
        sent = client.post(f"/recommendations/{AISHA_JOINED_REC}/decide", data=decline({"csrf": ticket["csrf"]}))
        assert (409, []) == (sent.status_code, site.world.sent)
        assert "Aisha" not in client.get("/decisions").text


class TestMatches:
    """Side by side, and a person decides."""

    def test_confirm_then_undo(self, site: Site) -> None:
        """Each with its own act; undoing needs a reason."""
        client = site.person("icart_social_worker")
        path = f"/matches/{MATCH}"
        page = client.get(path)
        assert "Differs" in page.text
        assert 303 == client.post(path, data=fields(page, path) | {"what": "confirm"}).status_code
        undo = fields(client.get(path), path) | {"what": "undo"}
        assert 400 == client.post(path, data=undo).status_code
        assert 303 == client.post(path, data=undo | {"rationale": "A cousin after all"}).status_code
        assert ["MatchConfirmed", "MatchUndone"] == [n for n, _ in site.world.sent]

    def test_undone_and_held_by_another_link(self, site: Site) -> None:
        """The page does not say that they are apart, and names what holds."""
        client = site.person("icart_social_worker")
        path = f"/matches/{MATCH}"
        site.world.held_by = [{"agencies": ["police", "csc"], "why": "same checked PNC id, name and birth date agree"}]
        client.post(path, data=fields(client.get(path), path) | {"what": "confirm"})
        undo = fields(client.get(path), path) | {"what": "undo", "rationale": "A cousin after all"}
        text = client.get(client.post(path, data=undo).headers["location"]).text
        assert "apart again" not in text
        assert "still one child" in text and "same checked PNC id" in text

    def test_an_older_page_joins_nobody(self, site: Site) -> None:
        """Rejected by one, confirmed on the page that the other had open: one winner, and 409."""
        path = f"/matches/{MATCH}"
        clients = [site.person("icart_social_worker"), site.person("icart_manager")]
        forms = [fields(c.get(path), path) for c in clients]
        assert 303 == clients[0].post(path, data=forms[0] | {"what": "reject"}).status_code
        assert 409 == clients[1].post(path, data=forms[1] | {"what": "confirm"}).status_code
        assert "REJECTED" == site.world.match_state

    def test_two_deciding_at_once(self, site: Site) -> None:
        """The second gets 409 with the text."""
        path = f"/matches/{MATCH}"
        clients = [site.person("icart_social_worker"), site.person("icart_manager")]
        forms = [fields(c.get(path), path) for c in clients]
        assert 303 == clients[0].post(path, data=forms[0] | {"what": "reject"}).status_code
        assert (
            409
            == clients[1].post(path, data=forms[1] | {"what": "reject", "rationale": "They are surely not the same"}).status_code
        )


class TestAccessRecords:
    """I7: no record, no page."""

    def test_each_request_that_shows_a_child_leaves_one(self, site: Site) -> None:
        """Who, role, purpose, which."""
        site.person("icart_police").get(f"/children/{CALLUM}?purpose=OWN_CASE")
        assert [("icart_police", "GET /children/{child_id}", "OWN_CASE")] == [a[:3] for a in site.accesses()]
        assert CALLUM == json.loads(site.accesses()[0][3])[0]

    def test_a_search_without_hits_leaves_one_too(self, site: Site) -> None:
        """With an empty list; the address holds nothing of the terms."""
        client = site.person("icart_health")
        data = {"csrf": csrf(client.get("/search")), "name": "Nobody Atall", "purpose": "REFERRAL_CHECK"}
        answer = client.post("/search", data=data)
        assert "No child found" in answer.text
        assert "Nobody" not in str(answer.url)
        assert [("icart_health", "POST /search", "REFERRAL_CHECK", "[]")] == site.accesses()

    def test_a_number_that_nobody_can_have(self, site: Site) -> None:
        """A NUL, which the database does not take: no child is found, and the search is recorded."""
        client = site.person("icart_health")
        data = {"csrf": csrf(client.get("/search")), "identifier": "X876200118001\0", "purpose": "REFERRAL_CHECK"}
        answer = client.post("/search", data=data)
        assert (200, True) == (answer.status_code, "No child found" in answer.text)
        asked = {"name": "Callum\0", "identifier": "\0", "purpose": "REFERRAL_CHECK"}
        assert [] == client.post("/api/search", json=asked).json()["items"]
        assert ["[]", "[]"] == [children for *_, children in site.accesses()]

    def test_no_record_no_page(self, site: Site) -> None:
        """When `keep` cannot take the record, nothing of the child is shown."""
        client = site.person("icart_manager")
        with site.engine.begin() as conn:
            conn.execute(text("drop table access_record"))
        for path in (
            "/queue",
            f"/children/{CALLUM}",
            f"/recommendations/{CALLUM_REC}",
            "/decisions",
            f"/matches/{MATCH}",
            f"/api/children/{CALLUM}",
        ):
            answer = client.get(path)
            assert (503, False) == (answer.status_code, "Callum" in answer.text), path

    def test_the_record_is_committed_before_it_is_published(self, site: Site) -> None:
        """The publisher finds it in the database."""
        seen: list[int] = []
        object.__setattr__(site.app.state.house.config, "publish_access", lambda a: seen.append(len(site.accesses())))
        site.person("edt").get("/queue")
        assert [1] == seen


class TestChildPage:
    """Every section, and never "no risk"."""

    def test_it_says_what_is_not_known(self, site: Site) -> None:
        """None received as of, voice missing, not known."""
        page = site.person("icart_manager").get(f"/children/{CALLUM}").text
        wanted = (
            "None received as of",
            "The child’s voice is missing",
            "Nobody asks where I go.",
            "may also be",
            "In 72 hours",
            "Agencies differ",
        )
        assert all(w.casefold() in page.casefold() for w in wanted)
        assert "no risk" not in page.casefold().replace("not the same as no risk", "")

    def test_the_past(self, site: Site) -> None:
        """As of and known at."""
        query = "as_of-day=1&as_of-month=5&as_of-year=2026&known_at-day=2&known_at-month=5&known_at-year=2026"
        page = site.person("icart_manager").get(f"/children/{CALLUM}?{query}").text
        assert "You see the past" in page
        assert "1 May 2026 at 11:59pm" in page

    def test_a_bad_date_says_so(self, site: Site) -> None:
        """With the summary, and today's view below."""
        answer = site.person("icart_manager").get(f"/children/{CALLUM}?as_of-day=31&as_of-month=2&as_of-year=2026")
        assert 400 == answer.status_code
        assert "Enter a real date" in answer.text

    @pytest.mark.parametrize("child", [SEALED, "not-a-uuid", "6f1d6d0e-52c5-5d0c-9a5b-0f6f0a3c9d11"])
    def test_what_must_not_be_known_is_not_found(self, site: Site, child: str) -> None:
        """A sealed child and a child that is not there look the same."""
        assert 404 == site.person("icart_police").get(f"/children/{child}").status_code

    def test_others_see_no_children(self, site: Site) -> None:
        """Analyst and administrator."""
        for role in ("board_analyst", "admin"):
            assert 403 == site.person(role).get(f"/children/{MIA}").status_code


class TestBoard:
    """Small numbers."""

    def test_suppression(self) -> None:
        """Small counts go, and the next smallest when one alone would; zero stays."""
        assert [("a", None), ("b", None), ("c", 9), ("d", 0)] == suppressed([("a", 2), ("b", 7), ("c", 9), ("d", 0)])
        assert [("a", None), ("b", None), ("c", 9)] == suppressed([("a", 2), ("b", 3), ("c", 9)])
        assert [("a", 5), ("b", 0)] == suppressed([("a", 5), ("b", 0)])

    def test_the_page(self, site: Site) -> None:
        """`not shown` for small ones."""
        page = site.person("board_analyst").get("/board").text
        assert "not shown" in page
        assert ">3<" not in page


class TestFaults:
    """What goes wrong says so and gives nothing away."""

    def test_views_away(self, site: Site) -> None:
        """503 in words; readiness says which part."""
        client = site.person("icart_manager")
        site.world.views_away = True
        assert 503 == client.get("/queue").status_code
        ready = client.get("/readyz")
        assert (503, False, True) == (ready.status_code, ready.json()["parts"]["views"], ready.json()["parts"]["keep"])

    def test_a_defect_shows_and_logs_no_value(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        """The page is general, the log names type and place only."""

        def broken(limit: int, offset: int = 0) -> list[dict[str, str]]:
            raise KeyError("Callum Ashworth")

        site.world.queue = broken  # type: ignore[method-assign]
        answer = site.person("icart_manager").get("/queue")
        assert 500 == answer.status_code
        told = capsys.readouterr()
        assert "KeyError" in told.out + told.err
        assert "Ashworth" not in answer.text + told.out + told.err
        nonce = answer.headers["content-security-policy"].partition("'nonce-")[2].partition("'")[0]
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert scripts and all(f'nonce="{nonce}"' in s for s in scripts), "every script of it may run"


def _between(page: str, before: str, after: str) -> list[str]:
    return [part.split(after, 1)[0] for part in page.split(before)[1:]]


def test_the_clock_of_the_world() -> None:
    """The due times above rest on it."""
    assert 1_780_000_000_000_000 == NOW


def test_an_error_page_leaves_a_way_on(site: Site) -> None:
    """Who is signed in keeps navigation and sign-out on it; a stranger is shown neither."""
    lost = site.person("icart_police").get("/children/00000000-0000-4000-8000-000000000000")
    assert 404 == lost.status_code
    assert [] == [w for w in ('href="/queue"', 'href="/search"', "Sign out") if w not in lost.text]
    forbidden = site.person("admin").get("/queue")
    assert 403 == forbidden.status_code
    assert 'href="/status"' in forbidden.text and "Sign out" in forbidden.text
    assert "Sign out" not in site.stranger().get("/nowhere").text
