"""How each worker is put together from `Settings`: engines, codec, key ring, and the loop that runs until SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from consumers.archive import Archive
from consumers.clock import Clock
from consumers.deliver import Deliver
from consumers.host import Host
from consumers.ledger import LedgerEnd
from consumers.ledger_backup import entries
from consumers.relay import NotReady, Relay
from consumers.unify import INTAKE_TOPICS, Unify
from infra import migrate, stores
from infra.errors import InfraError
from infra.settings import Settings
from producers.acts import ActProducer
from producers.kafka_link import Reopened
from projections.collecting import collect_rarely
from projections.folding import Applier, Progress
from projections.keyring import KeyName, KeyRing
from projections.reading import Reading
from projections.rebuild import rebuild
from schemas.catalogue import RecordSpec, catalogue
from schemas.codec import Codec
from schemas.policies import policy_hash, policy_text
from schemas.registry import CompatibilityNotSet, IncompatibleSchema, Registry
from schemas.topics import KafkaAccess

log = structlog.get_logger()

KEYS_TIMEOUT_S: Final = 10
REGISTERING: Final = 4
"""Schemas registered at a time: a registry that has just started takes a tenth of a second each."""

Hook = Callable[[str], None]
Beat = Callable[[], None]
"""Called after each step that succeeded."""


class Stoppable(Protocol):
    """A worker's loop."""

    def run(self) -> None:
        """Run until stopped."""

    def stop(self) -> None:
        """Ask `run` to return."""


def codec(settings: Settings) -> Codec:
    """The codec on the deployment's registry."""
    return Codec(Registry(settings.registry_url))


def key_ring(settings: Settings, publisher: KafkaAccess | None = None) -> KeyRing:
    """The key ring; with `publisher`, new keys are sent to topic `keys` before their first use."""
    return stores.key_ring(settings, None if publisher is None else KeyPublisher(publisher, codec(settings)))


class KeyPublisher:
    """Sends wrapped keys to the compacted topic `keys`."""

    def __init__(self, access: KafkaAccess, codec_: Codec) -> None:
        self._access, self._codec = access, codec_
        self._link = Reopened(lambda: KafkaProducer(**access.options(), acks="all", enable_idempotence=True, linger_ms=1))

    def __call__(self, keys: Mapping[KeyName, tuple[bytes, int]]) -> Callable[[], None]:
        """Send; what is returned waits until all are acknowledged."""
        producer, futures = self._link.get(), []
        for (holder, record_class), (wrapped, at) in keys.items():
            value = {"holder": holder, "record_class": record_class, "wrapped": wrapped, "created_at": at}
            key = f"{holder}/{record_class}".encode()
            futures.append(producer.send(self._access.topic("keys"), self._codec.encode("WrappedKey", value), key=key))

        def wait() -> None:
            try:
                for future in futures:
                    future.get(KEYS_TIMEOUT_S)
            except KafkaError:
                self._link.give_up(producer)
                raise

        return wait


def applier(settings: Settings, progress: Progress = lambda _: None) -> Applier:
    """What applies entries to tables."""
    return Applier(key_ring(settings), stores.current_reference(), progress)


def rebuild_views(
    settings: Settings, pool: ProcessPoolExecutor, archive: Archive | None = None, progress: Progress = lambda _: None
) -> int:
    """Every view anew, out of the archive as far as it reaches, then out of the ledger topic; how many entries.

    `pool` is a `rebuild_crew`.

    Raises:
        RebuildBusy, NotAsTheLedger, ArchiveError, LedgerGap, TopicSilent, KafkaError.
    """
    values = entries(settings.access("relay"), archive)
    engine_ = stores.long_engine(settings.views_dsn, "rebuild")
    try:
        return rebuild(engine_, values, applier(settings), pool, progress)
    finally:
        engine_.dispose()


def reading(settings: Settings) -> Reading:
    """The views, for reading."""
    return Reading(stores.engine(settings.views_dsn, "reading", 10), stores.current_reference(), stores.now_us)


def register_schemas(settings: Settings) -> None:
    """Register every schema of the contract; an incompatible one is refused before anything is published with it.

    The registry, ours or a given one, must hold them to full compatibility: seen to here, before the first is registered.

    Raises:
        InfraError: names the subject.
    """

    def register(spec: RecordSpec) -> None:
        registry.ensure_compatibility(spec.subject)
        registry.register(spec.subject, spec.text)

    with contextlib.closing(Registry(settings.registry_url)) as registry, ThreadPoolExecutor(REGISTERING) as pool:
        try:
            list(pool.map(register, catalogue().values()))
        except (IncompatibleSchema, CompatibilityNotSet) as err:
            raise InfraError(str(err)) from err


def unify(
    settings: Settings, instance: int, hook: Hook = lambda _: None, rows: int = 500, beat: Beat = lambda: None
) -> Stoppable:
    """A unify worker."""
    access = settings.access("unify")
    ledger = LedgerEnd(access)
    handler = Unify(
        codec(settings),
        key_ring(settings, access),
        stores.current_reference(),
        (policy_hash(), policy_text()),
        ledger.ask,
        stores.now_us,
    )
    return Host(
        access,
        "unify",
        INTAKE_TOPICS,
        stores.engine(settings.views_dsn, f"unify-{instance}", by_key=True),
        handler,
        instance=f"unify-{instance}",
        rows=rows,
        hook=hook,
        beat=beat,
    )


def relay(settings: Settings, instance: int, hook: Hook = lambda _: None, beat: Beat = lambda: None) -> Stoppable:
    """The relay; it also makes a dropped `views` anew."""

    def prepare() -> None:
        try:
            migrate.ensure(settings.views_dsn, "views")
        except InfraError as err:
            raise NotReady("database views is away") from err

    owner = f"relay-{instance}-{socket.gethostname()}-{os.getpid()}"
    return Relay(
        settings.access("relay"), stores.long_engine(settings.views_dsn, "relay"), codec(settings),
        applier(settings, lambda _: beat()), owner=owner, prepare=prepare, now_us=stores.now_us, hook=hook, beat=beat,
    )  # fmt: skip


def clock(settings: Settings, instance: int, hook: Hook = lambda _: None, beat: Beat = lambda: None) -> Clock:
    """The clock."""
    del instance
    access = settings.access("clock")
    speaking = ActProducer(access, codec(settings), now=stores.now_us)
    return Clock(
        access, stores.engine(settings.views_dsn, "clock"), speaking, applier(settings), stores.now_us, policy_hash(), beat, hook
    )


def deliver(settings: Settings, instance: int, hook: Hook = lambda _: None, beat: Beat = lambda: None) -> Stoppable:
    """Delivery to practices."""
    del instance
    return Deliver(settings.access("deliver"), stores.engine(settings.views_dsn, "deliver"), codec(settings), beat, hook)


def until_stopped(worker: Stoppable) -> None:
    """Run a worker's loop; SIGTERM and SIGINT ask it to finish what is under way."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: worker.stop())
    collect_rarely()
    worker.run()


def pulse_folder(settings: Settings) -> Path:
    """Where the pulse keeps its files."""
    folder = settings.state.root / "pulse"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
