"""The risk policy as a file: readable, checked, and named by its hash."""

from __future__ import annotations

import re

import pytest

from domain.problems import PolicyError
from schemas.codes import code_lists
from schemas.policies import FOLDER, policy_hash, policy_text, read_policy, reference

TEXT = (FOLDER / "halton-risk-1.yaml").read_text()


class TestFirstPolicy:
    """The policy that ships."""

    def test_it_says_who_signed_it(self) -> None:
        """Until a partnership signs: default, unsigned."""
        assert reference().policy.authority == "default, unsigned"

    def test_harm_triggers_have_no_points(self) -> None:
        """They stand apart: nothing can be weighed against them."""
        assert all(r.points == 0 and not r.tiers for r in reference().policy.rules if r.trigger)

    def test_any_indicator_of_exploitation_under_13(self) -> None:
        """Whichever the code list of indicators holds (domain.md 2f)."""
        rule = reference().policy.rule("harm-under-13")
        assert rule is not None
        assert set(code_lists()["exploitation-indicator"].codes) <= rule.codes

    def test_every_text_is_of_known_words(self) -> None:
        """A text speaks only of what a rule's values hold."""
        words = {w for r in reference().policy.rules for w in re.findall(r"{(\w+)}", r.text)}
        assert words <= {"what", "date", "count", "rate", "weeks", "status"}

    def test_hash_is_of_the_full_text(self) -> None:
        """The ledger keeps the text under this fingerprint."""
        assert len(policy_hash()) == 64
        assert TEXT.encode() in policy_text()


class TestErrors:
    """A wrong policy names file and rule."""

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("kind: absence", "kind: absense", "p.yaml: rule absence: kind must be one of"),
            (
                "codes: [WEIGHT_LOSS]",
                "codes: [WEIGHT_LOS]",
                "p.yaml: rule weight-loss: WEIGHT_LOS is in no code list of its fields",
            ),
            ("MissingEpisodeEnded: [found_with]}", "MissingEpisodeEnd: [found_with]}", "no event is called MissingEpisodeEnd"),
            ("MissingEpisodeEnded: [found_with]}", "MissingEpisodeEnded: [with]}", "MissingEpisodeEnded has no field with"),
            ("within_days: 28", "within_day: 28", "p.yaml: rule missing-repeat: within_days is missing"),
            ("age_under: 13", "age_under: 13\n    tears: 3", "p.yaml: rule harm-under-13: tears is not a parameter"),
            ("threshold: 12", "threshold: many", "p.yaml: "),
            ("- id: home", "- id: crime", "p.yaml: a rule id occurs twice"),
            ("\ntriggers:\n", "\ntrigger:\n", "p.yaml: triggers must be a list"),
            ("id: halton", "id: [", "p.yaml: not readable as YAML"),
            ('text: "weight loss, {date}"', 'text: "weight loss, {day}"', "p.yaml: rule weight-loss: text: unknown word day"),
        ],
    )
    def test_named(self, old: str, new: str, says: str) -> None:
        """A typing slip never silences a rule."""
        assert old in TEXT
        with pytest.raises(PolicyError, match=re.escape(says)):
            read_policy("p.yaml", TEXT.replace(old, new, 1))
