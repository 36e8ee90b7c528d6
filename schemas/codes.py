"""Code lists as versioned data: `schemas/codes/*.yaml`, each with an authority and validity dates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from domain.problems import PolicyError

FOLDER = Path(__file__).parent / "codes"


@dataclass(frozen=True, slots=True)
class Code:
    """One code: label for people, validity, and a rank where the list is ordered (higher is graver).

    `valid_from` 1950-01-01 says that it was always in use, as far back as facts may reach: imports tell old stories.
    """

    code: str
    label: str
    valid_from: date
    valid_to: date | None
    rank: int | None

    def in_force(self, day: date) -> bool:
        """Whether the code was in use on `day`; its first and its last day count."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class CodeList:
    """A code list in one version."""

    id: str
    title: str
    version: int
    authority: str
    codes: Mapping[str, Code]

    def label(self, code: str | None) -> str:
        """The label of a code; the code itself when the list does not know it; empty for none."""
        return "" if code is None else self.codes[code].label if code in self.codes else code


@cache
def code_lists() -> Mapping[str, CodeList]:
    """Every code list by id.

    Raises:
        PolicyError: a file lacks a field or repeats a code.
    """
    return {lst.id: lst for lst in (_read(path.name, path.read_text()) for path in sorted(FOLDER.glob("*.yaml")))}


@cache
def code_lists_hash() -> str:
    """SHA-256 over the full text of all code lists, hex; named in every ledger entry."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.yaml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def code_lists_text() -> bytes:
    """The full text of all code lists, each after its file name."""
    return b"".join(b"# " + p.name.encode() + b"\n" + p.read_bytes() for p in sorted(FOLDER.glob("*.yaml")))


def label(list_id: str, code: str | None) -> str:
    """The label of `code` in list `list_id`."""
    return code_lists()[list_id].label(code)


def ranks(list_id: str) -> Mapping[str, int]:
    """Rank by code of an ordered list; codes without a rank are absent."""
    return {c.code: c.rank for c in code_lists()[list_id].codes.values() if c.rank is not None}


def read_code_lists(texts: bytes) -> Mapping[str, CodeList]:
    """The code lists of an earlier `code_lists_text()`, as the ledger keeps it.

    Raises:
        PolicyError: this release cannot read one of them.
    """
    found = _NAMED.split(texts.decode())
    return {lst.id: lst for lst in map(_read, found[1::2], found[2::2])}


_NAMED: Final = re.compile(r"^# ([\w.-]+\.yaml)\n", re.MULTILINE)


def _read(name: str, text: str) -> CodeList:
    data: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    try:
        codes = [Code(str(c["code"]), str(c["label"]), c["valid_from"], c.get("valid_to"), c.get("rank")) for c in data["codes"]]
        found = CodeList(data["id"], data["title"], int(data["version"]), data["authority"], {c.code: c for c in codes})
    except (KeyError, TypeError) as err:
        raise PolicyError(f"{name}: field {err} is missing or of the wrong type") from err
    if len(found.codes) != len(codes):
        raise PolicyError(f"{name}: a code occurs twice")
    return found
