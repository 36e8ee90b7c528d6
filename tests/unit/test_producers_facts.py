"""A mapping becomes a fact, or an error that names field and rule and never the value (I7)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.problems import InvalidFact
from producers.errors import NotYours, TooLarge
from producers.facts import key_of, prepare
from schemas.catalogue import catalogue
from schemas.codec import decode_body
from tests.golden.values import AT, VALUES, changed

NOW = AT + 10 * 24 * 3_600_000_000
SECRET = b"a secret of at least sixteen bytes"
CANARY = "CANARY-Zebedee"
DAY = re.compile(r"(_date|_due|_from)$")
"""How fields that hold a day are called."""


def prepared(record: str, value: Any, agency: str | None = None) -> Any:
    """As its own agency, at a fixed instant."""
    return prepare(agency or value["envelope"]["agency"], SECRET, record, value, NOW)


class TestPrepare:
    """What goes out."""

    @pytest.mark.parametrize("record", [n for n, s in catalogue().items() if s.kind == "event"])
    def test_every_event(self, record: str) -> None:
        """Each event's full value is taken, and its body decodes to it."""
        fact = prepared(record, VALUES[record])
        assert VALUES[record] == decode_body(catalogue()[record], fact.body)
        assert catalogue()[record].fingerprint == fact.schema

    def test_instants_in_three_forms(self) -> None:
        """ISO 8601 with an offset, a datetime and µs are the same fact."""
        iso, at = "2026-03-28T12:00:00.123456+01:00", datetime(2026, 3, 28, 11, 0, 0, 123456, tzinfo=UTC)
        bodies = {prepared("SchoolConcern", changed("SchoolConcern", "envelope.occurred_at", x)).body for x in (iso, at, AT)}
        assert 1 == len(bodies)

    def test_headers_tell_nothing_of_the_child(self) -> None:
        """CloudEvents attributes and key: type, agency, ids, time."""
        fact = prepared("SchoolConcern", VALUES["SchoolConcern"])
        heads = dict(fact.headers("education"))
        assert {"ce_id", "ce_source", "ce_specversion", "ce_type", "ce_time"} == set(heads)
        said = json.dumps([fact.key, {k: v.decode() for k, v in heads.items()}])
        subject = VALUES["SchoolConcern"]["envelope"]["subject"]
        assert not [v for v in subject.values() if len(str(v)) > 2 and str(v) in said]

    @given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
    def test_keys(self, one: str, other: str) -> None:
        """The same child the same key; another child, agency or secret another; 32 hex digits."""
        key = key_of(SECRET, "police", one)
        assert 32 == len(key) == len(bytes.fromhex(key)) * 2
        assert (one == other) == (key == key_of(SECRET, "police", other))
        assert key != key_of(SECRET, "csc", one)
        assert key != key_of(SECRET + b"x", "police", one)


class TestRefused:
    """What does not, and what is said."""

    @pytest.mark.parametrize(
        ("path", "to", "field", "rule"),
        [
            ("envelope.occurred_at", "yesterday", "envelope.occurred_at", "instant"),
            ("envelope.occurred_at", "2026-03-28T12:00:00", "envelope.occurred_at", "instant-offset"),
            ("envelope.occurred_at", NOW + 10**13, "envelope.occurred_at", "future"),
            ("envelope.event_id", CANARY, "envelope.event_id", "uuid"),
            ("envelope.subject.birth_date", "2031-01-01", "envelope.subject.birth_date", "future"),
            ("envelope.subject.birth_date", "2012-02-30", "envelope.subject.birth_date", "date"),
            ("envelope.subject.birth_date", "3 May 2012", "envelope.subject.birth_date", "date"),
            ("envelope.subject.birth_date", "20120503", "envelope.subject.birth_date", "date"),
            ("envelope.subject.given_name", CANARY * 20, "envelope.subject.given_name", "max-length"),
            ("envelope.subject.local_id", " ", "envelope.subject.local_id", "required"),
            ("envelope.scope", CANARY, "envelope.scope", "unknown-code"),
            ("concerns", [CANARY], "concerns", "unknown-code"),
            ("nonsense", CANARY, "nonsense", "unknown-field"),
            ("narrative", 7, "narrative", "type"),
        ],
    )
    def test_names_field_and_rule(self, path: str, to: Any, field: str, rule: str) -> None:
        """Field and rule are in the error, and the value is not."""
        with pytest.raises(InvalidFact) as told:
            prepared("SchoolConcern", changed("SchoolConcern", path, to))
        assert (field, rule) in [(p.field, p.rule) for p in told.value.problems]
        assert CANARY not in str(told.value)

    def test_every_day_has_the_date_rule(self) -> None:
        """No field that holds a day is left without the rule; a day that does not exist is refused in each."""
        days = {(s.name, r.path) for s in catalogue().values() for r in s.rules if DAY.search(r.path) and r.type == "string"}
        ruled = {(s.name, r.path) for s in catalogue().values() for r in s.rules if r.format == "date"}
        assert days == ruled
        assert {"envelope.subject.birth_date", "from_date", "csog_date", "registered_from"} <= {path for _, path in ruled}

    def test_returned_before_missing(self) -> None:
        """An end before its beginning is one fact's own contradiction."""
        with pytest.raises(InvalidFact, match="before-start"):
            prepared("MissingEpisodeEnded", changed("MissingEpisodeEnded", "ended_at", AT - 1))

    def test_an_invalid_nhs_number_is_no_error(self) -> None:
        """It is kept and marked by who receives it: refusing the fact would lose it."""
        prepared("SchoolConcern", changed("SchoolConcern", "envelope.subject.nhs_number", "9912003899"))

    def test_another_agency(self) -> None:
        """Neither another's envelope nor another's record."""
        with pytest.raises(NotYours, match=r"envelope\.agency"):
            prepared("RiskGraded", VALUES["RiskGraded"], agency="police")
        with pytest.raises(NotYours, match="does not emit"):
            prepared("SchoolConcern", VALUES["SchoolConcern"], agency="police")
        with pytest.raises(NotYours):
            prepared("CaseTaken", VALUES["CaseTaken"], agency="csc")

    def test_unknown_record(self) -> None:
        """A record that the catalogue does not have."""
        with pytest.raises(InvalidFact, match="unknown-record"):
            prepared("Nonsense", VALUES["SchoolConcern"])

    def test_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Over the limit is said with both sizes. Today's fields cannot reach 256 KiB, so the test lowers the limit."""
        monkeypatch.setattr("producers.facts.FACT_BYTES_MAX", 300)
        with pytest.raises(TooLarge, match="over the limit of 300"):
            prepared("SchoolConcern", changed("SchoolConcern", "narrative", CANARY))
