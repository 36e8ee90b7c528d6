"""The JSON API: the same things as the pages, through the same redaction, records and rights.

Errors are problem+json (RFC 9457).
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from web.api import acts, docs, reads, session

ROUTERS: Final[tuple[APIRouter, ...]] = (session.router, reads.router, acts.router, docs.router)
