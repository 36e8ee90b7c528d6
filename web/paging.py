"""Long lists a page at a time, so that nothing is cut without a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query

from web.ports import Json, Listed

ROWS: Final = 50
"""Of one page. A page names the children it shows in its access record, which holds 500 at most."""

PageNumber = Annotated[int, Query(ge=1, le=100_000, description="Page of the list, from 1")]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page that a reader may see. `pages` counts pages, not rows: how many are hidden from a reader shows nowhere."""

    rows: Sequence[Json]
    number: int
    pages: int

    @property
    def document(self) -> Json:
        """For the API."""
        return {"items": list(self.rows), "page": self.number, "pages": self.pages}


def first_of(number: int) -> int:
    """How many rows come before page `number`."""
    return (number - 1) * ROWS


def page_of(rows: Sequence[Json], number: int, listed: Listed[Any]) -> Page:
    """Page `number` of what was listed."""
    return Page(rows, number, max(1, -(-listed.total // ROWS)))
