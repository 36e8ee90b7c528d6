"""The web application: pages, JSON API, GP API, static files, health. `create_app` is its only entry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from web import api, gp
from web.config import WebConfig
from web.errors import DEFECT, for_programs, install_handlers
from web.house import House
from web.pages import ROUTERS
from web.ports import Unavailable
from web.security import Guard

EVERY_ROUTER: Final = (*ROUTERS, *api.ROUTERS, gp.router)
"""Pages, JSON API, GP API: what a crawl has to reach."""

NONCE_HERE: Final = "nonce-of-this-answer"
FOR_EVER: Final = "public, max-age=31536000, immutable"


def create_app(config: WebConfig) -> FastAPI:
    """The application over its parts.

    Raises:
        StaticMissing: the web components are not unpacked.
    """
    house = House(config)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(house.feed.watch())
        yield
        await house.feed.stop()
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher

    app = FastAPI(
        title="Sightline", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        description="The same things as the pages, for programs. Personal data: every answer about a child is recorded.",
    )  # fmt: skip
    app.state.house = house
    install_handlers(app)
    for router in EVERY_ROUTER:
        app.include_router(router)
    _static(app, house)
    _health(app, house)
    broken = house.environment.get_template("broken.html")
    error_page = broken.render(**house.common, cspNonce=NONCE_HERE, now=0, role=None, csrf="", path="")

    def failed(path: str, request_id: str, nonce: str) -> tuple[bytes, str]:
        answer = for_programs(path, DEFECT, request_id)
        if answer is not None:
            return bytes(answer.body), str(answer.media_type)
        return error_page.replace(NONCE_HERE, nonce).encode(), "text/html; charset=utf-8"

    app.add_middleware(Guard, secure=config.secure_cookies, failed=failed)
    return app


def _static(app: FastAPI, house: House) -> None:
    @app.get("/static/{digest}/{name}", include_in_schema=False)
    def static(digest: str, name: str) -> Response:
        found = house.assets.by_name.get(name)
        if found is None:
            return PlainTextResponse("not here\n", 404)
        kept = FOR_EVER if digest == found.digest else "no-cache"  # a module imports its neighbour under its own digest
        return Response(found.content, media_type=found.media_type, headers={"cache-control": kept})

    @app.get("/assets/images/{name}", include_in_schema=False)
    def image(name: str) -> Response:
        found = house.assets.by_name.get(name)
        if found is None or not name.endswith(".svg"):
            return PlainTextResponse("not here\n", 404)
        return Response(found.content, media_type=found.media_type, headers={"cache-control": "public, max-age=86400"})


def _health(app: FastAPI, house: House) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Alive: the process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        """Ready: views and `keep` answer."""
        parts = await run_in_threadpool(_parts, house)
        return JSONResponse({"ready": all(parts.values()), "parts": parts}, 200 if all(parts.values()) else 503)


def _parts(house: House) -> dict[str, bool]:
    try:
        found = dict(house.reading.ready())
    except Unavailable:
        found = {"views": False}
    try:
        with house.config.keep_engine.connect() as conn:
            conn.exec_driver_sql("select 1")
        found["keep"] = True
    except SQLAlchemyError:
        found["keep"] = False
    return found
