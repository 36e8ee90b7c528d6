"""A school's system tells one fact and reads what became of it: `python docs/examples/agency.py`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import uuid4

from infra.settings import Settings
from producers.client import AgencyClient
from schemas.codec import Codec
from schemas.registry import Registry

settings = Settings.load()  # an agency elsewhere makes `KafkaAccess(bootstrap, "agency.education", password, …)` itself
now = datetime.now(UTC)
fact = {
    "envelope": {
        "event_id": str(uuid4()),
        "agency": "education",
        "subject": {"local_id": "PUPIL-0002", "given_name": "Ruby", "family_name": "Example", "birth_date": "2012-05-04"},
        "occurred_at": now,
        "recorded_at": now,
        "reported_by": "designated safeguarding lead",
        "regime": "UKGDPR",
        "sensitivity": "ORDINARY",
        "scope": "PARTNERSHIP",
    },
    "concern_id": "C-3",
    "concerns": ["WEIGHT_LOSS"],
}
with AgencyClient(
    settings.access("agency.education"),
    "education",
    Codec(Registry(settings.registry_url)),
    key_secret=settings.secret("agency.education.key").encode(),
    spool=settings.spool_dir("education-example"),
) as client:
    event_id = client.publish("SchoolConcern", fact)  # valid, and on this disk
    client.flush()  # the broker has it
    told = client.outcomes()  # everything so far; `told.position` says where to read on
    while not any(word.value["event_id"] == event_id for word in told.words):
        time.sleep(0.5)
        told = client.outcomes(told.position)
    print(*(word.value["verdict"] for word in told.words if word.value["event_id"] == event_id))
