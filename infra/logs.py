"""JSON logs without personal data (I7).

An exception is logged by its type and where it was raised, never by its text: a database's or a decoder's message can
quote a name or a date of birth. Our own errors say in one line what to do, and keep theirs (`SightlineError.loggable`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
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


def configure(name: str, *, level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's records to stdout, one JSON object a line, marked with `name`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _plain_exception,
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
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for logger, least in CHATTY.items():
        logging.getLogger(logger).setLevel(least)
    structlog.contextvars.bind_contextvars(process=name)


def _plain_exception(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
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
