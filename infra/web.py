"""The web worker: the application over real views, real producers and `keep`, served by uvicorn."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import structlog
import uvicorn
from kafka import KafkaProducer
from kafka.errors import KafkaError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from consumers.unify import INTAKE_TOPICS
from infra import assembly, stores
from infra.settings import Settings
from infra.state import DEMONSTRATION
from producers.acts import ActProducer
from producers.errors import ProducerError
from producers.kafka_link import Reopened
from projections.accesses import Access, mark_published, unpublished_accesses
from schemas.registry import RegistryUnavailable
from web.app import create_app
from web.config import WebConfig
from web.ports import Unavailable
from web.reading import Lag, Pulse, ViewsReading

log = structlog.get_logger()

SWEEP_S: Final = 5.0
BATCH: Final = 500


class Speaking:
    """`web.ports.Speaking` over the act producer."""

    def __init__(self, acts: ActProducer) -> None:
        self._acts = acts

    def send(self, record_name: str, value: Mapping[str, Any]) -> str:
        """See `web.ports.Speaking`."""
        try:
            return self._acts.send(record_name, value)
        except (ProducerError, RegistryUnavailable) as err:
            raise Unavailable("the act could not be sent just now; nothing was saved") from err


class AccessPublisher:
    """Sends committed access records to topic `accesses`; what could not be sent then is sent by a sweep."""

    def __init__(self, settings: Settings, keep: Engine) -> None:
        self._access, self._codec, self._keep = settings.access("web"), assembly.codec(settings), keep
        options = self._access.options()
        self._link = Reopened(lambda: KafkaProducer(**options, acks="all", enable_idempotence=True, linger_ms=5))
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._sweep, daemon=True, name="accesses")
        self._thread.start()

    def __call__(self, access: Access) -> None:
        """There is something to send."""
        del access
        self._wake.set()

    def close(self) -> None:
        """End the sweep. The web worker's ends with its process; what was not sent is sent at the next start."""
        self._closing = True
        self._wake.set()
        self._thread.join(SWEEP_S)
        self._link.close()

    def _sweep(self) -> None:
        while not self._closing:
            self._wake.wait(SWEEP_S)
            self._wake.clear()
            try:
                while not self._closing and self._send_some():
                    pass
            except (KafkaError, SQLAlchemyError, RegistryUnavailable) as err:
                log.warning("accesses-interrupted", kind=type(err).__name__)
                if isinstance(err, KafkaError):
                    self._link.close()

    def _send_some(self) -> bool:
        producer = self._link.get()
        with self._keep.begin() as conn:
            waiting = list(unpublished_accesses(conn, BATCH))
            topic = self._access.topic("accesses")
            futures = [producer.send(topic, self._encoded(a), key=a.access_id.encode()) for a in waiting]
            for future in futures:
                future.get(10)
            mark_published(conn, [a.access_id for a in waiting], now=stores.now_us())
        return len(waiting) == BATCH

    def _encoded(self, access: Access) -> bytes:
        value = {
            "access_id": access.access_id, "at": access.at, "actor_id": access.actor_id, "role": access.role,
            "action": access.action,
            "purpose": access.purpose, "children": list(access.children),
        }  # fmt: skip
        return self._codec.encode("AccessRecorded", value)


def serve(settings: Settings) -> None:
    """Serve the pages until SIGTERM."""
    keep = stores.engine(settings.keep_dsn, "web-keep", 10)
    access = settings.access("web")
    codec = assembly.codec(settings)
    reading = ViewsReading(
        assembly.reading(settings), Pulse(access, codec), Lag(settings.access("clock"), INTAKE_TOPICS), stores.now_us
    )
    config = WebConfig(
        reading=reading, speaking=Speaking(ActProducer(access, codec)), keep_engine=keep, static_dir=settings.static_dir,
        secret=settings.secret("web.session"), secure_cookies=settings.secure_cookies,
        demonstration=settings.demonstration and bool(settings.state.read_json(DEMONSTRATION)),
        publish_access=AccessPublisher(settings, keep),
    )  # fmt: skip
    uvicorn.run(
        create_app(config), host=settings.web_host, port=settings.web_port, log_config=None, access_log=False,
        timeout_graceful_shutdown=3,
        server_header=False, proxy_headers=False,
    )  # fmt: skip
