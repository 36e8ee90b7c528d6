"""Who sees what: every cell of the table, and no way around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.explain import explain
from domain.model import Json
from domain.sharing import (
    AGENCIES,
    HIDDEN,
    READERS,
    ROLES,
    SEE,
    WITHHELD,
    Reader,
    decide,
    records_beside,
    redact,
    table,
    table_text,
)
from tests.unit.children import DAY, HOUR, NOW, Child, csog, r19
from tests.unit.test_domain_fold import MENU

DOCUMENT = Path(__file__).parents[2] / "docs" / "sharing.md"
SEATS = ("icart_social_worker", "icart_manager", "icart_police", "icart_health", "icart_education", "edt")
NO_CHILDREN = ("board_analyst", "admin", "clock", "somebody-new")

# For each (sensitivity, regime, scope): the roles that see whoever owns it; every other seat sees only its own agency's,
# unless the scope is CONFIDENCE. Written by hand, apart from the code.
CARE, ASSESS = {"icart_social_worker", "icart_manager", "edt"}, {"icart_social_worker", "icart_manager"}
WRITTEN: dict[tuple[str, str], set[str]] = {
    ("UKGDPR", "PARTNERSHIP"): set(SEATS),
    ("UKGDPR", "STATUTORY"): CARE | {"icart_police", "icart_health"},
    ("UKGDPR", "OWNER"): {"icart_manager"},
    ("UKGDPR", "CONFIDENCE"): CARE,
    ("LED", "PARTNERSHIP"): CARE | {"icart_police"},
    ("LED", "STATUTORY"): CARE | {"icart_police"},
    ("LED", "OWNER"): {"icart_manager"},
    ("LED", "CONFIDENCE"): CARE,
}


def expected(role: str, regime: str, sensitivity: str, scope: str, agency: str) -> str:
    """The verdict as docs/sharing.md puts it in words."""
    if sensitivity == "SEALED":
        return "SEE" if role == "icart_manager" else "HIDDEN"
    if role == "gp_practice":  # of an outcome in its own message; never of a view
        told = regime == "UKGDPR" and sensitivity != "RESTRICTED" and scope in {"PARTNERSHIP", "STATUTORY"}
        return "SEE" if told else "WITHHELD"
    own = ROLES[role] == agency and (scope != "CONFIDENCE" or role in CARE)
    roles = WRITTEN[(regime, scope)]
    if sensitivity == "RESTRICTED":
        roles = roles & ASSESS
    return "SEE" if own or role in roles else "WITHHELD"


class TestTable:
    """Role × regime × sensitivity × scope × owning agency."""

    def test_every_cell(self) -> None:
        """All 1,568 cells are as written."""
        cells = table()
        assert (len(SEATS) + 1) * 2 * 4 * 4 * len(AGENCIES) == len(cells)
        wrong = [c for c in cells if expected(*c[:5]) != c[5].name]
        assert [] == wrong

    def test_the_document_is_the_table(self) -> None:
        """docs/sharing.md holds what the code does."""
        assert table_text() in DOCUMENT.read_text()

    @pytest.mark.parametrize("role", NO_CHILDREN)
    def test_no_child_content(self, role: str) -> None:
        """Default deny: whoever is not of iCART sees no child at all."""
        label = {"agency": "police", "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "PARTNERSHIP"}
        assert HIDDEN is decide(Reader(role), label)
        assert {"withheld": True, "agency": None, "contact": "the iCART manager"} == redact(r19().view(), Reader(role))

    @pytest.mark.parametrize("key", ["regime", "sensitivity", "scope"])
    def test_unknown_code(self, key: str) -> None:
        """A code that this version does not know is withheld from everybody."""
        label = {"agency": "csc", "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "PARTNERSHIP", key: "NEW"}
        assert {WITHHELD} == {decide(Reader(role), label) for role in READERS}

    def test_a_practice_sees_nothing_of_a_view(self) -> None:
        """Its row is about its own message alone: the view is not its to see, whatever the labels in it."""
        assert {"withheld": True, "agency": None, "contact": "the iCART manager"} == redact(r19().view(), Reader("gp_practice"))

    def test_an_agency_that_does_not_fit_the_role(self) -> None:
        """A misfit account owns nothing."""
        label = {"agency": "police", "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "OWNER"}
        assert SEE is decide(Reader("icart_police", "police"), label)
        assert WITHHELD is decide(Reader("icart_police", "health"), label)
        assert WITHHELD is decide(Reader("icart_education", "police"), label)


SECRETS = (
    "narrative",
    "what_child_said",
    "why_not",
    "child_words",
    "own_label",
    "gp_action",
    "rationale",
    "contact",
    "team",
    "site_ods",
)
LABELS = st.tuples(
    st.sampled_from(("UKGDPR", "LED")),
    st.sampled_from(("ORDINARY", "SPECIAL", "RESTRICTED", "SEALED")),
    st.sampled_from(("PARTNERSHIP", "STATUTORY", "OWNER", "CONFIDENCE")),
)


@st.composite
def secrets(draw: st.DrawFn) -> Child:
    """A child about whom everything said bears a canary, under any label; with conclusions and a decision."""
    child = Child()
    for agency in ("police", "csc", "education", "health", "rhi", "yjs"):
        child.shows(agency, NOW - 100 * DAY)
    for n in range(draw(st.integers(1, 12))):
        agency, record, body = draw(st.sampled_from(MENU))
        regime, sensitivity, scope = draw(LABELS)
        at = NOW - draw(st.integers(1, 20 * 24)) * HOUR
        fact = child.says(agency, record, at, body, regime=regime, sensitivity=sensitivity, scope=scope)
        fact.body.update({k: f"CANARY-{fact.event_id}" for k in SECRETS if k in fact.body})  # type: ignore[attr-defined]
        if n % 4 == 3:
            child.concludes()
    child.concludes()
    return child


SECTIONS = (
    "name", "birth_date", "sex", "said_by", "identity", "currency", "chronology", "involved", "status", "status_history",
    "practice", "missing", "interviews_unpaired", "vpas", "cpis", "education", "grades", "grade_differences",
)  # fmt: skip
"""Of a view: what is told, and what is made of it but for risk."""


class TestRedact:
    """On every way out."""

    @settings(max_examples=150, deadline=None)
    @given(secrets(), st.sampled_from(SEATS))
    def test_canaries(self, child: Child, role: str) -> None:
        """What is withheld from a reader appears nowhere: neither its words nor its id."""
        view = child.view()
        seen = json.dumps(redact(view, Reader(role)))
        for fact in child.history.facts:
            label = {k: getattr(fact, k) for k in ("agency", "regime", "sensitivity", "scope")}
            if decide(Reader(role), label) is not SEE:
                assert fact.event_id not in seen

    @settings(max_examples=60, deadline=None)
    @given(secrets())
    def test_nothing_is_changed_or_lost(self, child: Child) -> None:
        """The view itself stays; the iCART manager sees every fact (nothing here is of an unknown code)."""
        view = child.view()
        before = json.dumps(view)
        for role in SEATS:
            redact(view, Reader(role))
        assert before == json.dumps(view)
        view.pop("openly", None)
        assert json.dumps(view) == json.dumps(redact(view, Reader("icart_manager")))

    @settings(max_examples=60, deadline=None)
    @given(secrets(), st.sampled_from(SEATS))
    def test_points_stay(self, child: Child, role: str) -> None:
        """A withheld fact counts: points, triggers and due times read the same for all."""
        view, seen = child.view(), redact(child.view(), Reader(role))
        assert (view["risk"]["points"], view["risk"]["harm"]) == (seen["risk"]["points"], seen["risk"]["harm"])
        assert [r["points"] for r in view["risk"]["reasons"]] == [r["points"] for r in seen["risk"]["reasons"]]
        assert [r["trigger"] for r in view["risk"]["reasons"]] == [r["trigger"] for r in seen["risk"]["reasons"]]

    def test_a_reason_reads_withheld(self) -> None:
        """With whom to ask; not even the rule is named."""
        child = r19()
        child.says("police", "VulnerabilitySubmission", NOW - DAY, {"concerns": ["DISCLOSURE_ABUSE"]}, scope="OWNER")
        (reason,) = (r for r in self.seen(child, "icart_health")["risk"]["reasons"] if r["trigger"])
        assert ("withheld", "Information withheld; contact Police in iCART", []) == (
            reason["rule"],
            reason["text"],
            reason["facts"],
        )

    def test_a_sealed_fact(self) -> None:
        """Nothing shows that it is there, save that points are not without a reason: nobody's name, nobody's agency."""
        child = r19()
        before = self.seen(child, "icart_police")
        child.says("health", "InvolvementRecorded", NOW - DAY, sensitivity="SEALED")
        after = self.seen(child, "icart_police")
        for key in ("involved", "chronology", "currency", "identity", "risk"):
            assert before[key] == after[key]

    @settings(max_examples=150, deadline=None)
    @given(secrets(), st.sampled_from([r for r in SEATS if r != "icart_manager"]))
    def test_no_section_shows_that_a_sealed_fact_is_there(self, child: Child, role: str) -> None:
        """Each reads as if it had never been said: no label, no null, no "withheld", nothing ended or met by it."""
        seen = self.seen(child, role)
        told = tuple(f for f in child.history.facts if f.sensitivity != "SEALED")
        gone = {f.presentation_id for f in child.history.facts} - {f.presentation_id for f in told}
        shown = tuple(p for p in child.history.presentations if p.presentation_id not in gone)
        child.history = replace(child.history, facts=told, presentations=shown)
        without = self.seen(child, role)
        assert "openly" not in seen
        assert {k: without[k] for k in SECTIONS} == {k: seen[k] for k in SECTIONS}
        assert [without["risk"][k] for k in ("unknown", "protective")] == [seen["risk"][k] for k in ("unknown", "protective")]

    @pytest.mark.parametrize("role", [r for r in SEATS if r != "icart_manager"])
    def test_a_sealed_fact_of_a_record_that_is_shown(self, role: str) -> None:
        """One presentation brought both: its labels name the ordinary one alone, also where the sealed one comes first."""
        child = Child()
        child.says("health", "InvolvementRecorded", NOW - 2 * DAY)
        child.says("health", "InvolvementRecorded", NOW - DAY, regime="LED", sensitivity="SEALED")
        open_label = {"agency": "health", "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "PARTNERSHIP"}
        whole = child.view()
        assert "SEALED" == whole["identity"][0]["sharing"]["sensitivity"]
        for key in ("identity", "possible_matches"):
            (item,) = redact({key: whole["identity"]} | {"identity": whole["identity"]}, Reader(role))[key]
            assert (open_label, [open_label]) == (item["sharing"], item["sharing_any"])
        assert "SEALED" not in json.dumps(redact(whole, Reader(role)))
        assert whole["identity"] == redact(whole, Reader("icart_manager"))["identity"]

    def test_a_message_whose_practice_is_sealed(self) -> None:
        """Number and practice say nothing of sealed facts that tell them: not by a label, and not by being named as withheld."""
        child = csog(body={})
        child.says("health", "GpRegistration", NOW - 30 * DAY, sensitivity="SEALED")
        child.concludes()
        assert ("N81001", False) == self.message(child)
        facts = (replace(f, sensitivity="SEALED") if f.record == "GpRegistration" else f for f in child.history.facts)
        child.history = replace(child.history, facts=tuple(facts))
        assert (None, False) == self.message(child)

    def message(self, child: Child) -> tuple[str | None, bool]:
        """Practice of the one message as police see it, and whether its being there or withheld is told."""
        message = self.seen(child, "icart_police")["messages"][0]
        told = "practice_ods" in message.get("withheld_fields", ()) or "SEALED" in json.dumps(message)
        return message["practice_ods"], told

    def test_a_stricter_correction(self) -> None:
        """It hides itself, not what it corrects: that stays in the chronology under its own label, as replaced."""
        child = Child()
        first = child.says("police", "VulnerabilitySubmission", NOW - 2 * DAY, {"narrative": "At an address of concern"})
        child.says("police", "VulnerabilitySubmission", NOW - DAY, supersedes=first.event_id, sensitivity="SEALED")
        seen = self.seen(child, "icart_education")
        assert [(first.event_id, "SUPERSEDED")] == [(c["event_id"], c["state"]) for c in seen["chronology"]]
        assert "At an address of concern" == seen["chronology"][0]["body"]["narrative"]
        assert [] == seen["vpas"]

    def test_a_sensitive_service(self) -> None:
        """Involvement is shown, detail is not (ContactPoint's class of sensitive services)."""
        child = Child()
        child.says("health", "InvolvementRecorded", NOW - DAY, sensitivity="RESTRICTED")
        stub = {"withheld": True, "agency": "health", "contact": "Health in iCART"}
        assert [stub] == self.seen(child, "icart_police")["involved"]
        assert "CAMHS" == self.seen(child, "icart_social_worker")["involved"][0]["service"]

    def test_a_grade_apart_from_the_episode(self) -> None:
        """Education may know that the child is missing, and not how police grade it."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - DAY)
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": "HIGH"}, scope="STATUTORY")
        episode = self.seen(child, "icart_education")["missing"][0]
        assert ("M", None, ["grade", "grade_label", "own_label"]) == (
            episode["type"],
            episode["grade"],
            episode["withheld_fields"],
        )

    def test_an_interview_in_confidence(self) -> None:
        """Social care only; the clock that it stopped is withheld with it."""
        child = Child()
        child.says("police", "MissingEpisodeEnded", NOW - 2 * DAY)
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - DAY, scope="CONFIDENCE")
        episode = self.seen(child, "icart_police")["missing"][0]
        assert all(x["withheld"] for x in (*episode["interviews"], episode["rhi_clock"]))
        assert "MET" == self.seen(child, "icart_social_worker")["missing"][0]["rhi_clock"]["state"]

    def test_the_name_from_a_source_they_may_see(self) -> None:
        """The best source is chosen again from what the reader may see."""
        child = Child()
        child.shows("police", given_name="Rob")
        child.shows("health")
        child.says("police", "MissingEpisodeReported", NOW - DAY)
        child.says("health", "InvolvementRecorded", NOW - DAY, scope="OWNER")
        assert "Robin" == self.seen(child, "icart_manager")["name"]["given"]
        assert "Rob" == self.seen(child, "icart_education")["name"]["given"]

    def test_a_message_shows_no_number_from_elsewhere(self) -> None:
        """The NHS number came with health's facts, the practice with the registration: withheld as those are."""
        child = csog(body={})
        health = next(f for f in child.history.facts if f.agency == "health")
        child.history = replace(
            child.history, facts=tuple(replace(f, scope="OWNER") if f is health else f for f in child.history.facts)
        )
        pid = next(p.presentation_id for p in child.history.presentations if p.agency == "csc")
        child.history = replace(
            child.history,
            presentations=tuple(
                replace(p, fields={**p.fields, "nhs_number": None}) if p.presentation_id == pid else p
                for p in child.history.presentations
            ),
        )
        child.concludes()
        message = self.seen(child, "icart_police")["messages"][0]
        assert (None, None, ["nhs_number", "practice_ods"]) == tuple(
            message[k] for k in ("practice_ods", "nhs_number", "withheld_fields")
        )
        assert "N81001" == self.seen(child, "icart_health")["messages"][0]["practice_ods"]

    @staticmethod
    def seen(child: Child, role: str) -> Json:
        """The view as a role sees it."""
        return redact(child.view(), Reader(role))


class TestExplain:
    """The explanation is of the redacted view."""

    @settings(max_examples=40, deadline=None)
    @given(secrets(), st.sampled_from(SEATS))
    def test_it_explains_anything(self, child: Child, role: str) -> None:
        """Whatever is withheld, there are lines, and no word of it."""
        lines = "\n".join(explain(redact(child.view(), Reader(role))))
        assert "999" in lines
        for fact in child.history.facts:
            if decide(Reader(role), {k: getattr(fact, k) for k in ("agency", "regime", "sensitivity", "scope")}) is not SEE:
                assert fact.event_id not in lines

    def test_r19(self) -> None:
        """Reasons, weights, agencies and facts; what is not known; no false reassurance."""
        child = r19()
        child.concludes()
        text = "\n".join(explain(child.view()))
        assert "Schools and education: absence 62 % over 4 weeks (weak signal, 3 points)" in text
        assert "Cheshire Constabulary: unsuitable or unsafe housing" in text
        assert "none received" in text

    def test_no_children_for_the_board(self) -> None:
        """One line."""
        assert ["Information withheld; contact the iCART manager."] == explain(redact(r19().view(), Reader("board_analyst")))


def test_records_beside_a_view_of_the_past() -> None:
    """What was known then is of records that another child may have today: those that are shown, and never those withheld."""
    child = Child()
    mine, moved = child.shows("csc"), child.shows("police")
    child.says("csc", "SocialCareStatus", NOW - 20 * DAY)
    child.says("police", "MissingEpisodeReported", NOW - 20 * DAY)
    child.moves(moved, "another child", NOW - 5 * DAY)
    assert [] == records_beside(redact(child.view(), Reader("icart_health")))
    then = redact(child.view(NOW, NOW - 10 * DAY), Reader("icart_health"))
    assert sorted([mine, moved]) == records_beside(then)
    child.history = replace(child.history, facts=tuple(replace(f, scope="OWNER") for f in child.history.facts))
    assert [mine] == records_beside(redact(child.view(NOW, NOW - 10 * DAY), Reader("icart_social_worker")))


@pytest.mark.parametrize("label", [{"sensitivity": "SEALED"}, {"scope": "OWNER"}])
def test_a_view_of_the_past_shows_no_identity_that_today_hides(label: dict[str, str]) -> None:
    """Before a presentation's first fact happened it carries none: its name and address stay as guarded as they are today."""
    child = Child()
    child.shows("csc", postcode="WA7 9ZZ")
    child.says("csc", "SocialCareStatus", NOW - 5 * DAY, **label)
    for as_of in (NOW, NOW - 6 * DAY):
        seen = redact(child.view(as_of), Reader("icart_police"))
        assert "WA7 9ZZ" not in str(seen), as_of
        assert {"given": None, "family": None} == seen["name"], as_of
