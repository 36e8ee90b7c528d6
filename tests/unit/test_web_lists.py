"""Long lists: a page at a time, nothing cut without a word, and every child shown is in the access record."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping

import pytest

from domain.standing import HARM, IN_TIME, PASSED_ON, standing
from schemas.catalogue import FOLDER
from tests.unit.children import NOW as THEN
from tests.unit.children import REFERENCE, r19
from tests.webfixtures import Site, csrf, fields, site
from tests.webworld import CALLUM, LOST_MESSAGE, MATCH, MIA, SEALED, an_id
from web.pages.matches import FIELDS
from web.paging import ROWS
from web.ports import Json

__all__ = ["site"]


def many(site: Site, count: int, like: str = CALLUM) -> list[str]:
    """So many more children like one of the world."""
    made = []
    for n in range(count):
        view: Json = copy.deepcopy(site.world.views[like]) | {"child_id": an_id(f"many {n}")}
        site.world.views[view["child_id"]] = view
        made.append(view["child_id"])
    return made


class TestPages:
    """Queue, decisions, matches, GP exceptions."""

    def test_every_child_is_on_some_page_of_the_queue(self, site: Site) -> None:
        """Two pages and a half: each child is reached by following "Next page", and the API says how many pages there are."""
        added = many(site, 2 * ROWS + ROWS // 2)
        client, at, found = site.person("icart_manager"), "/queue", ""
        while at:
            page = client.get(at).text
            found += page
            at = page.split('rel="next" href="', 1)[1].split('"', 1)[0] if 'rel="next"' in page else ""
        assert [] == [c for c in added if c not in found]
        assert "Page 3 of 3" in found
        first = client.get("/api/queue").json()
        assert (1, 3, ROWS) == (first["page"], first["pages"], len(first["items"]))
        assert "/queue/rows?page=2" in client.get("/queue?page=2").text

    @pytest.mark.parametrize("path", ["/queue", "/decisions", "/matches", "/gp-exceptions"])
    def test_a_page_past_the_end(self, site: Site, path: str) -> None:
        """Empty, and no page number is no answer."""
        client = site.person("icart_manager")
        assert 200 == client.get(f"{path}?page=99").status_code
        assert 422 == client.get(f"{path}?page=0").status_code


class TestUrgency:
    """By which the queue is ordered, whatever its length."""

    def test_harm_then_passed_on_then_the_rest(self) -> None:
        """A harm trigger that nobody decided on comes before what is overdue, and that before what is in time."""
        child = r19()
        child.concludes(THEN)
        assert IN_TIME == standing(child.history, REFERENCE, THEN).urgency
        due = int(child.view(THEN)["recommendations"][0]["due_at"])
        child.concludes(due, fired=due)
        assert PASSED_ON == standing(child.history, REFERENCE, due).urgency
        child.says("police", "VulnerabilitySubmission", due, {"concerns": ["DISCLOSURE_ABUSE"]})
        child.concludes(due)
        assert HARM == standing(child.history, REFERENCE, due).urgency
        assert HARM < PASSED_ON < IN_TIME


class TestSearchMore:
    """What a reader may not see takes no place among the hits."""

    def test_hidden_fits_do_not_cut_the_list(self, site: Site) -> None:
        """39 that may be seen, and one hidden among the first: 20 are shown, and it is said that there are more."""
        views: Mapping[str, Json] = site.world.views
        many(site, 38)
        hidden = copy.deepcopy(views[SEALED]) | {"name": views[CALLUM]["name"], "child_id": an_id("hidden")}
        site.world.views = {hidden["child_id"]: hidden} | dict(views)
        client = site.person("icart_social_worker")
        data = {"csrf": csrf(client.get("/search")), "name": "Callum", "purpose": "OWN_CASE"}
        page = client.post("/search", data=data).text
        assert "20 children found" in page
        assert "There are more than 20" in page


class TestRecordedChildren:
    """The access record names every child whose data is shown (I7)."""

    def test_both_sides_of_a_match(self, site: Site) -> None:
        """The list shows the name and birth date of a record that is on another child."""
        site.person("icart_manager").get("/matches")
        assert [CALLUM, an_id("other")] == json.loads(site.accesses()[-1][3])

    @pytest.mark.parametrize("path", [f"/children/{CALLUM}", f"/api/children/{CALLUM}"])
    def test_records_that_may_be_this_child(self, site: Site, path: str) -> None:
        """What "may also be" shows is a name and a birth date: the child it is on is recorded too, also after a rejection."""
        site.person("icart_manager").get(path)
        view = site.world.views[CALLUM]
        beside = sorted(m["presentation_id"] for k in ("possible_matches", "rejected_matches") for m in view[k])
        assert [CALLUM, *(an_id(f"child of {p}") for p in beside)] == json.loads(site.accesses()[-1][3])

    def test_the_api_of_a_match_shows_the_whole_child(self, site: Site) -> None:
        """With what may be the same child, now or before: each of those is recorded beside the pair."""
        answer = site.person("icart_manager").get(f"/api/matches/{MATCH}").json()
        beside = sorted(m["presentation_id"] for k in ("possible_matches", "rejected_matches") for m in answer["child"][k])
        assert 2 == len(beside)
        wanted = [CALLUM, an_id("other"), *(an_id(f"child of {p}") for p in beside)]
        assert wanted == json.loads(site.accesses()[-1][3])

    @pytest.mark.parametrize(
        "path",
        [
            f"/children/{CALLUM}?known_at-day=1&known_at-month=3&known_at-year=2026",
            f"/api/children/{CALLUM}?known_at=2026-03-01T12:00:00Z",
        ],
    )
    def test_what_was_known_then_is_of_whoever_has_it_today(self, site: Site, path: str) -> None:
        """After an undo the record is another child's, who is looked at too."""
        assert 200 == site.person("icart_manager").get(path).status_code
        for record in site.world.views[CALLUM]["identity"]:
            assert an_id(f"child of {record['presentation_id']}") in json.loads(site.accesses()[-1][3])


class TestGpExceptions:
    """A named person's: taken, given back, and late ones said to be."""

    def test_taken_and_given_back(self, site: Site) -> None:
        """Health takes it; others read who has it; whoever has it gives it back."""
        health, path = site.person("icart_health"), f"/gp-exceptions/{LOST_MESSAGE}/case"
        page = health.get("/gp-exceptions")
        assert "Nobody has taken it" in page.text and "Passed on" in page.text and "Overdue by" in page.text
        assert 303 == health.post(path, data=fields(page, path) | {"taken": "yes"}).status_code
        assert "Taken by Sam Icart Health" in site.person("icart_manager").get("/gp-exceptions").text
        page = health.get("/gp-exceptions")
        assert "Give it back" in page.text
        health.post(path, data=fields(page, path) | {"taken": "no"})
        assert ["GpExceptionTaken"] * 2 == [name for name, _ in site.world.sent]

    @pytest.mark.parametrize("why", ["NO_PRACTICE", "NO_NHS_NUMBER", "REJECTED", "UNREAD", "WITHHELD", "FREE_TEXT"])
    def test_every_reason_is_in_words(self, site: Site, why: str) -> None:
        """The page never shows a code."""
        message = next(m for m in site.world.views[MIA]["messages"] if m["message_id"] == LOST_MESSAGE)
        message["exception"]["why"] = why
        page = site.person("icart_health").get("/gp-exceptions").text
        assert why not in page


class TestUndone:
    """Undoing takes away one reason; the page says what came of it."""

    @pytest.mark.parametrize(("other", "told"), [(an_id("other"), "are apart again"), (CALLUM, "are still one child")])
    def test_the_page_says_what_is_so(self, site: Site, monkeypatch: pytest.MonkeyPatch, other: str, told: str) -> None:
        """Apart, or still one child because another link holds them."""
        site.world.match_state = "UNDONE"
        pair = dataclasses.replace(site.world._pair(), other_child_id=other)
        monkeypatch.setattr(site.world, "possible_match", lambda _: pair)
        page = site.person("icart_manager").get(f"/matches/{MATCH}?saved=undo").text
        assert told in page
        assert ("Something else holds them together" in page) == (other == CALLUM)


class TestFields:
    """What is compared on a match's page."""

    def test_every_field_is_one_of_the_contract(self) -> None:
        """A field by another name would never be shown, and the address decides many a match."""
        told = {f["name"] for f in json.loads((FOLDER / "Presentation.v1.avsc").read_text())["fields"]}
        assert set() == set(FIELDS) - told

    def test_the_address_is_shown(self, site: Site) -> None:
        """On the match's page and under a child's identity."""
        callum = site.world.views[CALLUM]
        callum["possible_matches"][0]["fields"]["address_line"] = "7 Old Coach Row"
        callum["identity"][0]["fields"]["address_line"] = "12 New Mill Row"
        client = site.person("icart_manager")
        page = client.get(f"/matches/{MATCH}").text
        assert "7 Old Coach Row" in page and "12 New Mill Row" in page
        assert "12 New Mill Row" in client.get(f"/children/{CALLUM}").text
