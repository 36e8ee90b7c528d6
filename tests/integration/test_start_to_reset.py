"""The whole house by its own commands, as on anybody's machine: from nothing to a page, stopped, killed, again, forgotten."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest

from infra import records
from infra.state import TRUTH
from tests import house as houses
from tests.house import STOP_S, House

CHILDREN: Final = 300
START_S: Final = 240.0
"""A first start on a machine that does other things as well."""

AGAIN_S: Final = 120.0
SEEN_S: Final = 90.0


@pytest.fixture
def house() -> Iterator[House]:
    with houses.house() as made:
        yield made


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
    assert 0 == run.interrupt(), run.text
    assert "Everything is stopped; the data is kept." in run.text
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
    assert 0 == demo.interrupt(), demo.text
    assert "the house goes on" in demo.text

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
