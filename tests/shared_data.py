"""The data of the project's `shared/data` folder, which lies beside the repository and not in it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest


def shared(name: str) -> Path:
    """A folder of shared data; the test skips, loudly, where it is absent. SIGHTLINE_SHARED_DATA names another place."""
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    found = root / name
    if not found.is_dir():
        said = f"SHARED DATA ABSENT: {name}; set SIGHTLINE_SHARED_DATA to the folder that holds it"
        warnings.warn(said, stacklevel=2)
        pytest.skip(said)
    return found
