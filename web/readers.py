"""The one door out: `domain.sharing` decides what a reader may see; every page, API answer and stream goes through here."""

from __future__ import annotations

from typing import Any

from domain.sharing import Reader, redact
from web.roles import AGENCY

__all__ = ["Reader", "reader_for", "redacted"]

Json = dict[str, Any]


def reader_for(role: str, account_id: str | None = None) -> Reader:
    """The reader that somebody in a role is."""
    return Reader(role, AGENCY.get(role), account_id)


def redacted(view: Json, reader: Reader) -> Json | None:
    """The view as `reader` may see it; None when they must not know that there is such a child.

    A child of whom every presentation is hidden (sealed) is not known; one whose identity is merely withheld is.
    """
    shown = redact(view, reader)
    if "child_id" in view and "child_id" not in shown:
        return None
    hidden = bool(view.get("identity")) and not shown.get("identity")
    return None if hidden else shown
