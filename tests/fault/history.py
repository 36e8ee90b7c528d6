"""What was done to a house and seen of it, with times: the record from which the checker decides, beside topics and tables.

A sampler looks several times a second at what the house remembers of itself (positions, counter, incarnation, relay) and at
what each agency's client has had acknowledged, and notes every change. Every move of a position is written down by the database
itself, so that none falls between two looks. Nothing is read from logs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

SAMPLE_S: Final = 0.1
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the house: which database, the counter, the relay, and each position as (next offset, epoch)."""

    at: float
    database: int
    number: int
    incarnation: int
    relayed: int
    positions: dict[Key, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done: `what` with its details. `at` is monotonic seconds."""

    at: float
    what: str
    details: dict[str, Any]


@dataclass(slots=True)
class History:
    """Events and sightings in order of time. Threads may note and look at once."""

    events: list[Event] = field(default_factory=list)
    sightings: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, **details: Any) -> float:
        """Write down an event; its time."""
        at = time.monotonic()
        with self._lock:
            self.events.append(Event(at, what, details))
        return at

    def of(self, *what: str) -> Iterator[Event]:
        """Events of these kinds, in order."""
        with self._lock:
            some = list(self.events)
        return (e for e in some if e.what in what)

    def saw(self, seen: Seen) -> None:
        """Keep a sighting that differs from the last."""
        with self._lock:
            last = self.sightings[-1] if self.sightings else None
            if last is None or (
                (last.database, last.number, last.incarnation, last.relayed, last.positions)
                != (seen.database, seen.number, seen.incarnation, seen.relayed, seen.positions)
            ):
                self.sightings.append(seen)

    @property
    def last(self) -> Seen | None:
        """The newest sighting."""
        with self._lock:
            return self.sightings[-1] if self.sightings else None


LOOK: Final = """
select (select oid::bigint from pg_database where datname = current_database()), c.number, c.incarnation,
  coalesce((select relayed from relay where id = 1), 0),
  (select json_agg(json_build_array(topic, partition, next_offset, epoch)) from position)
from counter c where c.id = 1
"""
"""One statement: a snapshot that is older than a table's taking another's place would show the new one half filled."""


def look(dsn: str) -> Seen | None:
    """What a database `views` says now; None when it has no counter yet. Raises: psycopg.Error when it is away."""
    with psycopg.connect(dsn, connect_timeout=3, application_name="looking", autocommit=True) as conn:
        row = conn.execute(LOOK).fetchone()
    if row is None:
        return None
    database, number, incarnation, relayed, found = row
    return Seen(time.monotonic(), database, number, incarnation, relayed, {(t, p): (n, e) for t, p, n, e in found or ()})


MOVES: Final = """
create schema watching;
create table watching.move
  (topic text, partition int, old_offset bigint, new_offset bigint, old_epoch bigint, new_epoch bigint, owner text);
create function watching.write_down() returns trigger language plpgsql as $$
begin
  insert into watching.move values
    (new.topic, new.partition, old.next_offset, new.next_offset, old.epoch, new.epoch, new.owner);
  return null;
end $$;
create trigger watched after update on position for each row execute function watching.write_down();
"""
BACK: Final = (
    "select topic, partition, old_offset, new_offset, old_epoch, new_epoch from watching.move "
    "where new_offset < old_offset or new_epoch < old_epoch order by 1, 2, 3, 4"
)


def watch_moves(dsn: str) -> None:
    """From now on this database `views` writes down every move of a position."""
    with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as conn:
        conn.execute(MOVES)
