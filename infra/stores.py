"""What is at hand before anything is connected: engines on the two databases, key ring, reference, the processes of a rebuild.

None of it imports Kafka's client, which takes a quarter of a second.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from typing import Final

from sqlalchemy import Engine, create_engine

from domain.policy import Reference
from infra import migrate
from infra.settings import Settings
from projections.bulk import Tools
from projections.crew import crew
from projections.keyring import KeyRing, Publish
from schemas.policies import reference

IDLE_IN_TRANSACTION_MS: Final = 5_000
"""A frozen worker must not hold the counter's lock longer than this (I6: frozen worker 15 s)."""

STATEMENT_MS: Final = 60_000
KEEPALIVES: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""A half-open connection is noticed within about ten seconds."""


def now_us() -> int:
    """This instant, µs since 1970 (UTC)."""
    return time.time_ns() // 1000


BY_KEY: Final = " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
"""For whoever looks up by key alone: a plan is kept, and one made while a table was nearly empty would always read all of it; and
what is read of hundreds of children at a time would be sought in all there is."""


def engine(dsn: str, name: str, size: int = 5, *, by_key: bool = False) -> Engine:
    """A pool on a database; connections are checked before use and name themselves. No error text shows a parameter (I7)."""
    options = f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} -c statement_timeout={STATEMENT_MS}"
    if by_key:
        options += BY_KEY
    return create_engine(
        migrate.engine_url(dsn), pool_size=size, max_overflow=size, pool_pre_ping=True, pool_timeout=5, hide_parameters=True,
        connect_args={"options": options, "application_name": name, "connect_timeout": 5, **KEEPALIVES},
    )  # fmt: skip


def long_engine(dsn: str, name: str, *, by_key: bool = False) -> Engine:
    """An engine for rebuild, verify and relay's catching up: statements may take long. `by_key`: as for `engine`."""
    return create_engine(
        migrate.engine_url(dsn),
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"application_name": name, "connect_timeout": 5, "options": BY_KEY if by_key else ""},
    )


def key_ring(settings: Settings, publish: Publish | None = None) -> KeyRing:
    """The key ring; with `publish`, new keys are sent before their first use."""
    return KeyRing(engine(settings.keep_dsn, "keys", by_key=True), settings.master_key, publish, now_us)


def current_reference() -> Reference:
    """Policy, code lists and deadlines of this release."""
    return reference()


def tools(settings: Settings) -> Tools:
    """What a process of a rebuild works with."""
    return Tools(long_engine(settings.views_dsn, "rebuild", by_key=True), key_ring(settings), current_reference())


def rebuild_crew(settings: Settings) -> AbstractContextManager[ProcessPoolExecutor]:
    """The processes of a rebuild; begun before this one connects anywhere."""
    return crew(tools(settings))
