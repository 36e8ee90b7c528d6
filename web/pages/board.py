"""Figures for the board: counts only, small numbers suppressed, never a way to one child (R25, R26)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

from web.house import Analyst, House, TheHouse
from web.ports import Json

router: Final = APIRouter(include_in_schema=False)

SMALL: Final = 5
"""A count of people below this is not shown; a zero is (an agency that never challenges is a finding, R5)."""


def suppressed(rows: Sequence[tuple[str, int]]) -> list[tuple[str, int | None]]:
    """Rows with small counts as None. When one alone is hidden, the next smallest hides too: a total tells nothing."""
    hidden = {i for i, (_, count) in enumerate(rows) if 0 < count < SMALL}
    if len(hidden) == 1:
        rest = [i for i, (_, count) in enumerate(rows) if i not in hidden and count > 0]
        hidden |= set(sorted(rest, key=lambda i: (rows[i][1], i))[:1])
    return [(label, None if i in hidden else count) for i, (label, count) in enumerate(rows)]


def tables(house: House) -> list[Json]:
    """Every measure as it may be shown."""
    return [
        {"id": m.id, "title": m.title, "column": m.column, "rows": suppressed(m.rows) if m.about_people else list(m.rows)}
        for m in house.reading.measures()
    ]


@router.get("/board")
def board(request: Request, house: TheHouse, visitor: Analyst) -> Response:
    """The page."""
    return house.page(request, "board.html", visitor, tables=tables(house), small=SMALL)
