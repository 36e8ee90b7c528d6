"""What practices find waiting, whatever else lies on topic `gp.messages`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

from kafka import KafkaProducer
from structlog.testing import capture_logs

from infra import assembly
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, encode_body
from tests.integration import restoring
from tests.services import Deployment

POINTER, OTHER = spec("GpMessagePointer"), spec("Outcome")
UNKNOWN = 88_888_888
"""An id that the registry gives to no schema."""


def pointer() -> dict[str, Any]:
    """Of a message that waits."""
    ids = {"notice_id": str(uuid4()), "message_id": str(uuid4())}
    return {**ids, "practice_ods": "N81001", "change": "WAITING", "number": 7, "at": 1_794_312_000_000_000}


def test_what_another_registry_wrote(new_deployment: Callable[..., Deployment]) -> None:
    """Pointers under ids that are nobody's now, or another record's, are delivered; what is none is passed over with an alarm."""
    d = new_deployment()
    assembly.register_schemas(d.settings)
    codec = restoring.codec_of(d)
    ids = [codec.schema_id(s.subject, s.text) for s in (POINTER, OTHER)]
    sent = [pointer() for _ in range(3)]
    bodies = [HEADER.pack(MAGIC, i) + encode_body(POINTER, p) for i, p in zip([UNKNOWN, ids[1], ids[0]], sent, strict=True)]
    unreadable = [b"no pointer", None]
    with closing(KafkaProducer(**d.access("relay").options(), acks="all")) as producer:
        for value in (*bodies[:2], *unreadable, bodies[2]):
            producer.send(d.prefix + "gp.messages", value, key=b"k").get(20)
    worker = assembly.deliver(d.settings, 0)
    with capture_logs() as said:
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + restoring.WAIT_S
        while (
            len(found := restoring.rows(d.views_dsn, "select message_id from gp_inbox")) < len(sent)
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        worker.stop()
        thread.join(20)
    assert {p["message_id"] for p in sent} == {message_id for (message_id,) in found}
    alarms = [(x["offset"], x["topic"], x["alarm"]) for x in said if x["event"] == "pointer-unreadable"]
    assert [(2, "gp.messages", True), (3, "gp.messages", True)] == alarms
