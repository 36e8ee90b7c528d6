"""`sightline tail`: what passes on a topic, without what it says of a child."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import click
from kafka import errors as kafka_errors
from rich.console import Console

from domain.problems import SightlineError
from domain.times import iso
from infra.errors import InfraError
from infra.settings import Settings
from producers.kafka_link import assign, end_offsets, first_offsets, in_our_words, open_consumer
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.topics import KafkaAccess, topics

TOPICS: Final = {topic.name: topic for topic in topics()}
NO_CONTENT: Final = "none"
"""The record class of outputs, which carry no personal data: shown as they are."""

HIDDEN: Final = frozenset({"keys"})
"""Of a key nothing is shown, wrapped or not."""

CONTENT: Final = frozenset({"accesses"})
"""Who looked at whom, and why: shown as facts are."""

NEVER: Final = frozenset({"sections", "clear", "content"})
"""Fields of a ledger entry that are not its clear header."""


@dataclass(frozen=True, slots=True)
class Line:
    """One record as it is shown."""

    partition: int
    offset: int
    at: str
    key: str | None
    headers: dict[str, str]
    record: str | None
    value: dict[str, Any] | None
    problem: str | None = None


@click.command()
@click.argument("topic", type=click.Choice(list(TOPICS)), metavar="TOPIC")
@click.option("--from-start", is_flag=True, help="From the oldest record that is kept; by default from now.")
@click.option("-n", "count", type=click.IntRange(1), help="The last N records (with --from-start the first N), then end.")
@click.option("--show-values", is_flag=True, help="Show what facts and acts say. Needs the broker's admin, and --purpose.")
@click.option("--purpose", help="Why values are looked at: it is recorded with your name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    *, topic: str, from_start: bool, count: int | None, show_values: bool, purpose: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show what passes on TOPIC, until Ctrl-C: place, time, key, headers and record name.

    Outputs without personal data are shown whole, ledger entries by their clear header, facts and acts only by
    --show-values, which is recorded as an access. TOPIC is named without the deployment's prefix: facts.police, ledger, …
    """
    settings = Settings.load()
    if show_values:
        _recorded(settings, topic, purpose)
    access, full_name = _access(settings, topic, admin=show_values), settings.prefix + topic
    console, codec = Console(highlight=False), Codec(Registry(settings.registry_url))
    lines = read(
        access, topic, full_name, codec, from_start=from_start, count=count, show_values=show_values
    )  # fmt: skip
    try:
        for line in lines:
            _show(console, line, as_json=as_json)
    except SightlineError as err:
        raise InfraError(str(err)) from err
    except KeyboardInterrupt:
        return


def read(
    access: KafkaAccess, topic: str, full_name: str, codec: Codec, *, from_start: bool, count: int | None, show_values: bool
) -> Iterator[Line]:  # fmt: skip
    """The topic's records as lines; ends only when `count` is given. `full_name` has the deployment's prefix.

    Raises:
        BrokerUnavailable, NotAuthorised.
    """
    consumer = open_consumer(access, fetch_max_wait_ms=100)
    try:
        partitions = assign(consumer, access, [full_name])
        ends, begins = end_offsets(consumer, partitions), first_offsets(consumer, partitions)
        for p in partitions:
            consumer.seek(p, begins[p] if from_start else max(begins[p], ends[p] - (count or 0)))
        lines = (_line(topic, r, codec, show_values) for r in _records(consumer, ends if count else None))
        if count is None:
            yield from lines
        else:
            found = sorted(lines, key=lambda x: (x.at, x.partition, x.offset)) if not from_start else list(_take(lines, count))
            yield from found[-count:]
    except kafka_errors.KafkaError as err:
        problem = in_our_words(err, access, full_name)
        raise problem from err
    finally:
        consumer.close()


def _records(consumer: Any, ends: dict[Any, int] | None) -> Iterator[Any]:
    """Polled records; with `ends`, up to those."""
    quiet_until = time.monotonic() + 10
    while ends is None or any(consumer.position(p) < end for p, end in ends.items()):
        found = [r for records in consumer.poll(timeout_ms=300).values() for r in records]
        if found:
            quiet_until = time.monotonic() + 10
        elif ends is not None and time.monotonic() > quiet_until:
            return  # the end of a compacted topic may be an offset that holds nothing
        yield from sorted(found, key=lambda r: (r.timestamp, r.partition, r.offset))


def _take(lines: Iterator[Line], count: int) -> Iterator[Line]:
    for _, line in zip(range(count), lines, strict=False):
        yield line


def _line(topic: str, record: Any, codec: Codec, show_values: bool) -> Line:
    heads = {name: value.decode(errors="replace") for name, value in record.headers or []}
    name, value, problem = _content(topic, record, heads, codec, show_values)
    key = record.key.decode(errors="replace") if record.key is not None else None
    return Line(record.partition, record.offset, iso(record.timestamp * 1000), key, heads, name, value, problem)


def _content(
    topic: str, record: Any, heads: dict[str, str], codec: Codec, show_values: bool
) -> tuple[str | None, dict[str, Any] | None, str | None]:  # fmt: skip
    if record.value is None:
        return None, None, None
    try:
        if topic == "ledger" and heads.get("record") == "LedgerEntry":
            from projections.entries import header

            head = header(record.value)
            clear = {k: v for k, v in head.items() if k not in NEVER and v is not None}
            return "LedgerEntry", {**clear, "sections": len(head["sections"])}, None
        decoded = codec.decode(record.value)
    except Exception as err:  # whatever the bytes are, the next record is still to be shown; the text may quote them (I7)
        return None, None, getattr(err, "reason", type(err).__name__)
    shown = topic not in HIDDEN and (show_values or (decoded.spec.record_class == NO_CONTENT and topic not in CONTENT))
    return decoded.spec.name, decoded.value if shown else None, None


def _access(settings: Settings, topic: str, *, admin: bool) -> KafkaAccess:
    """The broker's admin for content; otherwise one of those who read the topic anyway."""
    if not admin:
        return settings.access(TOPICS[topic].readers[0])
    return settings.admin()  # its prefix is empty: topics are named in full


def _recorded(settings: Settings, topic: str, purpose: str | None) -> None:
    """Commit the access record before anything is shown (I7)."""
    if not (purpose or "").strip():
        raise InfraError("--show-values shows what agencies say of children: say why, by --purpose")
    from infra import stores
    from projections.accesses import record_access

    with closing(stores.engine(settings.keep_dsn, "command", 1).connect()) as conn, conn.begin():
        record_access(
            conn, actor_id=f"command:{getpass.getuser()}", role="admin", action=f"tail {topic}", purpose=purpose or "",
            children=[], now=stores.now_us(),
        )  # fmt: skip


def _show(console: Console, line: Line, *, as_json: bool) -> None:
    if as_json:
        shown = {
            "partition": line.partition, "offset": line.offset, "at": line.at, "key": line.key, "headers": line.headers,
            "record": line.record, "value": line.value, "problem": line.problem,
        }  # fmt: skip
        click.echo(json.dumps(shown, ensure_ascii=False, default=str))
        return
    what = line.record or f"undecodable ({line.problem})" if line.problem else line.record or "(erased)"
    console.print(f"{line.partition}:{line.offset}  {line.at}  {what}  key {line.key or '-'}", markup=False, soft_wrap=True)
    for name, value in line.headers.items():
        console.print(f"    {name}: {value}", markup=False, soft_wrap=True)
    if line.value is not None:
        console.print(f"    {json.dumps(line.value, ensure_ascii=False, default=str)}", markup=False, soft_wrap=True)
