"""The pages, a module a subject. `ROUTERS` are in the order in which addresses are matched."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from web.pages import child, live, queue, recommendations, search, signin

ROUTERS: Final[tuple[APIRouter, ...]] = (
    signin.router,
    queue.router,
    search.router,
    child.router,
    recommendations.router,
    live.router,
)
