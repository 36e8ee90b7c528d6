"""Values of which a process makes one a fact or more: nobody changes them, and making them costs no more than it has to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """A frozen dataclass to mypy, which lets nobody set a field; a plain one, compared and hashed by its fields, when it runs.

    A dataclass frozen at run time sets each field by way of `object.__setattr__`: 1.3 µs for a `Fact` where this takes 0.2.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
