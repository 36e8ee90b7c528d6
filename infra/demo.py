"""The simulated borough on a running house: people who may sign in, a year as history once, then the present for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from threading import Event
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from domain.model import make_id
from infra import assembly, stores
from infra.errors import StateError
from infra.settings import Settings
from infra.state import DEMONSTRATION, TRUTH, State
from producers.acts import ActProducer
from producers.client import AgencyClient
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact
from producers.halton.rates import CHILDREN
from producers.halton.simulate import Publisher, live_on, publish_all
from producers.halton.truth import Truth
from projections.accounts import add_account, find_account
from projections.reading import Reading
from schemas.topics import AGENCIES

PEOPLE: Final = (
    ("sam.worker", "Sam Worker", "icart_social_worker"), ("mo.manager", "Mo Manager", "icart_manager"),
    ("max.manager", "Max Manager", "icart_manager"),
    ("pat.police", "Pat Police", "icart_police"), ("hal.health", "Hal Health", "icart_health"),
    ("edi.education", "Edi Education", "icart_education"),
    ("eve.duty", "Eve Duty", "edt"), ("ana.analyst", "Ana Analyst", "board_analyst"),
    ("ada.admin", "Ada Admin", "admin"),
)  # fmt: skip
"""Invented people, one a role (two managers: two may decide at once)."""

LEFT_OPEN: Final = 60
"""Every so many of the past year's possible matches is still undecided."""

SETTLE_S: Final = 600.0
"""The longest that the import of a year is waited for."""


def run(settings: Settings, console: Console, *, stop: Event | None = None) -> None:
    """Make people, import the year once, then let the borough live until `stop`.

    What is true about every fact is written beside the data (`TRUTH`).
    Raises: StateError where no demonstration may be.
    """
    memory = begin(settings)
    if "end" not in memory:
        memory["end"] = stores.now_us()
        settings.state.write_json(DEMONSTRATION, memory)
    password = people(settings)
    console.print(f"Sign in as [bold]{', '.join(name for name, _, _ in PEOPLE)}[/] with the password [bold]{password}[/]")
    borough = Borough(memory["end"], memory["seed"], memory["children"])
    with ExitStack() as stack:
        clients = {a: stack.enter_context(client(settings, a)) for a in AGENCIES}
        history = list(borough.history())
        truth = Truth(history)
        if not memory["imported"]:
            truth.write(settings.state.root / TRUTH)
            import_history(settings, history, clients, console)
            review(settings, truth, console)
            memory["imported"] = True
            settings.state.write_json(DEMONSTRATION, memory)
        console.print("Halton lives on: new facts arrive every few seconds. Watch the queue.")
        live(settings.state, borough, truth, clients, stop or Event())


def begin(settings: Settings, children: int | None = None) -> dict[str, Any]:
    """Mark the data as a demonstration's, before the first page is served: the pages say so. What is remembered of it.

    `children`: of a smaller borough; the borough's own number when not given.
    Raises: StateError where no demonstration may be, or one of another size is.
    """
    if not settings.demonstration:
        raise StateError(
            "no demonstration here: its children are invented and its accounts share one password. Say `--no-demo`, "
            "or SIGHTLINE_DEMONSTRATION=yes if this deployment holds nothing real"
        )
    memory = settings.state.read_json(DEMONSTRATION)
    if not memory:
        memory = {"seed": 20190823, "children": children or CHILDREN, "imported": False}
        settings.state.write_json(DEMONSTRATION, memory)
    if children not in (None, memory["children"]):
        raise StateError(f"the borough here has {memory['children']} children; `sightline reset` forgets it, then say this again")
    return memory


def live(state: State, borough: Borough, truth: Truth, clients: Mapping[str, Publisher], stop: Event) -> None:
    """The present, until `stop`. Which scenarios have been told is remembered, so that a later start tells the others."""
    now = stores.now_us()
    memory = {"opened_at": now, "told": [], **state.read_json(DEMONSTRATION)}
    state.write_json(DEMONSTRATION, memory)
    for story in borough.scenarios(memory["opened_at"]):
        for fact in story.facts:
            if fact.key in memory["told"]:
                truth.add(fact)

    def note(done: int, fact: SimulatedFact) -> None:
        del done
        truth.append(state.root / TRUTH, fact)
        if fact.label:
            memory["told"].append(fact.key)
            state.write_json(DEMONSTRATION, memory)

    live_on(borough.live(now, opened_at=memory["opened_at"], told=memory["told"]), clients, stop, note, stores.now_us)


def client(settings: Settings, agency: str) -> AgencyClient:
    """An agency's client with its own user, key secret and spool."""
    secret = settings.secret(f"agency.{agency}.key").encode()
    return AgencyClient(settings.access(f"agency.{agency}"), agency, assembly.codec(settings), secret, settings.spool_dir(agency))


def people(settings: Settings) -> str:
    """The demonstration's accounts, made where missing; their one password, kept in the state folder."""
    password = settings.secret("demo.password")
    with stores.engine(settings.keep_dsn, "demo", 1).begin() as conn:
        for name, shown, role in PEOPLE:
            if find_account(conn, name) is None:
                add_account(conn, name=name, display_name=shown, role=role, password=password, now=stores.now_us())
    return password


def import_history(
    settings: Settings, facts: Sequence[SimulatedFact], clients: Mapping[str, AgencyClient], console: Console
) -> None:
    """Publish the year before today as historic, and wait until every fact has its ledger entry."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        making = bar.add_task("A year of simulated Halton", total=len(facts))
        reading = assembly.reading(settings)
        before = _position(reading)
        publish_all(facts, clients, lambda done, _: bar.update(making, completed=done))
        for one in clients.values():
            one.flush(60)
        deciding = bar.add_task("Decided and in the ledger", total=len(facts))
        wait_until(lambda: _shown(bar, deciding, _position(reading) - before) >= len(facts), SETTLE_S)
    console.print(f"{len(facts)} facts of a year are in the ledger.")


def review(settings: Settings, truth: Truth, console: Console) -> None:
    """What iCART decided about possible matches in the year before today, as acts of a person who knew the children.

    Some are left open, and those of the scenarios: there is something to decide on the first day.
    """
    reading, acts = assembly.reading(settings), ActProducer(settings.access("web"), assembly.codec(settings))
    waiting = [
        m
        for i, m in enumerate(reading.open_matches())
        if i % LEFT_OPEN and not {truth.holders.get(m[1]), truth.holders.get(m[2])} & set(truth.labels)
    ]
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("Possible matches of the past year decided", total=len(waiting))
        for match_id, one, other, version in waiting:
            now = stores.now_us()
            act = {
                "event_id": make_id("demo-review", match_id),
                "actor_id": "sam.worker",
                "actor_role": "icart_social_worker",
                "acted_at": now,
                "based_on": version,
            }
            record = "MatchConfirmed" if truth.same_child(one, other) else "MatchRejected"
            acts.send(record, {"act": act, "match_id": match_id, "rationale": "Checked with both agencies."})
            bar.advance(task)
    acts.close()


def _shown(bar: Progress, task: Any, done: int) -> int:
    bar.update(task, completed=done)
    return done


def _position(reading: Reading) -> int:
    return sum(p["next_offset"] for p in reading.positions()["positions"] if p["topic"].startswith("facts."))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Look twice a second until `condition` holds.

    Raises:
        TimeoutError: not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.5)
