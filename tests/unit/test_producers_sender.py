"""The sender's thread: nothing that goes wrong ends it, and what it logs of that tells nothing of a child."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from producers import sender as sending
from producers import spool as spooling
from producers.client import AgencyClient
from producers.errors import BrokerUnavailable, SpoolClosed, SpoolUnwritable
from producers.facts import Fact
from producers.sender import SchemaShelf, Sender
from producers.spool import Spool
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.topics import KafkaAccess
from tests.golden.values import VALUES

CANARY = "Zoe Testcase 9990000018"
ACCESS = KafkaAccess("127.0.0.1:9", "agency.education", CANARY)


def fact(event_id: str = "id-1") -> Fact:
    """One with a child in its body."""
    return Fact(event_id, "SchoolConcern", "fp", "k" * 32, "2026-01-01T00:00:00Z", CANARY.encode())


def until(true: Callable[[], bool]) -> None:
    """Wait for it, some seconds."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(*_: object) -> None:
    """As a disk does at times."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextmanager
def sending_from(spool: Spool) -> Iterator[Sender]:
    """A sender of `spool` that runs."""
    registry = Registry("http://127.0.0.1:9")
    one = Sender(spool, SchemaShelf(spool.folder / "schemas"), Codec(registry), ACCESS, "education")
    one.start()
    try:
        yield one
    finally:
        one.stop(10)
        registry.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests for a moment only."""
    monkeypatch.setattr(sending, "IDLE_S", 0.01)
    monkeypatch.setattr(sending, "RETRY_S", (0.01,))


class TestLives:
    """A quiet agency is one that has nothing to say."""

    def test_a_disk_that_refuses_for_a_while(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Said while it lasts; afterwards the spool is tidied, takes facts, and opens again."""
        spool = Spool(tmp_path)
        spool.append([fact()])
        spool.acknowledge(1)
        with monkeypatch.context() as patch:
            patch.setattr(spooling, "sync_folder", refused)
            with sending_from(spool) as one:
                until(lambda: one.problem is not None)
                assert isinstance(one.problem, SpoolUnwritable)
                patch.undo()
                until(lambda: one.problem is None)
                assert one.is_alive()
        assert 0 == sum(p.stat().st_size for p in tmp_path.glob("*.facts"))
        assert 2 == spool.append([fact("id-2")])
        spool.close()
        again = Spool(tmp_path)
        assert ["id-2"] == [w.fact.event_id for w in again.read(1, 10)]
        again.close()

    def test_a_log_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Standard output is a closed pipe: the trouble is said to whoever asks, and it goes on trying."""

        class Closed:
            def __getattr__(self, _: str) -> Callable[..., None]:
                return self.say

            def say(self, *_: object, **__: object) -> None:
                raise BrokenPipeError

        tried: list[int] = []

        def opened(_: KafkaAccess) -> Any:
            tried.append(1)
            raise BrokerUnavailable("away") if len(tried) < 3 else RuntimeError

        monkeypatch.setattr(sending, "log", Closed())
        monkeypatch.setattr(sending, "open_producer", opened)
        spool = Spool(tmp_path)
        spool.append([fact()])
        with sending_from(spool) as one:
            until(lambda: len(tried) > 4)
            assert isinstance(one.problem, BrokerUnavailable)
            assert one.is_alive()
        spool.close()


class TestClosed:
    """A client that was closed has nobody who sends."""

    def test_takes_nothing(self, tmp_path: Path) -> None:
        """An id would be a promise that nobody keeps. Closing twice is closing once."""
        client = AgencyClient(ACCESS, "education", Codec(Registry("http://127.0.0.1:9")), b"s" * 16, tmp_path)
        client.close(0)
        with pytest.raises(SpoolClosed):
            client.publish("SchoolConcern", VALUES["SchoolConcern"])
        client.close(0)
        assert 0 == client.waiting


class TestLogs:
    """I7, whatever the agency's program does with its logs."""

    def test_a_surprise(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Its type and where it came through: no text, and no local variable, under structlog's own defaults."""

        def hand(_: Sender, producer: object, fact: Fact) -> None:
            child = fact.body.decode()
            raise ValueError(child)

        monkeypatch.setattr(sending, "open_producer", lambda _: None)
        monkeypatch.setattr(Sender, "_hand", hand)
        structlog.reset_defaults()
        spool = Spool(tmp_path)
        spool.append([fact()])
        with sending_from(spool) as one:
            until(lambda: one.problem is not None)
        with capture_logs() as told, sending_from(spool) as one:
            until(lambda: one.problem is not None)
        spool.close()
        said = capsys.readouterr()
        assert "sender.surprise" in said.out
        assert "Testcase" not in said.out + said.err
        (surprise, *_) = [t for t in told if t["event"] == "sender.surprise"]
        assert ("ValueError", True) == (surprise["error"], any(p.startswith("sender.py:") for p in surprise["raised_at"]))

    def test_what_is_shown_of_a_fact_and_an_access(self) -> None:
        """A fact's body and a user's password are not in their texts."""
        assert CANARY not in f"{fact()!r} {ACCESS!r}"
