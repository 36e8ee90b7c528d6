"""Rows about what is said: disorder, poison, other schemas, a dying producer; and a rule of ours that fails (9-11, 21, 22)."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import fastavro
import pytest
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from producers.groups import HEAD as SPOOL_HEAD
from producers.halton.facts import SimulatedFact
from producers.halton.truth import Truth
from schemas.catalogue import raw_schema, spec
from schemas.codec import HEADER, MAGIC
from schemas.registry import IncompatibleSchema, Registry
from tests.fault import databases
from tests.fault.compare import compare
from tests.fault.crew import ROOT
from tests.fault.evidence import ACCEPTED, accepted, read_ledger, views
from tests.fault.harness import House
from tests.fault.rows_workers import WORKER_S
from tests.fault.sabotage import FORGOTTEN
from tests.fault.story import Story, tell
from tests.fault.trial import CHILDREN, Broken, Trial

DAY_S: Final = 86_400


def shuffled(trial: Trial, children: int = CHILDREN) -> Story:
    """Every fact 1 to 5 times, each copy within seconds, a day, 30 days or far more of its own time; corrections often first."""
    story, rng = tell(trial.seed, trial.end, children), Random(f"shuffled/{trial.seed}")
    placed: list[tuple[float, int, SimulatedFact]] = []
    for fact in story.facts:
        for copy in range(rng.choice((1, 1, 2, 3, 5))):
            late = rng.choice(
                (rng.uniform(0, 60), rng.uniform(0, DAY_S), rng.uniform(0, 30 * DAY_S), rng.uniform(0, 200 * DAY_S))
            )
            first = fact.value["envelope"]["retracts"] or fact.value["envelope"]["supersedes"]
            at = fact.arrives_at / 1e6 + (-late if first and rng.random() < 0.7 else late)
            placed.append((at, copy, fact))
    ordered = tuple(f for *_, f in sorted(placed, key=lambda x: (x[0], x[1], x[2].key)))
    return replace(story, facts=ordered, truth=Truth(list(story.facts)))


def disorder(trial: Trial) -> None:
    """Row 9."""
    story = shuffled(trial)
    retracted = {f.value["envelope"]["retracts"] for f in story.facts if f.value["envelope"]["retracts"]}
    order = {f.key: n for n, f in reversed(list(enumerate(story.facts)))}
    before = [
        r for r in retracted if any(f.value["envelope"]["retracts"] == r and order[f.key] < order.get(r, 0) for f in story.facts)
    ]
    trial.suited(before, "no retraction comes before its target")
    with trial.house("disorder", story=story) as house:
        answer = trial.oracle(house).people.answer
        for wave in story.waves(3):
            house.publish(wave)
            house.flush(wave)
            for fact in wave[:: max(1, len(wave) // 4)][:4]:
                if fact.key not in house.conflicts:
                    house.contradict(fact)
                house.astray(fact)
            house.review(answer)
            with house.talking(wave, 60):
                house.resumes("duplicates and disorder", time.monotonic(), WORKER_S)
        house.settle()
        seen = trial.holds(house)
        assert min(seen[k] for k in ("duplicate", "conflict", "retracted", "superseded")) > 0, seen


POISON: Final = ("not-avro-wire-format", "unknown-schema-id", "corrupt", "unknown-code", "future", "too-large")


def poison(trial: Trial) -> None:
    """Row 10."""
    with trial.house("poison") as house:
        waves = house.story.waves(len(POISON))
        for n, (kind, wave) in enumerate(zip(POISON, waves, strict=True)):
            house.publish(wave)
            for fact in wave[:3]:
                house.spoil(fact, kind)
            house.flush(wave)
            if n == 2:
                ten_megabytes(house, wave[0])
                for topic in ("decisions", "receipts", "clock"):  # where no agency is to be told
                    house.send_raw("clock" if topic == "clock" else "web", topic, b"these bytes are no act")
        with house.talking(waves[0], 60):
            house.resumes("poison", time.monotonic(), WORKER_S)
        house.settle()
        seen = trial.holds(house)
        assert seen["refused"] >= 3 * len(POISON), seen


def ten_megabytes(house: House, fact: SimulatedFact) -> None:
    """More than the broker takes: its sender is told at once, and nothing of it is in the intake."""
    access = house.deployment.access(f"agency.{fact.agency}")
    ends = house.ends([f"facts.{fact.agency}"])
    producer = KafkaProducer(**access.options(), acks="all", max_request_size=20_000_000, max_block_ms=10_000)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(access.topic(f"facts.{fact.agency}"), bytes(10_000_000)).get(20)
    producer.close(timeout=2)
    assert house.ends([f"facts.{fact.agency}"]) == ends


def schemas_change(trial: Trial) -> None:
    """Row 11."""
    record = spec("SchoolConcern")
    with trial.house("schemas") as house:
        registry = Registry(house.settings.registry_url)
        first, rest = house.story.waves(2)
        house.publish(first)
        house.flush(first)
        changed = json.loads(record.text)
        breaking = {**changed, "fields": [*changed["fields"], {"name": "fault_must", "type": "long"}]}
        with pytest.raises(IncompatibleSchema):
            registry.register(record.subject, json.dumps(breaking))
        newer = {**changed, "fields": [*changed["fields"], {"name": "fault_added", "type": ["null", "string"], "default": None}]}
        older = {**changed, "fields": [f for f in changed["fields"] if f["name"] != "child_words"]}
        said = [f for f in rest if f.record == record.name and f.copy == 0][:6]
        trial.suited(len(said) >= 4, "too few school concerns")
        ids = [registry.register(record.subject, json.dumps(s)) for s in (newer, older)]
        for n, fact in enumerate(said):
            under = (newer, older)[n % 2]
            raw(house, fact, HEADER.pack(MAGIC, ids[n % 2]) + encoded(under, fact.value | {"fault_added": "more"}))
        house.settle()
        told = {e["event_id"]: e["verdict"] for e in read_ledger(house).facts}
        assert [told.get(f.key) for f in said] == [ACCEPTED] * len(said), "a fact of another version was not accepted"
        with house.talking(first, 60):
            house.resumes("facts of other versions", time.monotonic(), WORKER_S)
        others = [f for f in rest if f.key not in {s.key for s in said}]
        house.publish(others)
        house.flush(others)
        trial.holds(house, truth=False)  # an older writer leaves words out, so what is shown is not all that the story says


def encoded(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    """A value under another schema than ours."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, raw_schema(schema), value)
    return out.getvalue()


def raw(house: House, fact: SimulatedFact, data: bytes) -> None:
    """The bytes of a fact, by a program that is not ours."""
    house.send_raw(f"agency.{fact.agency}", f"facts.{fact.agency}", data)


SPEAKER: Final = "tests.fault.speaker"


def producer_killed(trial: Trial) -> None:
    """Row 21."""
    with trial.house("producer", children=2 * CHILDREN) as house:
        rng, turns = trial.rng, 3 if not trial.whole else 6
        ((agency, _),) = Counter(f.agency for f in house.story.facts).most_common(1)
        mine = list({f.key: f for f in house.story.facts if f.agency == agency}.values())
        others = [f for f in house.story.facts if f.agency != agency]
        house.publish(others)
        spool, kept, size = house.folder / "spool-killed", list[str](), len(mine) // turns
        trial.suited(size >= MINE_MIN, "nobody says enough")
        values = house.folder / "facts.jsonl"
        for turn in range(turns):
            some = mine[turn * size : (turn + 1) * size]  # each turn's own: nothing that is lost is said again by a later one
            values.write_text("".join(json.dumps([f.record, f.value]) + "\n" for f in some))
            if turn == 1:
                trial.services.kill("kafka")  # so that facts are in the spool and nowhere else
            kept += _speak_and_die(house, agency, spool, values, rng.randrange(size // 2, size))
            if turn == 1:
                trial.services.restart("kafka")
            tear(spool)
        house._clients[agency].close(1)
        since = time.monotonic()
        client = house.open_client(agency, spool)
        client.flush(60)
        house.took("producer killed", time.monotonic() - since, WORKER_S)
        assert list(spool.glob("*.torn")), "no torn end was found"
        house.settle()
        assert set(kept) <= accepted(house, agency), "I1: what was said to be kept did not arrive"
        house.acknowledged[agency].update(kept)
        house.publish(mine)
        house.flush(house.story.facts)
        trial.holds(house)


MINE_MIN: Final = 8
"""Facts a turn."""


def _speak_and_die(house: House, agency: str, spool: Path, values: Path, count: int) -> list[str]:
    """A program of the agency publishes until it is killed; the ids, `count` or more, of which it was told that they are kept."""
    command = [sys.executable, "-m", SPEAKER, agency, str(spool), str(values)]
    one = subprocess.Popen(command, env=house.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert one.stdout is not None
    kept = [one.stdout.readline().strip() for _ in range(count)]
    one.send_signal(signal.SIGKILL)
    one.wait(10)
    return [k for k in [*kept, *one.stdout.read().split()] if len(k) == 36]


def tear(spool: Path) -> None:
    """The end of the newest file is half a group: what a power cut leaves of a write that was confirmed to nobody."""
    newest = max(spool.glob("*.facts"))
    whole = newest.read_bytes()
    half = whole[: SPOOL_HEAD.size + SPOOL_HEAD.unpack_from(whole)[1] // 2] if whole else b"SLg1 and a little more"
    with newest.open("ab") as file:
        file.write(half)


def rule_raises(trial: Trial) -> None:
    """Row 22."""
    with trial.house("rule", sabotage="rule-raises") as house:
        *waves, late = house.story.waves(3)
        trial.suited(any(f.record == FORGOTTEN for f in late), "the rule fails on nothing that comes late")
        for wave in waves:
            house.publish(wave)
            house.flush(wave)
        house.settle()
        marked = house.rows("select distinct number from conclusion where kind = 'not_evaluated'")
        assert len(marked) > 3, "the rule did not fail"
        told = {e["event_id"] for e in read_ledger(house).facts if e["verdict"] == ACCEPTED}
        said = {f.key for wave in waves for f in wave if f.record == FORGOTTEN}
        assert said <= told, "I1: a fact on which our own rule failed was not accepted"
        shown = {c["event_id"] for v in views(house).values() for c in v["chronology"]}
        assert said <= shown, "a fact on which our own rule failed is not shown"
        assert b'"alarm": true' in house.logs() or b'"alarm":true' in house.logs(), "no alarm was raised"
        named = {i for v in views(house).values() for i in v["not_evaluated"]}
        assert named, "no view says that something was not evaluated"
        mended(trial, house, late, told)


def mended(trial: Trial, house: House, late: Sequence[SimulatedFact], told: Collection[str]) -> None:
    """The rule is mended: workers start without the fault. What comes then, `late`, is evaluated, and its children are as if no
    rule had failed; the tables are a clean fold (I2). `told`: what had been accepted before.
    """
    house.environment.pop("SIGHTLINE_FAULT_SABOTAGE", None)
    for worker in house.crew.workers.values():
        worker.environment = {k: v for k, v in worker.environment.items() if k != "SIGHTLINE_FAULT_SABOTAGE"}
        house.crew.kill(worker.name)
    since = time.monotonic()
    with house.talking(house.story.facts[:40], 60):
        house.resumes("our own rule mended", since, WORKER_S * 2)
    last = house.now().number
    house.publish(late)
    house.flush(late)
    house.settle()
    databases.rebuilt(house)
    found, _ = trial.judge(house, truth=False)
    again = house.rows("select number from conclusion where kind = 'not_evaluated' and number > %s", [last])
    assert not again, f"not evaluated although the rule was mended: {again[:3]}"
    beside = compare(house, trial.oracle(house), of={f.key for f in late} - set(told))
    assert beside.counts["points"] > 5, "too few children of whom something came late"
    if found := [*found, *beside.violations]:
        raise Broken(found)
