"""`sightline rebuild` of a deployment that a bench has filled, beside reading its ledger alone and the database's work alone."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from consumers.ledger_backup import entries
from consumers.topic_reader import TopicReader
from infra.postgres import Postgres
from projections.crew import SIZE
from projections.entries import header
from tests.bench import filling
from tests.bench.meters import Meter, server_processes
from tests.bench.report import Section, split
from tests.bench.stage import ROOT, value
from tests.services import Deployment, LocalServices, Services

ROUNDS: Final = 3
"""In each the limit and a rebuild from each source, whose order changes. An odd number: what is told is the middle one."""

BARS: Final = {"Kafka": 12_000, "archive": 20_000}
LIMIT_THEN: Final = 35_000
"""The limit, entries/s, of the machine that the bars were set on. It is shared, and has slow hours: a rate that is the same share
of the limit of its own run meets its bar as well.
"""


def about(what: str) -> str:
    """What a section of a rebuild `of …` says of itself."""
    return (
        f"`sightline rebuild` of {what}, from the ledger in Kafka and from an archive: the whole command with its start, "
        "filling, indices, folding, the check against the ledger, and the switch. The limit is one process that polls the ledger "
        f"topic and decodes the entries' headers; the plain loop is {SIZE} processes that copy the rows of the finished tables "
        "into empty ones and index them, with nothing of ours between. Before each the living tables are vacuumed, and "
        "PostgreSQL's log is cut: it would else do meanwhile what is owed for what the bench itself has just written. "
        f"In {ROUNDS} rounds; the figures are medians, with each round's beside them."
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One rebuild: entries a second, beside the limit of its round; CPU seconds by whose they are."""

    entries: int
    seconds: float
    limit: float
    used: dict[str, float]

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds

    @property
    def share(self) -> float:
        """The rate as a share of the limit."""
        return self.rate / self.limit


def rebuilds(section: Section, services: Services, house: Deployment, folder: Path, *, barred: bool) -> None:
    """From the ledger in Kafka, and from an archive of it, in rounds; each as the whole command, its start too.

    `barred`: there is so much to rebuild that the bars, rates, are of the rebuild and not of its start, which takes a second.
    """
    _command(house, "ledger", "backup", str(folder / "archive"))
    runs, limits = defaultdict[str, list[Run]](list), list[float]()
    sources = [("Kafka", ()), ("archive", ("--archive", str(folder / "archive")))]
    for _ in range(ROUNDS):
        limits.append(_limit(house))
        for source, options in sources:
            runs[source].append(_rebuilt(services, house, options, limits[-1]))
        sources.reverse()
    section.add("limit: poll and decode headers, one process", f"{median(limits):,.0f} entries/s ({_listed(limits, ',.0f')})")
    for source, some in runs.items():
        middle = sorted(some, key=lambda r: r.rate)[ROUNDS // 2]
        shares, bar = [r.share for r in some], BARS[source]
        share = bar / LIMIT_THEN
        told = f"{middle.rate:,.0f} entries/s ({_listed([r.rate for r in some], ',.0f')})"
        if barred:
            met = middle.rate >= bar or median(shares) >= share
            section.add(f"from {source}", told, f">= {bar:,} entries/s, or {share:.1%} of the limit", met=met)
        else:
            section.add(f"from {source}", told)
        section.add("ratio to the limit of its round", f"{median(shares):.1%} ({_listed(shares, '.1%')})")
        section.add("of the middle one: entries; seconds", f"{middle.entries:,}; {middle.seconds:.1f}")
        busy = sum(middle.used.values()) / middle.seconds / (os.cpu_count() or 1)
        section.add("CPU µs an entry; CPUs busy with it", f"{split(middle.used, middle.entries)}; {busy:.0%}")
    floor = middle.entries / filling.run(house.views_dsn, filling.captured(house.views_dsn))
    section.add("plain loop of the database's work", f"{floor:,.0f} entries/s")
    section.add("ratio of the archive's to the plain loop", f"{middle.rate / floor:.1%}")


def _rebuilt(services: Services, house: Deployment, options: Sequence[str], limit: float) -> Run:
    with psycopg.connect(house.views_dsn, autocommit=True) as conn:
        conn.execute("vacuum analyze")
        _checkpoint(services)
        before = {t: value(conn, f"select count(*) from {t}") for t in ("fact", "child", "conclusion", "link")}
        meter = Meter({n: [p] for n, p in server_processes(services).items()})
        meter.start()
        begun, ours = time.monotonic(), _ended_children_s()
        done = json.loads(_command(house, "rebuild", "--json", *options))
        took, used = time.monotonic() - begun, {"rebuild": _ended_children_s() - ours, **meter.used()}
        assert before == {t: value(conn, f"select count(*) from {t}") for t in before}
    return Run(done["entries"], took, limit, used)


def _listed(figures: list[float], form: str) -> str:
    return ", ".join(f"{x:{form}}" for x in figures)


def _limit(house: Deployment) -> float:
    with closing(TopicReader(house.access("relay"), "ledger")) as reader:
        reader.ends()  # connected
    begun, count = time.monotonic(), 0
    for data in entries(house.access("relay")):
        header(data)
        count += 1
    return count / (time.monotonic() - begun)


def _checkpoint(services: Services) -> None:
    assert isinstance(services, LocalServices)
    server = services.parts["postgres"]
    assert isinstance(server, Postgres)
    with psycopg.connect(server.dsn("postgres", superuser=True), autocommit=True) as conn:
        conn.execute("checkpoint")


def _ended_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _command(house: Deployment, *words: str) -> str:
    done: Any = subprocess.run(
        [sys.executable, "-m", "infra.command", *words], env=house.environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    return str(done.stdout)
