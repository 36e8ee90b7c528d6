"""What `sightline status` says beyond which processes run: lag, relay age, dead letters; and what of it is not well.

A figure is a function of `Settings`; its failure is shown in its place, and counts as trouble.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from infra.settings import Settings

Figure = Callable[[Settings], object]

LATE_S: Final = 60
"""A fact undecided, or an entry not in the ledger topic, for so long is trouble: either takes seconds, and a broker or database
that was killed is back within 20 (I6)."""

ROOM_BYTES: Final = 256 * 2**20
"""Less free than this is trouble: the next files of the broker's log and of PostgreSQL's."""


def _ledger(settings: Settings) -> object:
    from infra import assembly

    found = assembly.reading(settings).positions()
    return {k: found[k] for k in ("number", "relayed", "relay_age_s", "incarnation", "children", "facts", "dead_letters")}


def _lag(settings: Settings) -> object:
    """{behind, late, partitions}: records not decided yet, those that have waited for more than `LATE_S`, and where."""
    from kafka import KafkaConsumer, TopicPartition

    from consumers.unify import INTAKE_TOPICS
    from infra import assembly
    from producers.kafka_link import end_offsets

    access = settings.access("clock")
    at = {(p["topic"], p["partition"]): p["next_offset"] for p in assembly.reading(settings).positions()["positions"]}
    with closing(KafkaConsumer(**access.options(), group_id=None, enable_auto_commit=False)) as consumer:
        names = [access.topic(t) for t in INTAKE_TOPICS]
        tps = [TopicPartition(n, p) for n in names for p in sorted(consumer.partitions_for_topic(n) or ())]
        ends = end_offsets(consumer, tps)
        recent = consumer.offsets_for_times(dict.fromkeys(tps, int((time.time() - LATE_S) * 1000)))
    rows = []
    for tp in tps:
        where = (access.short(tp.topic), tp.partition)
        stands, first_recent = at.get(where, 0), recent.get(tp)
        old = ends[tp] if first_recent is None else first_recent.offset
        if ends[tp] > stands:
            rows.append({"topic": where[0], "partition": where[1], "behind": ends[tp] - stands, "late": max(0, old - stands)})
    return {"behind": sum(r["behind"] for r in rows), "late": sum(r["late"] for r in rows), "partitions": rows}


def _room(settings: Settings) -> object:
    """Bytes free where each server of our own keeps its data, by its name."""
    from infra.postgres import Postgres

    places = {} if settings.given_kafka else {"kafka": settings.state.data / "kafka"}
    places |= {} if settings.given_database else {"postgres": Postgres(settings.state).folder}
    return {part: shutil.disk_usage(place).free for part, place in places.items()}


FIGURES: Final[Mapping[str, Figure]] = {"ledger": _ledger, "lag": _lag, "room": _room}


def figures(settings: Settings) -> dict[str, object]:
    """Every figure by name; a broken one reads `unavailable (why)`."""
    found: dict[str, object] = {}
    for name, figure in FIGURES.items():
        try:
            found[name] = figure(settings)
        except Exception as error:  # status must answer most of all when something is broken
            found[name] = f"unavailable ({type(error).__name__})"
    return found


def troubles(found: Mapping[str, object]) -> list[str]:
    """What in these figures is not well, in words; empty when all is."""
    words = [f"{name}: {value}" for name, value in found.items() if isinstance(value, str)]
    ledger, lag = (value if isinstance(value, dict) else dict[str, Any]() for value in (found.get("ledger"), found.get("lag")))
    if (age := ledger.get("relay_age_s", 0)) > LATE_S:
        words.append(f"relay: an entry has waited {age:.0f} s for the ledger topic, and nothing leaves the house before")
    if late := lag.get("late", 0):
        words.append(f"intake: {late} records have waited more than {LATE_S} s to be decided")
    room = found.get("room")
    for part, free in room.items() if isinstance(room, dict) else ():
        if free < ROOM_BYTES:
            words.append(
                f"disk: no room where {part} keeps its data ({free // 2**20} MiB are free, of at least {ROOM_BYTES // 2**20}): "
                "make room. Nothing that was acknowledged is lost; facts wait with their agencies, and it goes on by itself"
            )
    return words


def lines(found: Mapping[str, object]) -> list[str]:
    """The figures for people, a line each; what cannot be had is among the troubles."""
    out = []
    if isinstance(ledger := found.get("ledger"), dict):
        waiting = ledger["number"] - ledger["relayed"]
        rest = f"{waiting:,} on their way for {ledger['relay_age_s']:.0f} s" if waiting else "all in the topic"
        letters = ", ".join(f"{agency} {count:,}" for agency, count in sorted(ledger["dead_letters"].items())) or "none"
        out.append(f"Ledger: {ledger['number']:,} entries, {rest} (incarnation {ledger['incarnation']})")
        out.append(f"Views: {ledger['children']:,} children, {ledger['facts']:,} facts. Dead letters: {letters}")
    if isinstance(lag := found.get("lag"), dict):
        where = ", ".join(f"{r['topic']}[{r['partition']}] {r['behind']:,}" for r in lag["partitions"])
        out.append(f"Intake: {lag['behind']:,} records to be decided ({where})" if where else "Intake: everything is decided")
    return out
