"""Rows about the machine: a full disk, a bad network, a long time at load (7, 15, 20)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import psutil
import psycopg

from infra.postgres import Postgres
from producers.errors import SpoolUnwritable
from tests.fault.evidence import accepted
from tests.fault.harness import House
from tests.fault.proxy import Proxy, namespace
from tests.fault.rows_servers import sightline
from tests.fault.rows_workers import in_flight
from tests.fault.trial import Trial
from tests.services import LocalServices, PartName

DISK_S: Final = 30.0
NETWORK_S: Final = 30.0
"""A half-open connection is noticed after a session timeout or the keepalives, some ten seconds; then everything begins anew."""

DELAY_S: Final = {"kafka": 60.0, "postgres": 90.0}
"""Every statement takes a second, there and back: a batch of news has some twenty, and two workers take turns (45 s measured)."""

SOAK_MIN: Final = 30
SOAK_HZ: Final = 100
FRESH: Final = 0.05
"""Of what is said in a soak so much is news; the rest was said before."""

LEAST_RATE: Final = 0.8
"""Of what was to be said in a second."""


@contextlib.contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Path]:
    """A small file system of its own."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(256 * 1024))
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return ballast


def disk_full(trial: Trial) -> None:
    """Row 7."""
    full_spool(trial)
    with contextlib.closing(LocalServices()) as own, contextlib.ExitStack() as stack:
        places: dict[PartName, Path] = {"postgres": Path(own.parts["postgres"].cwd or ""), "kafka": own.state.data / "kafka"}
        for part, folder in places.items():
            move_to_small_disk(own, part, folder, stack)
        house = stack.enter_context(trial.house("disk", services=own))
        with house.people.busy(), house.talking(house.story.facts, 60, turns=2 * len(places)):
            house.wait("entries flow", lambda: house.now().relayed > 0)
            for part, folder in places.items():
                in_flight(house)
                ballast = fill(folder)
                house.wait(f"{part} has met the full disk", partial(met_the_end, own, part), 90)
                said = sightline(house, "status")
                assert ROOM.format(part=part) in said, f"status does not say what to do: {said[-500:]}"
                alive = own.parts[part].identity is not None
                ballast.unlink()
                if own.parts[part].identity is None:
                    own.restart(part)
                trial.notes.append(f"{part} {'lived through' if alive else 'stopped at'} a full disk")
                house.resumes(f"disk full under {part}", time.monotonic(), DISK_S)
        house.settle()
        trial.holds(house)


ROOM: Final = "no room where {part} keeps its data"


def met_the_end(own: LocalServices, part: PartName) -> bool:
    """Has a server wanted to write and could not? PostgreSQL writes into files that it has, until it needs a new one."""
    if "No space left on device" in (server := own.parts[part]).logged():
        return True
    if isinstance(server, Postgres):
        with psycopg.connect(server.dsn("postgres", superuser=True), autocommit=True) as conn:
            conn.execute("select pg_switch_wal()")
    return False


def move_to_small_disk(own: LocalServices, part: PartName, folder: Path, stack: contextlib.ExitStack) -> None:
    """A part's data onto a file system that can be filled."""
    own.stop(part)
    aside = folder.with_name(folder.name + "-aside")
    folder.rename(aside)
    stack.enter_context(small_disk(folder, 700 if part == "kafka" else 300))
    owner = aside.stat()
    subprocess.run(["cp", "-a", f"{aside}/.", str(folder)], check=True)
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(0o700)
    stack.callback(own.parts[part].kill)
    own.restart(part)


def full_spool(trial: Trial) -> None:
    """The agency is told that its fact is not kept, in words; what was kept goes out; with room again it goes on."""
    with trial.house("spool", children=60) as house, small_disk(house.folder / "small", 2) as small:
        agency = "education"
        house._clients[agency].close(1)
        client = house.open_client(agency, small / "spool")
        mine = [f for f in house.story.facts if f.agency == agency]
        ballast, refused, kept = None, 0, set[str]()
        for n, fact in enumerate(mine):
            if n == len(mine) // 2:
                ballast = fill(small)
            try:
                house.publish([fact])
                kept.add(fact.key)
            except SpoolUnwritable as err:
                refused += "with room" in str(err)
        assert ballast is not None and refused > 0, "the spool took everything"
        ballast.unlink()
        client.close(1)
        house.open_client(agency, small / "spool").flush(60)
        house.settle()
        assert kept and kept <= accepted(house, agency), "I1: what the spool had taken did not arrive"
        house.publish(house.story.facts)
        house.flush(house.story.facts)
        trial.holds(house, least={"accepted": 40})
        house._clients[agency].close(1)
        house.open_client(agency)


def network(trial: Trial) -> None:
    """Row 15."""
    name = f"sightline-{os.getpid()}"
    ports = {part: int(trial.services.settings("").state.ports()[part]) for part in ("kafka", "postgres", "registry")}
    with contextlib.ExitStack() as stack:
        stack.enter_context(namespace(name))
        proxies = {p: stack.enter_context(Proxy(n, port=n, netns=name, seed=trial.seed)) for p, n in ports.items()}
        house = stack.enter_context(trial.house("network", prefix=(shutil.which("ip") or "ip", "netns", "exec", name)))
        trial.notes.append("a TCP proxy of our own in a network namespace, not netem; loss is chunks late by a retransmission")
        with house.people.busy(1.0), house.talking(house.story.facts, 30, turns=2 * 2 * 4):
            house.wait("entries flow", lambda: house.now().relayed > 0)
            for part in ("kafka", "postgres"):
                for kind in ("cut", "stalled"):
                    in_flight(house)
                    setattr(proxies[part].weather, kind, True)
                    time.sleep(4.0 if kind == "cut" else 12.0)  # bad for a while
                    setattr(proxies[part].weather, kind, False)
                    house.resumes(f"{part}: {'cut' if kind == 'cut' else 'half-open'}", time.monotonic(), NETWORK_S)
                in_flight(house)
                proxies[part].weather.delay_s = 0.5
                house.resumes(f"{part}: 500 ms delay", time.monotonic(), DELAY_S[part])
                proxies[part].weather.delay_s = 0.0
                in_flight(house)
                proxies[part].weather.loss = 0.05
                house.wait(f"{part}: chunks came late", partial(late, proxies[part], 20), 60)
                house.resumes(f"{part}: 5 % late", time.monotonic(), NETWORK_S)
                proxies[part].weather.loss = 0.0
                met = proxies[part].met
                assert min(met["reset"], met["refused"], met["delayed"]) > 0, f"the bad network met nobody: {met}"
        house.acted()
        house.settle(180)
        trial.holds(house)


def late(proxy: Proxy, times: int) -> bool:
    """Have so many chunks come late?"""
    return proxy.met["late"] >= times


def soak(trial: Trial) -> None:
    """Row 20."""
    minutes = float(os.environ.get("SIGHTLINE_FAULT_SOAK_MIN", SOAK_MIN if trial.whole else 1))
    fresh = round(minutes * 60 * SOAK_HZ * LEAST_RATE * FRESH)  # a child brings one or less
    with trial.house("soak", children=2 * fresh, environment={"SIGHTLINE_FAULT_ROWS": "500"}) as house:
        samples: dict[str, list[tuple[float, int]]] = {}
        house.wait("the house has a counter", lambda: house.now().number >= 0)
        begun, first = time.monotonic(), house.now().number
        until = begun + minutes * 60
        pause_s = min(5.0, minutes * 3)  # of samples
        turns = round(minutes * 60 / pause_s) + 1
        with house.people.busy(5.0), house.talking(house.story.facts, SOAK_HZ, turns, round(1 / FRESH)):
            while time.monotonic() < until:
                house.more()
                time.sleep(pause_s)
                for one in house.crew.workers.values():
                    with contextlib.suppress(psutil.Error, psycopg.Error):
                        process = psutil.Process(one.pid)
                        samples.setdefault(one.name, []).append((process.memory_info().rss / 2**20, process.num_fds()))
            house.resumes("soak", time.monotonic(), 5)
        rate = (house.now().number - first) / (time.monotonic() - begun)
        trial.notes.append(f"{minutes:g} minutes at {rate:.0f} entries/s, {len(house.story.facts)} facts, the rest copies")
        assert rate >= SOAK_HZ * LEAST_RATE, f"{rate:.0f} entries/s is no load"
        house.acted()
        house.settle()
        flat(trial, house, samples)
        trial.holds(house)


def flat(trial: Trial, house: House, samples: dict[str, list[tuple[float, int]]]) -> None:
    """The last third of the samples is not above the middle third, by more than noise; nobody died."""
    assert not house.crew.deaths(), house.crew.deaths()
    for name, found in samples.items():
        third = len(found) // 3
        assert third >= 3, "too few samples"
        middle, last = found[third : 2 * third], found[-third:]
        memory = [median(m for m, _ in some) for some in (middle, last)]
        files = [median(f for _, f in some) for some in (middle, last)]
        trial.notes.append(f"{name}: {memory[0]:.0f} then {memory[1]:.0f} MB, {files[0]:.0f} then {files[1]:.0f} files")
        assert memory[1] <= memory[0] * 1.1 + 5, f"{name} grows: {memory}"
        assert files[1] <= files[0] + 4, f"{name} opens more and more files: {files}"
        assert memory[1] < 250, f"{name} takes {memory[1]:.0f} MB"
