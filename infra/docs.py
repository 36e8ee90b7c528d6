"""Documents made from the contract itself: `make docs` writes them, and a test fails while a committed one is stale."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from schemas.catalogue import FOLDER, NAMESPACE, RecordSpec, catalogue
from schemas.codes import CodeList, code_lists
from schemas.topics import AGENCIES, Topic, topics
from web.api import models

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
SHARED: Final = ("Envelope", "Presentation", "Act")
"""Parts that many records begin with: written out once, at the top."""

FORMATS: Final = {"uuid": "UUID", "date": "date (ISO 8601)", "ods": "ODS code"}
KINDS: Final = {
    "event": ("Facts", "What agencies say. Each is published by the agency's own user on its own topic."),
    "act": ("Acts", "What people, practices and the clock do, each with who, in what role and on what version."),
    "output": ("Outputs", "What the house sends or keeps because of a fact or an act."),
}  # fmt: skip


def event_catalogue() -> str:
    """`docs/event-catalogue.md`: every record with its fields, codes, emitters, topic, retention class and purpose."""
    return "\n".join(_catalogue()) + "\n"


def api_shapes() -> str:
    """`docs/api.md`: the shape of every answer about children, as OpenAPI tells it."""
    return "\n".join(_shapes()) + "\n"


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {"event-catalogue.md": event_catalogue, "api.md": api_shapes}


def _shapes() -> Iterator[str]:
    yield "# Answers of the JSON API\n"
    yield "Made by `make docs` from `web/api/models.py`; do not edit it by hand. `/api/openapi.json` tells the same."
    yield "Any item that shows facts may stand as [Withheld](#withheld). Every answer"
    yield "about a child is redacted for its reader (docs/sharing.md)."
    for shape in (s for s in vars(models).values() if isinstance(s, type) and issubclass(s, models.Shape)):
        own = dict(shape.model_fields)
        if not own:
            continue
        yield f"\n## {shape.__name__}\n\n{shape.__doc__}\n"
        if issubclass(shape, models.Labelled) and shape is not models.Labelled:
            yield "With the fields of [Labelled](#labelled).\n"
            own = {n: f for n, f in own.items() if n not in models.Labelled.model_fields}
        yield "| field | type |"
        yield "|---|---|"
        for name, field in own.items():
            yield f"| `{field.alias or name}` | {_type(field.annotation)} |"


def _type(kind: Any) -> str:  # noqa: PLR0911  one return a kind of type reads best
    if kind is type(None):
        return "null"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{json.dumps(a)}`" for a in get_args(kind))
    args = [_type(a) for a in get_args(kind)]
    if get_origin(kind) is list:
        return f"list of ({args[0]})" if " or " in args[0] else f"list of {args[0]}"
    if get_origin(kind) is tuple:
        return f"[{', '.join(args)}]"
    if get_origin(kind) is dict:
        return "object" if kind.__args__[1] is Any else f"object of {args[1]}"
    if args:
        return " or ".join(args)
    if isinstance(kind, type) and issubclass(kind, models.Shape):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return str(kind.__name__)


def _catalogue() -> Iterator[str]:
    yield "# The event catalogue"
    yield ""
    yield "Made by `make docs` from `schemas/events/*.avsc` and `schemas/codes/*.yaml`; do not edit it by hand."
    yield ""
    yield "Values are Avro in the Confluent wire format. The registry's subject is the full record name, and compatibility is"
    yield "FULL_TRANSITIVE. Instants are UTC in µs since 1970; `sightline publish events` and `AgencyClient` also take ISO 8601"
    yield "with an offset. A field that *may be null* may be left out: it is then not known, which is not no. Topics are"
    yield "named without the deployment's prefix. *Class* is the retention class under whose key the content is encrypted in the"
    yield "ledger; `none` has no such content."
    for kind, (title, _) in KINDS.items():
        links = ", ".join(f"[{s.name}](#{s.name.lower()})" for s in _of(kind))
        yield f"\n**{title}**: {links}."
    yield "\n## Shared parts"
    for name in SHARED:
        raw = _raw(name)
        yield f"\n### {name}\n\n{raw['doc']}\n"
        yield from _fields(raw["fields"])
    for kind, (title, text) in KINDS.items():
        yield f"\n## {title}\n\n{text}"
        for spec in _of(kind):
            yield from _record(spec)
    yield "\n## Code lists\n"
    yield "Codes are strings that are checked against these lists, not Avro enums: a new code does not break a reader. Each list"
    yield "is data with a version, an authority and dates."
    for codes in code_lists().values():
        yield from _codes(codes)


def _of(kind: str) -> list[RecordSpec]:
    return sorted((s for s in catalogue().values() if s.kind == kind), key=lambda s: s.name)


def _record(spec: RecordSpec) -> Iterator[str]:
    yield f"\n### {spec.name}\n\n{spec.doc}\n"
    yield f"- version {spec.version}, subject `{spec.subject}`"
    yield f"- emitted by: {_emitters(spec)}"
    yield f"- topic: {_topics(spec)}"
    yield f"- class: {spec.record_class}"
    if spec.kind != "output":
        yield f"- purpose: {spec.purpose}"
    yield ""
    yield from _fields(_raw(spec.name)["fields"])


def _emitters(spec: RecordSpec) -> str:
    if spec.kind == "event":
        return ", ".join(spec.agencies)
    writers = sorted({w for t in _named(spec.topic or "") for w in t.writers})
    return ", ".join(f"the house's `{w}`" for w in writers)


def _topics(spec: RecordSpec) -> str:
    if spec.kind == "event":
        return ", ".join(f"`facts.{a}`" for a in spec.agencies) if len(spec.agencies) < len(AGENCIES) else "`facts.<agency>`"
    readers = sorted({r.replace(r.partition(".")[2], "<agency>") if "<" in (spec.topic or "") and "." in r else r
                      for t in _named(spec.topic or "") for r in t.readers})  # fmt: skip
    return f"`{spec.topic}`, read by {', '.join(f'`{r}`' for r in readers)}"


def _named(topic: str) -> list[Topic]:
    return [t for t in topics() if t.name == topic or t.name in {topic.replace("<agency>", a) for a in AGENCIES}]


def _raw(name: str) -> Any:
    newest = max(FOLDER.glob(f"{name}.v*.avsc"), key=lambda p: int(p.name.split(".")[1].removeprefix("v")))
    return json.loads(newest.read_text())


def _fields(fields: Iterable[Any]) -> Iterator[str]:
    yield "| field | type | what it says |"
    yield "|---|---|---|"
    yield from _rows(fields, "")


def _rows(fields: Iterable[Any], under: str) -> Iterator[str]:
    for field in fields:
        kind, optional, many = _kind(field["type"])
        part = kind.removeprefix(f"{NAMESPACE}.") if isinstance(kind, str) and kind.startswith(NAMESPACE) else None
        shown = _shown(field, kind, part)
        shown = (f"list of {shown}" if many else shown) + (", may be null" if optional else "")
        name = f"{under}{field['name']}{'[]' if many and part else ''}"
        yield f"| `{name}` | {shown} | {field.get('doc', '').replace('|', '/')} |"
        if part is not None and part not in SHARED:
            yield from _rows(_raw(part)["fields"], f"{name}.")


def _kind(declared: Any) -> tuple[Any, bool, bool]:
    """(type name or record, null allowed, a list)."""
    kinds = declared if isinstance(declared, list) else [declared]
    kind = next(k for k in kinds if k != "null")
    many = isinstance(kind, dict) and kind.get("type") == "array"
    kind = kind["items"] if many else kind
    if isinstance(kind, dict):
        kind = "instant" if kind.get("logicalType") == "timestamp-micros" else kind["type"]
    return kind, "null" in kinds, many


def _shown(field: Any, kind: str, part: str | None) -> str:
    if part is not None:
        return f"[{part}](#{part.lower()})" if part in SHARED else part
    if codes := field.get("codes"):
        return f"code of [{codes}](#{codes})"
    if form := field.get("format"):
        return FORMATS[form]
    if kind == "string":
        return f"text, at most {field['max']} characters" if "max" in field else "text"
    bounds = ", ".join(f"at {word} {field[key]}" for key, word in (("min", "least"), ("max", "most")) if key in field)
    return f"{kind} ({bounds})" if bounds else kind


def _codes(codes: CodeList) -> Iterator[str]:
    ranked = any(c.rank is not None for c in codes.codes.values())
    yield f"\n### {codes.id}\n\n{codes.title}. Version {codes.version}; authority: {codes.authority}.\n"
    yield "| code | label |" + (" rank |" if ranked else "")
    yield "|---|---|" + ("---|" if ranked else "")
    for c in codes.codes.values():
        ended = f" (until {c.valid_to})" if c.valid_to else ""
        rank = f" {'' if c.rank is None else c.rank} |" if ranked else ""
        yield f"| `{c.code}` | {c.label.replace('|', '/')}{ended} |{rank}"


def main() -> None:
    """Write every document that differs."""
    for name, text in DOCUMENTS.items():
        path = DOCS / name
        if not path.exists() or path.read_text() != text():
            path.write_text(text())
            print(f"written: docs/{name}")


if __name__ == "__main__":
    main()
