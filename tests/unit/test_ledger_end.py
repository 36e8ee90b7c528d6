"""How a worker learns where the ledger ends, before it decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from consumers.ledger import LedgerEnd
from consumers.unify import Unify
from schemas.topics import KafkaAccess

ACCESS = KafkaAccess("127.0.0.1:9092", "unify", "")


class Reader:
    """A reader of a ledger that ends at 7; the first one hears nothing when it is asked a second time."""

    opened: list[Reader]

    def __init__(self, _: KafkaAccess) -> None:
        self.asked, self.closed = 0, False
        self.opened.append(self)

    def end(self) -> tuple[int, int, int]:
        """Number, incarnation, epoch."""
        self.asked += 1
        if self is self.opened[0] and self.asked == 2:
            raise KafkaTimeoutError
        return 7, 1, 1

    def close(self) -> None:
        """Closed."""
        self.closed = True


def test_another_reader_after_a_failure_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one takes longer than the ledger stands still."""
    Reader.opened = []
    monkeypatch.setattr("consumers.ledger.LedgerReader", Reader)
    end = LedgerEnd(ACCESS)
    assert (7, 1) == end.ask()
    with pytest.raises(KafkaTimeoutError):
        end.ask()
    assert [(7, 1)] * 2 == [end.ask(), end.ask()]
    assert [True, False] == [r.closed for r in Reader.opened]


def test_what_is_relayed_meanwhile() -> None:
    """The database goes on while the ledger is asked, and the relay with it: the worker need not wait for a lull."""
    stands = SimpleNamespace(number=7, incarnation=1)

    def ask() -> tuple[int, int]:
        stands.number += 1  # decided and relayed by others
        return stands.number, 1

    unify = object.__new__(Unify)
    unify._ledger_end = ask
    conn: Any = SimpleNamespace(execute=lambda _: SimpleNamespace(one_or_none=lambda: SimpleNamespace(**vars(stands))))
    assert unify.ready(conn)
    stands.incarnation = 0
    assert not unify.ready(conn)
