"""CP-IS versions: which of two is the later, and what becomes of what was told of the earlier."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.drafts import Draft
from producers.facts import prepare
from tests.unit.cpis import (
    FLAG,
    NOW,
    PATIENT,
    PLAN,
    TEAM,
    asked,
    bundle,
    forget,
    joined,
    patient,
    receive,
    send,
    shown,
    version,
)


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
