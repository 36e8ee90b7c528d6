"""A real browser over a real server with the small world behind it.

Without Chromium these tests skip loudly; under CI they fail.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from projections import accounts
from tests.webworld import PASSWORD, World, config, keep_engine, static_dir, with_accounts
from web.app import create_app

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-dev-shm-usage"]
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1200, "height": 800}


@dataclass
class Visit:
    """The server's address, its world, the browser, and who is signed in."""

    base: str
    world: World
    browser: Browser
    cookies: dict[str, list[object]] = field(default_factory=dict)

    @contextmanager
    def person(self, role: str, *, phone: bool = False, scripts: bool = True) -> Iterator[Page]:
        """A page of somebody signed in; fails when a script breaks or anything is fetched from elsewhere."""
        context: BrowserContext = self.browser.new_context(
            viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
            java_script_enabled=scripts,
            base_url=self.base,
        )
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("console", lambda m: wrong.append(f"console: {m.text}") if "Content Security Policy" in m.text else None)
        page.on("request", lambda r: None if r.url.startswith((self.base, "data:")) else wrong.append(f"elsewhere: {r.url}"))
        if role in self.cookies:
            context.add_cookies(self.cookies[role])  # type: ignore[arg-type]
        elif role:
            sign_in(page, role)
            self.cookies[role] = list(context.cookies())
        yield page
        context.close()
        assert [] == wrong


def sign_in(page: Page, role: str) -> None:
    """Fill in the form."""
    page.goto("/sign-in")
    page.fill("#name", role)
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "sign-in" not in url)


def chromium() -> str:
    """Where Chromium is; the test skips, or fails under CI, when it is nowhere."""
    given = os.environ.get("SIGHTLINE_CHROMIUM")
    found = given or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    told = "BROWSER TESTS NOT RUN: no Chromium. Install the package `chromium`, or name one in SIGHTLINE_CHROMIUM."
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def shared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """One world for tests that only look."""
    with serving(World(), browser, tmp_path_factory) as visit:
        yield visit


@pytest.fixture
def visit(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A world of one's own, for tests that act."""
    with serving(World(), browser, tmp_path_factory) as found:
        yield found


@contextmanager
def serving(world: World, browser: Browser, folders: pytest.TempPathFactory) -> Iterator[Visit]:
    """The application on a free port of the loopback."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        engine = keep_engine(folders.mktemp("keep"))
        with_accounts(engine)
        app = create_app(config(world, engine, static_dir()))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Visit(f"http://127.0.0.1:{port}", world, browser)
        server.should_exit = True
        thread.join(20)
