"""One run of one row or sabotage: its servers, seed and folder; a house with a story; and the checks at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.fault.checker import check
from tests.fault.compare import compare
from tests.fault.evidence import Violation
from tests.fault.harness import House, Took
from tests.fault.oracle import Oracle
from tests.fault.story import Story, tell
from tests.services import Services

CHILDREN: Final = 160
"""Some 200 facts: enough for every kind of thing, told within three seconds."""

ROUNDS: Final = 3
"""Of deciding at the end, where people decide at all: convened is held, accepted is read, declined is disagreed with."""

LEAST: Final[Mapping[str, int]] = {"accepted": 60, "outputs": 60, "children": 10}
"""Below this a run has shown nothing."""


class Broken(AssertionError):
    """Promises were broken; `invariants` names them."""

    def __init__(self, found: list[Violation]) -> None:
        self.invariants = sorted({v.invariant for v in found})
        super().__init__(
            f"{len(found)} violations of {', '.join(self.invariants)}: " + " | ".join(str(v)[:400] for v in found[:8])
        )


class Lacking(Exception):
    """What a row needs is not here; it did not run, which counts as failed."""


class Unsuited(Exception):
    """This seed's story lacks what the row is about: another seed is taken."""


@dataclass(slots=True)
class Trial:
    """What a row is given, and what it has to tell. `whole`: `make faults`, where a row may take its time."""

    services: Services
    folder: Path
    seed: int
    end: int
    whole: bool = False
    sabotage: str | None = None
    resumed: dict[str, Took] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    say: Callable[[str], None] = print

    @staticmethod
    def suited(holds: object, what: str) -> None:
        """Raises: Unsuited, when the story lacks something."""
        if not holds:
            raise Unsuited(what)

    @property
    def rng(self) -> Random:
        """The same draws for the same seed."""
        return Random(f"trial/{self.seed}")

    @contextlib.contextmanager
    def house(
        self, name: str = "house", *, children: int = CHILDREN, story: Story | None = None, **options: Any
    ) -> Iterator[House]:
        """A living house with a story of its own; what it measured is kept. `options` are those of `House`."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        story = story or tell(self.seed, self.end, children)
        services: Services = options.pop("services", self.services)
        options.setdefault("sabotage", self.sabotage)
        with House(services, story, folder, **options) as house:
            self.say(f"  {name}: seed {self.seed}, end {self.end}, {len(story.facts)} facts, {folder}")
            try:
                yield house
            finally:
                self.resumed |= house.resumed

    def holds(self, house: House, *, placed: bool = True, truth: bool = True, least: Mapping[str, int] = LEAST) -> dict[str, int]:
        """Every check of a house that has come to rest, by the oracle too; enough was looked at. See `judge`.

        Raises: Broken.
        """
        found, seen = self.judge(house, placed=placed, truth=truth)
        if found:
            raise Broken(found)
        few = {k: seen.get(k, 0) for k, n in least.items() if seen.get(k, 0) < n and (placed or k != "children")}
        assert not few, f"too little was looked at: {few} of {dict(least)}"
        return seen

    def holds_but(self, house: House, invariants: set[str], place: str) -> None:
        """As `holds`, but for what a row has itself made missing at one place.

        Raises: Broken.
        """
        found, _ = self.judge(house)
        if left := [v for v in found if v.invariant not in invariants or place not in v.what]:
            raise Broken(left)

    def judge(self, house: House, *, placed: bool = True, truth: bool = True) -> tuple[list[Violation], dict[str, int]]:
        """What is broken, and how much was looked at.

        `placed`: the oracle knows on which child every fact belongs, and says so (I5); `truth`: and what the views say of it.
        """
        oracle = self.oracle(house)
        house.reviewed(oracle.people.answer)
        for _ in range(ROUNDS if house.people.active else 0):
            house.people.decide(0.8)
            house.settle()
        found, seen = check(house)
        if placed:
            beside = compare(house, oracle, truth=truth)
            found = [*found, *beside.violations]
            seen |= {k: n for k, n in beside.counts.items() if k not in seen} | {"children": beside.counts["children"]}
        for k, n in seen.items():
            self.counts[k] = self.counts.get(k, 0) + n
        return found, seen

    @staticmethod
    def oracle(house: House) -> Oracle:
        """What should be, of the house's story."""
        return Oracle(house.story.facts, house.story.truth.holders)
