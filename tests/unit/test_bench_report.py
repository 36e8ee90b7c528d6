"""docs/benchmarks.md: what a run has shown takes the place of what stood there, and leaves the rest with its own date."""

from __future__ import annotations

from tests.bench.report import Report, sections_of


def report(date: str, **figures: str) -> Report:
    """A run with one row a section."""
    made = Report({"date": date, "load average at start": "0.50"})
    for title, figure in figures.items():
        made.section(title, f"How {title} is measured.").add("speed", figure, ">= 2", met=figure >= "2")
    return made


def test_a_part_leaves_the_others() -> None:
    """Their figures, verdicts and dates stay; the order does too."""
    first = report("1 May", path="1", rebuild="3").markdown()
    second = report("2 May", path="4").markdown(first)
    parts = sections_of(second)
    assert ["path", "rebuild"] == list(parts)
    assert "| speed | 4 | >= 2 | met |" in parts["path"] and "Run of 2 May" in parts["path"]
    assert "| speed | 3 | >= 2 | met |" in parts["rebuild"] and "Run of 1 May" in parts["rebuild"]
    assert "| speed | 1 |" not in second
    assert second == report("2 May", path="4").markdown(second)
