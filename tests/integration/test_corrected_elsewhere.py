"""Corrections, and withdrawals of withdrawals, under records of several children: whoever decides has read all that they lead to,
whichever part of it came in which batch, and to whom.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sqlalchemy import Connection, text

from consumers.host import Intake
from consumers.unify import start_counter
from domain.selection import select
from projections.book import Book
from tests.fault.memory import CODEC
from tests.fault.oracle import Corrections, Told
from tests.integration.test_remembered import Clock, Worker
from tests.services import Deployment
from tests.unit.test_corrected_elsewhere import said_of, told_under, value_of
from tests.unit.test_questions import AT

SEEDS = 24
WORKERS = 2


def states(conn: Connection) -> dict[str, str]:
    """The state of every fact on the child that it is on, by id, as the tables have it."""
    book = Book()
    with conn.begin():
        book.load_children(conn, [r.child_id for r in conn.execute(text("select distinct child_id from link"))])
    views = [select(book.history(child), AT) for child, members in book.members.items() if members]
    return {f.event_id: known.state(f) for known in views for f in known.facts}


def told_as(number: int, place: str, said: dict[str, str], family: int) -> tuple[Told, Intake]:
    """What the school tells of a child of this family: nobody of another may be that child."""
    env, record, body, where = told_under(place, said)
    named = {"family_name": "Test" + "abcdefghijklmnopqrstuvwxyz"[family], "local_id": f"{place}-{family}"}
    name, value = value_of("education", body, record, **env, **(where | named))
    told = Told(env["event_id"], number, AT, name, "education", env, {})
    return told, Intake("facts.education", 0, number, AT, CODEC.encode(name, value))


def test_whatever_came_before(new_deployment: Callable[..., Deployment]) -> None:
    """Workers that read ahead and forget now and then: after every batch each fact is in force or not as the oracle has it."""
    deployed, clock, number, out_of_force = new_deployment(only=["ledger"]), Clock(), 0, 0
    clock.us = AT
    workers = [Worker(deployed, deployed, clock) for _ in range(WORKERS)]
    conn = workers[0].conn
    try:
        with conn.begin():
            start_counter(conn)
        for seed in range(SEEDS):
            rng, waiting, corrections, facts = random.Random(seed), dict[int, list[Told]](), Corrections(), list[Told]()
            left = said_of(rng)
            while left or waiting:
                n = rng.randrange(WORKERS)
                if n in waiting:
                    workers[n].decide()
                    for told in waiting.pop(n):
                        corrections.add(told)
                        facts.append(told)
                    found = states(conn)
                    wanted = {f.key: corrections.state(f, str) == "CURRENT" for f in facts}
                    assert wanted == {k: found[k] == "CURRENT" for k in wanted}, f"seed {seed}"
                    continue
                some, left = left[: (size := rng.randrange(1, 3))], left[size:]
                if some:
                    if rng.random() < 0.5:
                        workers[n].unify.forget()
                    batch = [told_as(number + i, *said, seed) for i, said in enumerate(some)]
                    number += len(batch)
                    waiting[n] = [told for told, _ in batch]
                    workers[n].ready = workers[n].unify.prepare(workers[n].conn, [intake for _, intake in batch])
            out_of_force += sum(not here for here in wanted.values())
        with conn.begin():
            kinds = set(conn.execute(text("select distinct kind from conclusion")).scalars())
        assert {"replaced", "reinstated"} <= kinds
        assert out_of_force
    finally:
        for worker in workers:
            worker.close()
