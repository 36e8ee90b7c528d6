"""CP-IS FHIR: any order, any split, XML or JSON, and twice the same come to the same facts; hostile bytes come to errors."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cpis_fhir import join
from producers.drafts import Draft
from producers.errors import SourceError, SpoolInUse
from producers.facts import prepare
from producers.fhir import parse
from producers.waiting import WaitingRoom
from tests.shared_data import shared
from tests.unit.cpis import (
    FILES,
    FLAG,
    NOW,
    PATIENT,
    PLAN,
    TEAM,
    bundle,
    content,
    joined,
)


class TestJoin:
    """Patient, Flag, CarePlan and CareTeam as one fact."""

    def test_one_fact(self) -> None:
        """Everything that the four say, in the contract's terms; it is acceptable."""
        (draft,) = joined(list(FILES.values())).drafts
        subject = {
            "local_id": "P1",
            "given_name": "Zoë",
            "family_name": "Testcase",
            "other_names": "Ann",
            "sex": "F",
            "postcode": "ZZ99 3VZ",
            "address_line": "1 Example Street, Widnes",
            "nhs_number": "9990000018",
            "nhs_number_status": "01",
            "birth_date": "2011-10-30",
        }
        assert subject == draft.value["envelope"]["subject"]
        said = {k: draft.value[k] for k in ("plan_type", "start_date", "end_date", "la_name", "la_contact", "source_ref")}
        assert {
            "plan_type": "CPPI",
            "start_date": "2026-01-05",
            "end_date": None,
            "la_name": "Halton",
            "la_contact": "0151 496 0000",
            "source_ref": "CarePlan/CP1",
        } == said
        assert "supersedes" not in draft.value["envelope"]
        prepare("health", b"s" * 16, draft.record, draft.value, NOW)

    @given(st.permutations(list(FILES.values())))
    def test_any_order(self, files: list[bytes]) -> None:
        """The order of files is nothing; a reference in other case is told and resolved."""
        found = joined(files)
        assert [d.value for d in joined(list(FILES.values())).drafts] == [d.value for d in found.drafts]
        assert [("CarePlan.careTeam", "reference-case")] == [(r.field, r.rule) for r in found.reports]

    @pytest.mark.parametrize(
        ("change", "rule", "facts"),
        [
            ({"category": [{"coding": [{"code": "375041000000100"}]}]}, "unknown-code", 0),  # a family member on a plan
            ({"status": "entered-in-error"}, "entered-in-error", 0),
            ({"status": "completed"}, "required", 0),
            ({"period": {}}, "required", 0),
            ({"period": {"start": "05/01/2026"}}, "instant", 0),
            ({"period": {"start": "2026-01-05", "end": "2026-01-04"}}, "before-start", 1),
            ({"subject": {"reference": "Patient/P2"}}, "reference-unresolved", 0),
            ({"subject": {"reference": "CareTeam/T1"}}, "reference-type", 0),
            ({"subject": {"display": "Zoe"}}, "reference-missing", 0),
            ({"subject": {"reference": "https://example.test/fhir/Patient/P1/_history/3"}}, "reference-case", 1),
        ],
    )
    def test_a_plan_with_a_fault(self, change: dict[str, Any], rule: str, facts: int) -> None:
        """Told by path and rule; what waits is kept."""
        found = joined([PATIENT, bundle({**PLAN, **change}, TEAM, FLAG)])
        assert (facts, True) == (len(found.drafts), rule in [r.rule for r in found.reports])

    def test_an_ended_plan(self) -> None:
        """The end is the fact's day, and a plan that ends is another fact than its beginning."""
        ended = {**PLAN, "status": "completed", "period": {"start": "2026-01-05", "end": "2026-03-27T16:00:00+00:00"}}
        first, (second,) = joined(list(FILES.values())), joined([PATIENT, bundle(ended, TEAM, FLAG)]).drafts
        assert "2026-03-27" == second.value["end_date"]
        assert first.drafts[0].value["envelope"]["event_id"] != second.value["envelope"]["event_id"]

    @pytest.mark.parametrize("status", ["active", "on-hold"])
    @pytest.mark.parametrize("meta", [{}, {"meta": {"lastUpdated": "2026-06-01T09:00:00Z"}}])
    @pytest.mark.parametrize("end", ["2026-06-01", "2027-03-27T16:00:00+00:00", "9999-12-31"])
    def test_a_planned_end(self, status: str, meta: dict[str, Any], end: str) -> None:
        """A plan that is active has not ended: it is told as going on, and acceptable; the planned end is reported."""
        planned = {**PLAN, "status": status, **meta, "period": {"start": "2026-01-05", "end": end}}
        found = joined([PATIENT, bundle(planned, TEAM, FLAG)])
        (draft,) = found.drafts
        assert ("2026-01-05", None) == (draft.value["start_date"], draft.value["end_date"])
        prepare("health", b"s" * 16, draft.record, draft.value, NOW)
        assert [("CarePlan.period.end", True)] == [(r.field, r.kept) for r in found.reports if r.rule == "planned"]

    def test_active_and_written_after_its_end(self) -> None:
        """Its sender knew that the day was over: told as ended, as before, and that its status says otherwise."""
        over = {**PLAN, "meta": {"lastUpdated": "2026-06-02T09:00:00Z"}, "period": {"start": "2026-01-05", "end": "2026-06-01"}}
        found = joined([PATIENT, bundle(over, TEAM, FLAG)])
        assert ["2026-06-01"] == [d.value["end_date"] for d in found.drafts]
        assert "status-differs" in {r.rule for r in found.reports}

    def test_two_that_differ_by_case_only(self) -> None:
        """Never guess which child: it waits."""
        other = PATIENT.replace(b'"P1"', b'"p1"').replace(b"9990000018", b"9990000026")
        found = joined([PATIENT, other, bundle({**PLAN, "subject": {"reference": "PATIENT/p1"}}, TEAM)])
        assert ((), ["reference-ambiguous"]) == (found.drafts, [r.rule for r in found.reports])

    def test_flag_and_plan_of_different_children(self) -> None:
        """Nothing is told until they agree: the wrong child is the worst answer."""
        other = PATIENT.replace(b'"P1"', b'"P2"')
        found = joined([PATIENT, other, bundle(PLAN, TEAM, {**FLAG, "subject": {"reference": "Patient/P2"}})])
        assert ((), ["subject-differs"]) == (found.drafts, [r.rule for r in found.reports])
        assert {"CarePlan/CP1", "Flag/F1"} == {r.ref for r in found.waiting}

    def test_reports_hold_no_values(self) -> None:
        """I7: no report quotes the child."""
        found = joined([PATIENT.replace(b"9990000018", b"9912003899").replace(b"2011", b"1970"), bundle(PLAN)])
        assert {"nhs-number", "implausible", "reference-unresolved", "no-flag"} == {r.rule for r in found.reports}
        said = " ".join(r.message for r in found.reports)
        assert not [v for v in ("9912003899", "1970", "Testcase", "Zo") if v in said]


class TestWaiting:
    """Across calls and restarts."""

    @settings(max_examples=40, deadline=None)
    @given(st.permutations(list(FILES)), st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 3))
    def test_any_order_and_any_split(self, names: list[str], cuts: list[bool], again: int) -> None:
        """However the files are split over calls, the last word on the plan is the same, and repeats add nothing."""
        whole = content(joined(list(FILES.values())).drafts[0])
        folder = Path(tempfile.mkdtemp(prefix="cpis-test-"))
        try:
            calls: list[list[str]] = [[]]
            for name, cut in zip(names, cuts, strict=True):
                calls[-1].append(name)
                if cut:
                    calls.append([])
            told: list[Draft] = []
            for call in [c for c in calls if c]:
                told += self.receive(folder, call)
            last = told[-1]
            assert whole == content(last)
            superseded = {d.value["envelope"].get("supersedes") for d in told} - {None}
            assert [last] == [d for d in told if d.value["envelope"]["event_id"] not in superseded]
            assert [] == self.receive(folder, names[again:])
            assert [] == self.receive(folder, list(FILES))
        finally:
            shutil.rmtree(folder)

    def test_a_plan_waits_for_its_patient_and_says_so(self, folder: Path) -> None:
        """Reported while it waits, told when the patient comes, gone from the folder then."""
        room = WaitingRoom(folder)
        found = room.receive(parse("plan.json", FILES["plan.json"]))
        room.told(found)
        assert ((), [("CarePlan.subject", "reference-unresolved")]) == (found.drafts, [(r.field, r.rule) for r in found.reports])
        found = room.receive([r for name in ("patient.xml", "team.json", "flag.json") for r in parse(name, FILES[name])])
        assert 1 == len(found.drafts)
        room.told(found)
        assert {"Patient", "CareTeam"} == {p.name.split("-")[0] for p in (folder / "resources").iterdir()}
        room.close()

    def test_without_its_care_team_a_plan_is_told_at_once(self, folder: Path) -> None:
        """A missing telephone number does not withhold a child protection plan; the fuller fact supersedes the first."""
        (first,) = self.receive(folder, ["patient.xml", "plan.json", "flag.json"])
        assert first.value["la_contact"] is None
        (second,) = self.receive(folder, ["team.json"])
        assert first.value["envelope"]["event_id"] == second.value["envelope"]["supersedes"]

    def test_entered_in_error(self, folder: Path) -> None:
        """What was told of the plan is retracted, each fact once; the same file again adds nothing; told anew if it was right."""
        (bare,) = self.receive(folder, ["patient.xml", "plan.json", "flag.json"])
        (full,) = self.receive(folder, ["team.json"])
        wrong = bundle({**PLAN, "status": "entered-in-error", "meta": {"lastUpdated": "2026-02-02T00:00:00Z"}})
        found = self.bundles(folder, wrong)
        told = [d.value["envelope"]["event_id"] for d in (bare, full)]
        assert [("Retraction", i) for i in told] == [(d.record, d.value["envelope"]["retracts"]) for d in found]
        assert 2 == len({d.value["envelope"]["event_id"] for d in found})
        for draft in found:
            prepare("health", b"s" * 16, draft.record, draft.value, NOW)
        assert [] == self.bundles(folder, wrong)
        assert [] == self.receive(folder, list(FILES)), "an older version that comes late is none"
        right = bundle({**PLAN, "meta": {"lastUpdated": "2026-03-03T00:00:00Z"}}, TEAM, FLAG)
        (again,) = self.bundles(folder, right)
        assert ("CpisStatusChanged", None) == (again.record, again.value["envelope"].get("supersedes"))
        assert again.value["envelope"]["event_id"] not in told, "the retracted facts stay retracted: it is said anew"

    def bundles(self, folder: Path, *bundles: bytes) -> list[Draft]:
        """As one call of the command; what was told."""
        room = WaitingRoom(folder)
        try:
            joined = room.receive([r for n, data in enumerate(bundles) for r in parse(f"b{n}", data)])
            room.told(joined)
            return list(joined.drafts)
        finally:
            room.close()

    def test_lost_memory_repeats_the_same_id(self, folder: Path) -> None:
        """With the memory gone the same fact goes out under its own id, which the ledger counts once."""
        (first,) = self.receive(folder, list(FILES))
        (folder / "sent.json").unlink()
        (again,) = self.receive(folder, list(FILES))
        assert first.value == again.value

    def test_refused_facts_are_not_remembered_as_told(self, folder: Path) -> None:
        """A plan that the contract refuses can be mended and sent again."""
        room = WaitingRoom(folder)
        found = room.receive([r for n, data in FILES.items() for r in parse(n, data)])
        room.told(found, found.drafts)
        room.close()
        assert 1 == len(self.receive(folder, list(FILES)))

    def test_an_older_version_that_comes_late(self, folder: Path) -> None:
        """meta.lastUpdated decides, not the order of arrival."""
        new = {**TEAM, "name": "Halton Borough", "meta": {"lastUpdated": "2026-02-02T00:00:00Z"}}
        room = WaitingRoom(folder)
        room.told(room.receive(parse("new", bundle(new))))
        old = {**TEAM, "meta": {"lastUpdated": "2026-01-01T00:00:00Z"}}
        found = room.receive([*parse("old", bundle(old, PLAN, FLAG)), *parse("patient", PATIENT)])
        assert "Halton Borough" == found.drafts[0].value["la_name"]
        room.close()

    def test_one_at_a_time_and_private(self, folder: Path) -> None:
        """Two receivers would tell twice; the folder is its owner's only."""
        room = WaitingRoom(folder)
        room.told(room.receive(parse("patient", PATIENT)))
        with pytest.raises(SpoolInUse):
            WaitingRoom(folder)
        assert {0o600} == {p.stat().st_mode & 0o777 for p in (folder / "resources").iterdir()}
        room.close()

    @staticmethod
    def receive(folder: Path, names: list[str]) -> list[Draft]:
        """One call of the command: what it tells."""
        room = WaitingRoom(folder)
        try:
            found = room.receive([r for name in names for r in parse(name, FILES[name])])
            room.told(found)
            return list(found.drafts)
        finally:
            room.close()


class TestHostile:
    """Bytes from outside."""

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"hello",
            b"<Patient>",
            b'<Patient xmlns="http://example.test/"><id value="1"/></Patient>',
            b"{",
            b"[]",
            b"{}",
            b'{"a": 1}',
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir">&e;</Patient>',
            b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><Patient xmlns="http://hl7.org/fhir">&b;</Patient>',
            b'<Patient xmlns="http://hl7.org/fhir">' + b"<a>" * 200 + b"</a>" * 200 + b"</Patient>",
            b'{"resourceType": "Patient", "a": ' + b"[" * 100_000,
            b'{"resourceType": "Patient", "a": ' + b'{"a":' * 60 + b"1" + b"}" * 61,
        ],
    )
    def test_refused(self, data: bytes) -> None:
        """Not FHIR, entities, depth: one clear error that names the file."""
        with pytest.raises(SourceError, match=r"hostile\.file"):
            parse("hostile.file", data)

    def test_no_entity_is_read(self) -> None:
        """Nothing of a local file comes in by an entity."""
        with pytest.raises(SourceError, match="document type declaration"):
            parse(
                "x",
                b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><Patient xmlns="http://hl7.org/fhir">&e;</Patient>',
            )

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes: resources or a SourceError."""
        for start in (b"", b"<", b"{", b'{"resourceType":'):
            with contextlib.suppress(SourceError):
                joined([start + data])

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "resourceType",
                            "id",
                            "subject",
                            "reference",
                            "category",
                            "coding",
                            "code",
                            "name",
                            "given",
                            "period",
                            "start",
                            "extension",
                        ]
                    ),
                    x,
                    max_size=4,
                )
            ),
            max_leaves=15,
        )
    )
    def test_any_json(self, node: Any) -> None:
        """A CarePlan and a Patient of any shape are told or reported, and never a crash."""
        plan = {**PLAN, **(node if isinstance(node, dict) else {"subject": node}), "resourceType": "CarePlan"}
        patient = {**(node if isinstance(node, dict) else {"name": node}), "resourceType": "Patient", "id": "P1"}
        joined([bundle(plan, patient, TEAM, FLAG)])


def test_the_published_sample() -> None:
    """NHS England's examples, in any order, are one fact; the reference in other case and the adult's birth date are told."""
    files = sorted(shared("cpis-fhir").glob("*.xml"))
    assert 4 == len(files)
    found = join([r for f in reversed(files) for r in parse(f.name, f.read_bytes())], {})
    (draft,) = found.drafts
    assert ("CPPI", "2024-07-22", "SHEFFIELD CITY COUNCIL") == tuple(
        draft.value[k] for k in ("plan_type", "start_date", "la_name")
    )
    assert "1970-01-01" == draft.value["envelope"]["subject"]["birth_date"]
    assert {"reference-case", "implausible"} == {r.rule for r in found.reports}
    prepare("health", b"s" * 16, draft.record, draft.value, NOW)
