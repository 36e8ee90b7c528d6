"""`python -m tests.fault.speaker AGENCY SPOOL FILE`: an agency's program: publishes facts, says which are kept, until killed."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

from infra import assembly
from infra.settings import Settings
from producers.client import AgencyClient


def main(agency: str, spool: str, file: str) -> None:
    """Publish the facts of FILE round and round; print the id of each once it is on the disk."""
    settings = Settings.load()
    secret = settings.secret(f"agency.{agency}.key").encode()
    Path(spool).mkdir(mode=0o700, exist_ok=True)
    client = AgencyClient(settings.access(f"agency.{agency}"), agency, assembly.codec(settings), secret, Path(spool))
    facts = [json.loads(line) for line in Path(file).read_text().splitlines()]
    for record, value in itertools.cycle(facts):
        print(client.publish(record, value), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
