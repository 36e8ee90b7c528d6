"""What a web process is made of: given by the composition root (`infra.workers`), or by a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from projections.accesses import Access
from web.ports import Reading, Speaking

WAIT_S: Final = 3.0
"""How long a decision waits for its ledger entry before the page says "pending" (design)."""


def now_us() -> int:
    """The clock."""
    return time.time_ns() // 1000


def _nobody(access: Access) -> None:
    """Access records stay in `keep` only (tests, or until the broker is back: see `unpublished_accesses`)."""
    del access


@dataclass(frozen=True, slots=True)
class WebConfig:
    """`static_dir`: unpacked web components (`State.static`). `secret`: keys CSRF tokens and form tickets. `publish_access`
    is called after an access record is committed, and must not block for long nor raise; what it cannot send it leaves
    to whoever sends `unpublished_accesses`.
    """

    reading: Reading
    speaking: Speaking
    keep_engine: Engine
    static_dir: Path
    secret: str
    secure_cookies: bool = True
    publish_access: Callable[[Access], None] = _nobody
    clock: Callable[[], int] = now_us
    wait_s: float = WAIT_S
    demonstration: bool = False
    """Say on every page that the children are invented."""
