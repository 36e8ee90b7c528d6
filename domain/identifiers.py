"""Identifiers of a child and codes with check digits: is what was typed one that can be trusted, and in which form?

Each function takes text as typed and returns the normalised form, or None when it is not valid. A number that is not
valid is kept and marked by whoever received it, and never links records (domain.md §3a).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

UPN_LETTERS: Final = "ABCDEFGHJKLMNPQRTUVWXYZ"
"""Check letters of a UPN by remainder modulo 23 (I, O and S are not used); also the values of a temporary UPN's last letter."""

PNC_LETTERS: Final = "ZABCDEFGHJKLMNPQRTUVWXY"
"""Check letters of a PNC id by remainder modulo 23."""

PNC_CENTURY: Final = 50
"""A two-digit year below this is of the 2000s: the Police National Computer began in 1974."""

SNOMED_UK_NAMESPACE: Final = "1000000"
"""The United Kingdom's extension namespace; a long concept id of another one was mistyped (two published lists have such)."""

PLACEHOLDERS: Final = frozenset({
    "unknown", "unkn", "unk", "notknown", "notavailable", "notapplicable", "na", "nk", "none", "null", "nil", "nan",
    "undefined", "missing", "blank", "empty", "tbc", "tba", "tbd", "test", "dummy", "default", "temp", "unidentified",
    "anonymous", "noid", "nonumber",
})  # fmt: skip
"""Local ids that are none, without punctuation and case; so are `0000`, `XXX`, `9999` and punctuation alone."""

_SEPARATORS: Final = re.compile(r"[\s-]+")
_FILLER: Final = re.compile(r"0*|x*|9{4,}")
_NHS: Final = re.compile(r"[0-9]{10}\Z")
_UPN: Final = re.compile(rf"[{UPN_LETTERS}][0-9]{{11}}[0-9{UPN_LETTERS}]\Z")
_PNC: Final = re.compile(r"((?:[0-9]{2})?[0-9]{2})/?([0-9]{1,7})([A-Z])\Z")
_LA_CHILD_ID: Final = re.compile(r"[A-Z0-9]{3,9}-[A-Z0-9]{1,20}\Z")
_ODS: Final = re.compile(r"[A-Z0-9]{3,10}\Z")
_PRACTICE: Final = re.compile(r"[A-Z][0-9]{5}\Z")

# Letters that Unicode does not decompose into a base letter and an accent, and people type without.
_PLAIN: Final = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "ħ": "h"})
_APOSTROPHES: Final = re.compile(r"['’‘`´ʼ]")
_NOT_IN_NAMES: Final = re.compile(r"[\W_]+")

# Verhoeff's tables: multiplication in the dihedral group D5, and the powers of its permutation.
_D5: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTATIONS: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def nhs_number(text: str | None) -> str | None:
    """Ten digits whose last is the modulus 11 check digit; spaces and hyphens as typed are dropped.

    One digit repeated ten times passes the arithmetic and is what people type for "not known": refused.
    """
    found = _compact(text)
    if not _NHS.match(found) or len(set(found)) == 1:
        return None
    check = 11 - sum(int(d) * w for d, w in zip(found, range(10, 1, -1), strict=False)) % 11
    return found if check != 10 and check % 11 == int(found[9]) else None


def upn(text: str | None) -> str | None:
    """A unique pupil number, permanent or temporary (last character a letter), with the right check letter."""
    found = _compact(text)
    if not _UPN.match(found):
        return None
    total = sum(_upn_digit(c) * weight for weight, c in enumerate(found[1:], start=2))
    return found if UPN_LETTERS[total % 23] == found[0] else None


def upn_is_temporary(text: str | None) -> bool:
    """True for a valid UPN that a school gave until the permanent one is known: two children may not share it for ever."""
    found = upn(text)
    return found is not None and found[-1].isalpha()


def pnc(text: str | None) -> str | None:
    """A PNC id as `YYYY/NNNNNNNC`; two-digit years and serials without leading zeros are taken."""
    found = _PNC.match(_compact(text))
    if found is None:
        return None
    year, serial, letter = found[1], found[2].zfill(7), found[3]
    if len(year) == 2:
        year = ("20" if int(year) < PNC_CENTURY else "19") + year
    return f"{year}/{serial}{letter}" if PNC_LETTERS[int(year[2:] + serial) % 23] == letter else None


def la_child_id(text: str | None) -> str | None:
    """A local authority's child id, `<authority>-<number>`, upper case. Without its authority it names nobody: None."""
    found = re.sub(r"\s+", "", text or "").upper()
    return found if _LA_CHILD_ID.match(found) else None


CHECKS: Final[Mapping[str, Callable[[str | None], str | None]]] = {
    "nhs_number": nhs_number, "upn": upn, "la_child_id": la_child_id, "pnc": pnc,
}  # fmt: skip
"""Field of a subject → the number as it is kept, or None when it is none."""


def ods(text: str | None) -> str | None:
    """An ODS organisation code, upper case. The register has no check digit: the form alone is tested."""
    found = _compact(text)
    return found if _ODS.match(found) else None


def practice_ods(text: str | None) -> str | None:
    """The ODS code of a GP practice: a letter and five digits."""
    found = _compact(text)
    return found if _PRACTICE.match(found) else None


def normalised_name(text: str | None) -> str:
    """A name for comparing, never for showing: lower case, no accents, no apostrophes, other punctuation one space."""
    letters = (text or "").casefold()
    if not letters.isascii():  # most are, and are their own decomposition
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text or "").casefold()).translate(_PLAIN)
        letters = "".join(c for c in plain if not unicodedata.combining(c))
    return _NOT_IN_NAMES.sub(" ", _APOSTROPHES.sub("", letters)).strip()


def is_placeholder(local_id: str) -> bool:
    """True for what people and systems write where a record has no number: it is shared by children who are strangers."""
    found = _NOT_IN_NAMES.sub("", local_id).casefold()
    return found in PLACEHOLDERS or _FILLER.fullmatch(found) is not None


def verhoeff(digits: str) -> bool:
    """True when the last of `digits` is the Verhoeff check digit of those before."""
    if not digits.isascii() or not digits.isdigit():
        return False
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_D5[check][int(_PERMUTATIONS[place % 8][int(digit)])])
    return check == 0


def snomed_ok(code: str) -> bool:
    """True for a SNOMED CT concept id with a right check digit, of the core or of the UK extension's namespace."""
    if not 6 <= len(code) <= 18 or code.startswith("0") or not verhoeff(code):
        return False
    if code[-3:-1] == "00":
        return True
    return code[-3:-1] == "10" and len(code) > 10 and code[-10:-3] == SNOMED_UK_NAMESPACE


def _compact(text: str | None) -> str:
    return _SEPARATORS.sub("", text or "").upper()


def _upn_digit(character: str) -> int:
    return int(character) if character.isdigit() else UPN_LETTERS.index(character)
