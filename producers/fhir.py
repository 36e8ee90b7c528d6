"""FHIR R4 resources out of XML or JSON bytes, in one shape, without trusting the bytes.

A node is a mapping of names to lists; a leaf is text. XML attributes `value`, `id` and `url` and JSON scalars become the
same leaves, so that whoever reads a node need not know how it came. No entities, no document type, no network; bounded
size, depth and count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from producers.errors import SourceError

FHIR: Final = "{http://hl7.org/fhir}"
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
DEPTH_MAX: Final = 40
"""A CarePlan with a contained resource is nine deep; deeper than this is an attack."""

RESOURCES_MAX: Final = 20_000

Node = Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: its type, logical id, content, and where it was read. `aliases` are further names it goes by."""

    type: str
    id: str
    node: Node
    file: str
    line: int = 0
    aliases: tuple[str, ...] = field(default=())

    @property
    def ref(self) -> str:
        """`Type/id`, as references name it."""
        return f"{self.type}/{self.id}"


def parse(name: str, data: bytes) -> list[Resource]:
    """Every resource in a file: a single one, or a Bundle's entries.

    Raises:
        SourceError: not FHIR XML or JSON, too large or too deep, or with a document type declaration.
    """
    if len(data) > FILE_BYTES_MAX:
        raise SourceError(f"{name} is over {FILE_BYTES_MAX // 2**20} MiB; split it")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start not in (b"<", b"{"):
        raise SourceError(f"{name} is neither FHIR XML nor FHIR JSON")
    found = list(_from_xml(name, data) if start == b"<" else _from_json(name, data))
    if len(found) > RESOURCES_MAX:
        raise SourceError(f"{name} holds more than {RESOURCES_MAX} resources; split it")
    return found


def first(node: Any, *path: str) -> Any:
    """The first child along a path of names; None where there is none."""
    for name in path:
        found = node.get(name) if isinstance(node, Mapping) else None
        if not found:
            return None
        node = found[0]
    return node


def text(node: Any, *path: str) -> str | None:
    """The first leaf along a path, trimmed; None where there is none, or something other than text."""
    return _leaf(first(node, *path))


def texts(node: Any, *path: str) -> list[str]:
    """All leaves of the last name of a path, trimmed, without empty ones."""
    return [said for item in each(node, *path) if (said := _leaf(item))]


def each(node: Any, *path: str) -> list[Any]:
    """All children of the last name of a path."""
    parent = first(node, *path[:-1]) if len(path) > 1 else node
    return list(parent.get(path[-1], [])) if isinstance(parent, Mapping) else []


def _leaf(found: Any) -> str | None:
    if isinstance(found, Mapping):  # in XML a primitive that carries an extension beside its value
        found = first(found, "value")
    return found.strip() or None if isinstance(found, str) else None


def _from_xml(name: str, data: bytes) -> Iterator[Resource]:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    try:
        root: Any = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as err:
        line = getattr(err, "lineno", None) or 1
        raise SourceError(f"{name}, line {line}: is not well-formed XML") from err
    if root.getroottree().docinfo.doctype:
        raise SourceError(f"{name}: has a document type declaration; FHIR has none, and it is not read")
    if not isinstance(root.tag, str) or not root.tag.startswith(FHIR):
        raise SourceError(f"{name}: the root element is not in FHIR's namespace")
    yield from _resources(name, _tag(root), _xml_node(name, root, 0), root.sourceline or 0, None)


def _xml_node(name: str, element: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise SourceError(f"{name}, line {element.sourceline}: nested deeper than {DEPTH_MAX}")
    if "value" in element.attrib and not len(element):
        return str(element.attrib["value"])
    node: dict[str, list[Any]] = {key: [str(value)] for key, value in element.attrib.items()}
    for child in element:
        if isinstance(child.tag, str):
            below = _xml_node(name, child, depth + 1)
            if isinstance(below, dict):
                below.setdefault("#line", [str(child.sourceline)])
            if _tag(child)[0].isupper():  # a resource inside `resource` or `contained` names its type by its element
                below = {**(below if isinstance(below, dict) else {}), "resourceType": [_tag(child)]}
                node = {**node, **below}
            else:
                node.setdefault(_tag(child), []).append(below)
    return node


def _tag(element: Any) -> str:
    return str(etree.QName(element).localname)


def _from_json(name: str, data: bytes) -> Iterator[Resource]:
    try:
        root = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as err:
        raise SourceError(f"{name}, line {err.lineno}: is not well-formed JSON") from err
    except (UnicodeDecodeError, RecursionError, ValueError) as err:
        raise SourceError(f"{name}: is not JSON in UTF-8, or nested too deep") from err
    kind = root.get("resourceType") if isinstance(root, dict) else None
    if not isinstance(kind, str):
        raise SourceError(f"{name}: has no resourceType")
    yield from _resources(name, kind, _json_node(name, root, 0), 0, None)


def _json_node(name: str, value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise SourceError(f"{name}: nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        lists = {k: x if isinstance(x, list) else [x] for k, x in value.items()}
        return {k: [_json_node(name, v, depth + 1) for v in x if v is not None] for k, x in lists.items()}
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json_node(name, {"item": value}, depth) if isinstance(value, list) else str(value)


def _resources(name: str, kind: str, node: Any, line: int, url: str | None) -> Iterator[Resource]:
    if not isinstance(node, Mapping):
        raise SourceError(f"{name}: {kind} is empty")
    if kind != "Bundle":
        yield Resource(kind, text(node, "id") or "", node, name, line, (url,) if url else ())
        return
    for entry in each(node, "entry"):
        inner = first(entry, "resource")
        if isinstance(inner, Mapping) and (inner_kind := text(inner, "resourceType")):
            yield from _resources(name, inner_kind, inner, int(text(inner, "#line") or 0), text(entry, "fullUrl"))
