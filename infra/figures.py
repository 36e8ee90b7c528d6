"""What `sightline status` says beyond which processes run: lag, relay age, dead letters.

A figure is a function of `Settings`; it has two seconds, and its failure is shown in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from infra.settings import Settings

Figure = Callable[[Settings], object]


def _ledger(settings: Settings) -> object:
    from infra import assembly

    found = assembly.reading(settings).positions()
    return {k: found[k] for k in ("number", "relayed", "relay_age_s", "incarnation", "children", "facts", "dead_letters")}


def _lag(settings: Settings) -> object:
    from consumers.unify import INTAKE_TOPICS
    from infra import assembly
    from web.reading import Lag

    behind = Lag(settings.access("clock"), INTAKE_TOPICS).behind(assembly.reading(settings).positions()["positions"])
    return {"behind": sum(b["behind"] for b in behind), "partitions": [b for b in behind if b["behind"]]}


FIGURES: Final[Mapping[str, Figure]] = {"ledger": _ledger, "lag": _lag}


def figures(settings: Settings) -> dict[str, object]:
    """Every figure by name; a broken one reads `unavailable (why)`."""
    found: dict[str, object] = {}
    for name, figure in FIGURES.items():
        try:
            found[name] = figure(settings)
        except Exception as error:  # status must answer most of all when something is broken
            found[name] = f"unavailable ({type(error).__name__})"
    return found
