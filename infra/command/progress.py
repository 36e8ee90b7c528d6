"""How far long work is, on stderr; nothing for a script, nor where nobody watches."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def counted(*, quiet: bool) -> Progress:
    """A bar over things that are counted."""
    return _bar(MofNCompleteColumn(), quiet=quiet)


def sized(*, quiet: bool) -> Progress:
    """A bar over bytes."""
    return _bar(DownloadColumn(), quiet=quiet)


def _bar(figure: ProgressColumn, *, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), figure, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)
