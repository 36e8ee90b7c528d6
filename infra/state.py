"""The one ignored folder that holds everything a deployment on this machine has: see `State`."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.errors import StateError

REPOSITORY: Final = Path(__file__).resolve().parent.parent

PORTS_FREE: Final = range(20000, 30000)
"""Where a free port is sought when the default is taken. Below 32768, where Linux takes the near end of outgoing
connections: a client that keeps dialling a dead broker's port up there can connect to itself and hold the port."""


DEMONSTRATION: Final = "demo.json"
"""The record of the simulated borough: where it is, the children of this folder's data are invented."""

TRUTH: Final = "truth.jsonl"
"""What is true about the simulated borough's facts, beside the data: for whoever judges what was made of them."""


@dataclass(frozen=True, slots=True)
class State:
    """Paths, secrets and remembered ports under one folder.

    `data/` can be forgotten (`make reset`); `parts/` (unpacked jars), `static/` (web components) and `venv/` stay.
    """

    root: Path

    @classmethod
    def open(cls, root: Path | None = None, *, env: Mapping[str, str] = os.environ) -> State:
        """The state folder: `root`, or SIGHTLINE_STATE, or `.sightline` in the repository. Created when missing.

        Raises: StateError when it cannot be created or written.
        """
        path = root or Path(env.get("SIGHTLINE_STATE") or REPOSITORY / ".sightline")
        path = path.expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(_unusable(path, error)) from error
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise StateError(_unusable(path, PermissionError(13, "Permission denied")))
        return cls(path)

    @property
    def parts(self) -> Path:
        """Unpacked Java parts."""
        return self.root / "parts"

    @property
    def static(self) -> Path:
        """Unpacked web components, one folder each."""
        return self.root / "static"

    @property
    def data(self) -> Path:
        """What the broker, the database and the registry store."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """A log file a process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Who runs: the supervisor's lock and records."""
        return self.root / "run"

    @property
    def spool(self) -> Path:
        """Facts that wait for the broker, a folder an agency."""
        return self.root / "spool"

    def secret(self, name: str, *, value: str | None = None) -> str:
        """A secret by name, made once (32 random bytes, URL-safe) or with `value`; file mode 0600.

        Safe when two processes ask for a new one at the same time: both get the same.
        """
        path = self.root / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}; run as the user who owns it") from error
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.root / "secrets").chmod(0o700)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(value or secrets.token_urlsafe(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text().strip()

    def replace_secret(self, name: str, value: str) -> None:
        """Put `value` in the place of a secret, whole or not at all; file mode 0600."""
        path = self.root / "secrets" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(value)
        draft.replace(path)

    def ports(self) -> dict[str, int]:
        """The remembered ports by name."""
        return {name: int(port) for name, port in self.read_json("ports.json").items()}

    def claim_port(self, name: str, default: int) -> int:
        """A port free at this moment: the remembered one, else `default`, else any; remembered for the next start.

        Call it only when the part that listens there is down.
        """
        with self._locked("ports.lock"):
            ports = self.ports()
            taken = {port for other, port in ports.items() if other != name}
            port = next(p for p in _candidates(ports.get(name), default) if p not in taken and port_free(p))
            if ports.get(name) != port:
                self.write_json("ports.json", {**ports, name: port})
            return port

    def read_json(self, name: str) -> dict[str, Any]:
        """A small record under the state folder; empty when it is absent or was cut short by a crash."""
        try:
            found = json.loads((self.root / name).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Replace a small record as a whole."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(value, indent=1))
        draft.replace(path)

    def forget(self) -> list[Path]:
        """Remove data, secrets, logs, spool and records; keep the environment, the parts and the static files.

        Secrets go too: they open nothing but the data that goes. Returns what was removed.
        """
        gone = [self.data, self.spool, self.logs, self.run]
        gone += [self.root / name for name in ("secrets", "ports.json", DEMONSTRATION, TRUTH)]
        gone += [Path(str(p)) for p in self.read_json("elsewhere.json").values()]
        gone.append(self.root / "elsewhere.json")
        removed = [path for path in gone if path.exists()]
        for path in removed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return removed

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.root / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def port_free(port: int) -> bool:
    """True when nothing listens on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _candidates(remembered: int | None, default: int) -> Iterator[int]:
    if remembered:
        yield remembered
    if default:
        yield default
    while True:
        yield random.choice(PORTS_FREE)  # noqa: S311 (a port, not a secret)


def _unusable(path: Path, error: OSError) -> str:
    return f"cannot use the state folder {path}: {error.strerror}; set SIGHTLINE_STATE to a folder you may write"
