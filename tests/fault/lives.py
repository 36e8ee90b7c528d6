"""The short lives in which planted defects have to come to light, and that must pass without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from tests.fault import databases
from tests.fault.evidence import Violation
from tests.fault.harness import House, Late
from tests.fault.sabotage import BREAKS
from tests.fault.trial import Trial

CHILDREN: Final = 60
"""About a hundred facts, which make some ten batches."""

FROZEN_S: Final = 15.0
"""I6: what a frozen worker held flows again within this."""

Life = Callable[[Trial], list[Violation]]


def plain(trial: Trial) -> list[Violation]:
    """No fault at all: everything is said in turns."""
    with trial.house("plain", children=CHILDREN) as house:
        for wave in house.story.waves(5):
            house.publish(wave)
            house.flush(wave)
            house.settle()
        if trial.sabotage == "clock-early":
            with suppress(Late):
                house.wait("the clock has spoken", lambda: house.ends(["clock"])[("clock", 0)] > 0, 15)
        return trial.judge(house)[0]


def frozen(trial: Trial) -> list[Violation]:
    """A worker stops itself with a batch in its hands; another takes over; then it goes on."""
    stop, armed = {"SIGHTLINE_FAULT_SIGNAL": "SIGSTOP"}, {"unify-0": [("polled", 3)]}
    with trial.house("frozen", children=CHILDREN, armed=armed, environment=stop) as house:
        with house.talking(house.story.facts):
            zombie(house, 0)
        house.settle()
        return trial.judge(house)[0]


def zombie(house: House, least_s: float) -> None:
    """Wait until unify-0 stops at its armed point, let others take over and pass it, so that what it may move goes back; thaw it,
    and see what it does. While agencies talk.
    """
    house.wait("unify-0 has stopped itself", lambda: house.crew.stopped("unify-0"), 60)
    since = time.monotonic()
    held = house.rows("select topic, partition, next_offset from position where owner = 'unify-0' order by 1, 2")
    busy = {(t, p): n for t, p, n in held if t.startswith("facts.")}
    said = {tp: end for tp, end in house.ends({t for t, _ in busy}).items() if end > busy.get(tp, end)}

    def passed() -> bool:
        rows = house.rows("select topic, partition, next_offset from position")
        return all(n > said[t, p] for t, p, n in rows if (t, p) in said)

    def taken_over() -> bool:
        rows = house.rows("select topic, partition, next_offset, owner from position")
        moved = {(t, p) for t, p, n, o in rows if o != "unify-0" and n > busy.get((t, p), n)}
        return bool(moved) and not any(o == "unify-0" for *_, o in rows)

    house.wait("another worker goes on where unify-0 was", taken_over, 60)
    took = time.monotonic() - since
    house.took("worker frozen", took, FROZEN_S)
    house.wait("others have passed all facts that unify-0 may hold", passed, 60)
    time.sleep(max(0.0, least_s - (time.monotonic() - since)))  # the fault itself
    before = len(house.crew.workers["unify-0"].deaths)
    house.thaw("unify-0")
    with suppress(Late):  # whether it is fenced is for the checker to say
        house.wait("unify-0 has noticed", lambda: len(house.crew.workers["unify-0"].deaths) > before, 10)


def restored(trial: Trial) -> list[Violation]:
    """`views` is put back to an older state under living workers."""
    with trial.house("restored", children=CHILDREN) as house:
        waves = house.story.waves(5)
        for n, wave in enumerate(waves):
            house.publish(wave)
            house.flush(wave)
            house.settle()
            if n == 1:
                at = house.now()
                dump = databases.back_up(house)
            if n == 3:
                assert house.now().number > at.number, "the backup was not behind the ledger"
                databases.restore(house, dump)
        return trial.judge(house)[0]


LIVES: Final[Mapping[str, Life]] = dict.fromkeys(BREAKS, plain) | {"fencing-off": frozen, "no-catch-up": restored}
"""By sabotage, the life in which it shows."""
