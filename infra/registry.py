"""The schema registry: Apicurio with its Confluent-compatible API, on loopback, stored in an H2 file.

Any Confluent-compatible registry can stand in: only `compat_url` is used by the rest of the house.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Final

from infra.errors import StartError
from infra.java import java
from infra.part import Part
from infra.state import State
from schemas.registry import COMPATIBILITY

PORT: Final = 18080
MANAGEMENT_PORT: Final = 18081
HEAP_MB: Final = 384
PATH: Final = "/apis/ccompat/v7"


class Registry(Part):
    """Apicurio Registry whose data lies in `<state>/data/registry`."""

    name = "registry"
    death_signal = Part.stop_signal  # SIGTERM: H2 closes its file

    def __init__(self, state: State, parts: State, *, heap_mb: int = HEAP_MB, port: int = PORT) -> None:
        super().__init__(state.logs / "registry.log")
        self.state = state
        self.home = parts.parts / "registry"
        self.heap_mb = heap_mb
        self.default_port = port
        self.port = state.ports().get("registry", 0)
        self.cwd = self.home

    @property
    def address(self) -> str:
        """host:port of the part."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base of the Confluent-compatible API."""
        return f"http://{self.address}{PATH}"

    def prepare(self) -> list[str]:
        """Claim ports, make the data folder if needed; returns the command. Raises: StartError."""
        self.port = self.state.claim_port("registry", self.default_port)
        management = self.state.claim_port("registry-management", MANAGEMENT_PORT if self.default_port else 0)
        data = self.state.data / "registry"
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",  # its default is every interface
            "quarkus.management.port": management,
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{data}/registry;DB_CLOSE_ON_EXIT=FALSE",
            "apicurio.datasource.username": "sa",
            "apicurio.datasource.password": "sa",  # an embedded file, not a listener
            "apicurio.features.experimental.enabled": "false",
            "quarkus.log.level": "WARN",
            "quarkus.banner.enabled": "false",
        }
        settings = (f"-D{key}={value}" for key, value in options.items())
        return [*java(self.heap_mb, *settings), "-jar", "quarkus-run.jar"]

    def ready(self) -> bool:
        """True when it answers and new subjects get FULL_TRANSITIVE (set here at the first answer)."""
        return compatibility(self.url) == COMPATIBILITY or set_compatibility(self.url, COMPATIBILITY)

    def answers(self) -> bool:
        """True when the registry answers now."""
        return compatibility(self.url) is not None


def compatibility(url: str, *, timeout_s: float = 2.0) -> str | None:
    """The registry's global compatibility level; None when it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/config", timeout=timeout_s) as answer:
            return str(json.load(answer).get("compatibilityLevel"))
    except (urllib.error.URLError, TimeoutError, ConnectionError, json.JSONDecodeError):
        return None


def set_compatibility(url: str, level: str, *, timeout_s: float = 5.0) -> bool:
    """Set the global level; False when the registry does not answer."""
    body = json.dumps({"compatibility": level}).encode()
    request = urllib.request.Request(f"{url}/config", body, {"Content-Type": "application/json"}, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return compatibility(url) == level
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise StartError(f"the registry at {url} refuses to set compatibility {level} (HTTP {error.code})") from error
        return False
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
