"""A program that publishes for ever and says each id once `publish` has returned it; to be killed by a test."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

from infra.settings import Settings
from producers.client import AgencyClient
from schemas.codec import Codec
from schemas.registry import Registry
from tests.golden.values import VALUES


def main() -> None:
    """Until killed."""
    settings = Settings.load(prefix=sys.argv[2])
    access, codec = settings.access("agency.education"), Codec(Registry(settings.registry_url))
    client = AgencyClient(access, "education", codec, b"a secret of at least sixteen bytes", Path(sys.argv[1]))
    value = VALUES["SchoolConcern"]
    while True:
        print(client.publish("SchoolConcern", {**value, "envelope": {**value["envelope"], "event_id": str(uuid4())}}), flush=True)


if __name__ == "__main__":
    main()
