"""Children's social care's statutory return (SSDA903) as facts: `header.csv` and `missing.csv`, days first.

A header row becomes one `SocialCareStatus` (looked after, historic); a missing row a `MissingEpisodeReported` and, when
it has an end, a `MissingEpisodeEnded`. Reading is pure; rows that are wrong are reported by line and column, and the
others go on. Source: DfE guide to the SSDA903 collection, rules 564–586 by way of `domain.md` §3b.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from domain.identifiers import upn, upn_is_temporary
from producers.drafts import Draft, Reading, Report, london_midnight_us, with_event_id
from producers.errors import SourceError

AGENCY: Final = "csc"
HEADER, MISSING = "header.csv", "missing.csv"
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    HEADER: ("CHILD", "SEX", "DOB", "ETHNIC", "UPN"),
    MISSING: ("CHILD", "DOB", "MISSING", "MIS_START", "MIS_END"),
}
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""England's whole return is of this order; one authority's is a thousandth."""

SEX: Final[Mapping[str, str]] = {"1": "M", "2": "F"}
ETHNICITY: Final = frozenset({
    "WBRI", "WIRI", "WIRT", "WROM", "WOTH", "MWBC", "MWBA", "MWAS", "MOTH", "AIND", "APKN", "ABAN", "AOTH", "CHNE", "BCRB",
    "BAFR", "BOTH", "OOTH", "REFU", "NOBT",
})  # fmt: skip
NO_UPN: Final = frozenset({"UN1", "UN2", "UN3", "UN4", "UN5"})
"""Codes that say why there is no UPN (too young, overseas, …)."""

REPORTED_BY: Final = "SSDA903 return"
_HALF: Final = ": the beginning is kept, the end is not"


@dataclass(frozen=True, slots=True)
class Row:
    """One CSV row by column, trimmed, with the line it ends on."""

    file: str
    line: int
    cells: Mapping[str, str]

    def report(self, column: str, rule: str, message: str, *, kept: bool = False) -> Report:
        """A report about one cell of this row."""
        return Report(self.file, self.line, column, rule, message, kept)


class _Book:
    """What is collected while reading."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.reports: list[Report] = []
        self.counts: Counter[str] = Counter()

    def say(self, record: str, row: Row, subject: Mapping[str, Any], at_us: int, body: Mapping[str, Any]) -> None:
        envelope = {
            "agency": AGENCY, "subject": dict(subject), "occurred_at": at_us, "recorded_at": at_us, "reported_by": REPORTED_BY,
            "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "PARTNERSHIP", "historic": True,
        }  # fmt: skip
        self.drafts.append(Draft(record, with_event_id("ssda903", record, {"envelope": envelope, **body}), row.file, row.line))
        self.counts[record] += 1


def read_folder(folder: Path, *, year_begin: int | None = None) -> Reading:
    """Read `header.csv` and, where present, `missing.csv` of a folder; names in any case.

    Raises:
        SourceError: no header, a file too large, not text, or without its columns.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder; give the one that holds {HEADER} and {MISSING}")
    found = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.name.lower() in COLUMNS}
    if HEADER not in found:
        raise SourceError(f"{folder} holds no {HEADER}; without it no child of the return is known")
    for path in found.values():
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SourceError(f"{path.name} is over {FILE_BYTES_MAX // 2**20} MiB; that is no authority's return")
    return read_return({name: path.read_bytes() for name, path in found.items()}, year_begin=year_begin)


def read_return(files: Mapping[str, bytes], *, year_begin: int | None = None) -> Reading:
    """The facts of one return. `files` are the bytes by name.

    A header names no day. Its fact says: looked after in the collection year, and is dated 1 April when that year begins
    (or the birth, when later). `year_begin` is that year; by default the year of the newest day the files name.

    Raises:
        SourceError: a file is not text, lacks columns, or has a quote that does not close.
    """
    book = _Book()
    rows = {name: list(_rows(name, files[name], book)) for name in COLUMNS if name in files}
    year = year_begin if year_begin is not None else _year_of(rows)
    children = _header(rows.get(HEADER, []), year, book)
    _missing(rows.get(MISSING, []), children, book)
    book.counts["children"] = len(children)
    return Reading(tuple(book.drafts), tuple(book.reports), dict(book.counts))


def _rows(name: str, data: bytes, book: _Book) -> Iterator[Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # what spreadsheets of the time save; the columns we read are ASCII
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [c.strip().upper() for c in next(reader, [])]
        if absent := [c for c in COLUMNS[name] if c not in columns]:
            raise SourceError(f"{name}, line 1: column {', '.join(absent)} is missing; is this an SSDA903 {name}?")
        begin = reader.line_num + 1
        for cells in reader:
            if any(c.strip() for c in cells):
                full = [*cells, *[""] * len(columns)]
                row = Row(name, reader.line_num, {k: v.strip() for k, v in zip(columns, full, strict=False)})
                wrong = _misshapen(row, begin, cells, columns)
                if wrong is None:
                    yield row
                else:
                    book.reports.append(wrong)
            begin = reader.line_num + 1
    except csv.Error as err:
        raise SourceError(f"{name}, line {reader.line_num}: is not CSV ({err}); look at its quotes") from err


def _misshapen(row: Row, begin: int, cells: list[str], columns: list[str]) -> Report | None:
    """What tells that the row is not one: it is left out, for its cells may be another child's."""
    if any("\n" in c or "\r" in c for c in cells):
        message = f"is one row from line {begin} on, by a quote: no child on these lines is told; mend the quotes"
        return row.report("line", "line-break", message)
    if any(c.strip() for c in cells[len(columns) :]):
        return row.report("line", "surplus-cells", "has more cells than the first line has columns; the row is left out")
    return None


def _year_of(rows: Mapping[str, list[Row]]) -> int:
    """The year in which the collection year (1 April to 31 March) of the newest day begins."""
    columns = ("MIS_START", "MIS_END", "DOB")
    days = [d for some in rows.values() for r in some for c in columns if (d := _day(r.cells.get(c, ""))) is not None]
    newest = max(days, default=date(1970, 4, 1))
    return newest.year if newest >= date(newest.year, 4, 1) else newest.year - 1


def _header(rows: list[Row], year: int, book: _Book) -> dict[str, dict[str, Any]]:
    children: dict[str, dict[str, Any]] = {}
    for row in rows:
        child = row.cells["CHILD"]
        if not child:
            book.reports.append(row.report("CHILD", "required", "is required; the row is left out"))
            continue
        subject = _subject(row, book)
        if child in children:
            if children[child] == subject:
                book.reports.append(row.report("CHILD", "repeated", "repeats an earlier row; once is enough"))
                continue
            book.reports.append(row.report("CHILD", "differs", "an earlier row of this child says otherwise", kept=True))
        children.setdefault(child, subject)
        begin = date(year, 4, 1)
        born = _day(row.cells["DOB"])
        day = max(begin, born) if born else begin
        book.say("SocialCareStatus", row, subject, london_midnight_us(day), {"status": "LAC"})
    return children


def _subject(row: Row, book: _Book) -> dict[str, Any]:
    cells = row.cells
    subject: dict[str, Any] = {"local_id": cells["CHILD"]}
    born = _day(cells["DOB"])
    if born is None:
        book.reports.append(row.report("DOB", "date", "is not a day, DD/MM/YYYY", kept=True))
    elif born:
        subject["birth_date"] = born.isoformat()
    if cells["SEX"] in SEX:
        subject["sex"] = SEX[cells["SEX"]]
    else:
        subject["sex"] = "U"
        book.reports.append(row.report("SEX", "unknown-code", "is not 1 or 2; taken as not known", kept=True))
    if cells["ETHNIC"]:
        subject["ethnicity"] = cells["ETHNIC"]
        if cells["ETHNIC"] not in ETHNICITY:
            book.reports.append(row.report("ETHNIC", "unknown-code", "is not a DfE ethnicity code", kept=True))
    _upn(row, subject, book)
    return subject


def _upn(row: Row, subject: dict[str, Any], book: _Book) -> None:
    number = row.cells["UPN"]
    if not number or number in NO_UPN:
        book.counts["upn_absent"] += 1
        return
    subject["upn"] = number
    if upn(number) is None:
        book.counts["upn_invalid"] += 1
        book.reports.append(row.report("UPN", "upn", "fails its check letter or form: kept as sent, never linked", kept=True))
    elif upn_is_temporary(number):
        book.counts["upn_temporary"] += 1


def _missing(rows: list[Row], children: Mapping[str, Mapping[str, Any]], book: _Book) -> None:
    seen: set[tuple[str, ...]] = set()
    open_until: dict[str, list[tuple[date, date]]] = {}
    for row in rows:
        cells = row.cells
        key = tuple(cells[c] for c in COLUMNS[MISSING])
        if key in seen:
            book.reports.append(row.report("CHILD", "repeated", "repeats an earlier row; once is enough"))
            continue
        seen.add(key)
        start = _day(cells["MIS_START"])
        problems = [
            row.report(column, rule, message)
            for column, rule, message, wrong in (
                ("CHILD", "required", "is required", not cells["CHILD"]),
                ("MISSING", "unknown-code", "is not M or A", cells["MISSING"] not in ("M", "A")),
                ("MIS_START", "date", "is not a day, DD/MM/YYYY", start is None),
            )
            if wrong
        ]
        if problems or start is None:
            book.reports += problems
            continue
        _episode(row, start, _known(row, children, book), book)
        _overlaps(row, start, open_until.setdefault(cells["CHILD"], []), book)


def _episode(row: Row, start: date, subject: Mapping[str, Any], book: _Book) -> None:
    cells = row.cells
    episode_id = f"{cells['CHILD']}-{start.isoformat()}-{cells['MISSING']}"
    began = london_midnight_us(start)
    book.say(
        "MissingEpisodeReported", row, subject, began,
        {"episode_id": episode_id, "episode_type": cells["MISSING"], "last_seen_at": began},
    )  # fmt: skip
    book.counts["episodes"] += 1
    if not cells["MIS_END"]:
        return
    end = _day(cells["MIS_END"])
    if end is None:
        book.reports.append(row.report("MIS_END", "date", f"is not a day, DD/MM/YYYY{_HALF}", kept=True))
    elif end < start:
        book.reports.append(row.report("MIS_END", "before-start", f"lies before MIS_START{_HALF}", kept=True))
    else:
        ended = london_midnight_us(end)
        body = {"episode_id": episode_id, "outcome": "RETURNED", "started_at": began, "ended_at": ended}
        book.say("MissingEpisodeEnded", row, subject, ended, body)


def _known(row: Row, children: Mapping[str, Mapping[str, Any]], book: _Book) -> Mapping[str, Any]:
    """The child as the header shows them, unless this row contradicts it: then only what this row says (never guess)."""
    cells = row.cells
    born = _day(cells["DOB"])
    own = {"local_id": cells["CHILD"], **({"birth_date": born.isoformat()} if born else {})}
    known = children.get(cells["CHILD"])
    if known is None:
        book.reports.append(row.report("CHILD", "not-in-header", "is not in header.csv", kept=True))
        return own
    if cells["DOB"] and born is None:
        book.reports.append(row.report("DOB", "date", "is not a day, DD/MM/YYYY", kept=True))
    elif born and own["birth_date"] != known.get("birth_date"):
        book.reports.append(row.report("DOB", "differs", "is not the birth date in header.csv", kept=True))
        return own
    return known


def _overlaps(row: Row, start: date, others: list[tuple[date, date]], book: _Book) -> None:
    end = _day(row.cells["MIS_END"]) or date.max
    if any(start < other_end and other_start < end for other_start, other_end in others):
        book.reports.append(row.report("MIS_START", "overlap", "overlaps another episode of this child (rule 574)", kept=True))
    others.append((start, end))


def _day(text: str) -> date | None:
    """A day written DD/MM/YYYY; None for anything else."""
    if len(text) != len("DD/MM/YYYY"):
        return None
    try:
        return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007 - a calendar day, London's by the return's own rule
    except ValueError:
        return None
