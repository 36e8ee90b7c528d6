"""What people decided, under faults: each act takes effect once, and its result is what its sender was told (I1, I3).

Also the due times (design, idea 6), named DUE: the clock never speaks before the instant, and what people did in time is never
called overdue.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.codec import Undecodable
from tests.fault.evidence import ACCEPTED, ACT, DUPLICATE, REFUSED, SHOWN, Ledger, Violation
from tests.fault.harness import House

Json = dict[str, Any]
EFFECTS: Final[Mapping[str, str]] = {
    "StrategyMeetingHeld": "held", "RecommendationDisagreed": "disagreed", "RecommendationClosed": "closed",
    "CaseTaken": "case_taken", "GpReceipt": "gp_receipt", "MatchConfirmed": "match_confirmed",
    "MatchRejected": "match_rejected", "MatchUndone": "match_undone",
}  # fmt: skip
DECISIONS: Final = {"CONVENE": "convened", "DECLINE": "declined"}
MAY_ADD_NOTHING: Final = frozenset({"CaseTaken", "GpReceipt"})
"""A case that one has already, a message read before it was accepted: accepted, and nothing changes."""

ENDING: Final = frozenset({"RecommendationDecided", "RecommendationClosed"})
"""Acts after which no decision is owed."""

FINAL: Final = frozenset({"convened", "declined", "closed"})
SLACK_US: Final = 1_500_000
"""Between the clock's look at its time and the broker's stamp, and between two clocks of one machine."""


def deeds(house: House, ledger: Ledger) -> tuple[list[Violation], Counter[str]]:
    """Every violation, and how many acts of each kind took effect."""
    acts = {e.details["event_id"]: e.details for e in house.history.of("act")}
    entries: dict[str, list[Json]] = defaultdict(list)
    for e in ledger.entries:
        if e["kind"] == ACT and e["source_topic"] in ("decisions", "receipts") and e["event_id"] is not None:
            entries[e["event_id"]].append(e)
    bad = [*_decided_once(house, acts, entries), *_told(house, entries)]
    effects, found = _effects(house, acts, entries)
    accepted = {i for i, es in entries.items() if any(e["verdict"] == ACCEPTED for e in es)}
    return [*bad, *effects, *_histories(house), *_due(house, accepted)], found


def kind_of(act: Mapping[str, Any]) -> str:
    """The conclusion that an accepted act must bring."""
    value = act["value"]
    return DECISIONS[value["decision"]] if act["record"] == "RecommendationDecided" else EFFECTS[act["record"]]


def _decided_once(house: House, acts: Mapping[str, Any], entries: Mapping[str, Sequence[Json]]) -> list[Violation]:
    """I1 for acts: what was acknowledged is decided once, however often it was sent."""
    bad = []
    for event_id in {e.details["event_id"] for e in house.history.of("act acknowledged")}:
        verdicts = [e["verdict"] for e in entries.get(event_id, ())]
        first, *others = verdicts or ["nothing"]
        if first not in (ACCEPTED, REFUSED) or set(others) - {DUPLICATE}:
            bad.append(Violation("I1", f"act {acts[event_id]['record']} {event_id} was acknowledged and became {verdicts}"))
    if strange := sorted(set(entries) - set(acts)):
        bad.append(Violation("I1", f"{len(strange)} acts in the ledger that nobody sent, such as {strange[:SHOWN]}"))
    return bad


def _told(house: House, entries: Mapping[str, Sequence[Json]]) -> list[Violation]:
    """I3: what the ledger holds of an act is what its sender was told of it."""
    bad = []
    for event in house.history.of("told"):
        d = event.details
        held = [(e["number"], e["verdict"], e["reason"]) for e in entries.get(d["event_id"], ()) if e["verdict"] != DUPLICATE]
        if held != [(d["number"], d["verdict"], d["reason"])]:
            bad.append(
                Violation("I3", f"the sender of {d['event_id']} was told {d['verdict']} at {d['number']}, the ledger has {held}")
            )
    return bad


def _effects(
    house: House, acts: Mapping[str, Any], entries: Mapping[str, Sequence[Json]]
) -> tuple[list[Violation], Counter[str]]:
    """I3: an accepted act has its one effect on what it is about; a refused one has none; nothing else has any."""
    kinds = sorted({*EFFECTS.values(), *DECISIONS.values()})
    rows = house.rows("select number, kind, about from conclusion where kind = any(%s)", [kinds])
    held: dict[int, Counter[tuple[str, str | None]]] = defaultdict(Counter)
    for number, kind, about in rows:
        held[number][(kind, about)] += 1
    bad, done = [], Counter[str]()
    for event_id, found in entries.items():
        act = acts.get(event_id)
        if act is None:
            continue  # told by `_decided_once`
        for entry in found:
            got = held.pop(entry["number"], Counter())
            value = act["value"]
            about = value.get("recommendation_id") or value.get("message_id") or value.get("match_id")
            mine = got.pop((kind_of(act), about), 0)
            others = [k for k in got if k[0] != "match_rejected"]  # one answer holds for every match between the same two
            wanted = 1 if entry["verdict"] == ACCEPTED else 0
            if others or (mine != wanted and not (mine == 0 and wanted and act["record"] in MAY_ADD_NOTHING)):
                bad.append(
                    Violation("I3", f"{entry['verdict']} {act['record']} at {entry['number']} had {mine} effects and {others}")
                )
            done[kind_of(act)] += mine
            done["acts refused"] += entry["verdict"] == REFUSED
            done["pressed twice"] += entry["verdict"] == DUPLICATE
    if held:
        bad.append(Violation("I3", f"effects of acts that nobody sent, at numbers such as {sorted(held)[:SHOWN]}"))
    return bad, done


def _histories(house: House) -> list[Violation]:
    """I3: a recommendation is convened, declined or closed once, and held once, after it was convened."""
    bad = []
    steps: dict[str, list[str]] = defaultdict(list)
    for about, kind in house.rows("select about, kind from conclusion where about is not null order by number, seq"):
        steps[about].append(kind)
    for about, kinds in steps.items():
        ends = [k for k in kinds if k in FINAL]
        if len(ends) > 1 or kinds.count("held") > 1 or ("held" in kinds and ends != ["convened"]):
            bad.append(Violation("I3", f"recommendation {about} went {kinds}"))
        if "held" in kinds and "convened" in kinds and kinds.index("held") < kinds.index("convened"):
            bad.append(Violation("I3", f"recommendation {about} was held before it was convened"))
    return bad


def house_time(house: House, real_us: int) -> int:
    """The house's time at an instant of the machine's (both µs)."""
    shift = 0
    for event in house.history.of("clock shifted"):
        if _real_us(event.at) <= real_us:
            shift = event.details["us"]
    return real_us + shift


def _real_us(monotonic_s: float) -> int:
    return time.time_ns() // 1000 - round((time.monotonic() - monotonic_s) * 1e6)


def _due(house: House, accepted: Collection[str]) -> list[Violation]:
    """DUE: no clock record before its instant; nothing called overdue that somebody had answered in time."""
    bad = []
    for record in house.read("clock"):
        try:
            value = house.codec.decode(record.value).value
        except Undecodable:
            continue  # row 10 put it there
        early = value["due_at"] - house_time(house, record.timestamp * 1000)
        if early > SLACK_US:
            bad.append(Violation("DUE", f"the clock fired {early / 1e6:.0f} s before an instant, at offset {record.offset}"))
    sent = {e.details["event_id"]: e.details for e in house.history.of("act")}
    answered: dict[str, int] = {}
    for event in house.history.of("act acknowledged"):
        act = sent[event.details["event_id"]]
        if event.details["event_id"] in accepted and act["record"] in ENDING:
            at = house_time(house, _real_us(event.at))
            rid = act["value"]["recommendation_id"]
            answered[rid] = min(answered.get(rid, at), at)
    for number, about, data in house.rows("select number, about, data from conclusion where kind = 'recommendation_overdue'"):
        due_at = orjson.loads(bytes(data))["due_at"]
        if answered.get(about, due_at + 1) + SLACK_US < due_at:
            bad.append(Violation("DUE", f"entry {number} calls {about} overdue, which was answered in time"))
    return bad
