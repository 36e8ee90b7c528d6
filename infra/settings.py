"""Where everything is and how to get in: one frozen value, made once and handed down.

From the environment (production) or, where a variable is absent, from the state folder (what `sightline up` started).

SIGHTLINE_KAFKA            host:port[,…] of a broker that is not ours
SIGHTLINE_KAFKA_PROTOCOL   SASL_SSL or SASL_PLAINTEXT (default SASL_SSL for a given broker); SIGHTLINE_KAFKA_CA a CA file
SIGHTLINE_KAFKA_ADMIN      its super user (default `admin`), password in SIGHTLINE_KAFKA_ADMIN_PASSWORD
SIGHTLINE_KAFKA_REPLICAS   copies of each record on it (default 3)
SIGHTLINE_DATABASE         libpq URL of the database `views`;  SIGHTLINE_KEEP  of the database `keep`
SIGHTLINE_REGISTRY         URL of a Confluent-compatible schema registry
SIGHTLINE_PREFIX           prefix of every topic, user, group and database
SIGHTLINE_WEB              host:port to serve the pages on
SIGHTLINE_SECURE_COOKIES   yes or no: cookies over https only. Default: yes, unless the pages are served on loopback.
                           Behind a TLS proxy on the same machine say yes
SIGHTLINE_DEMONSTRATION    yes or no: may this deployment hold invented children and accounts with one known password.
                           Default: yes on servers of our own with pages on loopback, else no
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.errors import StateError
from infra.kafka import ADMIN
from infra.postgres import ROLE
from infra.registry import PATH
from infra.state import State
from schemas.topics import KafkaAccess, users

WEB_PORT: Final = 8000
WORD: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}[.-]|")
MASTER_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses of a deployment. Secrets are read from the state folder when asked for, and never shown by `repr`."""

    state: State
    bootstrap: str
    views_dsn: str
    keep_dsn: str
    registry_url: str
    prefix: str = ""
    security_protocol: str = "SASL_PLAINTEXT"
    ssl_cafile: str | None = None
    admin_user: str = ADMIN
    replication: int = 1
    web_host: str = "127.0.0.1"
    web_port: int = WEB_PORT
    secure_cookies: bool = True
    demonstration: bool = False
    static_dir: Path = Path()
    given_kafka: bool = False
    given_database: bool = False
    given_registry: bool = False

    def __repr__(self) -> str:
        return f"Settings(prefix={self.prefix!r}, bootstrap={self.bootstrap!r}, registry_url={self.registry_url!r})"

    @classmethod
    def load(cls, *, env: Mapping[str, str] = os.environ, state: State | None = None, prefix: str | None = None) -> Settings:
        """Read the environment and the state folder.

        Raises: StateError for a bad prefix, address or half-given database.
        """
        state = state or State.open(env=env)
        prefix = checked_prefix(env.get("SIGHTLINE_PREFIX", "") if prefix is None else prefix)
        ports = state.ports()
        kafka, registry = env.get("SIGHTLINE_KAFKA"), env.get("SIGHTLINE_REGISTRY")
        views, keep = env.get("SIGHTLINE_DATABASE"), env.get("SIGHTLINE_KEEP")
        if bool(views) != bool(keep):
            raise StateError("set both SIGHTLINE_DATABASE and SIGHTLINE_KEEP, or neither")
        host, port = _web(env.get("SIGHTLINE_WEB", ""), ports.get("web", WEB_PORT))
        return cls(
            state=state,
            bootstrap=kafka or f"127.0.0.1:{ports.get('kafka', 0)}",
            views_dsn=views or local_dsn(state, f"{database_prefix(prefix)}views"),
            keep_dsn=keep or local_dsn(state, f"{database_prefix(prefix)}keep"),
            registry_url=(registry or f"http://127.0.0.1:{ports.get('registry', 0)}{PATH}").rstrip("/"),
            prefix=prefix,
            security_protocol=env.get("SIGHTLINE_KAFKA_PROTOCOL", "SASL_SSL") if kafka else "SASL_PLAINTEXT",
            ssl_cafile=env.get("SIGHTLINE_KAFKA_CA") if kafka else None,
            admin_user=env.get("SIGHTLINE_KAFKA_ADMIN", ADMIN) if kafka else ADMIN,
            replication=int(env.get("SIGHTLINE_KAFKA_REPLICAS", "3")) if kafka else 1,
            web_host=host,
            web_port=port,
            secure_cookies=_yes(env, "SIGHTLINE_SECURE_COOKIES", default=not is_loopback(host)),
            demonstration=_yes(env, "SIGHTLINE_DEMONSTRATION", default=not (kafka or views) and is_loopback(host)),
            static_dir=state.static,
            given_kafka=bool(kafka),
            given_database=bool(views),
            given_registry=bool(registry),
        )

    def access(self, user: str) -> KafkaAccess:
        """How `user` (a name of `schemas.topics.users`, without prefix) reaches the broker. Its password is made once."""
        password = self.state.secret(f"kafka/{self.prefix}{user}")
        return KafkaAccess(self.bootstrap, user, password, self.prefix, self.security_protocol, self.ssl_cafile)

    def admin(self) -> KafkaAccess:
        """How the broker's super user reaches it; the user carries no prefix, so topics are named in full."""
        given = os.environ.get("SIGHTLINE_KAFKA_ADMIN_PASSWORD") if self.given_kafka else None
        password = given or self.state.secret(f"kafka/{ADMIN}")
        return KafkaAccess(self.bootstrap, self.admin_user, password, "", self.security_protocol, self.ssl_cafile)

    def passwords(self) -> dict[str, str]:
        """The password of every user of the deployment, by name without prefix."""
        return {user: self.access(user).password for user in users()}

    @property
    def web_address(self) -> str:
        """Where the page answers, with its last slash."""
        return f"http://{self.web_host}:{self.web_port}/"

    @property
    def master_key(self) -> bytes:
        """The 32 bytes that wrap every presentation's key. Kept outside PostgreSQL, in a file of mode 0600."""
        text = self.state.secret(
            f"{self.prefix}master.key", value=base64.urlsafe_b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
        )
        key = base64.urlsafe_b64decode(text)
        if len(key) != MASTER_KEY_BYTES:
            raise StateError(f"{self.prefix}master.key does not hold 32 bytes; restore it from your backup, do not replace it")
        return key

    def secret(self, name: str) -> str:
        """A secret of this deployment by name (say, the key of sessions, or of one agency's hashes), made once."""
        return self.state.secret(f"{self.prefix}{name}")

    def spool_dir(self, agency: str) -> Path:
        """Where facts of one agency wait while the broker is away; made when missing, mode 0700."""
        folder = self.state.spool / f"{self.prefix}{agency}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def checked_prefix(prefix: str) -> str:
    """The prefix when it is fit for topics and users. Raises: StateError."""
    if not WORD.fullmatch(prefix):
        raise StateError(f"SIGHTLINE_PREFIX {prefix!r} is not fit: lower-case letters, digits, `.` and `-`, ending in `.` or `-`")
    return prefix


def database_prefix(prefix: str) -> str:
    """The prefix as PostgreSQL names take it without quotes."""
    return re.sub(r"[.-]", "_", prefix)


def local_dsn(state: State, database: str) -> str:
    """The libpq URL of a database of our own PostgreSQL."""
    return f"postgresql://{ROLE}:{state.secret(f'postgres/{ROLE}')}@127.0.0.1:{state.ports().get('postgres', 0)}/{database}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address. A name other than `localhost` may mean anything: then no."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _yes(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = env.get(name, "")
    if text not in ("", "yes", "no"):
        raise StateError(f"{name} is `yes` or `no`, not {text!r}")
    return text == "yes" if text else default


def _web(text: str, port: int) -> tuple[str, int]:
    if not text:
        return "127.0.0.1", port
    host, _, number = text.rpartition(":")
    if not host or not number.isdigit():
        raise StateError(f"SIGHTLINE_WEB {text!r} is not host:port, such as 127.0.0.1:8000")
    return host, int(number)
