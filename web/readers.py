"""The one door out: `domain.sharing` decides what a reader may see; every page, API answer and stream goes through here."""

from __future__ import annotations

from typing import Any

from domain.sharing import Reader, redact
from web.roles import AGENCY

Json = dict[str, Any]


def reader_for(role: str, account_id: str | None = None) -> Reader:
    """The reader that somebody in a role is."""
    return Reader(role, AGENCY.get(role), account_id)


def redacted(view: Json, reader: Reader) -> Json:
    """The view as `reader` may see it."""
    return redact(view, reader)
