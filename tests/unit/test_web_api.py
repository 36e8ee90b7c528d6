"""The JSON API: the same things, problem+json, its own documentation."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from tests.webfixtures import Site, site
from tests.webworld import CALLUM, CALLUM_REC, LETTER, MATCH, MIA, MIA_REC, PASSWORD, PRACTICE
from web.ports import Json
from web.security import BODY_BYTES_MAX

__all__ = ["site"]


def token(client: TestClient) -> dict[str, str]:
    """The header of changing requests."""
    return {"x-csrf-token": client.get("/api/session").json()["csrf_token"]}


def declined(**changes: object) -> Json:
    """A decision."""
    why = {"decision": "DECLINE", "reason": "BELOW_THRESHOLD", "rationale": "Seen today; safe at his aunt's."}
    return {"event_id": str(uuid4()), "based_on": 100, **why, **changes}


class TestSession:
    """Sign in for programs."""

    def test_sign_in_and_out(self, site: Site) -> None:
        """Cookie and token; afterwards 401."""
        client = site.stranger()
        opened = client.post("/api/session", json={"name": "icart_manager", "password": PASSWORD})
        assert "decide" in opened.json()["rights"]
        assert 204 == client.delete("/api/session", headers={"x-csrf-token": opened.json()["csrf_token"]}).status_code
        problem = client.get("/api/queue")
        assert (401, "application/problem+json") == (problem.status_code, problem.headers["content-type"])

    @pytest.mark.parametrize("name", ["icart_manager", "nobody-here", "edt\0"])
    def test_a_wrong_password_says_neither_name_nor_password(self, site: Site, name: str) -> None:
        """The words of the page, whether there is such a name or not; nobody's session has ended."""
        told = site.stranger().post("/api/session", json={"name": name, "password": "not this one"})
        assert (401, "urn:sightline:problem:wrong-password") == (told.status_code, told.json()["type"])
        assert "The name or the password is not right" == told.json()["title"]

    def test_a_change_needs_the_token(self, site: Site) -> None:
        """403 problem, nothing sent."""
        client = site.person("icart_manager")
        assert 403 == client.post(f"/api/recommendations/{CALLUM_REC}/decide", json=declined()).status_code
        assert [] == site.world.sent


class TestReads:
    """Redacted, recorded."""

    @pytest.mark.parametrize(
        ("role", "path"),
        [
            ("icart_police", "/api/queue"),
            ("icart_police", "/api/decisions"),
            ("icart_health", f"/api/children/{CALLUM}"),
            ("edt", f"/api/recommendations/{MIA_REC}"),
            ("icart_social_worker", "/api/matches"),
            ("icart_manager", f"/api/matches/{MATCH}"),
            ("icart_health", "/api/gp-exceptions"),
        ],
    )
    def test_what_shows_a_child_is_recorded(self, site: Site, role: str, path: str) -> None:
        """One record each."""
        assert 200 == site.person(role).get(path).status_code
        assert [role] == [r for r, *_ in site.accesses()]

    def test_search(self, site: Site) -> None:
        """By POST; every term must fit."""
        client = site.person("icart_police")
        found = client.post(
            "/api/search", json={"name": "callum", "birth_date": "2012-03-14", "purpose": "REFERRAL_CHECK"}
        ).json()
        assert [CALLUM] == [i["child_id"] for i in found["items"]]
        assert (
            []
            == client.post("/api/search", json={"name": "callum", "birth_date": "2011-03-14", "purpose": "OWN_CASE"}).json()[
                "items"
            ]
        )
        assert 2 == len(site.accesses())

    def test_bad_input_names_field_and_rule_never_the_value(self, site: Site) -> None:
        """A problem with `errors`."""
        answer = site.person("icart_police").post(
            "/api/search", json={"name": "Callum Secret", "birth_date": "tomorrow", "purpose": "CURIOSITY"}
        )
        assert 422 == answer.status_code
        assert {"birth_date", "purpose"} == {e["field"] for e in answer.json()["errors"]}
        assert not any(w in answer.text for w in ("Secret", "tomorrow", "CURIOSITY"))

    def test_a_long_body_says_the_limit(self, site: Site) -> None:
        """413 and not 400, although FastAPI reads it."""
        answer = site.person("icart_police").post("/api/search", json={"name": "x" * BODY_BYTES_MAX, "purpose": "OWN_CASE"})
        assert (413, "urn:sightline:problem:too-long") == (answer.status_code, answer.json()["type"])
        assert "64 KiB" in answer.json()["detail"]

    @pytest.mark.parametrize("body", [b"[" * 60_000, b"\xff", b"1" * 5_000], ids=["nested", "not UTF-8", "a long number"])
    def test_a_body_that_cannot_be_read_says_so(self, site: Site, body: bytes) -> None:
        """400 about the body, not about the address."""
        answer = site.person("icart_police").post("/api/search", content=body, headers={"content-type": "application/json"})
        assert (400, "urn:sightline:problem:unreadable") == (answer.status_code, answer.json()["type"])

    def test_operations(self, site: Site) -> None:
        """For the administrator only."""
        for path in ("/api/status", "/api/dead-letters", f"/api/dead-letters/{LETTER}"):
            assert 200 == site.person("admin").get(path).status_code
            assert 403 == site.person("icart_manager").get(path).status_code
        assert 404 == site.person("admin").get(f"/api/dead-letters/{uuid4()}").status_code
        assert 200 == site.person("board_analyst").get("/api/board").status_code

    @pytest.mark.parametrize("path", ["/api/queue", "/fhir/r4/Communication"])
    def test_a_defect_is_told_as_programs_read_it(self, site: Site, path: str) -> None:
        """problem+json or an OperationOutcome, never a page, and nothing of the defect in it."""

        def broken(*_: object) -> None:
            raise KeyError("Callum Ashworth")

        site.world.queue = site.world.gp_inbox = broken  # type: ignore[method-assign,assignment]
        client = site.person("icart_manager")
        auth = None if path.startswith("/api") else site.practices[PRACTICE]
        answer = client.get(path, auth=auth)
        wanted = "application/problem+json" if auth is None else "application/fhir+json"
        assert (500, wanted) == (answer.status_code, answer.headers["content-type"])
        assert "Ashworth" not in answer.text

    def test_its_documentation_is_ours(self, site: Site) -> None:
        """No address of elsewhere; every route of the API is described."""
        assert "https://" not in site.stranger().get("/api/docs").text
        paths = site.stranger().get("/api/openapi.json").json()["paths"]
        assert {"/api/queue", "/api/children/{child_id}", "/fhir/r4/Communication/{message_id}/$receipt"} <= set(paths)


class TestActs:
    """Once, in order, by those who may."""

    def test_the_same_request_again_is_the_same_act(self, site: Site) -> None:
        """200 twice, sent once."""
        client = site.person("icart_manager")
        body = declined()
        for _ in range(2):
            answer = client.post(f"/api/recommendations/{CALLUM_REC}/decide", json=body, headers=token(client))
            assert (200, "recorded") == (answer.status_code, answer.json()["state"])
        assert 1 == len(site.world.sent)
        assert "ACCEPTED" == client.get(f"/api/acts/{body['event_id']}").json()["verdict"]

    @pytest.mark.parametrize("after_a_restart", [False, True])
    def test_an_id_stands_for_one_saying(self, site: Site, after_a_restart: bool) -> None:
        """The same id about another child, with other words or of another record: 409, never "recorded", and nothing is sent."""
        client = site.person("icart_manager")
        used = {"event_id": str(uuid4()), "taken": True}
        assert 200 == client.post(f"/api/children/{CALLUM}/case", json=used, headers=token(client)).status_code
        others: list[tuple[str, Json]] = [
            (f"/api/children/{MIA}/case", used),
            (f"/api/children/{CALLUM}/case", used | {"taken": False}),
            (f"/api/recommendations/{CALLUM_REC}/decide", declined(event_id=used["event_id"])),
        ]
        for path, body in others:
            if after_a_restart:
                site.app.state.house.acting._sent.clear()
            answer = client.post(path, json=body, headers=token(client))
            assert (409, "urn:sightline:problem:already-said") == (answer.status_code, answer.json()["type"]), path
        assert 200 == client.post(f"/api/children/{CALLUM}/case", json=used, headers=token(client)).status_code
        assert 1 == len(site.world.sent)

    def test_a_stale_one_is_a_conflict(self, site: Site) -> None:
        """problem+json with the stable code."""
        client = site.person("icart_manager")
        answer = client.post(f"/api/recommendations/{CALLUM_REC}/decide", json=declined(based_on=99), headers=token(client))
        assert (409, "urn:sightline:problem:stale-decision") == (answer.status_code, answer.json()["type"])

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            (f"/api/recommendations/{CALLUM_REC}/decide", {"decision": "DECLINE", "reason": "OTHER_RESPONSE", "rationale": "x"}),
            (f"/api/recommendations/{CALLUM_REC}/close", {"rationale": "x"}),
            (
                f"/api/recommendations/{CALLUM_REC}/held",
                {"held_at": "2026-01-01T10:00:00Z", "attended": ["police"], "outcome": "S47_JOINT", "outcome_text": "x"},
            ),
            (f"/api/matches/{MATCH}", {"decision": "confirm"}),
        ],
    )
    def test_what_settles_names_the_version_seen(self, site: Site, path: str, body: Json) -> None:
        """Otherwise nothing is sent."""
        client = site.person("icart_manager")
        answer = client.post(path, json={"event_id": str(uuid4()), **body}, headers=token(client))
        assert (422, ["based_on"]) == (answer.status_code, [e["field"] for e in answer.json()["errors"]])
        assert [] == site.world.sent

    def test_what_is_missing_is_named(self, site: Site) -> None:
        """A decline needs its rationale; a code must be in its list."""
        client = site.person("icart_manager")
        for body, field in (
            (declined(rationale=None), "rationale"),
            (declined(reason="BORED"), "reason"),
            (declined(decision="MAYBE"), "decision"),
        ):
            answer = client.post(f"/api/recommendations/{CALLUM_REC}/decide", json=body, headers=token(client))
            assert 400 == answer.status_code
            assert [field] == [e["field"] for e in answer.json()["errors"]]

    def test_each_other_act(self, site: Site) -> None:
        """Case, disagreement, match."""
        worker, police = site.person("icart_social_worker"), site.person("icart_police")
        ground = {"event_id": str(uuid4()), "ground": "We saw her with him again."}
        assert 200 == police.post(f"/api/recommendations/{MIA_REC}/disagree", json=ground, headers=token(police)).status_code
        taken = {"event_id": str(uuid4()), "taken": True}
        assert 200 == worker.post(f"/api/children/{CALLUM}/case", json=taken, headers=token(worker)).status_code
        match = {"event_id": str(uuid4()), "based_on": 100, "decision": "confirm"}
        assert 200 == worker.post(f"/api/matches/{MATCH}", json=match, headers=token(worker)).status_code
        assert 403 == police.post(f"/api/matches/{MATCH}", json=match, headers=token(police)).status_code
        assert ["RecommendationDisagreed", "CaseTaken", "MatchConfirmed"] == [n for n, _ in site.world.sent]
