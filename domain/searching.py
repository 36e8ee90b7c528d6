"""Search for a child: terms against what presentations say. The database may be a first, coarse sieve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.identifiers import normalised_name

NAMES: Final = ("given_name", "family_name", "other_names")
NUMBERS: Final = ("nhs_number", "upn", "la_child_id", "pnc", "local_id")


def searched(fields: Mapping[str, Any]) -> str:
    """Everything of a presentation that can be searched for, each word between spaces."""
    return f" {' '.join([*_names(fields), fields.get('birth_date') or '', *_numbers(fields)])} "


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """What is searched for, at least one: name in any order and case, each word a beginning; birth date ISO; any identifier."""

    name: str | None = None
    birth_date: str | None = None
    identifier: str | None = None

    def sieve(self) -> list[str]:
        """Strings that `searched` of every presentation that fits contains; without NUL, which a database's text cannot hold."""
        words = [f" {w}" for w in normalised_name(self.name).split()]
        whole = [f" {w} " for w in (self.birth_date, _number(self.identifier).replace("\0", "")) if w]
        return words + whole

    def score(self, fields: Mapping[str, Any]) -> int | None:
        """How well a presentation fits (higher is better); None when it does not fit every term given."""
        words, names = set(normalised_name(self.name).split()), set(_names(fields))
        if any(not any(n.startswith(w) for n in names) for w in words):
            return None
        if self.birth_date and fields.get("birth_date") != self.birth_date:
            return None
        if self.identifier and _number(self.identifier) not in _numbers(fields):
            return None
        return 2 * len(words & names) + (3 if self.birth_date else 0) + (5 if self.identifier else 0)


def _names(fields: Mapping[str, Any]) -> list[str]:
    return normalised_name(" ".join(fields.get(n) or "" for n in NAMES)).split()


def _numbers(fields: Mapping[str, Any]) -> list[str]:
    return [n for name in NUMBERS if (n := _number(fields.get(name)))]


def _number(text: str | None) -> str:
    return (text or "").replace(" ", "").upper()
