"""Make the Python environment from the hashed lock: `python3 infra/environment.py run|dev`.

Needs only the standard library, because it runs before there is anything else. Does nothing when all is as locked.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS = {kind: REPOSITORY / "infra" / "requirements" / f"{kind}.txt" for kind in ("run", "dev")}
OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python for which every locked package has a wheel."""


def main(kind: str) -> int:
    """Make or mend the environment; returns an exit status."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:2]))
        return _fail(f"Sightline needs Python 3.11, 3.12 or 3.13; this is {found}. Try: make PYTHON=python3.11 …")
    state = Path(os.environ.get("SIGHTLINE_STATE") or REPOSITORY / ".sightline").expanduser().absolute()
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "venv.lock").open("w")
    except OSError as error:
        return _fail(f"cannot use the state folder {state}: {error.strerror}; set SIGHTLINE_STATE to a folder you may write")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _make(state / "venv", kind)


def _make(venv: Path, kind: str) -> int:
    python = venv / "bin" / "python"
    stamp = venv / "sightline.json"
    have = json.loads(stamp.read_text()) if stamp.exists() else {}
    want = {name: _sha256(path) for name, path in LOCKS.items()}
    want["project"] = _sha256(REPOSITORY / "pyproject.toml") + str(REPOSITORY)
    works = python.exists() and _quiet(python, "-c", "") == 0  # not after Python moved, or the folder did
    if not works:
        print(f"Making the environment in {venv} …", file=sys.stderr)
        done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=False)
        if done.returncode != 0:
            return _fail("the venv module is missing; on Debian or Ubuntu: apt-get install python3-venv")
        have = {}
    if have.get(kind) != want[kind]:
        if not _install(python, LOCKS[kind]):
            return _fail("the environment is not complete; check the network and run the same command again")
        have = {**have, "run": want["run"], kind: want[kind]}
        stamp.write_text(json.dumps(have))
    if have.get("project") != want["project"]:
        command = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-e", str(REPOSITORY)]
        if _quiet(python, *command) != 0:
            return _fail(f"the project itself cannot be installed; try: {python} {' '.join(command)}")
        # as pip does with packages: where Python may keep no bytecode of its own making, every start would compile them again
        folders = [f.parent for f in sorted(REPOSITORY.glob("*/__init__.py")) if f.parent.name != "tests"]
        _quiet(python, "-m", "compileall", "-q", *folders)
        stamp.write_text(json.dumps({**have, "project": want["project"]}))
    return 0


def _install(python: Path, lock: Path) -> bool:
    """Install a lock file with pip, showing how far it is."""
    total = sum("==" in line for line in lock.read_text().splitlines())
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
        "-r",
        str(lock),
    ]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert pip.stdout is not None
    seen = 0
    last: list[str] = []
    live = sys.stderr.isatty()
    for line in pip.stdout:
        last = [*last[-8:], line]
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            seen += 1
            if live:
                print(f"\r\033[K  Python packages {seen} of at most {total}", end="", file=sys.stderr)
        elif line.startswith("Installing collected") and live:
            print("\r\033[K  Installing …", end="", file=sys.stderr)
    if live:
        print("\r\033[K", end="", file=sys.stderr)
    if pip.wait() != 0:
        print("".join(last), end="", file=sys.stderr)
        return False
    return True


def _quiet(*command: object) -> int:
    return subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in LOCKS else "run"))
