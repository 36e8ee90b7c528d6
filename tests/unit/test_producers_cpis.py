"""CP-IS FHIR: any order, any split, XML or JSON, and twice the same come to the same facts; hostile bytes come to errors."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cpis_fhir import Joined, join
from producers.drafts import Draft
from producers.errors import SourceError, SpoolInUse
from producers.facts import prepare, spec_of
from producers.fhir import parse
from producers.waiting import WaitingRoom
from projections.entries import ACCEPTED
from schemas.validation import from_json
from tests.fault.memory import Memory
from tests.shared_data import shared

NOW = 1_800_000_000_000_000

PATIENT = b"""<?xml version="1.0"?><Patient xmlns="http://hl7.org/fhir"><id value="P1"/>
 <identifier><extension url="https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus">
  <valueCodeableConcept><coding><code value="01"/></coding></valueCodeableConcept></extension>
  <system value="https://fhir.nhs.uk/Id/nhs-number"/><value value="9990000018"/></identifier>
 <name><use value="nickname"/><given value="Z"/></name>
 <name><use value="official"/><family value="Testcase"/><given value="Zo&#235;"/><given value="Ann"/></name>
 <gender value="female"/><birthDate value="2011-10-30">
  <extension url="x"><valueDateTime value="2011-10-30T01:30:00Z"/></extension></birthDate>
 <address><line value="1 Example Street"/><city value="Widnes"/><postalCode value="ZZ99 3VZ"/></address>
</Patient>"""
PLAN: dict[str, Any] = {
    "resourceType": "CarePlan",
    "id": "CP1",
    "status": "active",
    "intent": "plan",
    "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "342191000000101"}]}],
    "subject": {"reference": "Patient/P1"},
    "period": {"start": "2026-01-05"},
    "careTeam": [{"reference": "CareTeam/t1"}],
}
TEAM = {"resourceType": "CareTeam", "id": "T1", "name": "Halton", "telecom": [{"system": "phone", "value": "0151 496 0000"}]}
FLAG = {
    "resourceType": "Flag",
    "id": "F1",
    "status": "active",
    "code": {"coding": [{"code": "child-protection-information-system-flag"}]},
    "subject": {"reference": "Patient/P1"},
    "extension": [{"url": "flag-detail", "valueReference": {"reference": "CarePlan/CP1"}}],
}


def bundle(*resources: Any) -> bytes:
    """A JSON Bundle."""
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}).encode()


FILES: dict[str, bytes] = {
    "patient.xml": PATIENT,
    "plan.json": json.dumps(PLAN).encode(),
    "team.json": json.dumps(TEAM).encode(),
    "flag.json": bundle(FLAG),
}


def joined(files: Sequence[bytes]) -> Joined:
    """All at once, nothing told before."""
    return join([r for n, data in enumerate(files) for r in parse(f"file{n}", data)], {})


def content(draft: Draft) -> dict[str, Any]:
    """What a fact says, without its ids."""
    envelope = {k: v for k, v in draft.value["envelope"].items() if k not in ("event_id", "supersedes")}
    return {**draft.value, "envelope": envelope}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own."""
    path = Path(tempfile.mkdtemp(prefix="cpis-test-"))
    yield path
    shutil.rmtree(path)


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


def version(day: str, start: str, end: str | None = None, **change: Any) -> dict[str, Any]:
    """The plan as updated on a day of February 2026 (empty: it does not say when)."""
    period = {"start": start, **({"end": end} if end else {})}
    dated = {"meta": {"lastUpdated": f"2026-02-{day}T00:00:00Z"}} if day else {}
    return {**PLAN, "period": period, "status": "completed" if end else "active", **dated, **change}


def receive(folder: Path, *files: bytes) -> Joined:
    """One call of the command."""
    room = WaitingRoom(folder)
    found = room.receive([r for n, data in enumerate(files) for r in parse(f"file{n}", data)])
    room.told(found)
    room.close()
    return found


def send(folder: Path, *versions: dict[str, Any]) -> list[Draft]:
    """Each version of the plan by a call of its own, beside all else; what was told."""
    return [draft for plan in versions for draft in receive(folder, PATIENT, bundle(plan, TEAM, FLAG)).drafts]


def shown(told: Sequence[Draft]) -> list[tuple[str, str, str | None]]:
    """Type, start and end of the plans that are shown of any child once all of it has arrived, in the order given."""
    house = Memory(NOW)
    for draft in told:
        value = from_json(spec_of(draft.record), draft.value)
        assert ACCEPTED == house.take("facts.health", draft.record, value).verdict
    return [(p["plan_type"], p["start"], p["end"]) for view in house.views() for p in view["cpis"]["status"]]


class TestOffsets:
    """Which version is later is a question of instants; as texts, these are in another order."""

    EARLIER, LATER = "2026-06-01T09:30:00+01:00", "2026-06-01T09:00:00Z"

    @staticmethod
    def dated(when: str, **change: Any) -> dict[str, Any]:
        """The plan as updated then."""
        return {**PLAN, "meta": {"lastUpdated": when}, **change}

    def test_entered_in_error(self, folder: Path) -> None:
        """Found wrong half an hour after it was told: withdrawn. What was told before, come late, is not told anew."""
        told = send(folder, self.dated(self.EARLIER), self.dated(self.LATER, status="entered-in-error"))
        assert ["CpisStatusChanged", "Retraction"] == [d.record for d in told]
        assert [] == send(folder, self.dated(self.EARLIER, period={"start": "2026-01-06"}))

    def test_entered_in_error_and_right_after_all(self, folder: Path) -> None:
        """Half an hour after it was found wrong it is told again."""
        told = send(folder, self.dated("2026-06-01T09:00:00+01:00"), self.dated(self.EARLIER, status="entered-in-error"))
        assert ["CpisStatusChanged"] == [d.record for d in send(folder, self.dated(self.LATER, period={"start": "2026-01-06"}))]
        assert 2 == len(told)

    @pytest.mark.parametrize("swap", [False, True])
    def test_in_one_file(self, swap: bool) -> None:
        """Of two versions at once the later one is told."""
        plans = [self.dated(self.EARLIER), self.dated(self.LATER, period={"start": "2026-01-06"})]
        (draft,) = joined([PATIENT, bundle(*plans[:: -1 if swap else 1], TEAM, FLAG)]).drafts
        assert "2026-01-06" == draft.value["start_date"]

    def test_in_two_files(self, folder: Path) -> None:
        """The later one stays in the folder when the earlier comes after it."""
        later, earlier = ({**TEAM, "name": when, "meta": {"lastUpdated": when}} for when in (self.LATER, self.EARLIER))
        receive(folder, bundle(later))
        (draft,) = receive(folder, PATIENT, bundle(earlier, PLAN, FLAG)).drafts
        assert self.LATER == draft.value["la_name"]

    def test_the_same_instant(self) -> None:
        """Two versions of one instant: it is said that nothing tells which is later."""
        plans = [self.dated(self.EARLIER), self.dated("2026-06-01T08:30:00Z", period={"start": "2026-01-06"})]
        assert "version-unclear" in {r.rule for r in joined([PATIENT, bundle(*plans, TEAM, FLAG)]).reports}

    def test_a_correction(self, folder: Path) -> None:
        """The latest told is remembered by its instant: an earlier version that comes then corrects nothing."""
        right = self.dated(self.LATER, period={"start": "2026-01-06"})
        told = send(folder, self.dated("2026-06-01T08:00:00Z"), right, self.dated(self.EARLIER, period={"start": "2026-01-07"}))
        assert ["2026-01-05", "2026-01-06"] == [d.value["start_date"] for d in told]


class TestCorrected:
    """A later version of a plan names another start, type or child: what was told before counts no more."""

    NOVEMBER, OCTOBER, ENDED = "2025-11-10", "2025-10-10", "2026-01-30"

    @pytest.mark.parametrize("days", [("01", "02", "03"), ("", "", "")])
    def test_the_start_and_then_the_end(self, folder: Path, days: tuple[str, str, str]) -> None:
        """The plan has ended; none is open for ever from the day that was wrong. In any order of arrival."""
        first, second, third = days
        told = send(
            folder,
            version(first, self.NOVEMBER),
            version(second, self.OCTOBER),
            version(third, self.OCTOBER, self.ENDED),
        )
        assert told[0].value["envelope"]["event_id"] == told[1].value["envelope"]["supersedes"]
        assert "supersedes" not in told[2].value["envelope"], "it was open, and then it ended: both are so"
        for some in itertools.permutations(told):
            assert [("CPPI", self.OCTOBER, self.ENDED)] == shown(some)

    @pytest.mark.parametrize("then", [None, "2026-01-10"])
    def test_the_end(self, folder: Path, then: str | None) -> None:
        """A plan that goes on after all, or ended earlier; in any order of arrival."""
        told = send(folder, version("01", self.NOVEMBER, self.ENDED), version("02", self.NOVEMBER, then))
        for some in itertools.permutations(told):
            assert [("CPPI", self.NOVEMBER, then)] == shown(some)

    def test_an_end_without_a_date_of_its_own(self, folder: Path) -> None:
        """The version that ends a plan does not say when it was written: it came after the one that does."""
        told = send(folder, version("02", self.NOVEMBER), version("", self.NOVEMBER, self.ENDED))
        for some in itertools.permutations(told):
            assert [("CPPI", self.NOVEMBER, self.ENDED)] == shown(some)

    def test_another_name_of_its_authority(self, folder: Path) -> None:
        """A CareTeam of a later day: the fact is recorded as late as that."""
        told = send(folder, version("01", self.NOVEMBER))
        renamed = TEAM | {"name": "Halton East", "meta": {"lastUpdated": "2026-02-20T00:00:00Z"}}
        (again,) = receive(folder, PATIENT, bundle(version("01", self.NOVEMBER), renamed, FLAG)).drafts
        assert again.value["envelope"]["recorded_at"] > told[0].value["envelope"]["recorded_at"]
        assert "Halton East" == again.value["la_name"]

    def test_after_several_tellings(self, folder: Path) -> None:
        """Every fact of the wrong start stops to count, not the last one only; each is acceptable."""
        told = send(
            folder,
            version("01", self.NOVEMBER),
            version("02", self.NOVEMBER, self.ENDED),
            version("03", self.OCTOBER, self.ENDED),
        )
        ids = [d.value["envelope"]["event_id"] for d in told]
        assert ["CpisStatusChanged"] * 3 + ["Retraction"] == [d.record for d in told]
        assert (ids[1], ids[0]) == (told[2].value["envelope"]["supersedes"], told[3].value["envelope"]["retracts"])
        for draft in told:
            prepare("health", b"s" * 16, draft.record, draft.value, NOW)
        for some in itertools.permutations(told):
            assert [("CPPI", self.OCTOBER, self.ENDED)] == shown(some)

    def test_without_its_care_team(self, folder: Path) -> None:
        """A bare telling, its fuller one and a correction leave one plan."""
        bare = receive(folder, PATIENT, bundle(version("01", self.NOVEMBER), FLAG))
        told = [*bare.drafts, *send(folder, version("01", self.NOVEMBER), version("02", self.OCTOBER))]
        for some in itertools.permutations(told):
            assert [("CPPI", self.OCTOBER, None)] == shown(some)

    def test_the_type(self, folder: Path) -> None:
        """A child was looked after, and never on a child protection plan."""
        looked_after = {"category": [{"coding": [{"code": "LACI"}]}]}
        told = send(folder, version("01", self.NOVEMBER), version("02", self.NOVEMBER, **looked_after))
        assert [("LACI", self.NOVEMBER, None)] == shown(told) == shown(told[::-1])

    def test_the_child(self, folder: Path) -> None:
        """The plan is another child's: it leaves the first."""
        other = PATIENT.replace(b'"P1"', b'"P2"').replace(b"9990000018", b"9990000026").replace(b"2011-10-30", b"2012-12-01")
        theirs = {"subject": {"reference": "Patient/P2"}}
        (first,) = send(folder, version("01", self.NOVEMBER))
        moved = bundle(version("02", self.NOVEMBER, **theirs), {**FLAG, **theirs})
        (second,) = receive(folder, other, moved).drafts
        assert "P2" == second.value["envelope"]["subject"]["local_id"]
        assert [("CPPI", self.NOVEMBER, None)] == shown([first, second]) == shown([second, first])

    def test_and_back(self, folder: Path) -> None:
        """The first start was right after all."""
        told = send(folder, *(version(f"0{n}", start) for n, start in enumerate((self.NOVEMBER, self.OCTOBER, self.NOVEMBER), 1)))
        for some in itertools.permutations(told):
            assert [("CPPI", self.NOVEMBER, None)] == shown(some)

    @pytest.mark.parametrize("days", [("01", "02", "03"), ("", "", "")])
    def test_any_file_again_adds_nothing(self, folder: Path, days: tuple[str, str, str]) -> None:
        """Also one of before the correction: an older version that comes late is none."""
        versions = [
            version(days[0], self.NOVEMBER, self.ENDED),
            version(days[1], self.OCTOBER),
            version(days[2], self.OCTOBER, self.ENDED),
        ]
        assert 3 == len(send(folder, *versions))
        assert [] == send(folder, *versions, *versions[::-1])

    def test_an_older_version_that_comes_late(self, folder: Path) -> None:
        """It was never told, and is not: neither another start, nor that the plan was an error."""
        assert 1 == len(send(folder, version("03", self.OCTOBER)))
        assert [] == send(folder, version("01", self.NOVEMBER), version("02", self.OCTOBER, status="entered-in-error"))

    def test_then_entered_in_error(self, folder: Path) -> None:
        """Nothing of the plan is left."""
        told = send(
            folder,
            version("01", self.NOVEMBER),
            version("02", self.OCTOBER),
            version("03", self.OCTOBER, status="entered-in-error"),
        )
        for some in itertools.permutations(told):
            assert [] == shown(some)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (version("", NOVEMBER), version("", OCTOBER)),
            (version("", NOVEMBER), version("", NOVEMBER, ENDED)),
            (version("03", NOVEMBER), version("03", NOVEMBER, ENDED)),
        ],
    )
    def test_a_version_that_cannot_be_dated(self, folder: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
        """Whether what was told before holds again is for its sender to say, and is asked; a date that is later says it."""
        told = send(folder, first, second)
        found = receive(folder, PATIENT, bundle(first, TEAM, FLAG))
        assert ((), [("CarePlan.meta.lastUpdated", False)]) == (
            found.drafts,
            [(r.field, r.kept) for r in found.reports if r.rule == "version-unclear"],
        )
        assert [] == [r.rule for r in receive(folder, PATIENT, bundle(second, TEAM, FLAG)).reports if r.rule == "version-unclear"]
        told += send(folder, {**first, "meta": {"lastUpdated": "2026-02-20T00:00:00Z"}})
        for some in itertools.permutations(told):
            assert [("CPPI", self.NOVEMBER, None)] == shown(some)

    def test_its_authority_as_told_before(self, folder: Path) -> None:
        """The plan is of one date; that its authority is again what it was before is not passed over without a word."""
        plan = version("01", self.NOVEMBER)
        teams = [TEAM, {**TEAM, "name": "Halton East"}, TEAM]
        found = [receive(folder, PATIENT, bundle(plan, team, FLAG)) for team in teams]
        assert [1, 1, 0] == [len(f.drafts) for f in found]
        assert "version-unclear" in {r.rule for r in found[2].reports}

    def test_without_a_date_after_it_was_entered_in_error(self, folder: Path) -> None:
        """It may be an older version that comes late, or right after all: nothing is told, and that is said."""
        told = version("", self.NOVEMBER)
        send(folder, told, version("03", self.NOVEMBER, status="entered-in-error"))
        found = receive(folder, PATIENT, bundle(told, TEAM, FLAG))
        assert ((), [False]) == (found.drafts, [r.kept for r in found.reports if r.rule == "version-unclear"])
        dated = receive(folder, PATIENT, bundle(version("02", self.NOVEMBER), TEAM, FLAG))
        assert ((), []) == (dated.drafts, [r for r in dated.reports if not r.kept]), "an older version is none"

    def test_memory_of_an_earlier_release(self, folder: Path) -> None:
        """It says less, is read, and what is told next is corrected as any other."""
        told = send(folder, version("01", self.NOVEMBER))
        kept = json.loads((folder / "sent.json").read_text())
        for one in kept.values():
            del one["plan"], one["earlier"]
        (folder / "sent.json").write_text(json.dumps(kept))
        assert [] == send(folder, version("01", self.NOVEMBER))
        told += send(folder, version("02", self.NOVEMBER, self.ENDED), version("03", self.OCTOBER, self.ENDED))
        for some in itertools.permutations(told):
            assert [("CPPI", self.OCTOBER, self.ENDED)] == shown(some)


class TestToldAgain:
    """What comes later holds, whatever it says of dates; nobody is asked about what is clear, nor twice about what is not."""

    START, ENDED, EARLIER = "2025-11-10", "2026-01-30", "2026-01-10"
    RENAMED = TEAM | {"name": "Halton East"}

    @pytest.mark.parametrize("created", [{}, {"created": "2025-11-12T09:00:00Z"}])
    def test_without_a_date_open_again_in_other_words(self, folder: Path, created: dict[str, str]) -> None:
        """It came last: it goes on, in any order of arrival."""
        told = send(folder, version("", self.START, **created), version("", self.START, self.ENDED, **created))
        again = receive(folder, PATIENT, bundle(version("", self.START, **created), self.RENAMED, FLAG))
        told += again.drafts
        assert "version-unclear" not in {r.rule for r in again.reports}
        for some in itertools.permutations(told):
            assert [("CPPI", self.START, None)] == shown(some)

    def test_without_a_date_ended_earlier(self, folder: Path) -> None:
        """An end that is put right by an earlier one."""
        told = send(folder, version("", self.START, self.ENDED), version("", self.START, self.EARLIER))
        assert [("CPPI", self.START, self.EARLIER)] == shown(told) == shown(told[::-1])

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["", "01", "02"]), st.sampled_from([START, "2025-10-10"]),
                st.sampled_from([None, ENDED, EARLIER]), st.sampled_from([(), (TEAM,), (RENAMED,)]),
            ),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    def test_any_versions_by_turns(self, came: list[tuple[str, str, str | None, tuple[Any, ...]]]) -> None:
        """What was told last is what is shown; what is not told is shown already, is older than what was, or is asked about."""
        folder = Path(tempfile.mkdtemp(prefix="cpis-test-"))
        told, latest = list[Draft](), ""
        try:
            for day, start, end, team in came:
                found = receive(folder, PATIENT, bundle(version(day, start, end), *team, FLAG))
                told += found.drafts
                last = next(d.value for d in reversed(told) if d.record == "CpisStatusChanged")
                assert [("CPPI", last["start_date"], last["end_date"])] == shown(told) == shown(told[::-1])
                held = (start, end) == (last["start_date"], last["end_date"])
                assert held or "" < day < latest or ("CarePlan.meta.lastUpdated", False) in asked(found)
                latest = max(day, latest)
        finally:
            shutil.rmtree(folder)

    def test_each_is_recorded_later(self, folder: Path) -> None:
        """Also where neither plan nor CareTeam says that it is; which holds is never left to chance."""
        teams = [TEAM | {"name": f"Halton {n}"} for n in range(4)]
        told = [receive(folder, PATIENT, bundle(version("01", self.START), team, FLAG)).drafts[0] for team in teams]
        recorded = [d.value["envelope"]["recorded_at"] for d in told]
        assert recorded == sorted(set(recorded))

    @pytest.mark.parametrize("dated", [{}, {"meta": {"lastUpdated": "2026-01-15T00:00:00Z"}}])
    @pytest.mark.parametrize("earlier_release", [False, True])
    def test_only_the_end_goes_away(self, folder: Path, dated: dict[str, Any], earlier_release: bool) -> None:
        """A planned end that was told as the end; an earlier release did not remember when that was recorded."""
        ended = version("", self.START, self.ENDED, **dated)
        told = send(folder, ended)
        if earlier_release:
            forget(folder, "recorded", "dated")
        told += send(folder, ended | {"status": "active"})
        replaced = told[1].value["envelope"].get("supersedes")
        assert (told[0].value["envelope"]["event_id"] if earlier_release else None) == replaced
        for some in itertools.permutations(told):
            assert [("CPPI", self.START, None)] == shown(some)
        told += send(folder, version("20", self.START, self.ENDED))
        assert "supersedes" not in told[2].value["envelope"], "it went on, and then it ended: both are so"
        for some in itertools.permutations(told):
            assert [("CPPI", self.START, self.ENDED)] == shown(some)

    def test_after_an_error_that_an_earlier_release_told(self, folder: Path) -> None:
        """What withdrew is not replaced: what it withdrew stays so."""
        told = send(folder, version("01", self.START), version("02", self.START, status="entered-in-error"))
        forget(folder, "recorded", "dated")
        told += send(folder, version("03", self.START))
        assert "supersedes" not in told[-1].value["envelope"]
        for some in itertools.permutations(told):
            assert [("CPPI", self.START, None)] == shown(some)

    def test_an_address_as_it_was_before(self, folder: Path) -> None:
        """The Patient says that it is the later: told, and the sender is asked nothing, on no day after it either."""
        plan = bundle(version("10", self.START), TEAM, FLAG)
        moved = [patient(f"2026-02-{day}", place) for day, place in (("11", "A"), ("12", "B"), ("13", "A"), ("13", "A"))]
        found = [receive(folder, plan, one) for one in moved]
        assert [1, 1, 1, 0] == [len(f.drafts) for f in found]
        assert "1 A Street" == found[2].drafts[0].value["envelope"]["subject"]["address_line"]
        recorded = [d.value["envelope"]["recorded_at"] for f in found for d in f.drafts]
        assert recorded == sorted(set(recorded))
        assert [] == [r for f in found for r in f.reports if r.rule == "version-unclear"]

    def test_an_address_as_it_was_before_without_a_date(self, folder: Path) -> None:
        """The sender is asked, with advice that fits a dated plan; what is advised then tells it."""
        plan = version("10", self.START)
        found = [receive(folder, bundle(plan, TEAM, FLAG), patient("", place)) for place in "ABA"]
        (asked,) = [r for r in found[2].reports if r.rule == "version-unclear"]
        assert asked.message.endswith("if it does, send the plan with a later meta.lastUpdated")
        later = bundle(version("11", self.START), TEAM, FLAG)
        assert 1 == len(receive(folder, later, patient("", "A")).drafts)

    def test_an_address_of_a_day_that_was_told(self, folder: Path) -> None:
        """Dated, then another without a date, then the first once more: that is not later than all, and its sender is asked."""
        plan = bundle(version("10", self.START), TEAM, FLAG)
        moved = [patient(day, place) for day, place in (("2026-02-11", "A"), ("", "B"), ("2026-02-11", "A"))]
        found = [receive(folder, plan, one) for one in moved]
        assert [1, 1, 0] == [len(f.drafts) for f in found]
        assert [[], [("Patient.meta.lastUpdated", True)], [("CarePlan.meta.lastUpdated", False)]] == [asked(f) for f in found]

    def test_asked_once_while_its_care_team_is_missing(self, folder: Path) -> None:
        """The plan waits here; on later calls nobody sends it, and nobody is asked."""
        moved = [receive(folder, bundle(version("", start), FLAG), PATIENT) for start in (self.START, "2025-10-10", self.START)]
        assert [False, False, True] == ["version-unclear" in {r.rule for r in f.reports} for f in moved]
        assert ["CarePlan/CP1"] == [r.ref for r in moved[2].waiting]
        other = PATIENT.replace(b'"P1"', b'"P2"')
        assert "version-unclear" not in {r.rule for r in receive(folder, other).reports}
        again = receive(folder, bundle(version("", self.START), FLAG))
        assert "version-unclear" in {r.rule for r in again.reports}, "it is sent again, and is as unclear"

    def test_an_older_version_that_comes_late(self, folder: Path) -> None:
        """It is none, also of the same plan and with a CareTeam of a later day; the newest again is the newest still."""
        newest = version("02", self.START)
        dated = TEAM | {"meta": {"lastUpdated": "2026-02-20T00:00:00Z"}}
        told = list(receive(folder, PATIENT, bundle(newest, dated, FLAG)).drafts)
        late = receive(folder, PATIENT, bundle(version("01", self.START, self.ENDED), dated, FLAG))
        again = receive(folder, PATIENT, bundle(newest, dated, FLAG))
        assert [] == [r.rule for f in (late, again) for r in f.reports if not r.kept]
        for some in itertools.permutations([*told, *late.drafts, *again.drafts]):
            assert [("CPPI", self.START, None)] == shown(some)


class TestUndatedBesideDated:
    """One version that says when it was written, and another that does not."""

    DATED = TEAM | {"meta": {"lastUpdated": "2026-02-02T00:00:00Z"}}

    def test_an_end_that_comes_while_the_plan_waits(self, folder: Path) -> None:
        """As of a plan that was told: it came later, and is taken; that nothing but this says so is reported."""
        receive(folder, bundle(version("02", "2025-11-10"), TEAM, FLAG))
        found = receive(folder, bundle(version("", "2025-11-10", "2026-01-30")))
        assert [("CarePlan.meta.lastUpdated", True)] == asked(found)
        assert ["2026-01-30"] == [d.value["end_date"] for d in receive(folder, PATIENT).drafts]

    def test_another_telephone(self, folder: Path) -> None:
        """Of what stays here; it is said once, and a dated one that comes then is the later without a word."""
        receive(folder, bundle(self.DATED))
        assert [("CareTeam.meta.lastUpdated", True)] == asked(receive(folder, bundle(TEAM | {"name": "Halton East"})))
        found = receive(folder, bundle(TEAM | {"name": "Halton East"}, PLAN, FLAG), PATIENT)
        assert (["Halton East"], []) == ([d.value["la_name"] for d in found.drafts], asked(found))
        assert [] == asked(receive(folder, bundle(self.DATED)))

    def test_the_same_without_its_date(self, folder: Path) -> None:
        """Nothing is unclear, and the date is kept: an older one that comes late is older still."""
        receive(folder, bundle(self.DATED))
        assert [] == asked(receive(folder, bundle(TEAM)))
        old = TEAM | {"name": "Halton East", "meta": {"lastUpdated": "2026-01-01T00:00:00Z"}}
        (draft,) = receive(folder, PATIENT, bundle(old, PLAN, FLAG)).drafts
        assert "Halton" == draft.value["la_name"]

    @pytest.mark.parametrize("swap", [False, True])
    def test_in_one_call(self, folder: Path, swap: bool) -> None:
        """The order in a file says nothing: the dated one is taken, and it is reported, unless they say the same."""
        both = [self.DATED, TEAM | {"name": "Halton East"}][:: -1 if swap else 1]
        found = receive(folder, PATIENT, bundle(*both, PLAN, FLAG))
        assert (["Halton"], [("CareTeam.meta.lastUpdated", True)]) == ([d.value["la_name"] for d in found.drafts], asked(found))
        assert [] == asked(receive(folder, bundle(self.DATED, TEAM)))


def patient(day: str, place: str) -> bytes:
    """The Patient as updated on a day, in the street of that name."""
    dated = b'<meta><lastUpdated value="%sT09:00:00Z"/></meta>' % day.encode() if day else b""
    street = PATIENT.replace(b"1 Example Street", b"1 %s Street" % place.encode()).replace(b'<city value="Widnes"/>', b"")
    return street.replace(b'<id value="P1"/>', b'<id value="P1"/>' + dated)


def asked(found: Joined) -> list[tuple[str, bool]]:
    """Where it is reported that a version's date leaves something open."""
    return [(r.field, r.kept) for r in found.reports if r.rule == "version-unclear"]


def forget(folder: Path, *names: str) -> None:
    """As an earlier release left its memory, without these."""
    kept = json.loads((folder / "sent.json").read_text())
    (folder / "sent.json").write_text(
        json.dumps({ref: {k: v for k, v in one.items() if k not in names} for ref, one in kept.items()})
    )


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
