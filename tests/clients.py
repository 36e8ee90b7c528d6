"""Kafka clients of the test process: none outlives the deployment that it belongs to.

A worker that a test runs in its own process leaves its producers to the process's end. Dozens of them, whose users are gone,
would try to log in again for the rest of the run.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Final
from weakref import WeakSet

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

_MADE: Final[WeakSet[Any]] = WeakSet()


def watch() -> None:
    """From now on every consumer and producer of this process is known."""
    for kind in (KafkaConsumer, KafkaProducer):
        _note(kind)


def _note(kind: Any) -> None:
    begin = kind.__init__

    @functools.wraps(begin)
    def noted(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        _MADE.add(self)

    kind.__init__ = noted


def close_those_of(prefix: str) -> None:
    """Close what users of the deployment `prefix` still hold open in this process."""
    for client in list(_MADE):
        if (client.config.get("sasl_plain_username") or "").startswith(prefix):
            _MADE.discard(client)
            with contextlib.suppress(KafkaError, AssertionError, OSError):  # closed before, or its broker is gone
                client.close(**({"autocommit": False} if isinstance(client, KafkaConsumer) else {"timeout": 0}))
