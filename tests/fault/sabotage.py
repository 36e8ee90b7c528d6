"""Planted defects, to judge the checker by: each must be caught with the broken invariant named. Only test workers know them.

Most of them reach into the house's inner parts on purpose. One that finds its part gone stops the worker that was to suffer it,
and the run fails: a defect that plants nothing proves nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from consumers import unify
from consumers.clock import Clock
from consumers.deciding import Decider
from consumers.host import Host
from consumers.relay import Relay
from domain import risk, selection
from projections import writing
from projections.folding import Applier

NTH: Final = 3
"""The batch (of each process) that suffers."""

FORGOTTEN: Final = "SchoolConcern"
EARLY_US: Final = 26 * 3_600_000_000
"""A sabotaged clock is this much ahead: more than a working day within one."""


def _role() -> str:
    return sys.argv[1].partition("-")[0]


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


def fold_forgets() -> None:
    """One kind of fact is not seen by the fold."""
    facts = selection._facts

    def broken(known: Any, history: Any, limit: int) -> Any:
        return [f for f in facts(known, history, limit) if f.record != FORGOTTEN]

    selection._facts = broken


def dedupe_off() -> None:
    """What was accepted before is accepted again."""
    insert = writing.insert

    def lenient(conn: Connection, *parts: tuple[str, Iterable[Iterable[Any]], str]) -> None:
        insert(conn, *((t, rows, writing.FIRST if t in ("fact", "act") else tail) for t, rows, tail in parts))

    def anew(self: Decider, item: Any, entry: Any, before: Any) -> set[str]:
        del before
        return self._fact(item, entry) if item.kind == "FACT" else self._act(item, entry)

    writing.insert = lenient
    Decider._again = anew  # type: ignore[method-assign]


def fencing_off() -> None:
    """A position is moved by whoever comes, wherever it stands and whoever owns it."""

    def broken(self: Host, conn: Connection, moved: Mapping[Any, int]) -> None:
        for tp, offset in moved.items():
            where = {"t": self._access.short(tp.topic), "p": tp.partition, "n": offset}
            conn.execute(text("update position set next_offset = :n where topic = :t and partition = :p"), where)

    Host._move = broken  # type: ignore[method-assign]
    Host._look = lambda self: None  # type: ignore[method-assign]


def clock_early() -> None:
    """The clock speaks before the instant."""
    if _role() != "clock":
        return
    begin = Clock.__init__

    def broken(self: Clock, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        now = self._now
        self._now = lambda: now() + EARLY_US
        speaking: Any = self._speaking
        speaking._now = self._now  # else it is refused before it is sent

    Clock.__init__ = broken  # type: ignore[method-assign]


def no_catch_up() -> None:
    """A restored database takes its new incarnation and none of the entries that it lacks, and is decided on."""

    def broken(self: Applier, conn: Connection, values: Any, incarnation: int, **others: Any) -> int:
        del self, values, others
        with conn.begin():
            conn.execute(text("update counter set incarnation = :i where id = 1"), {"i": incarnation})
        return 0

    named = (Applier, "catch_up"), (Relay, "_check_last"), (unify.Unify, "ready")
    assert all(hasattr(owner, name) for owner, name in named)
    Applier.catch_up = broken  # type: ignore[method-assign]
    Relay._check_last = lambda self, conn, reader, number: None  # type: ignore[method-assign]

    def ready(self: unify.Unify, conn: Connection) -> bool:
        del self
        return conn.execute(text("select 1 from counter where id = 1")).one_or_none() is not None

    unify.Unify.ready = ready  # type: ignore[method-assign]


def rule_raises() -> None:
    """Not a sabotage but row 22: our own rule has a defect that some facts bring to light."""
    evaluate = risk.evaluate

    def broken(situation: Any, policy: Any) -> Any:
        if any(f.record == FORGOTTEN for f in situation.known.facts):
            raise ZeroDivisionError("a defect of ours")
        return evaluate(situation, policy)

    risk.evaluate = broken


PLANTED: Final[Mapping[str, Callable[[], None]]] = {
    "position-before-effect": position_before_effect, "batch-skipped": batch_skipped, "outbox-twice": outbox_twice,
    "fold-forgets": fold_forgets, "dedupe-off": dedupe_off, "fencing-off": fencing_off, "clock-early": clock_early,
    "no-catch-up": no_catch_up, "rule-raises": rule_raises,
}  # fmt: skip

BREAKS: Final[Mapping[str, frozenset[str]]] = {
    "position-before-effect": frozenset({"I1", "I4"}), "batch-skipped": frozenset({"I1", "I4"}),
    "outbox-twice": frozenset({"I3"}), "fold-forgets": frozenset({"I2"}), "dedupe-off": frozenset({"I1"}),
    "fencing-off": frozenset({"I1", "I4"}), "clock-early": frozenset({"DUE"}), "no-catch-up": frozenset({"I2"}),
}  # fmt: skip
"""What each must at least be seen to break."""
