"""SSDA903: rows become facts; what is wrong is told by line and column; the same files twice are the same facts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.times import to_datetime
from producers.drafts import Reading
from producers.errors import SourceError
from producers.facts import prepare
from producers.ssda903 import read_folder, read_return
from tests.shared_data import shared

HEADER = b"""CHILD,SEX,DOB,ETHNIC,UPN,MOTHER,MC_DOB
C1,1,26/03/2012,WBRI,X876200118001,,
C2,2,01/02/2011,XXXX,B123456789012,,
C3,9,31/02/2011,WBRI,UN1,,
,1,01/01/2011,WBRI,,,
"""
MISSING = b"""CHILD,DOB,MISSING,MIS_START,MIS_END
C1,26/03/2012,M,25/03/2023,27/03/2023
C1,26/03/2012,A,01/06/2023,
C2,01/02/2011,M,05/06/2023,04/06/2023
C2,02/02/2011,M,05/07/2023,05/07/2023
C9,01/01/2010,M,01/07/2023,nonsense
C1,26/03/2012,Z,01/07/2023,
C1,26/03/2012,M,2023-07-01,
C1,26/03/2012,M,26/03/2023,28/03/2023
"""


def read(header: bytes = HEADER, missing: bytes = MISSING) -> Reading:
    """A return out of bytes."""
    return read_return({"header.csv": header, "missing.csv": missing})


def told(reading: Reading) -> set[tuple[str, int, str, str]]:
    """The reports by place and rule."""
    return {(r.file, r.line, r.field, r.rule) for r in reading.reports}


def of(reading: Reading, record: str, line: int) -> list[Mapping[str, Any]]:
    """The facts of a record from a line."""
    return [d.value for d in reading.drafts if d.record == record and d.line == line]


class TestHeader:
    """One looked-after fact a child."""

    def test_child(self) -> None:
        """Sex, birth date, ethnicity and UPN as sent; historic; dated when the collection year begins."""
        (fact,) = of(read(), "SocialCareStatus", 2)
        subject = {"local_id": "C1", "birth_date": "2012-03-26", "sex": "M", "ethnicity": "WBRI", "upn": "X876200118001"}
        assert subject == fact["envelope"]["subject"]
        assert ("LAC", True) == (fact["status"], fact["envelope"]["historic"])
        assert "2023-03-31T23:00:00+00:00" == to_datetime(fact["envelope"]["occurred_at"]).isoformat()

    def test_doubts_are_told_and_the_child_kept(self) -> None:
        """An invalid UPN is kept as sent; unknown codes and dates are told by line and column."""
        reading = read()
        assert "B123456789012" == of(reading, "SocialCareStatus", 3)[0]["envelope"]["subject"]["upn"]
        assert "U" == of(reading, "SocialCareStatus", 4)[0]["envelope"]["subject"]["sex"]
        wanted = {
            ("header.csv", 3, "UPN", "upn"),
            ("header.csv", 3, "ETHNIC", "unknown-code"),
            ("header.csv", 4, "SEX", "unknown-code"),
            ("header.csv", 4, "DOB", "date"),
            ("header.csv", 5, "CHILD", "required"),
        }
        assert wanted <= told(reading)
        assert (3, 1, 1) == tuple(reading.counts[k] for k in ("children", "upn_invalid", "upn_absent"))

    def test_repeated_and_differing_rows(self) -> None:
        """The same row twice is once; another row of the same child is told, and both are kept."""
        reading = read(HEADER + b"C1,1,26/03/2012,WBRI,X876200118001,,\nC1,1,27/03/2012,WBRI,X876200118001,,\n", MISSING)
        assert {("header.csv", 6, "CHILD", "repeated"), ("header.csv", 7, "CHILD", "differs")} <= told(reading)
        assert ([], 1) == (of(reading, "SocialCareStatus", 6), len(of(reading, "SocialCareStatus", 7)))


class TestMissing:
    """Two facts an episode, one while it lasts."""

    def test_london_days(self) -> None:
        """A day is London's, across the beginning of summer time."""
        (begun,), (ended,) = of(read(), "MissingEpisodeReported", 2), of(read(), "MissingEpisodeEnded", 2)
        assert "2023-03-25T00:00:00+00:00" == to_datetime(begun["last_seen_at"]).isoformat()
        assert "2023-03-26T23:00:00+00:00" == to_datetime(ended["ended_at"]).isoformat()
        assert (begun["episode_id"], "M") == (ended["episode_id"], begun["episode_type"])

    def test_still_away(self) -> None:
        """Without an end there is no end."""
        assert 1 == len(of(read(), "MissingEpisodeReported", 3))
        assert not of(read(), "MissingEpisodeEnded", 3)

    @pytest.mark.parametrize(
        ("line", "column", "rule", "facts"),
        [
            (4, "MIS_END", "before-start", 1),
            (5, "DOB", "differs", 2),
            (6, "CHILD", "not-in-header", 1),
            (6, "MIS_END", "date", 1),
            (7, "MISSING", "unknown-code", 0),
            (8, "MIS_START", "date", 0),
            (9, "MIS_START", "overlap", 2),
        ],
    )
    def test_what_is_wrong(self, line: int, column: str, rule: str, facts: int) -> None:
        """Told by line and column; what can be said all the same is said, and the others go on."""
        reading = read()
        assert ("missing.csv", line, column, rule) in told(reading)
        assert facts == sum(d.line == line and d.file == "missing.csv" for d in reading.drafts)

    def test_a_contradicted_child_is_only_what_the_row_says(self) -> None:
        """Another birth date than the header's: not filled up from the header (never guess)."""
        assert {"local_id": "C2", "birth_date": "2011-02-02"} == of(read(), "MissingEpisodeReported", 5)[0]["envelope"]["subject"]

    def test_reports_hold_no_values(self) -> None:
        """I7: no report quotes a cell."""
        said = " ".join(r.message for r in read().reports)
        assert not [cell for cell in ("C1", "C2", "2012", "B123456789012", "nonsense", "XXXX") if cell in said]


class TestTwice:
    """The same files add nothing."""

    @given(st.randoms())
    def test_any_order_of_rows(self, random: Any) -> None:
        """The facts and their ids do not depend on the order of rows or on being read again."""
        head, *rows = MISSING.splitlines()
        random.shuffle(rows)
        again = read(missing=b"\r\n".join([head, *rows]))
        assert self.ids(read()) == self.ids(again)

    def test_another_content_is_another_fact(self) -> None:
        """A corrected row has another id."""
        assert self.ids(read()) != self.ids(read(missing=MISSING.replace(b"27/03/2023", b"28/03/2023")))

    @staticmethod
    def ids(reading: Reading) -> set[str]:
        """All event ids; each once."""
        ids = [d.value["envelope"]["event_id"] for d in reading.drafts]
        assert len(ids) == len(set(ids))
        return set(ids)


class TestQuotes:
    """A stray quote or comma drops nobody without a word, and puts no child's cells under another column."""

    def test_a_quote_that_never_closes(self) -> None:
        """The file is refused, with its line and without its cells."""
        with pytest.raises(SourceError, match=r"missing\.csv, line 9: is not CSV") as told:
            read(missing=MISSING.replace(b"C2,01/02/2011,M", b'C2,"01/02/2011,M'))
        assert "2011" not in str(told.value)

    def test_text_behind_a_quote(self) -> None:
        """A quote that closes before its cell ends: refused as well."""
        with pytest.raises(SourceError, match=r"missing\.csv, line 4: is not CSV"):
            read(missing=MISSING.replace(b"C2,01/02/2011,M", b'C2,"01/02/2011"1,M'))

    def test_one_in_the_first_line(self) -> None:
        """The columns are not read past it."""
        with pytest.raises(SourceError, match=r"header\.csv, line 5: is not CSV"):
            read(HEADER.replace(b"CHILD", b'"CHILD', 1))

    def test_two_that_swallow_rows(self) -> None:
        """Two stray quotes make one row of three lines: told by its lines, left out, and the others go on."""
        swallowed = MISSING.replace(b"C1,26/03/2012,A", b'C1,"26/03/2012,A').replace(b"C2,02/02/2011", b'C2,02/02/2011"')
        reading = read(missing=swallowed)
        (told,) = [r for r in reading.reports if r.rule == "line-break"]
        assert ("missing.csv", 5, "line", False) == (told.file, told.line, told.field, told.kept)
        assert "from line 3 on" in told.message
        assert {2, 6, 9} == {d.line for d in reading.drafts if d.file == "missing.csv"}

    def test_a_comma_too_many(self) -> None:
        """The cells behind it stand under other columns: left out, and told. Empty ones are a spreadsheet's."""
        reading = read(
            missing=MISSING.replace(b"C1,26/03/2012,M,25", b"C1,26/03/2012,,M,25").replace(b"06/2023,\n", b"06/2023,,,\n")
        )
        assert ("missing.csv", 2, "line", "surplus-cells") in told(reading)
        assert (0, 1) == tuple(sum(d.line == n and d.file == "missing.csv" for d in reading.drafts) for n in (2, 3))


class TestFiles:
    """What is not a return at all."""

    @pytest.mark.parametrize("header", [b"", b"CHILD,SEX\n1,2\n", b"\xff\xfe\x00bad", b"<html>"])
    def test_not_a_header(self, header: bytes) -> None:
        """Missing columns are named."""
        with pytest.raises(SourceError, match=r"header\.csv, line 1"):
            read(header)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, rows: bytes) -> None:
        """No bytes below the header line do worse than a report or a SourceError."""
        with contextlib.suppress(SourceError):
            read(missing=b"CHILD,DOB,MISSING,MIS_START,MIS_END\n" + rows)

    def test_folder_without_header(self, tmp_path: Path) -> None:
        """Said with what to give instead."""
        with pytest.raises(SourceError, match=r"no header\.csv"):
            read_folder(tmp_path)


def test_the_published_sample() -> None:
    """2,675 children and 43 missing episodes of 39 children arrive, all acceptable; invalid UPNs are counted."""
    reading = read_folder(shared("ssda903"))
    now = 1_700_000_000_000_000
    facts = [prepare("csc", b"s" * 16, d.record, d.value, now) for d in reading.drafts]
    assert len(facts) == len({f.event_id for f in facts})
    assert (2675, 43, 43) == tuple(reading.counts[k] for k in ("children", "MissingEpisodeReported", "MissingEpisodeEnded"))
    assert 39 == len({d.value["envelope"]["subject"]["local_id"] for d in reading.drafts if d.record == "MissingEpisodeReported"})
    assert {"M", "A"} == {d.value["episode_type"] for d in reading.drafts if d.record == "MissingEpisodeReported"}
    assert 2568 == reading.counts["upn_invalid"]
