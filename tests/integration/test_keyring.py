"""Keys of presentations: one for all who ask, in topic `keys` before its first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from structlog.testing import capture_logs

from infra import stores
from projections import keyring
from projections.keyring import KeyName, KeyRing
from tests.services import Deployment

MASTER = bytes(range(32))
NAMES = [(f"{n:032x}", c) for n in range(20) for c in ("identity", "concern")]
TOGETHER = 4


class Topic:
    """Topic `keys`: what was sent, what has arrived; `away` says that nothing arrives."""

    def __init__(self) -> None:
        self.sent, self.arrived, self.away = list[KeyName](), set[KeyName](), False

    def __call__(self, keys: Mapping[KeyName, Any]) -> Callable[[], None]:
        self.sent += keys

        def wait() -> None:
            if self.away:
                raise KafkaTimeoutError
            self.arrived |= keys.keys()

        return wait


@pytest.fixture
def rings(new_deployment: Callable[..., Deployment]) -> Iterator[Callable[[Topic | None], KeyRing]]:
    """Makes key rings of one `keep` that know nothing yet."""
    house, engines = new_deployment(only=[]), []

    def make(topic: Topic | None) -> KeyRing:
        engines.append(stores.engine(house.keep_dsn, "keyring", by_key=True))
        return KeyRing(engines[-1], MASTER, topic)

    yield make
    for engine in engines:
        engine.dispose()


class TestArriving:
    """A key that topic `keys` may lack would be lost with `keep`."""

    def test_made_first_used_when_arrived(self, rings: Callable[..., KeyRing]) -> None:
        """Making does not wait; arriving does; ensuring is both."""
        topic = Topic()
        ring = rings(topic)
        ring.make(NAMES[:2])
        assert (set(NAMES[:2]), set()) == (set(topic.sent), topic.arrived)
        ring.arrive()
        ring.ensure(NAMES[2:4])
        assert set(NAMES[:4]) == topic.arrived

    def test_not_acknowledged(self, rings: Callable[..., KeyRing]) -> None:
        """Nobody goes on with it; forgotten, it is the same key that is sent again."""
        topic = Topic()
        ring, topic.away = rings(topic), True
        with pytest.raises(KafkaTimeoutError):
            ring.ensure(NAMES[:1])
        sealed, topic.away = ring.seal(NAMES[0], b"said", b""), False
        ring.forget()
        ring.ensure(NAMES[:1])
        assert ([NAMES[0]] * 2, {NAMES[0]}) == (topic.sent, topic.arrived)
        assert b"said" == ring.unseal(NAMES[0], *sealed, b"")

    def test_noted_with_the_next(self, rings: Callable[..., KeyRing]) -> None:
        """One that has arrived is not sent again by whoever asks for it, once more keys were made after it."""
        topic = Topic()
        ring = rings(topic)
        ring.ensure(NAMES[:1])
        ring.ensure(NAMES[1:2])
        other = Topic()
        rings(other).ensure(NAMES[:2])
        assert [NAMES[1]] == other.sent


class TestLost:
    """`keep` is older than what was sealed."""

    def test_made_anew(self, rings: Callable[..., KeyRing]) -> None:
        """What lay under the lost key is as if destroyed; an alarm says so once, of which class, and not whose it was."""
        ring = rings(Topic())
        ring.ensure(NAMES[:2])
        before = ring.seal(NAMES[0], b"said", b"")
        with ring._engine.begin() as conn:
            conn.exec_driver_sql("delete from presentation_key")
        other = rings(Topic())
        other.ensure(NAMES[:2])
        with capture_logs() as said:
            assert [None, None] == [other.unseal(NAMES[0], *before, b"") for _ in range(2)]
        assert [{"event": "key-does-not-open", "alarm": True, "record_class": "identity", "log_level": "error"}] == said
        assert b"since" == other.unseal(NAMES[0], *other.seal(NAMES[0], b"since", b""), b"")


class TestOneForAll:
    """What one seals every other opens."""

    def test_asked_for_at_once(self, rings: Callable[..., KeyRing]) -> None:
        """Four make the same keys at the same moment, in another order each, again and again: each is made once."""
        topic = Topic()
        several = [rings(topic) for _ in range(TOGETHER)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            for at in range(0, len(NAMES), 4):
                some = NAMES[at : at + 4]
                list(pool.map(lambda n, some=some: several[n].ensure(some[n:] + some[:n]), range(TOGETHER)))
        reader = rings(None)
        for n, name in enumerate(NAMES):
            assert b"said" == reader.unseal(name, *several[n % TOGETHER].seal(name, b"said", b""), b"")
        assert set(NAMES) == topic.arrived

    def test_all_at_once(self, rings: Callable[..., KeyRing], monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever needs most of them learns them in one question, destroyed ones too; too many are asked for as needed."""
        writer = rings(Topic())
        writer.ensure(NAMES[:4])
        sealed = {name: writer.seal(name, b"said", b"") for name in NAMES[:4]}
        writer.merge({NAMES[3]: (None, 0)})
        for most, asked in ((4, 0), (3, 4)):
            monkeypatch.setattr(keyring, "LOADED_MAX", most)
            reader, questions = rings(None), list[list[KeyName]]()
            select = reader._select
            monkeypatch.setattr(reader, "_select", lambda names, s=select, q=questions: [q.append(names), s(names)][1])
            reader.load()
            said = [reader.unseal(name, *sealed[name], b"") for name in NAMES[:4]]
            assert [b"said", b"said", b"said", None] == said
            assert asked == len(questions)
