"""The report of one run: a table on the screen and docs/benchmarks.md. It holds what this run showed, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BAR_WIDTH: Final = 48
PREFACE: Final = (
    "Made by `make bench`: what runs on one machine showed, and nothing else. Each bench that has run at its full size takes the "
    "place of what it showed before, and says when that was. The machine is shared, so wall-clock figures move by tens of per "
    "cent between runs: the ratios within one run, and CPU time, are what to compare."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. `bar` is the proof's, in words; `met` None when there is no bar."""

    what: str
    figure: str
    bar: str = ""
    met: bool | None = None


@dataclass(slots=True)
class Section:
    """One bench: a heading, how it was measured, its rows, and texts laid out as they are (histograms)."""

    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    drawings: list[str] = field(default_factory=list)

    def markdown(self, when: str) -> str:
        """The section as it stands in the document."""
        lines = [f"## {self.title}", "", self.how, "", when, "", "| what | this run | bar | |", "|---|---|---|---|"]
        lines += [f"| {r.what} | {r.figure} | {r.bar} | {verdict(r.met)} |" for r in self.rows]
        lines += [part for drawing in self.drawings for part in ("", "```", drawing, "```")]
        return "\n".join(lines)

    def add(self, what: str, figure: str, bar: str = "", *, met: bool | None = None) -> None:
        """One line."""
        self.rows.append(Row(what, figure, bar, met))


@dataclass(slots=True)
class Report:
    """Everything that one `make bench` showed. `whole`: every bench ran at its default size, so the document is written."""

    about: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def section(self, title: str, how: str) -> Section:
        """A section, in the order in which benches ran."""
        self.sections.append(Section(title, how))
        return self.sections[-1]

    def markdown(self, before: str = "") -> str:
        """The document; `before` is the last one, whose sections stay where this run has none in their place."""
        when = f"Run of {self.about.get('date', '?')}, load average {self.about.get('load average at start', '?')} at its start."
        parts = sections_of(before) | {s.title: s.markdown(when) for s in self.sections}
        about = "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in self.about.items())])
        return "\n\n".join(["# Benchmarks", PREFACE, about, *parts.values()])

    def screen(self) -> str:
        """The same for a terminal."""
        lines = [f"{name:>12}: {value}" for name, value in self.about.items()]
        for section in self.sections:
            lines += ["", section.title]
            wide = max((len(r.what) for r in section.rows), default=0)
            lines += [f"  {r.what:<{wide}}  {r.figure:<28} {r.bar:<18} {verdict(r.met)}".rstrip() for r in section.rows]
            lines += [f"\n{drawing}" for drawing in section.drawings]
        return "\n".join(lines)


def sections_of(document: str) -> dict[str, str]:
    """The sections of a document by title, in order."""
    parts = re.split(r"^(?=## )", document, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part.strip() for part in parts}


def verdict(met: bool | None) -> str:
    """Met, not met, or nothing."""
    return "" if met is None else "met" if met else "**not met**"


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value that a share `q` of the sorted values does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def histogram(ordered: Sequence[float], steps: Sequence[float], unit: str) -> str:
    """How sorted values spread over `steps` (upper ends): one line a step, its bar as long as its share."""
    lines, low, at = [], 0.0, 0
    for high in (*steps, float("inf")):
        count = sum(1 for v in ordered[at:] if v <= high)
        at += count
        name = f"{low:>5g} to {high:<5g} {unit}" if high != float("inf") else f"{'over':>8} {low:<5g} {unit}"
        share = count / len(ordered)
        lines.append(f"{name:<18} {share:7.2%} {'#' * round(share * BAR_WIDTH)}".rstrip())
        low = high
    return "\n".join(lines)


def split(used: Mapping[str, float], facts: int) -> str:
    """CPU µs a fact, by kind of process."""
    return " + ".join(f"{name} {seconds / facts * 1e6:.0f}" for name, seconds in used.items())
