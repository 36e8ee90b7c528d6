"""The pages over really folded children: what the fold writes, the templates read; the small world has the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from domain.acts import judge
from domain.model import make_id
from domain.sharing import redact
from tests.unit.children import DAY, HOUR, NOW, REFERENCE, Child, r19
from tests.webfixtures import Site, site
from tests.webviews import callum, others
from web.api import models
from web.fhir import gp_content, message_bundle
from web.ports import Json
from web.readers import reader_for

__all__ = ["site"]

OURS = {"sharing_all", "sharing_any", "parts", "number", "withheld_fields"}
"""Keys of the fold that only redaction reads; an item has them where it needs them."""


def rich() -> Child:
    """A child with something in every section."""
    child = r19(missed=38)
    child.says("health", "GpRegistration", NOW - 300 * DAY)
    child.says("police", "MissingEpisodeReported", NOW - 9 * DAY, {"episode_id": "e1"})
    child.says("police", "MissingEpisodeGraded", NOW - 9 * DAY, {"episode_id": "e1", "grade": "HIGH"}, scope="OWNER")
    child.says("police", "MissingEpisodeEnded", NOW - 8 * DAY, {"episode_id": "e1", "harm": [], "found_with": []})
    done = {"interview_id": "i1", "episode_ref": "e1", "child_words": "Nobody asks."}
    child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 7 * DAY, done)
    child.says("rhi", "ReturnHomeInterviewOffered", NOW - 200 * DAY, {"interview_id": "i9"})
    child.says("csc", "CpisStatusChanged", NOW - 50 * DAY)
    child.says("health", "CpisAttendanceAlert", NOW - 20 * DAY)
    child.says("education", "NoSchoolProvision", NOW - 20 * DAY)
    child.says("police", "RiskGraded", NOW - 6 * DAY, {"grade": "HIGH", "rationale": "Repeat episodes"})
    child.says("csc", "RiskGraded", NOW - 6 * DAY, {"grade": "LOW"})
    child.says("health", "InvolvementRecorded", NOW - 40 * DAY, sensitivity="RESTRICTED")
    child.says("csc", "WorkerAllocated", NOW - 40 * DAY)
    child.says("csc", "CsogOutcome", NOW - 2 * DAY)
    child.concludes(NOW - 2 * HOUR)
    rec = child.view(NOW)["recommendations"][0]
    acts: tuple[tuple[str, Json], ...] = (
        ("CaseTaken", {"taken": True}),
        (
            "RecommendationDecided",
            {"decision": "DECLINE", "reason": "BELOW_THRESHOLD", "rationale": "Safe at his aunt's", "meeting_at": None},
        ),
        ("RecommendationDisagreed", {"agency": "police", "ground": "He was found there"}),
    )
    for name, body in acts:
        role = "icart_police" if name.endswith("Disagreed") else "icart_manager"
        act = {
            "event_id": make_id(name),
            "actor_id": "a1",
            "actor_role": role,
            "child_id": child.history.child_id,
            "acted_at": NOW - HOUR,
            "based_on": rec["version"],
            "correlation_id": None,
        }
        found = judge(
            name,
            {"act": act, "recommendation_id": rec["recommendation_id"], **body},
            child.history,
            REFERENCE,
            NOW,
        )
        assert isinstance(found, list), found
        child.adds(found, NOW - HOUR)
    return child


def overdue() -> Child:
    """A child whose case a manager took, and whose recommendation nobody decided."""
    child = r19()
    found = dict(child.concludes(NOW - 9 * DAY))
    taken = {"child_id": child.history.child_id, "by": "nobody-known", "by_role": "icart_manager", "taken": True}
    child.adds([("case_taken", taken)], NOW - 9 * DAY)
    due = found["recommended"]["due_at"]
    assert ["recommendation_overdue"] == [kind for kind, _ in child.concludes(due, fired=due, behind=["facts.police"])]
    return child


def keys(value: object, at: str = "") -> set[str]:
    """Every key path of a document; the items of a list are one."""
    if isinstance(value, Mapping):
        return {f"{at}.{k}" for k in value if k not in OURS} | {
            p for k, v in value.items() if k not in OURS for p in keys(v, f"{at}.{k}")
        }
    return {p for v in value for p in keys(v, f"{at}[]")} if isinstance(value, list) else set()


def dark(paths: set[str]) -> set[str]:
    """Paths that are not of free shape (a fact's own body and fields, counts by agency)."""
    free = (".chronology[].body", ".identity[].fields", ".risk.none_received", "es[].fields", ".said_by", ".withdrawn.")
    return {p for p in paths if not any(f in p for f in free)}


def test_the_small_world_has_the_shape_of_the_fold() -> None:
    """No key in a hand-written view that the fold does not write: otherwise the tests over it prove nothing."""
    real = dark(keys(rich().view(NOW)) | keys(overdue().view(NOW)))
    written = dark(set().union(*(keys(v) for v in (callum(), *others()))))
    elsewhere = {
        p
        for p in written
        if p.startswith((".possible_matches", ".rejected_matches", ".undone_matches", ".risk.unknown[]"))
        or ".exception." in p
        or ".receipts[]" in p
    }  # the rich child has none of these
    assert set() == written - real - elsewhere - {f".recommendations[].history[].{name}" for name in ("meeting_at", "into")}


@pytest.mark.parametrize("role", ["icart_manager", "icart_police", "icart_education"])
def test_a_folded_child_on_every_page(site: Site, role: str) -> None:
    """Child, recommendation, queue, decisions, search and their API, without a gap."""
    child = rich()
    view = child.view(NOW)
    site.world.views = {view["child_id"]: view}
    rec = view["recommendations"][0]["recommendation_id"]
    client = site.person(role)
    for path in (
        "/queue",
        "/decisions",
        f"/children/{view['child_id']}",
        f"/recommendations/{rec}",
        f"/api/children/{view['child_id']}",
    ):
        answer = client.get(path)
        assert 200 == answer.status_code, path
    page = client.get(f"/children/{view['child_id']}").text
    wanted = ["Robin Test", "Child in need", "95%", "No school provision", "Nobody asks.", "Safe at his aunt", "N81001"]
    assert [] == [w for w in wanted if w not in page + client.get(f"/recommendations/{rec}").text]
    assert ("High" in page.split('id="missing"')[1].split("</section>")[0]) == (role != "icart_education")
    assert "Undefined" not in page
    assert "{&#39;" not in page


@pytest.mark.parametrize(("role", "for_you"), [("icart_manager", True), ("edt", True), ("icart_police", False)])
def test_overdue_goes_to_another_person(site: Site, role: str, *, for_you: bool) -> None:
    """Queue, child and recommendation say to whom it was passed and when; it is marked for those, who may take the case over."""
    view = overdue().view(NOW)
    site.world.views = {view["child_id"]: view}
    rec = view["recommendations"][0]["recommendation_id"]
    client = site.person(role)
    for path in ("/queue", f"/children/{view['child_id']}", f"/recommendations/{rec}"):
        page = client.get(path).text
        assert "Passed to another iCART manager than the one who is late, emergency duty team" in page, path
        assert "no decision was recorded by" in page
        assert "1 source behind" in page
    assert for_you is ("Passed to you" in client.get("/queue").text)
    assert for_you is ("Take the case over" in client.get(f"/children/{view['child_id']}").text)
    (row,) = client.get("/api/queue").json()["items"]
    assert [for_you] == [r["for_you"] for r in row["recommendations"]]


def test_a_folded_message_makes_a_bundle() -> None:
    """The outcome as the practice is told it."""
    view = rich().view(NOW)
    bundle = message_bundle(gp_content(view, view["messages"][0]))
    assert "9990000018" == bundle["entry"][0]["resource"]["subject"]["identifier"]["value"]
    assert "Robin" not in str(bundle)


def test_redaction_withholds_a_grade_as_a_part() -> None:
    """What the test above rests on: the grade is the police's own (scope OWNER)."""
    seen: Any = redact(rich().view(NOW), reader_for("icart_education"))
    assert "grade" in seen["missing"][0]["withheld_fields"]


@pytest.mark.parametrize("record", ["ReturnHomeInterviewCompleted", "MissingEpisodeEnded", "SocialCareStatus"])
def test_a_page_with_a_sealed_fact(site: Site, record: str) -> None:
    """It is whole, and reads as it would without; only reasons that rest on it say that something is withheld."""
    child = Child()
    child.says("csc", "SocialCareStatus", NOW - 20 * DAY, {"status": "EARLY_HELP"})
    child.says("police", "MissingEpisodeReported", NOW - 9 * DAY)
    child.says("police", "MissingEpisodeEnded", NOW - 8 * DAY)
    child.says("csc" if record == "SocialCareStatus" else "police", record, NOW - 7 * DAY, sensitivity="SEALED")
    view = child.view(NOW)
    site.world.views = {view["child_id"]: view}
    answer = site.person("icart_health").get(f"/children/{view['child_id']}")
    assert 200 == answer.status_code
    told = answer.text.split('id="missing"')[1]
    assert [] == [w for w in ("withheld", "SEALED") if w in told]
    assert "Early help" in answer.text and "Overdue" in told


def test_a_start_that_is_withheld(site: Site) -> None:
    """The page says so, and when it was reported; the other agency's number and time are not in it."""
    child = Child()
    child.says("csc", "MissingEpisodeReported", NOW - 5 * DAY, {"episode_id": "AW1"})
    began = {"episode_id": "P-77", "started_at": NOW - 5 * DAY - 7 * HOUR}
    child.says("police", "MissingEpisodeEnded", NOW - 4 * DAY, began, regime="LED")
    child.says("csc", "MissingEpisodeReported", NOW - 9 * DAY, {"episode_id": "AW0"})
    view = child.view(NOW)
    site.world.views = {view["child_id"]: view}
    page, answer = (site.person("icart_education").get(f"{at}/children/{view['child_id']}") for at in ("", "/api"))
    assert (200, 200) == (page.status_code, answer.status_code)
    assert "Missing, reported 20 February 2026 at midday, start withheld" in page.text
    assert [None, NOW - 9 * DAY] == [e["started_at"] for e in answer.json()["missing"]]
    assert "P-77" not in page.text + answer.text
    models.ChildView.model_validate(answer.json())


def test_an_end_that_is_withheld(site: Site) -> None:
    """The page tells the time without a school place, and that its end is withheld."""
    child = Child()
    child.says("csc", "NoSchoolProvision", NOW - 20 * DAY, {"from_date": "2026-02-09"})
    ended = {"from_date": "2026-02-09", "to_date": "2026-02-13", "reason": "ENDED"}
    child.says("csc", "NoSchoolProvision", NOW - 2 * DAY, ended, scope="OWNER")
    view = child.view(NOW)
    site.world.views = {view["child_id"]: view}
    page, answer = (site.person("icart_education").get(f"{at}/children/{view['child_id']}") for at in ("", "/api"))
    assert "from 9 February 2026, end withheld: Awaiting" in page.text
    models.ChildView.model_validate(answer.json())


def broken(*_: object) -> None:
    """A rule with a defect."""
    raise KeyError("a defect of ours")


@pytest.mark.parametrize("role", ["icart_manager", "icart_education"])
def test_facts_are_shown_when_our_own_rules_fail(site: Site, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """The banner, every fact that may be seen, the recommendation; and no section says "none" where nothing was worked out."""
    child = rich()
    monkeypatch.setattr("domain.fold.risk.evaluate", broken)
    child.says("education", "SchoolConcern", NOW - DAY, {"narrative": "Came in with a bruise."})
    view = child.view(NOW)
    assert view["evaluated_at"] is None
    site.world.views = {view["child_id"]: view}
    client = site.person(role)
    page = client.get(f"/children/{view['child_id']}")
    assert 200 == page.status_code
    assert "Risk is not evaluated" in page.text
    assert "Came in with a bruise." in page.text
    assert [] == [w for w in ("Child in need", "Nobody asks.") if w not in page.text]
    assert [] == [w for w in ("none received as of", "No CP-IS record", "Nothing from schools", "0 points") if w in page.text]
    assert "Undefined" not in page.text
    rec = view["recommendations"][0]["recommendation_id"]
    assert "Risk is not evaluated today" in client.get(f"/recommendations/{rec}").text
    assert client.get(f"/api/children/{view['child_id']}").json()["risk"] is None
    for path in ("/queue", "/decisions"):
        assert 200 == client.get(path).status_code


MODELS = {
    "/api/queue": models.Queue,
    "/api/decisions": models.Decisions,
    "/api/children/{child_id}": models.ChildView,
    "/api/recommendations/{recommendation_id}": models.RecommendationOf,
    "/api/matches": models.Matches,
    "/api/matches/{match_id}": models.MatchPair,
    "/api/gp-exceptions": models.GpExceptions,
    "/api/search": models.Hits,
}


@pytest.mark.parametrize("role", ["icart_manager", "icart_police", "icart_education"])
def test_documents_have_the_shapes_that_openapi_tells(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """Really folded, redacted, and when our rules fail: nothing missing, nothing more, nothing of another type."""
    child = rich()
    models.ChildView.model_validate(redact(child.view(NOW), reader_for(role)))
    monkeypatch.setattr("domain.fold.risk.evaluate", broken)
    child.says("education", "SchoolConcern", NOW - DAY)
    models.ChildView.model_validate(redact(child.view(NOW), reader_for(role)))


def test_openapi_names_the_shape_of_every_answer_about_children(site: Site) -> None:
    """No answer whose document is known is an untyped object."""
    told = site.stranger().get("/api/openapi.json").json()
    for path, model in MODELS.items():
        operation = told["paths"][path]["post" if path == "/api/search" else "get"]
        shape = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert f"#/components/schemas/{model.__name__}" == shape["$ref"].replace("web__api__models__", ""), path
    assert {"ChildView", "Recommendation", "GpMessage", "Withheld"} <= told["components"]["schemas"].keys()
