"""The simulated borough as a whole: valid, deterministic, calibrated (domain.md 3f), and true to its truth."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from domain import identifiers
from domain.times import DAY_US, HOUR_US, to_us
from producers.halton import rates
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact
from producers.halton.truth import Truth
from schemas.catalogue import catalogue, spec
from schemas.codec import encode_body
from schemas.validation import check

END = to_us(datetime(2026, 3, 2, 12, tzinfo=UTC))
YEAR_S_MAX = 15.0


@pytest.fixture(scope="module")
def halton() -> Borough:
    return Borough(END)


@pytest.fixture(scope="module")
def year(halton: Borough) -> list[SimulatedFact]:
    return list(halton.facts())


@pytest.fixture(scope="module")
def truth(year: list[SimulatedFact]) -> Truth:
    return Truth(year)


@pytest.fixture(scope="module")
def firsts(year: list[SimulatedFact]) -> list[SimulatedFact]:
    """Each fact once, without those that were corrected or withdrawn and without withdrawals: what truly happened."""
    gone = {e for f in year for e in (f.value["envelope"]["supersedes"], f.value["envelope"]["retracts"]) if e}
    return [f for f in year if f.copy == 0 and f.key not in gone and f.record != "Retraction"]


def of(facts: list[SimulatedFact], record: str) -> list[SimulatedFact]:
    return [f for f in facts if f.record == record]


class TestFacts:
    """What is sent, and when."""

    def test_every_fact_passes_the_contract_when_it_arrives(self, year: list[SimulatedFact]) -> None:
        """A simulated agency never sends what the intake would refuse; dead letters are other tests' business."""
        assert [] == [(f.record, str(p)) for f in year for p in check(spec(f.record), f.value, f.arrives_at)]

    def test_nothing_arrives_before_it_is_recorded_nor_is_recorded_before_it_happens(self, year: list[SimulatedFact]) -> None:
        """Delays are delays."""
        for f in year:
            envelope = f.value["envelope"]
            assert envelope["occurred_at"] <= envelope["recorded_at"] <= f.arrives_at, f.record

    def test_facts_come_in_order_of_arrival_and_not_of_happening(self, year: list[SimulatedFact]) -> None:
        """Late and out-of-order facts are part of life."""
        arrivals = [f.arrives_at for f in year]
        assert sorted(arrivals) == arrivals
        assert any(b.occurred_at < a.occurred_at for a, b in pairwise(year))

    def test_every_event_of_the_contract_occurs_and_is_said_by_who_may_say_it(self, year: list[SimulatedFact]) -> None:
        """All event kinds, each from an agency that the catalogue allows."""
        assert {name for name, s in catalogue().items() if s.kind == "event"} == {f.record for f in year}
        assert [] == [(f.agency, f.record) for f in year if f.agency not in spec(f.record).agencies]

    def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(self) -> None:
        """Determinism, over everything that is sent and when."""

        def told(seed: int) -> list[tuple[int, bytes]]:
            return [(f.arrives_at, encode_body(spec(f.record), f.value)) for f in Borough(END, seed, 1_000).facts()]

        first = told(1)
        assert first == told(1)
        assert first != told(2)

    def test_a_year_is_told_within_seconds(self, halton: Borough, year: list[SimulatedFact]) -> None:
        """A demonstration and a test can afford a whole year. Processor seconds: other work on the machine does not count."""
        began = time.process_time()
        assert sum(1 for _ in Borough(END, children=halton.children // 4).facts()) > len(year) / 5
        assert (time.process_time() - began) * 4 < YEAR_S_MAX
        assert 12_000 <= len(year) <= 20_000


class TestCalibration:
    """One seed of the default size against domain.md 3f."""

    def test_children_in_need_on_plans_and_looked_after(self, halton: Borough) -> None:
        """Stocks on the last day; children in need counts all three, as the census does."""
        stock = Counter(c.status_at(END - 1) for c in halton.careers)
        assert 1_100 <= stock["CIN"] + stock["CP"] + stock["LAC"] <= 1_300
        assert 130 <= stock["CP"] <= 170
        assert 300 <= stock["LAC"] <= 380

    def test_only_children_who_come_to_notice_leave_a_trace(self, halton: Borough, truth: Truth) -> None:
        """No whole-population register (ContactPoint's lesson)."""
        assert rates.CHILDREN == len(halton.people)
        assert len(truth.children) < rates.CHILDREN * 0.15

    def test_missing_children_and_incidents(self, firsts: list[SimulatedFact]) -> None:
        """180 children, 600 incidents; the most frequent twentieth has about 30 %."""
        often = Counter(f.child for f in of(firsts, "MissingEpisodeReported"))
        assert 170 <= len(often) <= 190
        assert 500 <= often.total() <= 700
        top = sum(n for _, n in often.most_common(round(len(often) / 20)))
        assert 0.22 <= top / often.total() <= 0.40

    def test_half_of_first_repeats_come_within_four_weeks(self, firsts: list[SimulatedFact]) -> None:
        """Sidebottom's finding."""
        seen: dict[str, list[int]] = defaultdict(list)
        for f in of(firsts, "MissingEpisodeReported"):
            seen[f.child].append(f.value["last_seen_at"])
        first_two = [sorted(t)[:2] for t in seen.values() if len(t) > 1]
        gaps = [second - first for first, second in first_two]
        assert 0.4 <= sum(g <= 28 * DAY_US for g in gaps) / len(gaps) <= 0.65

    def test_return_home_interviews(self, firsts: list[SimulatedFact], truth: Truth) -> None:
        """Offered 85 %, accepted 60–70 %, held within 72 hours of return 45–60 %."""
        offered, held = of(firsts, "ReturnHomeInterviewOffered"), of(firsts, "ReturnHomeInterviewCompleted")
        back = {f.episode: f.value["ended_at"] for f in of(firsts, "MissingEpisodeEnded")}
        assert 0.80 <= len(offered) / len(truth.episodes) <= 0.90
        assert 0.60 <= len(held) / len(offered) <= 0.70
        assert 0.45 <= sum(f.value["completed_at"] - back[f.episode] <= 72 * HOUR_US for f in held) / len(held) <= 0.60

    def test_nine_in_ten_are_back_within_two_days(self, firsts: list[SimulatedFact]) -> None:
        """Length of episodes."""
        begun = {f.episode: f.value["last_seen_at"] for f in of(firsts, "MissingEpisodeReported")}
        lengths = [f.value["ended_at"] - begun[f.episode] for f in of(firsts, "MissingEpisodeEnded")]
        assert 0.85 <= sum(n <= 48 * HOUR_US for n in lengths) / len(lengths) <= 0.96

    def test_cpis_alerts_and_csog_outcomes(self, firsts: list[SimulatedFact]) -> None:
        """100–200 alerts a year; a few outcomes a month."""
        assert 100 <= len(of(firsts, "CpisAttendanceAlert")) <= 200
        assert 2 * 12 <= len(of(firsts, "CsogOutcome")) <= 8 * 12

    def test_faults_of_sending_are_few_and_there(self, year: list[SimulatedFact]) -> None:
        """Sent twice, corrected, withdrawn, corrected before it came."""
        arrived = {f.key: f.arrives_at for f in year if f.copy == 0}
        corrections = [f for f in year if f.value["envelope"]["supersedes"] and f.copy == 0]
        assert 0.005 <= sum(f.copy for f in year) / len(year) <= 0.02
        assert 0.003 <= len(corrections) / len(year) <= 0.02
        assert 0.001 <= len(of(year, "Retraction")) / len(year) <= 0.01
        assert any(f.arrives_at < arrived[f.value["envelope"]["supersedes"]] for f in corrections)


class TestWhoKnowsWhat:
    """Each agency holds its own identifiers and makes its own mistakes."""

    def test_police_and_interviewers_never_hold_an_nhs_number(self, year: list[SimulatedFact]) -> None:
        """Nor any number but, for police, a PNC id."""
        for f in year:
            subject = f.value["envelope"]["subject"]
            if f.agency in ("police", "rhi"):
                assert subject["nhs_number"] is None
                assert subject["upn"] is None
            if f.agency == "police":
                assert subject["la_child_id"] is None

    def test_nhs_numbers_are_of_the_test_range_and_a_few_fail_their_check(self, year: list[SimulatedFact]) -> None:
        """All begin with 999; a failing one never claims to be traced."""
        shown = {(s["nhs_number"], s["nhs_number_status"]) for f in year if (s := f.value["envelope"]["subject"])["nhs_number"]}
        assert all(number.startswith("999") for number, _ in shown)
        bad = [status for number, status in shown if identifiers.nhs_number(number) is None]
        assert 1 <= len(bad) <= 20
        assert "01" not in bad

    def test_upns_and_pnc_ids_pass_their_checks(self, year: list[SimulatedFact]) -> None:
        """Made up, and well formed."""
        subjects = [f.value["envelope"]["subject"] for f in year]
        assert all(identifiers.upn(s["upn"]) == s["upn"] for s in subjects if s["upn"])
        assert all(identifiers.pnc(s["pnc"]) == s["pnc"] for s in subjects if s["pnc"])

    def test_no_two_children_share_a_number(self, halton: Borough) -> None:
        """NHS numbers and UPNs are one child's each; twins' NHS numbers are neighbours."""
        people = halton.people
        assert len(people) == len({p.nhs for p in people}) == len({p.id for p in people})
        assert len([p for p in people if p.upn]) == len({p.upn for p in people if p.upn})
        assert any(p.twin for p in people)

    def test_police_write_names_wrongly_and_keep_two_records_for_some(self, truth: Truth, halton: Borough) -> None:
        """Names as heard; most are right, some are not."""
        people = {p.id: p for p in halton.people}
        cards = {h: (people[c], truth.presented[h][0]) for h, c in truth.holders.items() if h[0] == "police" and c in people}
        wrong = [h for h, (p, s) in cards.items() if (s["given_name"], s["family_name"]) != (p.given, p.family)]
        assert 0.06 <= len(wrong) / len(cards) <= 0.25
        assert any(n > 1 for n in Counter(p.id for p, _ in cards.values()).values())


class TestTruth:
    """Truth agrees with the facts."""

    def test_every_fact_has_a_child_and_every_record_one_child(self, year: list[SimulatedFact], truth: Truth) -> None:
        """`Truth.add` refuses a record about two children; each fact counts once."""
        assert {f.key for f in year} == set(truth.facts)
        assert len(truth.facts) == sum(map(len, truth.children.values()))

    def test_the_second_sending_is_the_same_to_the_byte(self, year: list[SimulatedFact]) -> None:
        """Sending twice is harmless only when nothing differs (I1)."""
        again = {f.key: f for f in year if f.copy == 1}
        assert again
        for f in year:
            if f.copy == 0 and f.key in again:
                assert encode_body(spec(f.record), again[f.key].value) == encode_body(spec(f.record), f.value)

    def test_corrections_and_withdrawals_name_an_earlier_fact_of_the_same_agency(self, truth: Truth) -> None:
        """Only the owner corrects, and nothing is corrected twice."""
        assert truth.replaced
        for earlier, later in truth.replaced.items():
            assert truth.facts[earlier].agency == truth.facts[later].agency

    def test_a_misfiled_fact_is_withdrawn(self, truth: Truth) -> None:
        """What lies on another child's record is withdrawn as being about the wrong child."""
        mistaken = [k for k in truth.misfiled if truth.facts[k].record != "Retraction"]
        assert mistaken
        for key in mistaken:
            assert "WRONG_CHILD" == truth.facts[truth.replaced[key]].value["reason"]

    def test_interviews_belong_to_the_episode_whose_reference_they_carry(self, truth: Truth) -> None:
        """Pairing by truth agrees with the reference, where there is one."""
        for episode in truth.episodes.values():
            assert {episode.child} == {truth.facts[k].child for k in episode.facts}
            references = {truth.facts[k].value.get("episode_ref") for k in episode.facts} - {None}
            assert references <= set(episode.episode_ids)
            assert 1 == len(episode.episode_ids)
            assert len(episode.interviews) <= 1

    def test_csog_outcomes_name_the_practice_that_registration_facts_imply(self, truth: Truth) -> None:
        """The oracle of messages to practices."""
        assert truth.outcomes
        for outcome in truth.outcomes.values():
            assert truth.practice_at(outcome.child, outcome.occurred_at) == outcome.practice

    def test_true_pairs_cross_agencies_and_a_reviewer_can_ask(self, truth: Truth) -> None:
        """Police records have partners that a person can confirm."""
        pairs = list(truth.true_pairs())
        assert any({a[0], b[0]} == {"csc", "police"} for a, b in pairs)
        assert all(truth.same_child(a, b) for a, b in pairs)
        assert not truth.same_child(pairs[0][0], ("police", "nobody"))

    def test_truth_is_written_as_json_lines(self, truth: Truth, tmp_path: Path) -> None:
        """One row a fact, record, episode, outcome and scenario child."""
        truth.write(tmp_path / "truth.jsonl")
        rows = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
        kinds = Counter(r["kind"] for r in rows)
        assert len(truth.facts) == kinds["fact"]
        assert {"fact", "record", "episode", "outcome", "scenario"} == set(kinds)
