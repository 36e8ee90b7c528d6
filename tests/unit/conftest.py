"""What several unit tests stand on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own, gone when the test is over."""
    path = Path(tempfile.mkdtemp(prefix="sightline-test-"))
    yield path
    shutil.rmtree(path)
