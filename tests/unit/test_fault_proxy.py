"""The bad network of the fault harness: what it carries, delays, stalls and cuts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.fault.proxy import Proxy, namespace


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says everything back; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one: socket.socket) -> None:
        with one, contextlib.suppress(ConnectionError):
            while data := one.recv(65_536):
                one.sendall(data)

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.close()


def ask(one: socket.socket, data: bytes) -> bytes:
    """Send, and read as much back."""
    one.sendall(data)
    got = b""
    while len(got) < len(data):
        more = one.recv(65_536)
        if not more:
            break
        got += more
    return got


def test_carries_everything(echo: int) -> None:
    """A megabyte, in order, also where five of a hundred chunks come late."""
    data = bytes(range(256)) * 4096
    with Proxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as one:
        proxy.weather.loss = 0.05
        got, half = b"", threading.Thread(target=one.sendall, args=(data,), daemon=True)
        half.start()
        while len(got) < len(data):
            got += one.recv(65_536)
        assert data == got


def test_delays_and_stalls(echo: int) -> None:
    """A chunk comes when its time is over; stalled, nothing comes and nothing ends."""
    with Proxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5) as one:
        proxy.weather.delay_s = 0.1
        started = time.monotonic()
        assert b"slow" == ask(one, b"slow")
        assert time.monotonic() - started >= 0.2
        proxy.weather.delay_s, proxy.weather.stalled = 0.0, True
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(one, b"stuck")
        proxy.weather.stalled = False
        one.settimeout(5)
        assert b"stuck" == one.recv(100)


def test_cuts(echo: int) -> None:
    """Connections are reset, new ones get nothing, until it is over."""
    with Proxy(echo) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as one:
            assert b"x" == ask(one, b"x")
            proxy.weather.cut = True
            with pytest.raises(OSError):
                while True:
                    assert one.recv(1) or not one.sendall(b"y")
        with pytest.raises(OSError):
            visit(proxy.port, b"z")
        proxy.weather.cut = False
        deadline = time.monotonic() + 5
        while True:
            with contextlib.suppress(OSError):
                visit(proxy.port, b"again")
                break
            assert time.monotonic() < deadline, "still cut"


def visit(port: int, data: bytes) -> None:
    """Connect, say something and hear it back. Raises: OSError."""
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        if ask(one, data) != data:
            raise ConnectionError("closed")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="a network namespace needs root and the ip command")
def test_in_a_namespace(echo: int) -> None:
    """Who lives in the namespace finds the server on its own port of loopback, and nothing else."""
    code = f"import socket; s = socket.create_connection(('127.0.0.1', {echo}), 5); s.sendall(b'hi'); print(s.recv(9).decode())"
    with namespace(f"sightline-t{os.getpid()}") as name:
        command = ["ip", "netns", "exec", name, sys.executable, "-c", code]
        assert subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).returncode != 0
        with Proxy(echo, port=echo, netns=name):
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert "hi\n" == done.stdout, done.stderr
