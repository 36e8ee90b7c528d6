"""What `sightline status` says beyond which processes run: lag, relay age, dead letters.

A figure is a function of `Settings`; it has two seconds, and its failure is shown in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from infra.settings import Settings

Figure = Callable[[Settings], object]

FIGURES: Final[Mapping[str, Figure]] = {}


def figures(settings: Settings) -> dict[str, object]:
    """Every figure by name; a broken one reads `unavailable (why)`."""
    found: dict[str, object] = {}
    for name, figure in FIGURES.items():
        try:
            found[name] = figure(settings)
        except Exception as error:  # status must answer most of all when something is broken
            found[name] = f"unavailable ({type(error).__name__})"
    return found
