"""What a worker leaves behind after each step that succeeded: a file whose time says when that was.

A worker that lives and fails over and over touches nothing, so it is not taken for well.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

VARIABLE: Final = "SIGHTLINE_BEAT"
"""The file's path, from the supervisor; a worker started by hand has none."""

EVERY_S: Final = 1.0
STALLED_S: Final = 30.0
"""No step succeeded for so long: stalled. Steps take at most seconds, a batch at its very largest some ten."""


class Heartbeat:
    """Called after each successful step; touches the file at most once a second."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._last = path, 0.0

    @classmethod
    def of_this_process(cls) -> Heartbeat:
        """The one that the supervisor asked for."""
        found = os.environ.get(VARIABLE)
        return cls(Path(found) if found else None)

    def __call__(self) -> None:
        """A step has succeeded."""
        now = time.monotonic()
        if self._path is not None and now - self._last >= EVERY_S:
            self._path.touch()
            self._last = now


def age_s(path: Path) -> float | None:
    """Seconds since the last successful step; None when there was none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
