"""The one sender: what a relay that another has superseded may still do, and what an expired topic means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from structlog.testing import capture_logs

from consumers import ledger
from consumers.ledger import LedgerReader
from consumers.relay import Relay, Superseded
from infra import assembly, stores
from infra.provision import admin_client
from projections import folding
from projections.folding import Applier
from projections.reading import CatchingUp
from tests.integration import restoring
from tests.integration.test_intake import concerns
from tests.services import Deployment

OUTCOMES = "outcomes.education"
DAY_US = 86_400_000_000


def relay(d: Deployment, name: str, *, hook: Callable[[str], None] = lambda _: None, ahead_us: int = 0) -> Relay:
    """A relay whose clock goes `ahead_us` ahead."""
    return Relay(
        d.access("relay"), stores.engine(d.views_dsn, name), assembly.codec(d.settings), assembly.applier(d.settings),
        owner=name, now_us=lambda: stores.now_us() + ahead_us, hook=hook,
    )  # fmt: skip


def run(one: Relay, into: list[BaseException]) -> threading.Thread:
    """In a thread, noting how it ended."""

    def body() -> None:
        try:
            one.run()
        except (Superseded, SystemExit) as err:
            into.append(err)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def until(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ends_at(point: str) -> Callable[[str], None]:
    """A hook at which a relay ends as if killed."""

    def hook(at: str) -> None:
        if at == point:
            raise SystemExit

    return hook


def dies(one: Relay) -> None:
    """It runs until it ends."""
    ended = list[BaseException]()
    thread = run(one, ended)
    thread.join(60)
    assert [SystemExit] == list(map(type, ended))


def relayed(d: Deployment, name: str) -> None:
    """A relay takes over, relays everything and stops."""
    one, since = relay(d, name), restoring.rows(d.views_dsn, "select relayed_at from relay")
    thread = run(one, [])
    until(
        "it has taken over and relayed",
        lambda: restoring.rows(d.views_dsn, "select relayed_at from relay") != since and everything_relayed(d),
    )
    one.stop()
    thread.join(30)


def everything_relayed(d: Deployment) -> bool:
    """The database says so."""
    return bool(restoring.rows(d.views_dsn, "select 1 from counter c, relay r where c.number > 0 and c.number = r.relayed"))


@pytest.fixture
def decided(new_deployment: Callable[..., Deployment], tmp_path: Path) -> Deployment:
    """Five facts decided, none relayed."""
    d = new_deployment()
    assembly.register_schemas(d.settings)
    first = relay(d, "first")
    thread = run(first, [])  # for its takeover alone: unify waits for one
    until(
        "a relay takes over", lambda: restoring.rows(d.views_dsn, "select 1 from relay where epoch = 1 and relayed_at > 0") != []
    )
    first.stop()
    thread.join(30)
    worker = assembly.unify(d.settings, 0)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    concerns(d, tmp_path / "spool", 5)
    until("five facts are decided", lambda: restoring.rows(d.views_dsn, "select count(*) from fact") == [(5,)])
    worker.stop()
    thread.join(30)
    return d


@pytest.mark.slow
class TestSuperseded:
    """A relay held up between reading and sending, while another takes over."""

    def test_sends_nothing_on(self, decided: Deployment) -> None:
        """Its entries come to lie behind the takeover: readers ignore them, and it stops before the first output."""
        said: list[BaseException] = []
        second = relay(decided, "second")
        threads: dict[str, threading.Thread] = {}

        def held_up(point: str) -> None:
            if point == "read" and "second" not in threads:
                threads["second"] = run(second, said)
                until("the second has relayed everything", lambda: everything_relayed(decided))

        frozen = relay(decided, "frozen", hook=held_up)
        threads["frozen"] = run(frozen, said)
        until("the frozen one notices", lambda: said != [])
        assert ["another relay has taken over: stopping"] == [str(e) for e in said]
        second.stop()
        for thread in threads.values():
            thread.join(30)
        assert (0, 5) == restoring.ends(decided, OUTCOMES, 0), "each outcome once"
        with closing(LedgerReader(decided.access("relay"))) as reader:
            numbers = [sent.number for sent in reader.entries()]
        assert list(range(1, len(numbers) + 1)) == numbers
        assert len(numbers) < restoring.ends(decided, "ledger", 0)[1] - 3, "the frozen one's entries lie there, and are ignored"


@pytest.mark.slow
class TestExpired:
    """An output topic whose records have all expired."""

    @pytest.mark.parametrize(("days", "again"), [(91, 0), (0, 5)])
    def test_what_is_owed(self, decided: Deployment, days: int, again: int) -> None:
        """Older than the retention: done. Younger: it should be there, so it is sent (again): better twice than never."""
        for ahead, expected in ((0, 5), (days * DAY_US, 5 + again)):
            one = relay(decided, f"ahead-{ahead}", ahead_us=ahead)
            since = restoring.rows(decided.views_dsn, "select epoch from relay")
            thread = run(one, [])
            until(
                "it has taken over and relayed",
                lambda: restoring.rows(decided.views_dsn, "select epoch from relay") != since and everything_relayed(decided),  # noqa: B023
            )
            until("it has sent what was owed", lambda: restoring.ends(decided, OUTCOMES, 0)[1] >= expected)  # noqa: B023
            one.stop()
            thread.join(30)
            assert expected == restoring.ends(decided, OUTCOMES, 0)[1]
            with admin_client(decided.access("admin")) as client:
                client.delete_records({TopicPartition(decided.prefix + OUTCOMES, 0): expected})


@pytest.mark.slow
class TestAfterARebuild:
    """A rebuild does not make the outputs that were acknowledged when it began."""

    def test_what_was_not_sent_is_there(self, decided: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Entries acknowledged, their outputs not; and the relay that was to send those ended before it had: they are owed."""
        dies(relay(decided, "first", hook=ends_at("ledger-sent")))
        with monkeypatch.context() as patched:
            patched.setattr(Relay, "_send_outputs", lambda *_: ends_at("sent")("sent"))
            dies(relay(decided, "second"))
        restoring.rebuilt(decided)
        assert [] == restoring.differences(decided, decided)[1]
        relayed(decided, "third")
        assert (0, 5) == restoring.ends(decided, OUTCOMES, 0)

    def test_what_a_topic_lost_is_made_again(self, decided: Deployment) -> None:
        """The same outputs under the same numbers and places, and only in that topic; once."""
        relayed(decided, "first")
        before = restoring.outputs(decided, OUTCOMES)
        assert 5 == len(before)
        other = restoring.ends(decided, "recommendations", 0)
        restoring.rebuilt(decided)
        assert [] == restoring.differences(decided, decided)[1]
        assert {(True,)} == set(restoring.rows(decided.views_dsn, "select outputs = '' from ledger"))
        restoring.lose(decided, OUTCOMES)
        for name in ("second", "third"):
            relayed(decided, name)
            assert before == restoring.outputs(decided, OUTCOMES)
        assert other == restoring.ends(decided, "recommendations", 0)

    def test_what_was_lost_with_its_key(self, decided: Deployment) -> None:
        """A topic and the keys that its outputs are made with: it waits for them, and leaves nothing out. Destroyed is another
        matter: then there is less to tell.
        """
        relayed(decided, "first")
        before = restoring.outputs(decided, OUTCOMES)
        restoring.rebuilt(decided)
        restoring.lose(decided, OUTCOMES)
        restoring.execute(decided.keep_dsn, "alter table presentation_key rename to elsewhere")
        restoring.execute(decided.keep_dsn, "create table presentation_key (like elsewhere including all)")
        one = relay(decided, "second")
        thread = run(one, [])
        with capture_logs() as said:
            until("it says so", lambda: any("restore it" in s.get("why", "") for s in said))
        assert (0, 0) == restoring.ends(decided, OUTCOMES, 0)
        restoring.execute(decided.keep_dsn, "drop table presentation_key; alter table elsewhere rename to presentation_key")
        until("it sends them when the keys are back", lambda: restoring.ends(decided, OUTCOMES, 0) == (0, 5))
        one.stop()
        thread.join(30)
        assert before == restoring.outputs(decided, OUTCOMES)
        restoring.lose(decided, OUTCOMES)
        restoring.execute(decided.keep_dsn, "update presentation_key set wrapped = null")
        relayed(decided, "third")
        assert [o[:2] for o in before] == [o[:2] for o in restoring.outputs(decided, OUTCOMES)]

    @pytest.mark.parametrize("rebuilt", [False, True])
    def test_nothing_is_looked_for(self, decided: Deployment, monkeypatch: pytest.MonkeyPatch, rebuilt: bool) -> None:
        """In topics that end where they did when all was acknowledged, be they quiet or never used: a relay that takes over after
        ten years has nothing to do. One whose database was lost looks through all.
        """
        looked = list[int]()
        send = Relay._send_outputs

        def noted(self: Relay, lease: Any, rows: Any) -> None:
            looked.extend(number for number, _ in rows)
            send(self, lease, rows)

        relayed(decided, "first")
        numbers = [o[0] for o in restoring.outputs(decided, OUTCOMES)]
        if rebuilt:
            restoring.rebuilt(decided)
        monkeypatch.setattr(Relay, "_send_outputs", noted)
        relayed(decided, "second")
        assert [] == looked
        restoring.execute(decided.views_dsn, "update relay set served = 0, ends = '{}'")
        relayed(decided, "third")
        assert set(numbers) <= set(looked)
        assert numbers == [o[0] for o in restoring.outputs(decided, OUTCOMES)]

    def test_superseded_while_it_takes_over(self, decided: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """It notices before it sends what it thinks is owed."""
        relayed(decided, "first")
        restoring.lose(decided, OUTCOMES)
        find, said = Relay._find_sent, list[BaseException]()

        def held_up(self: Relay, *others: Any) -> None:
            find(self, *others)
            if self._owner == "frozen":
                relayed(decided, "second")

        monkeypatch.setattr(Relay, "_find_sent", held_up)
        run(relay(decided, "frozen"), said).join(60)
        assert ["another relay has taken over: stopping"] == [str(e) for e in said]
        assert (0, 5) == restoring.ends(decided, OUTCOMES, 0)


@pytest.mark.slow
class TestCatchingUp:
    """`views` dropped: between its being made anew and a relay's having caught up, an empty page would look like safety."""

    def test_nothing_is_shown(self, decided: Deployment) -> None:
        """Refused, then whole."""
        first = relay(decided, "first")
        thread = run(first, [])
        until("everything is relayed", lambda: everything_relayed(decided))
        first.stop()
        thread.join(30)
        reading = assembly.reading(decided.settings)
        (child,) = restoring.children(decided)
        decided.drop_views()
        assert not reading.caught_up()
        for look in (lambda: reading.queue(10)[0], lambda: reading.child_view(child), reading.counts):
            with pytest.raises(CatchingUp, match="catching up"):
                look()
        second = relay(decided, "second")
        thread = run(second, [])
        until("caught up", reading.caught_up)
        second.stop()
        thread.join(30)
        assert [child] == restoring.children(decided)

    @pytest.mark.parametrize("where", ["_fold", "_apply"])
    def test_ended_midway(self, decided: Deployment, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        """With some entries applied, or all, and no child folded: the next relay folds whom those were about, too."""
        relayed(decided, "first")
        before = restoring.children(decided)
        facts = restoring.rows(decided.views_dsn, "select number - 1 from counter")[0][0]
        decided.drop_views()
        ready = assembly.reading(decided.settings).caught_up
        applied, apply = 0, Applier._apply

        def half(self: Applier, *given: Any) -> Any:
            nonlocal applied
            applied += 1
            return ends_at("half")("half") if applied > facts else apply(self, *given)

        with monkeypatch.context() as patched:
            patched.setattr(folding, "CHUNK", 1)
            patched.setattr(Applier, where, half if where == "_apply" else lambda *_: ends_at("fold")("fold"))
            dies(relay(decided, "second"))
        assert ([], False) == (restoring.children(decided), ready())
        with monkeypatch.context() as patched:  # what is left touches nobody
            patched.setattr(Applier, "_touched", lambda *_: set())
            relayed(decided, "third")
        assert ready()
        assert before == restoring.children(decided)
        assert [] == restoring.differences(decided, decided)[1]

    def test_many_in_vain(self, decided: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """More takeovers behind the last entry than are looked at at first: the entry is found, and none diverges."""
        relayed(decided, "first")
        monkeypatch.setattr(ledger, "TAIL_RECORDS", 2)
        for name in ("second", "third", "fourth", "fifth"):
            relayed(decided, name)

    def test_ledger_and_views_lost(self, decided: Deployment) -> None:
        """Entries bear numbers again that others had whose outputs the topics hold: what follows from them is sent."""
        relayed(decided, "first")
        assert (0, 5) == restoring.ends(decided, OUTCOMES, 0)
        restoring.lose(decided, "ledger")
        decided.drop_views()
        with capture_logs() as said, restoring.workers(decided):
            until("the same facts are told of again", lambda: restoring.ends(decided, OUTCOMES, 0) == (0, 10))
        assert OUTCOMES in {s["topic"] for s in said if s["event"] == "outputs-beyond-ledger"}
