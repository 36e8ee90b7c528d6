"""Start everything in order, keep it running, stop it in reverse order.

Whatever ends this process, nothing stays behind: every child asks the kernel for a death signal, and should one outlive
it all the same, the next start finds it by (pid, start time) and ends it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final
from urllib.request import urlopen

import structlog

from infra import migrate, parts, records
from infra.errors import StateError
from infra.kafka import Broker
from infra.logs import hush, places, telling
from infra.part import Part
from infra.postgres import Postgres
from infra.processes import Identity, end
from infra.provision import provision
from infra.records import Phase, Process, Record
from infra.registry import Registry
from infra.settings import WEB_PORT, Settings
from infra.state import State
from infra.supervised import PAUSE_MAX_S, Child
from infra.workers import PREPARATIONS, WORKERS
from schemas.topics import topics

TICK_S: Final = 0.1
READY_S: Final = 2.0
FIRST_PAGE_S: Final = 10.0
"""The others do not wait any longer for a web that does not come up."""

LEFTOVER_GRACE_S: Final = 5.0

Tell = Callable[[str], None]
"""Called with each step of a start, in words for a person."""

log = structlog.get_logger("sightline.supervisor")


def _databases(settings: Settings) -> None:
    migrate.ensure(settings.keep_dsn, "keep")
    migrate.ensure(settings.views_dsn, "views")


def _topics(settings: Settings) -> None:
    provision(settings.admin(), settings.prefix, topics(), settings.passwords(), replication=settings.replication)


def _schemas(settings: Settings) -> None:
    from infra import assembly

    assembly.register_schemas(settings)


FURNISHING: Final[Mapping[str, Callable[[Settings], None]]] = {"postgres": _databases, "kafka": _topics, "registry": _schemas}
"""What every start makes exist in a server, ours or given; each must be repeatable."""


class Supervisor:
    """One deployment's processes on this machine. Use `run` once, from the main thread."""

    def __init__(
        self, state: State, tell: Tell, leaving: Callable[[], None] = lambda: None, progress: Tell = lambda _: None
    ) -> None:
        """`leaving` is called before anything is stopped; `progress` is told how far a long step is, ten times a second."""
        self.state = state
        self.tell_person = tell
        self.tell_progress = progress
        self._leaving = leaving
        self.parts: list[Part] = []
        self.children: list[Child] = []
        self.revivals: dict[str, Future[float]] = {}
        self.restarts: dict[str, int] = {}
        self.step = ""
        self._stop = threading.Event()
        self._setting_up = False
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="part")
        self._last: Record | None = None

    def run(self, ready: Callable[[Settings], None] = lambda settings: None) -> None:
        """Bring everything up, call `ready` once all is healthy, and keep it so until SIGINT or SIGTERM.

        Raises: InfraError when the start fails; what had started is stopped again.
        """
        with self._alone():
            self._listen()
            try:
                self._setting_up = True
                settings = self._bring_up()
                self._setting_up = False
                self._keep(settings, ready)
                self._record("stopping")
            except KeyboardInterrupt:
                self._record("stopping")
            except Exception as error:  # whatever it was: first stop in good order what had started
                self._setting_up = False
                self._record("failed", error=telling(error) or _unforeseen(error))
                self._end_all()
                raise
            self._setting_up = False
            self._end_all()
            self._record("stopped")

    def stop(self) -> None:
        """Ask `run` to return; safe from any thread."""
        self._stop.set()

    def _bring_up(self) -> Settings:
        self._end_leftovers()
        given = Settings.load(state=self.state)
        self._tell("Fetching Kafka, the schema registry and the web components (once)")
        self._await(self._pool.submit(parts.install, self.state, advance=self._progress))
        self.parts = self._chosen(given)
        started = f"Starting {', '.join(part.name for part in self.parts)}; " if self.parts else ""
        self._tell(f"{started}databases, topics, users, rules and schemas")
        self._await(*[self._pool.submit(self._furnish, name) for name in FURNISHING])
        for folder in [p.elsewhere for p in self.parts if isinstance(p, Postgres) and p.elsewhere]:
            self._tell(f"PostgreSQL's data lies in {folder}: its user may not enter the state folder")
        self.state.claim_port("web", WEB_PORT)
        settings = Settings.load(state=self.state)
        for preparation in PREPARATIONS:
            self._tell(preparation.title)
            preparation.run(settings)
        self._tell("Starting the workers")
        self.children = [Child.of(worker, number, self.state) for worker in WORKERS for number in range(worker.processes)]
        for child in self.children:
            child.start()
            if child.name == "web":
                self._first_page(settings)
        return settings

    def _first_page(self, settings: Settings) -> None:
        """Give the web the processor until it answers: people read what is known while the other workers still load."""
        until = time.monotonic() + FIRST_PAGE_S
        while time.monotonic() < until and not self._stop.wait(TICK_S):
            if _web_says(settings, "healthz"):
                self._tell(f"The page answers at {settings.web_address}; starting the other workers")
                return

    def _furnish(self, name: str) -> float:
        """Start a part, if it is ours, and make what has to be in it; the others do the same meanwhile."""
        took = sum(part.start() for part in self.parts if part.name == name)
        FURNISHING[name](Settings.load(state=self.state))
        return took

    def _chosen(self, given: Settings) -> list[Part]:
        chosen: list[Part] = []
        if not given.given_database:
            chosen.append(Postgres(self.state))
        if not given.given_kafka:
            chosen.append(Broker(self.state, self.state))
        if not given.given_registry:
            chosen.append(Registry(self.state, self.state))
        return chosen

    def _await(self, *steps: Future[float]) -> None:
        """Until all are done, writing down how far they are; raises what one raised."""
        while not all(step.done() for step in steps):
            self._record("starting")
            self.tell_progress(self.step)
            time.sleep(TICK_S)
        for step in steps:
            step.result()

    def _keep(self, settings: Settings, ready: Callable[[Settings], None]) -> None:
        told = False
        while not self._stop.wait(TICK_S):
            self._tend()
            if told:
                self._record("running")
            elif self._record("starting").steady and self._answers(settings):
                told = True
                self.step = ""
                self._record("running")
                ready(settings)

    def _answers(self, settings: Settings) -> bool:
        """Does the web say that it is ready: with its databases, and the views caught up with the ledger?"""
        if any(child.name == "web" and child.absent for child in self.children):
            return True
        self.step = "Waiting until the views have caught up with the ledger"
        return _web_says(settings, "readyz")

    def _tend(self) -> None:
        """Start again what has died. A full disk, on which no log can be opened, ends nobody: there may be room the next time."""
        failed = set[int | None]()
        steps: list[Callable[[], None]] = [c.tend for c in self.children]
        for tend in steps + [partial(self._tend_part, p) for p in self.parts]:
            try:
                tend()
            except OSError as error:
                failed.add(error.errno)
        if failed:
            log.warning("not all could be started", errno=sorted(map(str, failed)))
            self._stop.wait(PAUSE_MAX_S)

    def _tend_part(self, part: Part) -> None:
        """Start a part again that has died, on the side: the workers are tended meanwhile."""
        revival = self.revivals.get(part.name)
        if revival and not revival.done():
            return
        if revival and revival.exception():
            log.error("part did not start", part=part.name, exc_info=revival.exception())
        if part.identity is None:
            self.restarts[part.name] = self.restarts.get(part.name, 0) + 1
            log.warning("part died", part=part.name, restarts=self.restarts[part.name])
            self.revivals[part.name] = self._pool.submit(part.start)

    def _end_all(self) -> None:
        """Who lives in this process first, then the workers, all at once; then the parts in reverse order of their start."""
        self._leaving()
        hush()
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            child.stopped()
        for part in reversed(self.parts):
            part.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for part in self.parts:  # a start that was under way when we stopped
            part.stop()

    def _end_leftovers(self) -> None:
        record = records.read(self.state)
        for process in reversed(record.processes if record else ()):
            identity = process.identity
            if identity and identity.alive():
                log.warning("ended what an earlier run left behind", name=process.name, pid=identity.pid)
                end(identity, grace_s=LEFTOVER_GRACE_S, first=signal.SIGINT if process.name == "postgres" else signal.SIGTERM)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that the kernel releases with the process, however it ends."""
        self.state.run.mkdir(parents=True, exist_ok=True)
        with (self.state.run / "supervisor.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateError("it runs already; `sightline status` shows it, `sightline down` stops it") from error
            yield

    def _listen(self) -> None:
        def asked(number: int, frame: FrameType | None) -> None:
            del number, frame
            already = self._stop.is_set()
            self._stop.set()
            if self._setting_up and not already:
                raise KeyboardInterrupt

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, asked)

    def _tell(self, step: str) -> None:
        self.step = step
        self._record("starting")
        self.tell_person(step)

    def _progress(self, done: int, expected: int) -> None:
        self.step = f"Fetching parts: {done / 1e6:.0f} of {expected / 1e6:.0f} MB"

    def _record(self, phase: Phase, *, error: str = "") -> Record:
        me = Identity.of(os.getpid())
        assert me is not None
        processes = (*(self._of_part(part) for part in self.parts), *(child.process() for child in self.children))
        record = Record(me.pid, me.started, phase, self.step, error, processes)
        if record != self._last:
            with suppress(OSError):  # a full disk: the next moment tries again
                records.write(self.state, record)
                self._last = record
        return record

    def _of_part(self, part: Part) -> Process:
        identity = part.identity
        revival = self.revivals.get(part.name)
        under_way = not self.children or (revival is not None and not revival.done())
        condition: records.Condition = "waiting" if identity is None else "starting" if under_way else "up"
        pid, started = (identity.pid, identity.started) if identity else (None, None)
        return Process(part.name, "part", condition, pid, started, self.restarts.get(part.name, 0))


def _web_says(settings: Settings, what: str) -> bool:
    """Does the web answer well on this path (`healthz`, `readyz`)?"""
    try:
        with urlopen(settings.web_address + what, timeout=READY_S):
            return True
    except OSError:
        return False


def _unforeseen(error: Exception) -> str:
    """What may be said of an error that is not ours: its type and place, never its text (I7)."""
    return f"{type(error).__name__} at {places(error.__traceback__)[-1]}; that is a fault in Sightline, please report it"
