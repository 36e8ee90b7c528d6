"""The pages, a module a subject. `ROUTERS` are in the order in which addresses are matched."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from web.pages import board, child, gp_exceptions, live, matches, operations, queue, recommendations, search, signin

ROUTERS: Final[tuple[APIRouter, ...]] = (
    signin.router,
    queue.router,
    search.router,
    child.router,
    recommendations.router,
    matches.router,
    gp_exceptions.router,
    operations.router,
    board.router,
    live.router,
)
