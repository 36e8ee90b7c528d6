"""The job of the host's bench: a small stateful fold, its facts by seed, and what must come out of them. Pure.

For each child: drop what is late or known; keep 90 days; weigh the last 28; recommend once a crossing of the threshold.
"""

from __future__ import annotations

import hashlib
import io
import json
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import fastavro

SEED: Final = 20260401
FACTS_ALL: Final = 300_000
COPIES: Final = FACTS_ALL * 2 // 100
"""Facts that come a second time, 1 to 5,000 positions later."""

CHILDREN: Final = 28_000
START_MS: Final = 1_735_689_600_000
"""1 January 2025, 00:00 UTC; the facts are of the 365 days after it."""

DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 90 * DAY_MS
RECENT_MS: Final = 28 * DAY_MS
THRESHOLD: Final = 12
SEVERAL_AGENCIES: Final = 5
"""Points added when the recent facts are of two agencies or more."""

AGENCIES: Final = ("POLICE", "SCHOOL", "HEALTH", "SOCIAL", "HOUSING")
AGENCY_WEIGHTS: Final = (2, 5, 3, 2, 1)
KINDS: Final = ("ABSENCE", "ADDRESS", "INJURY", "CALLOUT", "EXCLUSION", "REFERRAL")
KIND_WEIGHTS: Final = (40, 20, 12, 10, 8, 10)
POINTS: Final = (1, 1, 2, 3, 4, 6)
WORDS: Final = (
    "seen", "reported", "visited", "absent", "moved", "injured", "quarrel", "officer", "teacher", "nurse", "home", "street",
    "clinic", "class", "record",
)  # fmt: skip

KNOWN: Final[Mapping[int, tuple[int, int, str]]] = {
    30_000: (29_435, 2_028, "80d86f08705cc72f2fa24e0bdf91eb234b3763bca9d9429aa0e59f2a8c10bcad"),
    FACTS_ALL: (293_771, 18_962, "2fdb8ad503811e7f3688cce14d56db80b852de4152e048c58afcbabedcaaf094"),
}
"""By number of facts: accepted, recommendations, digest of the states. Kafka Streams, Quix and Faust came to the same."""

HEAD: Final = b"\x00\x00\x00\x00\x01"
"""Confluent's frame: magic byte and schema id."""

SCHEMA: Final = fastavro.parse_schema({
    "type": "record", "name": "Fact", "namespace": "peer", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "child_id", "type": "string"},
        {"name": "agency", "type": {"type": "enum", "name": "Agency", "symbols": AGENCIES}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": KINDS}},
        {"name": "occurred_at", "type": "long"},
        {"name": "recorded_at", "type": "long"},
        {"name": "source_ref", "type": "string"},
        {"name": "summary", "type": "string"},
        {"name": "sent_at", "type": "long"},
    ],
})  # fmt: skip

LONG: Final = fastavro.parse_schema("long")

_AGENCY: Final = {name: str(n) for n, name in enumerate(AGENCIES)}
_KIND: Final = {name: f"{n},{points}" for n, (name, points) in enumerate(zip(KINDS, POINTS, strict=True))}
_NOTHING: Final = b"0|0|0|1|"

Fact = dict[str, Any]
"""A record of `SCHEMA`: times in ms since 1970, but `sent_at` in µs of the monotonic clock, 0 when nobody measures."""


class Recommendation(NamedTuple):
    """What the fold concludes: `events` are the recent facts that weigh `risk` at the child's time `at` (ms)."""

    id: str
    child_id: str
    at: int
    risk: int
    events: list[str]
    sent_at: int

    def body(self) -> bytes:
        """As it goes to Kafka."""
        return json.dumps(self._asdict(), separators=(",", ":")).encode()

    def line(self) -> str:
        """What must be the same in every run."""
        return f"{self.id}|{self.at}|{self.risk}|{','.join(self.events)}"


def decode(value: bytes) -> Fact:
    """The fact in a Kafka record's value. Raises: ValueError when it is framed otherwise."""
    if not value.startswith(HEAD):
        raise ValueError("not a fact of this bench")
    fact: Any = fastavro.schemaless_reader(io.BytesIO(value[len(HEAD) :]), SCHEMA, None)
    return cast("Fact", fact)


def encode(fact: Fact) -> bytes:
    """The value of a Kafka record."""
    out = io.BytesIO()
    out.write(HEAD)
    fastavro.schemaless_writer(out, SCHEMA, fact)
    return out.getvalue()


def stamped(value: bytes, at: int) -> bytes:
    """The fact with `sent_at`, which comes last, and is one byte while it is 0."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, LONG, at)
    return value[:-1] + out.getvalue()


def fold(state: bytes | None, fact: Fact) -> tuple[bytes, Recommendation | None] | None:
    """The child's next state, and what is recommended; None when the fact is late or known, and changes nothing.

    A state is `n|recommendations|high|armed|occurred_at,event_id,agency,kind,points;…` in ASCII, its facts in order of time.
    """
    seen, made, newest, ready, text = (state or _NOTHING).decode().split("|")
    count, high, armed = int(made), int(newest), ready == "1"
    occurred, event = fact["occurred_at"], fact["event_id"]
    if occurred < high - WINDOW_MS or event in text:
        return None
    entries = text.split(";") if text else []
    insort(entries, f"{occurred:013d},{event},{_AGENCY[fact['agency']]},{_KIND[fact['kind']]}")
    if occurred > high:
        high = occurred
        first = f"{high - WINDOW_MS:013d}"
        del entries[: next(n for n, entry in enumerate(entries) if entry >= first)]
    risk, events = _weigh(entries, high)
    recommended = None
    if risk >= THRESHOLD and armed:
        count += 1
        recommended = Recommendation(f"{fact['child_id']}:{count}", fact["child_id"], high, risk, events, fact["sent_at"])
    return f"{int(seen) + 1}|{count}|{high}|{int(risk < THRESHOLD)}|{';'.join(entries)}".encode(), recommended


def _weigh(entries: list[str], high: int) -> tuple[int, list[str]]:
    """The points of what is recent, and its event ids in order."""
    first = f"{high - RECENT_MS + 1:013d}"
    risk, events, agencies = 0, [], set()
    for entry in reversed(entries):
        if entry < first:
            break
        agencies.add(entry[47])
        risk += int(entry[51:])
        events.append(entry[14:46])
    events.reverse()
    return risk + SEVERAL_AGENCIES * (len(agencies) > 1), events


def facts() -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every fact in order of sending. They lie encoded, about 125 MB, until they are taken."""
    rng = Random(SEED)
    children = [UUID(int=rng.getrandbits(128)).hex for _ in range(CHILDREN)]
    weights = list(accumulate((rank + 50) ** -0.8 for rank in range(CHILDREN)))
    distinct = FACTS_ALL - COPIES
    who = rng.choices(children, cum_weights=weights, k=distinct)
    values = [encode(_drawn(rng, n, child)) for n, child in enumerate(who)]
    places = [(float(n), n) for n in range(distinct)]
    places += [(n + rng.randrange(1, 5_000) + 0.5, n) for n in rng.sample(range(distinct), COPIES)]
    places.sort(key=lambda place: place[0])
    return ((who[n].encode(), values[n]) for _, n in places)


def _drawn(rng: Random, n: int, child: str) -> Fact:
    """The n-th fact: 3 of 100 out of order, of these one in 20 by more than the window. The order of draws is the seed's."""
    occurred = START_MS + n * (365 * DAY_MS // (FACTS_ALL - COPIES))
    chance = rng.random()
    if chance < 0.0015:
        occurred -= rng.randrange(95 * DAY_MS, 120 * DAY_MS)
    elif chance < 0.03:
        occurred -= rng.randrange(1, 20 * DAY_MS)
    summary = " ".join(rng.choices(WORDS, k=44))[:300]
    return {
        "event_id": UUID(int=rng.getrandbits(128)).hex,
        "child_id": child,
        "agency": rng.choices(AGENCIES, AGENCY_WEIGHTS)[0],
        "kind": rng.choices(KINDS, KIND_WEIGHTS)[0],
        "occurred_at": occurred,
        "recorded_at": occurred + 3_600_000,
        "source_ref": f"ref/{rng.choice(AGENCIES).lower()}/{n:08d}",
        "summary": summary,
        "sent_at": 0,
    }


@dataclass(slots=True)
class Reference:
    """What must come out of the facts added so far, whatever runs the fold."""

    facts: int = 0
    accepted: int = 0
    states: dict[str, bytes] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def add(self, value: bytes) -> None:
        """Fold the next fact."""
        fact = decode(value)
        self.facts += 1
        after = fold(self.states.get(fact["child_id"]), fact)
        if after is None:
            return
        self.accepted += 1
        self.states[fact["child_id"]], recommended = after
        if recommended is not None:
            self.lines.append(recommended.line())

    def check(self) -> None:
        """Generator and fold are those whose results are known, where they are."""
        found = self.accepted, len(self.lines), digest(self.states.items())
        assert KNOWN.get(self.facts, found) == found


def digest(states: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 of `child|state` and a line's end, sorted by child."""
    sum_ = hashlib.sha256()
    for child, state in sorted(states):
        sum_.update(child.encode() + b"|" + state + b"\n")
    return sum_.hexdigest()
