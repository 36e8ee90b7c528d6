"""The risk policy and what else a fold refers to, as typed values; their text is YAML, read by `schemas.policies`.

The number of a policy is points, never a probability. Rule kinds are a small closed set (`KINDS`, implemented in
`domain.signals`); everything else about a rule is data that a social worker can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.deadlines import Register

KINDS: Final[Mapping[str, str]] = {
    "codes": "a fact of one of `records` names one of `codes`",
    "codes_under_age": "the same, any code if none is listed, and the child was under `age_under` when it happened",
    "graded_while": "a missing episode was graded one of `codes`; that day or until the return the status was one of `statuses`",
    "missing_count": "missing episodes begun within `window_days`; points by `tiers`",
    "missing_overnight": "a missing episode within `window_days` went past 4 a.m.",
    "missing_repeat": "missing again within `within_days` of a return",
    "interview": "the return home interview of an episode ended within `window_days` is in one of `states`",
    "count": "facts of `records` within `window_days`; points by `tiers`",
    "absence": "absence rates (per cent) of a school week or more, told within `window_days`; points by `tiers` for the worst",
    "no_provision": "school days without full-time education up to now; points by `tiers`",
    "corroboration": "weak signals of different agencies within `within_days` of each other; points by `tiers` of agencies",
}


EPISODE: Final = ("MissingEpisodeReported", "MissingEpisodeGraded", "MissingEpisodeEnded")
"""Records that tell of a missing episode, in the order in which it is told."""

NEEDS: Final[Mapping[str, frozenset[str]]] = {
    "graded_while": frozenset({"MissingEpisodeGraded"}), "missing_count": frozenset(EPISODE),
    "missing_overnight": frozenset(EPISODE), "missing_repeat": frozenset(EPISODE), "interview": frozenset(EPISODE),
    "absence": frozenset({"SchoolAbsence"}), "no_provision": frozenset({"NoSchoolProvision"}), "corroboration": frozenset(),
}  # fmt: skip
"""Records of which a rule of this kind needs one, when it does not name its `records`."""

OF_EPISODES: Final = frozenset({"missing_count", "missing_overnight", "missing_repeat", "interview"})
"""Kinds of rule that look at episodes as they are told all together."""

OF_SIGNALS: Final = "corroboration"
"""The kind of rule that looks at what rules found that give weak signals, and is applied after them."""

BESIDE: Final[Mapping[str, frozenset[str]]] = {"graded_while": frozenset({*EPISODE, "SocialCareStatus", "CpisStatusChanged"})}
"""Records that rules of a kind look at beside those that they need."""

LISTS: Final[Mapping[str, str]] = {
    "concerns": "concern", "exploitation": "exploitation-indicator", "harm": "harm", "found_with": "found-with",
    "with_whom": "found-with", "pull": "pull-factor", "push": "push-factor",
}  # fmt: skip
"""Code list of each field that a rule may look at."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Days are elapsed days; `records` maps a record to the fields in which `codes` are looked for.

    `trigger`: harm, never outweighed and never counted in points. `signal`: counts towards corroboration.
    `older_points` apply from `window_days` to `older_days` after the event. `tiers` are (at least, points), highest first.
    """

    id: str
    title: str
    kind: str
    text: str
    trigger: bool = False
    signal: bool = False
    points: int = 0
    older_points: int = 0
    window_days: int = 0
    older_days: int = 0
    within_days: int = 0
    age_under: int = 0
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codes: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    tiers: tuple[tuple[int, int], ...] = ()
    looks_at: frozenset[str] = field(init=False, repr=False, compare=False)
    """Without a fact of one of these records it does not hold; none: it looks at what other rules found."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks_at", frozenset(self.records) or NEEDS[self.kind])

    def tier(self, amount: float) -> int:
        """Points of the highest tier that `amount` reaches; 0 when it reaches none."""
        return next((points for at_least, points in self.tiers if amount >= at_least), 0)


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the risk policy, with who signed it (`authority`: default, unsigned, until a partnership signs).

    `rules` come in the order in which they are applied: corroboration last, as it looks at what the others found.
    """

    id: str
    title: str
    version: int
    authority: str
    valid_from: str
    threshold: int
    due_harm: str
    due_points: str
    due_held: str
    interview_due: str
    reraise_points: int
    gp_unread: str
    gp_in_force_days: int
    overdue_to: tuple[str, ...]
    rules: tuple[Rule, ...]
    _asked: dict[frozenset[str], tuple[Rule, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _again: dict[tuple[frozenset[str], bool], frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def asked(self, told: frozenset[str]) -> tuple[Rule, ...]:
        """The rules that can hold where facts of the records `told` are in force, in order."""
        found = self._asked.get(told)
        if found is None:
            found = self._asked[told] = tuple(r for r in self.rules if not r.looks_at or not told.isdisjoint(r.looks_at))
        return found

    def again(self, fresh: frozenset[str], *, turned: bool) -> frozenset[str]:
        """Ids of the rules that may answer differently once facts of the records `fresh` came, or episodes are told otherwise
        (`turned`).
        """
        key = (fresh, turned)
        found = self._again.get(key)
        if found is None:
            found = self._again[key] = frozenset(
                r.id
                for r in self.rules
                if not fresh.isdisjoint(r.looks_at | BESIDE.get(r.kind, frozenset())) or (turned and r.kind in OF_EPISODES)
            )
        return found

    def rule(self, rule_id: str) -> Rule | None:
        """The rule called so."""
        return next((r for r in self.rules if r.id == rule_id), None)


@dataclass(frozen=True, slots=True)
class Line:
    """How a field of a record is shown: the key in its body, a label, and the code list its values are of."""

    key: str
    label: str
    codes: str | None
    instant: bool = False


@dataclass(frozen=True, slots=True)
class RecordText:
    """How a record is shown: a title for people and its lines in order; `coded` are its fields that rules may look at."""

    title: str
    lines: tuple[Line, ...]
    coded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """All that a fold refers to beside the history: policy in force (and earlier ones), deadlines, calendars, labels, ranks."""

    policy: Policy
    policies: Mapping[str, Policy]
    register: Register
    labels: Mapping[str, Mapping[str, str]]
    ranks: Mapping[str, Mapping[str, int]]
    records: Mapping[str, RecordText]
    agencies: tuple[str, ...]
    interview_hours: int = 72

    def label(self, code_list: str, code: str | None) -> str:
        """The label of a code; the code itself when unknown; empty for none."""
        return "" if code is None else self.labels.get(code_list, {}).get(code, code)
