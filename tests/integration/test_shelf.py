"""Facts kept between batches are the facts that lie in the table, whatever was read before and however little is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields

import orjson
import pytest
from sqlalchemy import Connection, text

from domain.model import FACT_FIELDS, Fact
from infra import stores
from projections.shelf import Shelf
from projections.writing import insert
from tests.services import Deployment

PRESENTATIONS = [f"p{n}" for n in range(8)]


def fact(number: int, presentation_id: str) -> Fact:
    """A fact that says nothing."""
    made = {f.name: "" if f.type == "str" else None for f in fields(Fact) if f.init}
    told = {"event_id": f"e{number}", "agency": "police", "presentation_id": presentation_id, "body": {}}
    return Fact(**{**made, **told, "number": number})  # type: ignore[arg-type]


@pytest.fixture
def conn(deployment: Deployment) -> Iterator[Connection]:
    """A connection with tables of its own in front of the deployment's."""
    engine = stores.engine(deployment.views_dsn, "shelf")
    with engine.connect() as found:
        with found.begin():
            for table in ("fact",):
                found.execute(text(f"create temporary table {table} (like public.{table} including all)"))
        yield found
        found.invalidate()
    engine.dispose()


def accept(conn: Connection, facts: list[Fact]) -> None:
    """As `projections.writing` writes them."""
    told = [orjson.dumps([getattr(f, name) for name in FACT_FIELDS]) for f in facts]
    rows = [(f.agency, f.event_id, f.number, b"", f.presentation_id, None, data) for f, data in zip(facts, told, strict=True)]
    insert(conn, ("fact", rows, ""))


@pytest.mark.parametrize("most", [0, 300, 2_000, 100_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reads_what_lies_there(conn: Connection, seed: int, most: int) -> None:
    """In whatever order facts come and are asked for, ahead or not; a batch rolled back leaves nothing behind."""
    rng, shelf, there, number = random.Random(seed), Shelf(most), list[Fact](), 0
    for _ in range(60):
        new = [fact(number + n + 1, rng.choice(PRESENTATIONS)) for n in range(rng.randrange(6))]
        wanted = rng.sample(PRESENTATIONS, rng.randrange(1, 8))
        if rng.random() < 0.3:
            with conn.begin():
                shelf.read(conn, rng.sample(PRESENTATIONS, 2))
        rolled_back = rng.random() < 0.2
        batch = conn.begin()
        found = shelf.read(conn, wanted)
        expected = [f for f in there if f.presentation_id in wanted]
        assert len(expected) == len(found), f"seed {seed}"
        assert {f.event_id for f in expected} == {f.event_id for f in found}
        accept(conn, new)
        if rolled_back:
            batch.rollback()
            continue
        batch.commit()
        number, there = number + len(new), there + new


def test_asks_for_what_it_lacks(conn: Connection) -> None:
    """What it holds is not asked for again; another shelf holds nothing of it."""
    with conn.begin():
        accept(conn, [fact(1, "p1"), fact(2, "p2")])
        shelf = Shelf()
        shelf.read(conn, ["p1", "p2"])
        conn.execute(text("delete from fact"))
        assert ["e1", "e2"] == sorted(f.event_id for f in shelf.read(conn, ["p1", "p2"]))
        assert [] == Shelf().read(conn, ["p1", "p2"])
