"""What the supervisor writes down for other processes to read: who runs, since when, and how far a start has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from infra.processes import Identity
from infra.state import State

RECORD: Final = "run/supervisor.json"

Phase = Literal["starting", "running", "stopping", "stopped", "failed"]
Condition = Literal["starting", "up", "stalled", "waiting", "absent", "down"]


@dataclass(frozen=True, slots=True)
class Process:
    """One supervised process. `stalled`: it lives, and nothing it tries succeeds; `waiting`: it died and starts again soon;
    `absent`: its code is not there.
    """

    name: str
    kind: Literal["part", "worker"]
    condition: Condition
    pid: int | None = None
    started: int | None = None
    restarts: int = 0

    @property
    def identity(self) -> Identity | None:
        """The operating system's process, when one was started."""
        return None if self.pid is None or self.started is None else Identity(self.pid, self.started)


@dataclass(frozen=True, slots=True)
class Record:
    """The supervisor itself, and what it started."""

    pid: int
    started: int
    phase: Phase
    step: str = ""
    error: str = ""
    processes: tuple[Process, ...] = field(default=())

    @property
    def identity(self) -> Identity:
        """The supervisor's process."""
        return Identity(self.pid, self.started)

    @property
    def alive(self) -> bool:
        """True while the supervisor that wrote this runs."""
        return self.identity.alive()

    @property
    def steady(self) -> bool:
        """True when every process is up, or its code is not there."""
        return all(p.condition in {"up", "absent"} for p in self.processes)

    @property
    def settled(self) -> bool:
        """True when all is steady, and the web has said that it is ready."""
        return self.phase == "running" and self.steady


def write(state: State, record: Record) -> None:
    """Replace the record."""
    state.write_json(RECORD, asdict(record))


def read(state: State) -> Record | None:
    """The last record; None when nothing was ever started here (or the record is of another version)."""
    found: dict[str, Any] = state.read_json(RECORD)
    try:
        processes = tuple(Process(**p) for p in found.pop("processes", ()))
        return Record(**found, processes=processes) if found else None
    except TypeError:
        return None
