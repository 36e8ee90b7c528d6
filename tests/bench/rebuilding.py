"""`sightline rebuild` of a deployment that a bench has filled, beside what reading and decoding its ledger alone costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg

from consumers.ledger_backup import entries
from consumers.topic_reader import TopicReader
from projections.entries import header
from tests.bench.report import Report
from tests.bench.stage import ROOT, value
from tests.services import Deployment

BARS: Final = {"Kafka": 12_000, "archive": 20_000}


def rebuilds(report: Report, house: Deployment, folder: Path, title: str, of: str) -> None:
    """From the ledger in Kafka, and from an archive of it; each as the whole command, its start too."""
    section = report.section(
        title,
        f"`sightline rebuild` {of}, from the ledger in Kafka and from an archive: the whole "
        "command with its start, filling, indices, folding, the check against the ledger, and the switch. The limit is one "
        "process that polls the ledger topic and decodes the entries' headers.",
    )
    limit = _limit(house)
    section.add("limit: poll and decode headers, one process", f"{limit:,.0f} entries/s")
    _command(house, "ledger", "backup", str(folder / "archive"))
    for source, options in (("Kafka", ()), ("archive", ("--archive", str(folder / "archive")))):
        with psycopg.connect(house.views_dsn, autocommit=True) as conn:
            before = {t: value(conn, f"select count(*) from {t}") for t in ("fact", "child", "conclusion", "link")}
            begun = time.monotonic()
            done = json.loads(_command(house, "rebuild", "--json", *options))
            took = time.monotonic() - begun
            assert before == {t: value(conn, f"select count(*) from {t}") for t in before}
        rate, bar = done["entries"] / took, BARS[source]
        section.add(f"from {source}", f"{rate:,.0f} entries/s", f">= {bar:,} entries/s", met=rate >= bar)
        section.add("entries; seconds; ratio to the limit", f"{done['entries']:,}; {took:.1f}; {rate / limit:.1%}")


def _limit(house: Deployment) -> float:
    with closing(TopicReader(house.access("relay"), "ledger")) as reader:
        reader.ends()  # connected
    begun, count = time.monotonic(), 0
    for data in entries(house.access("relay")):
        header(data)
        count += 1
    return count / (time.monotonic() - begun)


def _command(house: Deployment, *words: str) -> str:
    done: Any = subprocess.run(
        [sys.executable, "-m", "infra.command", *words], env=house.environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    return str(done.stdout)
