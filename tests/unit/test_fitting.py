"""The short way through validation says yes only where the long way finds nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import catalogue
from schemas.fitting import fits
from schemas.validation import broken
from tests.golden.values import AT, VALUES

NOW = AT + 10 * 24 * 3_600_000_000
NAMES = sorted(n for n, s in catalogue().items() if s.kind in ("event", "act"))
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1 << 31, 1 << 63, NOW + (2 << 40), -(1 << 60), 1.5]),
    st.sampled_from(
        ["", " ", "\t", "a\x00b", "\ud800", "a\nb", "x" * 100_000, "2011-02-30", "2011-03-01", "9999-12-31", "UNKNOWN"]
    ),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.sampled_from(["NO_SUCH_CODE", "", "NEGLECT"])), max_size=3),
    st.just({}),
)


@pytest.mark.parametrize("name", NAMES)
def test_full_values_take_the_short_way(name: str) -> None:
    """Every golden value is accepted without asking rule by rule: otherwise the short way saves nothing."""
    assert [] == broken(catalogue()[name], VALUES[name], NOW)
    assert fits(name, VALUES[name], NOW)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_yes_is_never_wrong(data: st.DataObject) -> None:
    """With one or two fields changed to anything at all, what fits breaks no rule."""
    name = data.draw(st.sampled_from(NAMES))
    value: Any = deepcopy(VALUES[name])
    rules = catalogue()[name].rules
    for rule in data.draw(st.lists(st.sampled_from(rules), min_size=1, max_size=2)):
        node = value
        for key in rule.keys[:-1]:
            node = node[key]
        node[rule.keys[-1]] = data.draw(ODD)
    if fits(name, value, NOW):
        assert [] == broken(catalogue()[name], value, NOW)
