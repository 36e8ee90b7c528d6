"""How often Python looks for cycles. What a worker makes is freed by counting references; there is next to nothing to find.

Left as it is, the collector walks through the facts of every batch several times over: a sixth of a worker's CPU.
"""

from __future__ import annotations

import gc
from typing import Final

NEW_MAX: Final = 100_000
"""Objects made and not freed before the youngest are looked through: more than a batch leaves."""


def collect_rarely() -> None:
    """Called once in a process, when all it works with has been loaded: that is never looked through again."""
    gc.freeze()
    gc.set_threshold(NEW_MAX, 20, 50)
