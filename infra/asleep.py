"""The house asleep: broker, database and registry up, and no worker. What a restore needs around it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from infra import parts, records
from infra.errors import AccessError, StateError
from infra.handshake import check_access
from infra.kafka import Broker
from infra.part import Part
from infra.postgres import Postgres
from infra.provision import provision
from infra.registry import Registry, compatibility
from infra.settings import Settings
from infra.state import State
from schemas.topics import topics

Tell = Callable[[str], None]


@contextmanager
def asleep(state: State, *, force: bool = False, tell: Tell = lambda _: None) -> Iterator[Settings]:
    """Everything that is not a worker, started if need be and stopped again; nobody can start workers meanwhile.

    Topics, users and rules exist then. `force` leaves what runs as it is, workers too.
    Raises:
        StateError: workers run; InfraError: a part did not start.
    """
    with ExitStack() as until:
        if not force:
            until.enter_context(_alone(state))
            _start(state, until, tell)
        settings = Settings.load(state=state)
        tell("Creating topics, users and rules")
        provision(settings.admin(), settings.prefix, topics(), settings.passwords(), replication=settings.replication)
        yield settings


@contextmanager
def _alone(state: State) -> Iterator[None]:
    """No supervisor runs, and none can start: its own lock is held. No worker has outlived one."""
    refusal = "workers run: stop them with `sightline down`, then say this again"
    state.run.mkdir(parents=True, exist_ok=True)
    with (state.run / "supervisor.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateError(refusal) from error
        record = records.read(state)
        if any(p.identity and p.identity.alive() for p in (record.processes if record else ()) if p.kind == "worker"):
            raise StateError(refusal)
        yield


def _start(state: State, until: ExitStack, tell: Tell) -> None:
    settings = Settings.load(state=state)
    wanted: list[Part] = []
    if not settings.given_database and not (state.ports().get("postgres") and Postgres(state).answers()):
        wanted.append(Postgres(state))
    if not settings.given_kafka and not _broker_answers(settings):
        wanted.append(Broker(state, state))
    if not settings.given_registry and compatibility(settings.registry_url) is None:
        wanted.append(Registry(state, state))
    if not wanted:
        return
    parts.install(state)
    tell(f"Starting {', '.join(part.name for part in wanted)}")
    with ThreadPoolExecutor(len(wanted)) as pool:
        for part in wanted:
            until.callback(part.stop)
        for started in [pool.submit(part.start) for part in wanted]:
            started.result()


def _broker_answers(settings: Settings) -> bool:
    try:
        check_access(settings.admin(), timeout_s=1)
    except AccessError:
        return False
    return True
