"""A real deployment with its pages, for tests that look at it as people do: worker processes, the web worker, real accounts.

`Living` publishes facts by the agencies' own clients, signs people in over HTTP, and waits for conditions.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, Final, Self, cast
from uuid import uuid4

import httpx
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from domain.times import DAY_US
from infra import migrate
from infra.processes import Identity, end, spawn
from producers.halton.facts import SimulatedFact, blank
from projections.accesses import issue_credential
from projections.accounts import PEOPLE_ROLES, add_account
from tests.fault.harness import ROOT, House
from tests.fault.story import tell
from tests.services import Services
from tests.webviews import PASSWORD
from tests.webworld import static_dir
from web.app import create_app
from web.config import WebConfig
from web.house import COOKIE
from web.house import House as WebHouse
from web.security import CSRF_HEADER, csrf_token

UP_S: Final = 60.0
SECOND_MANAGER: Final = "manager2"
PEOPLE: Final = {**{role: role for role in PEOPLE_ROLES}, SECOND_MANAGER: "icart_manager"}
"""Role by sign-in name."""


def now_us() -> int:
    """This instant."""
    return time.time_ns() // 1000


def fact(
    record: str, agency: str, subject: Mapping[str, Any], body: Mapping[str, Any], *, ago_us: int = DAY_US, **envelope: Any
) -> SimulatedFact:
    """A fact of `agency` about something `ago_us` before now, that a test wrote by hand."""
    value, at = blank(record), now_us() - ago_us
    value["envelope"] |= {
        "event_id": str(uuid4()), "agency": agency, "occurred_at": at, "recorded_at": at, "reported_by": "Somebody on duty",
        "sensitivity": "ORDINARY", "subject": {**value["envelope"]["subject"], **subject}, **envelope,
    }  # fmt: skip
    return SimulatedFact(record, value | dict(body), at, "", "")


@dataclass(frozen=True)
class Answer:
    """What came back, whole: address, status, headers and body."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def whole(self) -> str:
        """Everything that left the house with this answer."""
        return "\n".join([self.url, *(f"{k}: {v}" for k, v in self.headers.items()), self.body])


class Person:
    """A browser of somebody, or of nobody. Keeps every answer in `seen`; redirects are not followed."""

    def __init__(self, base: str, secret: str, auth: tuple[str, str] | None = None) -> None:
        self._secret = secret
        self.http = httpx.Client(base_url=base, timeout=30, auth=auth)
        self.seen: list[Answer] = []

    def sign_in(self, name: str, password: str = PASSWORD) -> Answer:
        """Fill in the sign-in form."""
        page = self.get("/sign-in")
        found = re.search(r'name="csrf" value="([^"]+)"', page.body)
        assert found, page
        return self.post("/sign-in", {"csrf": found[1], "name": name, "password": password, "next": ""})

    @property
    def token(self) -> str:
        """The session's cookie; empty without a session."""
        return next((c.value or "" for c in self.http.cookies.jar if c.name == COOKIE), "")

    @property
    def csrf(self) -> str:
        """The token of every form of this session."""
        return csrf_token(self._secret, self.token)

    def get(self, path: str) -> Answer:
        """GET."""
        return self._keep(self.http.get(path))

    def post(self, path: str, form: Mapping[str, Any]) -> Answer:
        """A form, as a browser without scripts sends it."""
        return self._keep(self.http.post(path, data={"csrf": self.csrf, **form}))

    def api(self, path: str, body: Any, method: str = "POST", **headers: str) -> Answer:
        """JSON, with the session's token."""
        told = {CSRF_HEADER: self.csrf, **headers}
        return self._keep(self.http.request(method, path, json=body, headers=told))

    def json(self, path: str) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.http.get(path)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def events(self, path: str, wanted: int, seconds: float) -> list[str]:
        """Up to `wanted` events of a stream within `seconds`, as sent; fewer when it says no or ends."""
        out: list[str] = []
        until = time.monotonic() + seconds
        with contextlib.suppress(httpx.ReadTimeout), self.http.stream("GET", path, timeout=seconds) as stream:
            lines: list[str] = []
            for line in stream.iter_lines():
                lines.append(line)
                if line == "" and any(x.startswith("event:") for x in lines):
                    out.append("\n".join(lines))
                    lines = []
                if len(out) >= wanted or time.monotonic() > until:
                    break
        return out

    def _keep(self, answer: httpx.Response) -> Answer:
        request = answer.request
        kept = Answer(request.method, str(request.url), answer.status_code, dict(answer.headers), answer.text)
        self.seen.append(kept)
        return kept


@dataclass
class Living:
    """The house with its web worker. Use as a context manager."""

    services: Services
    folder: Path
    house: House = field(init=False)
    base: str = field(init=False)
    people: dict[str, Person] = field(default_factory=dict)
    _web: Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.house = House(self.services, tell(1, now_us(), 10), self.folder)
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop_web)
            stack.enter_context(self.house)
            settings = self.house.settings
            if not settings.state.static.exists():
                settings.state.static.symlink_to(static_dir())
            self.secret = settings.secret("web.session")
            self._accounts()
            self._start_web()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        for person in self.people.values():
            person.http.close()
        self._stop_web()
        self._stack.close()

    # -- the web worker ---------------------------------------------------------------------------------------------

    def _start_web(self) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        deployment = self.house.deployment
        environment = deployment.environment() | {"SIGHTLINE_WEB": f"127.0.0.1:{port}", "SIGHTLINE_SECURE_COOKIES": "no"}
        if self.house.settings.given_database:
            environment |= {"SIGHTLINE_DATABASE": deployment.views_dsn, "SIGHTLINE_KEEP": deployment.keep_dsn}
        self.environment = {**environment, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "infra.command", "worker", "web"]
        self._web = spawn(command, log=self.folder / "web.log", env=self.environment, cwd=ROOT)
        self.house.wait("the pages are served", self._ready, UP_S)

    def _ready(self) -> bool:
        assert self._web is not None and self._web.poll() is None, (self.folder / "web.log").read_text()[-2000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.base}/readyz", timeout=5).status_code == 200
        return False

    def _stop_web(self) -> None:
        if self._web is not None and (identity := Identity.of(self._web.pid)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(identity.pid, 15)
            end(identity, grace_s=8)

    def logs(self) -> str:
        """Everything that the workers and the web have logged."""
        return self.house.logs().decode() + (self.folder / "web.log").read_text()

    def routes(self) -> WebHouse:
        """The same application in this process, not served: its route table, and tickets that the served one takes."""
        nothing = cast("Any", None)  # reading and speaking are not reached
        config = WebConfig(nothing, nothing, self.keep, static_dir(), self.secret, secure_cookies=False)
        self.app = create_app(config)
        return cast("WebHouse", self.app.state.house)

    # -- people -----------------------------------------------------------------------------------------------------

    def _accounts(self) -> None:
        dsn = self.house.deployment.keep_dsn
        self.keep: Engine = create_engine(migrate.engine_url(dsn), poolclass=NullPool)
        with self.keep.begin() as conn:
            for name, role in PEOPLE.items():
                shown = f"Sam {name.replace('_', ' ').title()}"
                add_account(conn, name=name, display_name=shown, role=role, password=PASSWORD, now=now_us())

    def stranger(self) -> Person:
        """A browser without a session."""
        return self._new(f"stranger-{len(self.people)}")

    def person(self, name: str) -> Person:
        """A browser signed in by this name, the same one each time."""
        if name not in self.people:
            answer = self._new(name).sign_in(name)
            assert 303 == answer.status, answer
        return self.people[name]

    def practice(self, ods: str) -> Person:
        """A practice with a credential of its own."""
        with self.keep.begin() as conn:
            credential, secret = issue_credential(conn, ods, now=now_us())
        return self._new(f"practice-{ods}", (credential.client_id, secret))

    def _new(self, name: str, auth: tuple[str, str] | None = None) -> Person:
        self.people[name] = Person(self.base, self.secret, auth)
        return self.people[name]

    # -- what is said -----------------------------------------------------------------------------------------------

    def publish(self, facts: Sequence[SimulatedFact]) -> None:
        """By each agency's own client; returns once everything is decided and relayed."""
        self.house.publish(facts)
        self.house.flush(facts)
        self.house.settle()

    def recommendation_of(self, child_id: str) -> str:
        """The newest recommendation on a child."""
        query = "select about from conclusion where kind = 'recommended' and child_id = '{}' order by number desc"
        return self.ids(query.format(child_id))[0]

    def child_of(self, told: SimulatedFact) -> str:
        """The child that a fact hangs on."""
        (row,) = self.house.rows(
            "select p.child_id from fact f join presentation p using (presentation_id) "
            f"where f.event_id = '{told.key}' and f.agency = '{told.agency}'"
        )
        return str(row[0])

    def ids(self, query: str) -> tuple[str, ...]:
        """The first column of an answer of `views`."""
        return tuple(str(r[0]) for r in self.house.rows(query))


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Call all of them at the same moment; their answers in order."""
    gate, out = threading.Barrier(len(calls)), cast("list[Answer]", [None] * len(calls))

    def run(index: int) -> None:
        gate.wait(10)
        out[index] = calls[index]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(out), "a call did not answer"
    return out


def hidden(page: Answer, action: str) -> dict[str, str]:
    """The ticket of the form on a page that posts to `action`."""
    form = page.body.split(f'action="{action}"', 1)[1].split("</form>", 1)[0]
    found = re.search(r'name="ticket" value="([^"]+)"', form)
    assert found, form[:300]
    return {"ticket": found[1]}


@contextlib.contextmanager
def living(services: Services, folder: Path) -> Iterator[Living]:
    """A living deployment, gone afterwards."""
    with Living(services, folder) as found:
        yield found
