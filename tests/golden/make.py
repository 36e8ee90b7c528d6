"""Write the golden bytes that are missing: `python -m tests.golden.make`. Never overwrites one: those bytes are on topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas.catalogue import catalogue
from schemas.codec import HEADER, MAGIC, encode_body
from tests.golden.values import VALUES

FOLDER: Final = Path(__file__).parent / "wire"
SCHEMA_ID: Final = 7
"""The id in the golden wire bytes; on a real registry it is whatever the registry gave."""


def path_of(name: str, version: int) -> Path:
    """The golden file of a record version."""
    return FOLDER / f"{name}.v{version}.json"


def plain(value: Any) -> Any:
    """A value as JSON holds it: bytes as `{"hex": …}`."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def full(value: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {k: full(v) for k, v in value.items()}
    return [full(v) for v in value] if isinstance(value, list) else value


def main() -> None:
    """Make what is missing, and say so."""
    FOLDER.mkdir(exist_ok=True)
    for name, spec in catalogue().items():
        path = path_of(name, spec.version)
        if path.exists() or name not in VALUES:
            continue
        wire = HEADER.pack(MAGIC, SCHEMA_ID) + encode_body(spec, VALUES[name])
        golden = {
            "record": name,
            "version": spec.version,
            "schema": json.loads(spec.text),
            "value": plain(VALUES[name]),
            "wire": wire.hex(),
        }
        path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
        print(f"made {path.name}")


if __name__ == "__main__":
    main()
