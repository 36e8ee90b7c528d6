"""One watcher of the ledger for all live screens: a thread waits, every stream is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from web.ports import Reading, Unavailable

log: Final = structlog.get_logger("web")

WAIT_S: Final = 5.0
"""One wait of the watcher; also how long a graceful stop may have to wait for it."""

AWAY_S: Final = 2.0
"""Pause when the database is away."""

STREAMS_MAX: Final = 300
"""Open live screens; the next one is told to come back (a screen also works without)."""


class Feed:
    """The newest ledger number readers may see, and a way to wait for a newer one.

    No lock: a stream whose reader goes away is cancelled in the middle of any wait, and must not take one along.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._moved = asyncio.Event()
        self.position = 0
        self.streams = 0
        self.stopping = False

    async def watch(self) -> None:
        """Run until cancelled."""
        while not self.stopping:
            try:
                found = await run_in_threadpool(self._reading.wait_for_change, self.position, WAIT_S)
            except (Unavailable, SQLAlchemyError):
                log.warning("live screens wait: the views are away")
                await asyncio.sleep(AWAY_S)
                continue
            if found != self.position:
                self.position = found
                self._tell()

    async def stop(self) -> None:
        """Let every stream end."""
        self.stopping = True
        self._tell()

    async def after(self, position: int, timeout_s: float) -> int:
        """The position once it is above `position`, or when the time is over."""
        return await self._wait(lambda: self.position > position, timeout_s)

    async def pause(self, seconds: float) -> None:
        """Wait, but not for a house that stops."""
        await self._wait(lambda: False, seconds)

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _wait(self, enough: Callable[[], bool], seconds: float) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (enough() or self.stopping):
                    await self._moved.wait()
        return self.position
