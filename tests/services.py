"""The servers tests run against, behind one interface: local JVMs and PostgreSQL, or addresses somebody gave.

Tests share the servers and take a fresh deployment prefix each (`Services.deploy`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from infra import migrate, parts
from infra.assembly import register_schemas
from infra.kafka import Broker
from infra.part import Part
from infra.postgres import Postgres
from infra.provision import provision, withdraw
from infra.registry import Registry
from infra.settings import Settings, database_prefix
from infra.state import State
from schemas.topics import KafkaAccess, topics, users
from tests import clients

PartName = Literal["kafka", "postgres", "registry"]
PARTS: tuple[PartName, ...] = ("kafka", "postgres", "registry")
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it
MEMORY_BYTES_MIN: Final = 6 * 1024**3


class NotOurs(Exception):
    """The server was given, so a test may not stop or kill it: the test skips, one of the fault table fails."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A fresh, provisioned deployment on shared servers."""

    services: Services
    settings: Settings

    @property
    def prefix(self) -> str:
        """Of every topic, user, group and database of this deployment."""
        return self.settings.prefix

    @property
    def bootstrap(self) -> str:
        """The broker's host:port."""
        return self.settings.bootstrap

    @property
    def views_dsn(self) -> str:
        """libpq URL of this deployment's `views`."""
        return self.settings.views_dsn

    @property
    def keep_dsn(self) -> str:
        """libpq URL of this deployment's `keep`."""
        return self.settings.keep_dsn

    @property
    def registry_url(self) -> str:
        """Base of the Confluent-compatible API. Subjects are shared by every deployment on it."""
        return self.settings.registry_url

    def access(self, user: str) -> KafkaAccess:
        """How a user (`unify`, `agency.police`, …; or `admin`) reaches the broker."""
        return self.settings.admin() if user == "admin" else self.settings.access(user)

    def environment(self) -> dict[str, str]:
        """Environment for a child process (`python -m infra.command worker …`) of this deployment."""
        given = {"SIGHTLINE_DATABASE": self.views_dsn, "SIGHTLINE_KEEP": self.keep_dsn} if self.settings.given_database else {}
        return {**os.environ, **self.services.environment(), **given, "SIGHTLINE_PREFIX": self.prefix}

    def drop_views(self) -> None:
        """Lose the database `views` in mid-stream, whoever is connected; make it again, empty and migrated."""
        migrate.drop_database(self.views_dsn)
        migrate.ensure(self.views_dsn, "views")

    def close(self) -> None:
        """Remove topics, users, rules and databases; close this process's Kafka clients of it."""
        clients.close_those_of(self.prefix)
        withdraw(self.settings.admin(), self.prefix, topics(), users())
        for dsn in (self.views_dsn, self.keep_dsn):
            migrate.drop_database(dsn)


class Services(ABC):
    """A broker, a database and a schema registry that tests may use, and some of them break."""

    @abstractmethod
    def settings(self, prefix: str) -> Settings:
        """Addresses and secrets of a deployment with this prefix; nothing is created."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables by which a child process finds these servers."""

    @abstractmethod
    def kill(self, part: PartName) -> None:
        """SIGKILL. Raises: NotOurs."""

    @abstractmethod
    def stop(self, part: PartName) -> None:
        """Stop in good order. Raises: NotOurs."""

    @abstractmethod
    def restart(self, part: PartName) -> float:
        """Start after `kill` or `stop`, on the same port with the same data; the seconds until ready. Raises: NotOurs."""

    @abstractmethod
    def close(self) -> None:
        """End what was started and remove its data."""

    @property
    def bootstrap(self) -> str:
        """The broker's host:port."""
        return self.settings("").bootstrap

    @property
    def registry_url(self) -> str:
        """Base of the Confluent-compatible API."""
        return self.settings("").registry_url

    def access(self, user: str, prefix: str) -> KafkaAccess:
        """How `user` of the deployment `prefix` reaches the broker; `admin` is the super user."""
        settings = self.settings(prefix)
        return settings.admin() if user == "admin" else settings.access(user)

    def deploy(self, prefix: str | None = None, *, only: Iterable[str] | None = None) -> Deployment:
        """A fresh deployment: topics (all, or `only` these), users, rules, migrated databases."""
        settings = self.settings(prefix or f"t{secrets.token_hex(4)}.")
        wanted = topics() if only is None else tuple(t for t in topics() if t.name in set(only))
        with ThreadPoolExecutor(3) as pool:
            done: list[Future[Any]] = [
                pool.submit(
                    provision, settings.admin(), settings.prefix, wanted, settings.passwords(), replication=settings.replication
                ),
                pool.submit(migrate.ensure, settings.views_dsn, "views"),
                pool.submit(migrate.ensure, settings.keep_dsn, "keep"),
            ]  # fmt: skip
            done.append(pool.submit(register_schemas, settings))
            for one in done:
                one.result()
        return Deployment(self, settings)


class LocalServices(Services):
    """Servers of our own in a temporary state folder (made `within` another); the jars are the repository's."""

    def __init__(self, *, only: Iterable[PartName] = PARTS, within: Path | None = None) -> None:
        root = Path(tempfile.mkdtemp(prefix="sightline-tests-", dir=within))
        root.chmod(0o711)  # PostgreSQL may run as another user and must pass through
        self.state = State.open(root)
        jars = State.open(env={k: v for k, v in os.environ.items() if k == "SIGHTLINE_STATE"})
        wanted = set(only)
        needed = {"kafka", "registry"} & wanted
        parts.install(jars, [p for p in parts.locked() if p.use in needed or p.use == "static"])
        self.static_dir = jars.static
        every: dict[PartName, Part] = {
            "kafka": Broker(self.state, jars, port=0),
            "postgres": Postgres(self.state, port=0),
            "registry": Registry(self.state, jars, port=0),
        }
        self.parts = {name: part for name, part in every.items() if name in wanted}
        try:
            with ThreadPoolExecutor(len(self.parts)) as pool:
                for started in [pool.submit(part.start) for part in self.parts.values()]:
                    started.result()
        except BaseException:
            self.close()
            raise

    def settings(self, prefix: str) -> Settings:
        return replace(Settings.load(env={}, state=self.state, prefix=prefix), static_dir=self.static_dir)

    def environment(self) -> dict[str, str]:
        return {"SIGHTLINE_STATE": str(self.state.root)}

    def kill(self, part: PartName) -> None:
        self.parts[part].kill()

    def stop(self, part: PartName) -> None:
        self.parts[part].stop()

    def restart(self, part: PartName) -> float:
        return self.parts[part].restart()

    def close(self) -> None:
        for name, part in reversed(self.parts.items()):
            if name == "postgres":
                part.stop()  # killed, it would leave its segments of shared memory behind
            else:
                part.kill()  # the data is about to go: no need for good order
        self.state.forget()
        shutil.rmtree(self.state.root, ignore_errors=True)


class GivenServices(Services):
    """Servers at the addresses in the environment (see `infra.settings`); nothing of them is stopped or killed."""

    def __init__(self) -> None:
        self.state = State.open(Path(tempfile.mkdtemp(prefix="sightline-tests-")))

    def settings(self, prefix: str) -> Settings:
        given = Settings.load(state=self.state, prefix=prefix)
        names = database_prefix(prefix)
        views, keep = (
            _with_database(dsn, f"{names}{which}") for dsn, which in ((given.views_dsn, "views"), (given.keep_dsn, "keep"))
        )
        return replace(given, views_dsn=views, keep_dsn=keep)

    def environment(self) -> dict[str, str]:
        return {"SIGHTLINE_STATE": str(self.state.root)}

    def kill(self, part: PartName) -> None:
        raise NotOurs(part)

    def stop(self, part: PartName) -> None:
        raise NotOurs(part)

    def restart(self, part: PartName) -> float:
        raise NotOurs(part)

    def close(self) -> None:
        shutil.rmtree(self.state.root, ignore_errors=True)


def open_services() -> Services:
    """Given servers when SIGHTLINE_KAFKA, SIGHTLINE_DATABASE and SIGHTLINE_REGISTRY are all set; else local ones."""
    given = all(os.environ.get(name) for name in ("SIGHTLINE_KAFKA", "SIGHTLINE_DATABASE", "SIGHTLINE_REGISTRY"))
    return GivenServices() if given else LocalServices(within=memory())


def memory() -> Path | None:
    """A file system in memory with room for the servers of a test run; None when there is none.

    Tests kill processes, never the machine, so nothing is lost in it; and to make a deployment takes 2.6 s instead of 4.7.
    """
    try:
        return IN_MEMORY if shutil.disk_usage(IN_MEMORY).free > MEMORY_BYTES_MIN and os.access(IN_MEMORY, os.W_OK) else None
    except OSError:
        return None


def _with_database(dsn: str, name: str) -> str:
    """The same server, another database, as a URL again (SQLAlchemy wants one)."""
    head, _, tail = dsn.partition("?")
    return head.rsplit("/", 1)[0] + "/" + name + (f"?{tail}" if tail else "")
