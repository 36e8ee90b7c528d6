"""Search terms: what fits, and that the database's coarse sieve never loses what does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.searching import SearchTerms, searched

ELIF = {"given_name": "Élif-May", "family_name": "O’Shea", "birth_date": "2012-02-03", "upn": "A 123", "local_id": "x9"}


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        (SearchTerms("oshea elif"), True),
        (SearchTerms("eli"), True),
        (SearchTerms("lif"), False),
        (SearchTerms("elif smith"), False),
        (SearchTerms("may", "2012-02-03"), True),
        (SearchTerms("may", "2012-02-04"), False),
        (SearchTerms(identifier="a123"), True),
        (SearchTerms(identifier="a12"), False),
    ],
)
def test_fits(terms: SearchTerms, fits: bool) -> None:
    """Each word begins a name; birth date and identifier are whole."""
    assert fits == (terms.score(ELIF) is not None)


def test_best_first() -> None:
    """A whole word is worth more than a beginning, a number more than a name."""
    ranked = [SearchTerms("el"), SearchTerms("elif"), SearchTerms(identifier="A123"), SearchTerms("elif", None, "A123")]
    scores = [t.score(ELIF) or 0 for t in ranked]
    assert sorted(scores) == scores
    assert len(set(scores)) == 4


def test_no_sieve_holds_nul() -> None:
    """No database takes it, and nobody has such a number."""
    terms = SearchTerms("elif\0", None, "A123\0")
    assert [" elif", " A123 "] == terms.sieve()
    assert terms.score(ELIF) is None


WORDS = st.one_of(st.none(), st.text("aébO’'- 19", max_size=9))


@given(
    fields=st.fixed_dictionaries(
        dict.fromkeys(("given_name", "family_name", "other_names", "birth_date", "upn", "local_id"), WORDS)
    ),
    terms=st.builds(SearchTerms, WORDS, WORDS, WORDS),
)
def test_sieve_holds_back_nothing_that_fits(fields: dict[str, str | None], terms: SearchTerms) -> None:
    """Whatever fits contains every string of the sieve."""
    if terms.score(fields) is not None:
        assert all(s in searched(fields) for s in terms.sieve())
