"""What is wrong with an input, in words its sender can act on.

```
SightlineError
├── InvalidFact        one fact breaks rules: carries `Problem`s
├── PolicyError        a policy, code list or deadline file is wrong
└── (other rooms add theirs: producers.errors, projections.errors, …)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class SightlineError(Exception):
    """Root of the error tree. `loggable`: the text holds nothing that a sender wrote, so a log may hold it (I7)."""

    loggable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: the field's path, the rule's stable code, and what to do. Never carries the value itself (I7)."""

    field: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message} [{self.rule}]"


class InvalidFact(SightlineError):
    """A fact breaks the contract; `problems` says where and how. A field that the sender made up is named: not for logs."""

    loggable: ClassVar[bool] = False

    def __init__(self, record: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"{record}: " + "; ".join(map(str, problems)))
        self.record = record
        self.problems = tuple(problems)


class PolicyError(SightlineError):
    """A policy, code list or deadline file is not usable; the text names file and rule."""
