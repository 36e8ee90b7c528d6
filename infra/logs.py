"""JSON logs without personal data (I7).

An exception is logged by its type and where it was raised, never by its text: a database's or a decoder's message can
quote a name or a date of birth. Our own errors say in one line what to do, and keep theirs (`SightlineError.loggable`).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import structlog

from domain.problems import SightlineError
from infra.state import REPOSITORY

FRAMES_MAX: Final = 12
CHATTY: Final = {
    "kafka.net.sasl.scram": logging.ERROR,
    **dict.fromkeys(("kafka", "aiokafka", "httpx", "alembic", "uvicorn", "faust", "mode"), logging.WARNING),
}


REPEAT_S: Final = 1.0
"""A library says one thing this often at most: kafka-python tells some five hundred times a second that a coordinator is away."""


class Seldom(logging.Filter):
    """Keeps back what a line of a library's code said a moment ago; the next that is said tells how many were kept back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said now; our own records always are."""
        if record.name.partition(".")[0] not in CHATTY:
            return True
        place, now = (record.pathname, record.lineno), self._now()
        at, left_out = self._said.get(place, (now - REPEAT_S, 0))
        said = now - at >= REPEAT_S
        self._said[place] = (now, 0) if said else (at, left_out + 1)
        if said and left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it)", ()
        return said


def configure(name: str, *, level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's records to stdout, one JSON object a line, marked with `name`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        plain_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[remove, structlog.processors.JSONRenderer(sort_keys=True)]
        )
    )
    handler.addFilter(Seldom())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for logger, least in CHATTY.items():
        logging.getLogger(logger).setLevel(least)
    structlog.contextvars.bind_contextvars(process=name)


def plain_exception(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by the exception's type and the places it came through."""
    del logger, method
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["raised_at"] = places(error.__traceback__)
        if (text := telling(error)) is not None:
            event["message"] = text
    return event


def telling(error: BaseException) -> str | None:
    """The text of an error of ours that a log may hold; None for any other."""
    return str(error) if isinstance(error, SightlineError) and error.loggable else None


def hush() -> None:
    """We are stopping our own servers: clients that lose them are no news."""
    for logger in CHATTY:
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def places(traceback: TracebackType | None) -> list[str]:
    """`file:line function` of each frame, ours relative to the repository; the last `FRAMES_MAX`."""
    found: list[str] = []
    while traceback:
        code = traceback.tb_frame.f_code
        path = Path(code.co_filename)
        shown = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else Path(*path.parts[-2:])
        found.append(f"{shown}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return found[-FRAMES_MAX:]
