"""Planted defects, to judge the checker by: each must be caught with the broken invariant named. Only test workers know them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from consumers.host import Host
from consumers.relay import Relay

NTH: Final = 3
"""The batch (of each process) that suffers."""


def position_before_effect() -> None:
    """Positions are committed before the batch's effects, and the process dies between the two, once."""
    work = Host._work
    seen = 0

    def broken(self: Host, records: Mapping[Any, Sequence[Any]]) -> None:
        nonlocal seen
        seen += 1
        if seen != NTH:
            work(self, records)
            return
        conn = self._connection()
        assert conn is not None
        with conn.begin():
            self._handler.lock(conn)
            self._move(conn, {tp: rs[-1].offset + 1 for tp, rs in records.items()})
        os.kill(os.getpid(), signal.SIGKILL)

    Host._work = broken  # type: ignore[method-assign]


def batch_skipped() -> None:
    """One batch moves the positions and does nothing else."""
    work = Host._work
    seen = 0

    def broken(self: Host, records: Mapping[Any, Sequence[Any]]) -> None:
        nonlocal seen
        seen += 1
        if seen != NTH:
            work(self, records)
            return
        handler: Any = self._handler
        handle, handler.handle = handler.handle, lambda conn, batch: None
        work(self, records)
        handler.handle = handle

    Host._work = broken  # type: ignore[method-assign]


def outbox_twice() -> None:
    """What follows from entries is sent, forgotten, and sent again."""
    send = Relay._send_outputs

    def broken(self: Relay, lease: Any, rows: Any) -> None:
        before = dict(lease.sent)
        send(self, lease, rows)
        lease.sent = before
        send(self, lease, rows)

    Relay._send_outputs = broken  # type: ignore[method-assign]


PLANTED: Final[Mapping[str, Callable[[], None]]] = {
    "position-before-effect": position_before_effect, "batch-skipped": batch_skipped, "outbox-twice": outbox_twice,
}  # fmt: skip
