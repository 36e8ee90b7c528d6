"""A TCP proxy that stalls, slows, cuts and resets: the network between our processes and a server, as bad as a row wants it.

The kernel of many machines has no netem. So loss is played as TCP plays it to those above: now and then a chunk comes late, by
the time of a retransmission. In a network namespace the proxy listens on the server's own port, so that nobody has to be told of
it (Kafka sends its clients to the address that it advertises).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Self

CHUNK: Final = 65_536
RETRANSMIT_S: Final = 0.25
"""The least that TCP waits before it sends a lost segment again (RFC 6298 says 1 s, Linux 200 ms)."""

RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Weather:
    """What happens to chunks now. `cut`: connections are reset and new ones refused; `stalled`: nothing moves, nothing ends."""

    delay_s: float = 0.0
    loss: float = 0.0
    stalled: bool = False
    cut: bool = False


@dataclass(slots=True)
class Way:
    """One direction of one connection."""

    source: socket.socket
    target: socket.socket
    chunks: deque[tuple[float, bytes]] = field(default_factory=deque)
    ended: bool = False


class Proxy:
    """Carries 127.0.0.1:`port` (in network namespace `netns`, if given) to 127.0.0.1:`target` here. Use as a context manager.

    `met`: how often its weather has struck: connections `refused` and `reset`, chunks `late` and `delayed`.
    """

    def __init__(self, target: int, *, port: int = 0, netns: str | None = None, seed: int = 0) -> None:
        self.target, self.weather, self._rng = target, Weather(), Random(seed)
        self.met: Counter[str] = Counter()
        self._listener = listen(port, netns)
        self.port: int = self._listener.getsockname()[1]
        self._ways: list[Way] = []
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{target}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(5)
        self._listener.close()

    def _run(self) -> None:
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._leaving.is_set():
                for key, _ in selector.select(0.005 if any(w.chunks for w in self._ways) else 0.05):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif not self.weather.stalled:
                        self._take(selector, key.data)
                if self.weather.cut:
                    self._cut(selector)
                elif not self.weather.stalled:
                    self._pass_on(selector)
                else:
                    time.sleep(0.01)
            self._cut(selector)

    def _accept(self, selector: Any) -> None:
        near, _ = self._listener.accept()
        if self.weather.cut:
            self.met["refused"] += 1
            reset(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 2)
        except OSError:
            reset(near)
            return
        for a, b in ((near, far), (far, near)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            a.setblocking(True)
            a.settimeout(5)
            way = Way(a, b)
            self._ways.append(way)
            selector.register(a, selectors.EVENT_READ, way)

    def _take(self, selector: Any, way: Way) -> None:
        try:
            data = way.source.recv(CHUNK)
        except OSError:
            data = b""
        if data:
            late = RETRANSMIT_S if self._rng.random() < self.weather.loss else 0.0
            self.met["late"] += late > 0
            self.met["delayed"] += self.weather.delay_s > 0
            due = time.monotonic() + self.weather.delay_s + late
            way.chunks.append((max(due, way.chunks[-1][0]) if way.chunks else due, data))
        else:
            way.ended = True
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(way.source)

    def _pass_on(self, selector: Any) -> None:
        for way in list(self._ways):
            try:
                while way.chunks and way.chunks[0][0] <= time.monotonic():
                    way.target.sendall(way.chunks.popleft()[1])
            except OSError:
                way.ended = True
                way.chunks.clear()
            if way.ended and not way.chunks:
                self._end(selector, way)

    def _end(self, selector: Any, way: Way) -> None:
        for one in [w for w in self._ways if {w.source, w.target} == {way.source, way.target}]:
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(one.source)
            self._ways.remove(one)
        way.source.close()
        way.target.close()

    def _cut(self, selector: Any) -> None:
        for way in list(self._ways):
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(way.source)
            reset(way.source)
            self.met["reset"] += 1
        self._ways.clear()


def reset(one: socket.socket) -> None:
    """End a connection so that the other side sees a reset."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()


def listen(port: int, netns: str | None) -> socket.socket:
    """A listening socket on loopback, in a network namespace if one is named: it stays there, whoever holds it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            if netns is not None:
                enter(f"/var/run/netns/{netns}")
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            one.listen(64)
            made.append(one)
        except OSError as err:
            made.append(err)

    thread = threading.Thread(target=make)  # of its own: only this thread changes its namespace, and then it ends
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def enter(path: str) -> None:
    """Move this thread into a network namespace (setns; in Python's own library from 3.12 on)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A network namespace with loopback alone. Raises: OSError, CalledProcessError where one may not be made."""
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, capture_output=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
