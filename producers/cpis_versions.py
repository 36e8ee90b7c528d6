"""Which of two versions of a CP-IS resource is the later: by when it says that it was written (`meta.lastUpdated`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from domain.times import NEVER, to_us
from producers.drafts import Report
from producers.fhir import Resource, text

UNDATED: Final = -NEVER
"""Of a version that does not say when it was written, or not as an instant."""


def updated(resource: Resource) -> str:
    """`meta.lastUpdated` as sent, empty where absent."""
    return text(resource.node, "meta", "lastUpdated") or ""


def updated_us(resource: Resource) -> int:
    """The instant of `meta.lastUpdated`: a later one is a later version, whatever offset its text has. Undated is earliest."""
    return version_us(updated(resource))


def version_us(said: str) -> int:
    """The instant of a `meta.lastUpdated`, µs UTC; `UNDATED` where it is none."""
    found = instant(said)
    return UNDATED if found is None else found


def newest(resources: Iterable[Resource], reports: list[Report]) -> list[Resource]:
    """One resource a name, the last updated, in an order that shows nothing of the order they came in."""
    found: dict[str, Resource] = {}
    for resource in sorted(resources, key=lambda r: (r.ref, updated_us(r), repr(_bare(r.node)), r.file)):
        other = found.get(resource.ref)
        if other and resource.id and updated_us(other) in (UNDATED, updated_us(resource)) and not alike(other, resource):
            reports.append(unclear(resource, "does not tell which of two versions is the later one; send one, or date them"))
        found[resource.ref if resource.id else f"{resource.file}:{resource.line}:{len(found)}"] = resource
    return list(found.values())


def alike(one: Resource, other: Resource) -> bool:
    """Two versions say the same, but for when they were written."""
    return _bare({**one.node, "meta": []}) == _bare({**other.node, "meta": []})  # type: ignore[no-any-return]


def unclear(resource: Resource, message: str, *, kept: bool = True) -> Report:
    """That the date of a version leaves something open."""
    return Report(resource.file, resource.line, f"{resource.type}.meta.lastUpdated", "version-unclear", message, kept)


def _bare(node: Any) -> Any:
    """A node without the line numbers it was read at."""
    if isinstance(node, Mapping):
        return {k: [_bare(v) for v in values] for k, values in sorted(node.items()) if k != "#line"}
    return node


def instant(said: str | None) -> int | None:
    """An instant with an offset, µs UTC; None where that is not what is said."""
    try:
        return to_us(datetime.fromisoformat(said or ""))
    except ValueError:
        return None
