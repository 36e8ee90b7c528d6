"""The whole house by its own commands, as on anybody's machine: from nothing to a page, stopped, killed, again, forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest

from infra import records
from infra.state import REPOSITORY, TRUTH, State

CHILDREN: Final = 300
START_S: Final = 240.0
"""A first start on a machine that does other things as well."""

AGAIN_S: Final = 120.0
SEEN_S: Final = 90.0
STOP_S: Final = 60.0


class House:
    """A deployment in a state folder of its own, driven by `sightline`."""

    def __init__(self, root: Path) -> None:
        self.state = State.open(root)
        mine = {k: v for k, v in os.environ.items() if not k.startswith("SIGHTLINE_")}
        self.env = {**mine, "SIGHTLINE_STATE": str(root), "COLUMNS": "220", "PYTHONUNBUFFERED": "1"}

    def say(self, *words: str, seconds: float = STOP_S) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        command = [sys.executable, "-m", "infra.command", *words]
        return subprocess.run(command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, check=False, timeout=seconds)

    def begin(self, *words: str) -> Terminal:
        """A command in the foreground of a terminal."""
        return Terminal([sys.executable, "-m", "infra.command", *words], self.env, self.state.root / f"{words[0]}.out")

    def status(self) -> dict[str, Any]:
        """`status --json`; its exit status says the same."""
        done = self.say("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["healthy"] == (done.returncode == 0), done.stderr
        return found

    def living(self) -> list[str]:
        """Processes of this house, whoever started them: they have its folder in their command line or their environment."""
        root, found = str(self.state.root), []
        for process in psutil.process_iter():
            try:
                if root in process.environ().get("SIGHTLINE_STATE", "") or any(root in word for word in process.cmdline()):
                    found.append(f"{process.pid} {process.name()}")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


class Terminal:
    """A process somebody watches; Ctrl-C reaches it."""

    def __init__(self, command: list[str], env: dict[str, str], out: Path) -> None:
        self.out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=env, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def shows(self, pattern: str, seconds: float) -> str:
        """What the pattern's group matched, once it is on the screen."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.out.read_text()
            return re.search(pattern, self.out.read_text())

        return _once(found, seconds, self.out.read_text)[1]

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


@pytest.fixture
def house() -> Iterator[House]:
    root = Path(tempfile.mkdtemp(prefix="sightline-house-"))
    root.chmod(0o711)  # PostgreSQL may run as another user and must pass through
    made = House(root)
    yield made
    made.say("down")
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_a_page_and_back(house: House) -> None:
    """`run`, Ctrl-C, `up`, `demo`, `status`, SIGKILL, `up`, `down`, `reset`: each does what it says, and the data is kept."""
    # the first run: a page, people, a borough that lives
    run = house.begin("run", "--children", str(CHILDREN))
    address = run.shows(r"Sightline is up: (http://\S+)", START_S)
    password = run.shows(r"with the password (\S+)", START_S)
    run.shows(r"(lives on)", START_S)
    with httpx.Client(base_url=address, timeout=30, follow_redirects=True) as browser:
        form = re.search(r'name="csrf" value="([^"]+)"', browser.get("/sign-in").text)
        assert form
        known = browser.post("/sign-in", data={"csrf": form[1], "name": "mo.manager", "password": password, "next": ""})
        assert 200 == known.status_code
        _once(lambda: "Florence Smith" in browser.get("/queue").text, SEEN_S, lambda: browser.get("/queue").text)
    ports = house.state.ports()
    assert 0 == run.interrupt(), run.out.read_text()
    assert "Everything is stopped; the data is kept." in run.out.read_text()
    assert [] == house.living()
    told = house.state.read_json("demo.json")["told"]
    assert told
    assert set(told) <= {json.loads(line).get("key") for line in (house.state.root / TRUTH).read_text().splitlines()}

    # in the background: the same data on the same ports
    up = json.loads(_done(house.say("up", "--json", seconds=AGAIN_S)).stdout)
    assert (address, ports) == (up["web"], house.state.ports())
    before = _once(lambda: _well(house), SEEN_S, house.status)["figures"]["ledger"]
    assert before["facts"] > 0
    assert {"unify-0", "unify-1", "relay", "clock", "deliver", "pulse", "web"} == {
        p["name"] for p in house.status()["processes"] if p["kind"] == "worker" and p["condition"] == "up"
    }
    demo = house.begin("demo")
    demo.shows(r"(lives on)", SEEN_S)
    assert 0 == demo.interrupt(), demo.out.read_text()
    assert "the house goes on" in demo.out.read_text()

    # a power cut of the supervisor: nothing is left, and the next start finds everything
    record = records.read(house.state)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    _once(lambda: not house.living(), STOP_S, house.living)
    assert not house.status()["healthy"]
    _done(house.say("up", seconds=AGAIN_S))
    after = _once(lambda: _well(house), SEEN_S, house.status)["figures"]["ledger"]
    assert after["facts"] >= before["facts"]
    assert after["incarnation"] == before["incarnation"], "the database lacked nothing that the ledger holds"

    # the end
    assert "the data is kept" in _done(house.say("down")).stdout
    assert [] == house.living()
    assert "Nothing runs" in _done(house.say("down")).stdout
    assert "Forgotten" in _done(house.say("reset", "--yes")).stdout
    left = {path.name for path in house.state.root.iterdir()}
    assert not left & {"data", "secrets", "spool", "logs", "run", "ports.json", "demo.json", TRUTH}
    assert {"parts", "static"} <= left


def _done(command: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert 0 == command.returncode, command.stdout + command.stderr
    return command


def _well(house: House) -> dict[str, Any] | None:
    found = house.status()
    return found if found["healthy"] else None


def _once(condition: Callable[[], Any], seconds: float, telling: Callable[[], object]) -> Any:
    """What `condition` gives once it gives something."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, telling()
        time.sleep(0.2)
    return found
