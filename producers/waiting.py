"""What FHIR resources wait in, on disk, and what is remembered of those told: a small folder for one receiver.

Patients and care teams stay (a later plan names them); plans and flags stay until told. Bounded. It holds personal data
in clear: mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from producers.cpis_fhir import READ, Joined, Sent, join
from producers.cpis_versions import UNDATED, alike, newest, unclear, updated_us
from producers.drafts import Draft, Report
from producers.errors import SourceError, SpoolFull, SpoolInUse
from producers.fhir import Resource

RESOURCES_MAX: Final = 50_000
"""All children of an authority with a plan or looked after are some thousands."""

STAY: Final = ("Patient", "CareTeam")

CAME_LATER: Final = "does not tell whether it is later than the dated version here: it came later and is taken; date it"


class WaitingRoom:
    """The folder. `receive` stores resources and joins them with what is here; `told` is called once facts are published."""

    def __init__(self, folder: Path) -> None:
        """Raises: SpoolInUse when another process has it; OSError."""
        self._folder = folder
        (folder / "resources").mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self._owner = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            os.close(self._owner)
            raise SpoolInUse(f"another process receives CP-IS files in {folder}; wait for it to end") from err

    def receive(self, resources: Iterable[Resource]) -> Joined:
        """Store `resources`, then join them with everything here.

        Raises:
            SpoolFull: more than RESOURCES_MAX would lie here; SourceError: a stored one cannot be read.
        """
        reports: list[Report] = []
        fresh = newest(resources, reports)
        if len(fresh) + sum(1 for _ in (self._folder / "resources").iterdir()) > RESOURCES_MAX:
            raise SpoolFull(f"{self._folder} would hold more than {RESOURCES_MAX} resources; look at what waits there")
        for resource in fresh:
            if resource.type in READ and resource.id:
                self._store(resource, reports)
        unread = [r for r in fresh if r.type not in READ or not r.id]
        joined = join([*self._stored(), *unread], self._sent(), {r.ref for r in fresh})
        return replace(joined, reports=(*reports, *joined.reports))

    def told(self, joined: Joined, refused: Iterable[Draft] = ()) -> None:
        """The drafts of `joined` are published, save `refused`: remember them; let go of plans and flags that do not wait."""
        ids = {draft.value["envelope"]["event_id"] for draft in refused}
        sent = {**self._sent(), **{ref: one for ref, one in joined.sent.items() if one.event_id not in ids}}
        self._write(self._folder / "sent.json", {ref: asdict(one) for ref, one in sent.items()})
        waiting = {_name(r) for r in joined.waiting}
        for path in list((self._folder / "resources").iterdir()):
            if not path.name.startswith(STAY) and path.name not in waiting:
                path.unlink()

    def close(self) -> None:
        """Let another process in."""
        os.close(self._owner)

    def _store(self, resource: Resource, reports: list[Report]) -> None:
        path = self._folder / "resources" / _name(resource)
        lying = _read(path) if path.exists() else None
        if lying is not None and updated_us(lying) > updated_us(resource):
            if updated_us(resource) > UNDATED:
                return  # an older version that came late
            if alike(lying, resource):
                resource = replace(resource, node=lying.node)  # which says when it was written
            else:
                reports.append(unclear(resource, CAME_LATER))
        self._write(path, {
            "type": resource.type, "id": resource.id, "node": resource.node, "file": resource.file, "line": resource.line,
            "aliases": resource.aliases,
        })  # fmt: skip

    def _stored(self) -> Iterator[Resource]:
        return map(_read, sorted((self._folder / "resources").glob("*.json")))

    def _sent(self) -> Mapping[str, Sent]:
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            return {
                ref: Sent(**{**kept, **{name: tuple(kept.get(name, ())) for name in ("facts", "plan", "earlier")}})
                for ref, kept in json.loads((self._folder / "sent.json").read_text()).items()
            }
        return {}  # lost: facts go out again under the ids they had, and count once

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        draft = path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _read(path: Path) -> Resource:
    try:
        kept = json.loads(path.read_text())
        return Resource(kept["type"], kept["id"], kept["node"], kept["file"], kept["line"], tuple(kept["aliases"]))
    except (ValueError, KeyError, TypeError) as err:
        raise SourceError(f"{path} is damaged; remove it and send its source again") from err


def _name(resource: Resource) -> str:
    """A file name that tells nothing of the child."""
    return f"{resource.type}-{hashlib.sha256(resource.ref.encode()).hexdigest()[:32]}.json"
