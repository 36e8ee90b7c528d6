"""`python -m tests`: every test; what is given goes to pytest instead. `make test` calls it.

Tests of values alone take the processor time that those leave who wait for servers; what they said is shown at the end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from typing import Final

import psutil

PYTEST: Final = (sys.executable, "-m", "pytest")
BEHIND: Final = 5
"""Niceness of the tests of values: a quarter of what a server gets that wants the same processor."""


def main(arguments: list[str]) -> int:
    """Run; 0 when everything passed."""
    if arguments:
        return subprocess.call([*PYTEST, *arguments])
    print("Tests of values alone run beside these; what they say is shown at the end.", flush=True)
    with tempfile.TemporaryFile() as said:
        values = subprocess.Popen([*PYTEST, "-m", "values"], stdout=said, stderr=subprocess.STDOUT)
        psutil.Process(values.pid).nice(BEHIND)
        try:
            others = subprocess.call([*PYTEST, "-m", "not values"])
            print("\nTests of values alone:", flush=True)
            status = values.wait()
        finally:
            if values.poll() is None:
                values.terminate()
                values.wait()
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
    return others or status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
