"""A web application over the small world, and people who are signed in to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import Engine, select

from projections import accounts
from projections.keep_tables import access_record
from tests.webworld import NOW, PASSWORD, World, config, keep_engine, static_dir, with_accounts
from web.app import create_app

TICKET = re.compile(r'name="ticket" value="([^"]+)"')
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Site:
    """One application: its world, its clock, and a browser a person."""

    world: World
    engine: Engine
    practices: dict[str, tuple[str, str]]
    stack: ExitStack
    now: int = NOW
    wait_s: float = 1.0
    clients: dict[str, TestClient] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = create_app(config(self.world, self.engine, static_dir(), clock=lambda: self.now, wait_s=self.wait_s))

    def stranger(self) -> TestClient:
        """A browser without a session."""
        return self.stack.enter_context(TestClient(self.app, follow_redirects=False))

    def person(self, name: str) -> TestClient:
        """A browser signed in by this name (which is the role)."""
        if name not in self.clients:
            client = self.stranger()
            answer = sign_in(client, name, PASSWORD)
            assert answer.status_code == 303, answer.text
            self.clients[name] = client
        return self.clients[name]

    def accesses(self) -> list[tuple[str, str, str, str]]:
        """Access records so far: (role, action, purpose, children)."""
        with self.engine.connect() as conn:
            rows = conn.execute(select(access_record).order_by(access_record.c.at))
            return [(r.role, r.action, r.purpose, r.children) for r in rows]


def sign_in(client: TestClient, name: str, password: str) -> Response:
    """Fill in the sign-in form."""
    page = client.get("/sign-in")
    answer: Response = client.post("/sign-in", data={"csrf": csrf(page), "name": name, "password": password, "next": ""})
    return answer


def csrf(page: Response) -> str:
    """The token of a page's forms."""
    found = CSRF.search(page.text)
    assert found, page.text[:500]
    return found[1]


def fields(page: Response, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    form = page.text.split(f'action="{action}"', 1)[1].split("</form>", 1)[0]
    ticket = TICKET.search(form)
    assert ticket, form[:300]
    return {"csrf": csrf(page), "ticket": ticket[1]}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A fresh application and world. Passwords are hashed cheaply: what is tested here is not the library's strength."""
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    engine = keep_engine(tmp_path)
    with ExitStack() as stack:
        yield Site(World(), engine, with_accounts(engine), stack)
