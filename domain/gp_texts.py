"""May the words of a CSOG outcome go to a practice: no address, no sibling, no third party (domain.md 3c, R11). Pure.

The words are somebody's free text, so this is a net and not a proof: it holds what looks like a postcode, a street address, the
child's own address as any agency has it, somebody named beside a word for a relation ("brother Liam"), a titled person, or
somebody with the child's family name who is not the child. What it holds waits for a person, who has the words corrected by
social care or tells the practice themselves; a message held for nothing costs a telephone call, one sent too far cannot be
called back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

POSTCODE: Final = re.compile(r"\b(?:GIR ?0AA|[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2})\b", re.IGNORECASE)
STREET: Final = re.compile(
    r"\b[0-9]+[a-z]?,? +(?:[A-Z][\w'’-]+ +){1,3}"
    r"(?:Road|Rd|Street|St|Avenue|Ave|Close|Lane|Drive|Way|Court|Crescent|Grove|Place|Terrace|Gardens|Walk|Row|Green|Square)\b"
)
RELATIONS: Final = (
    "brother", "sister", "sibling", "twin", "stepbrother", "stepsister", "half-brother", "half-sister", "mother", "father", "mum",
    "mam", "dad", "stepmother", "stepfather", "stepmum", "stepdad", "parent", "grandmother", "grandfather", "nan", "gran",
    "grandad",    "aunt", "auntie", "uncle", "cousin", "nephew", "niece", "partner", "boyfriend",
    "girlfriend", "friend", "peer", "carer",
    "neighbour",
)  # fmt: skip
RELATED: Final = re.compile(
    rf"\b(?i:{'|'.join(RELATIONS)})(?i:s|’s|'s)?,? +(?i:(?:is |was |are |were |called |named )*)[A-Z][a-z’'-]+"
)
TITLED: Final = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Mx)\.? +[A-Z][\w'’-]+")

ADDRESS_CHARS_MIN: Final = 6
"""A shorter address line ("flat") is a word like another."""


def tells_too_much(texts: Iterable[str | None], presentations: Iterable[Mapping[str, str | None]]) -> bool:
    """Does any text name a place or a person that a practice need not know? `presentations`: the child's identifying fields."""
    known = list(presentations)
    addresses = {a for f in known if len(a := _plain(f.get("address_line"))) >= ADDRESS_CHARS_MIN}
    addresses |= {a for line in list(addresses) if len(a := line.partition(",")[0].strip()) >= ADDRESS_CHARS_MIN}
    return any(_holds(text, addresses, known) for text in texts if text)


def _holds(text: str, addresses: set[str], known: list[Mapping[str, str | None]]) -> bool:
    if any(pattern.search(text) for pattern in (POSTCODE, STREET, RELATED, TITLED)):
        return True
    plain = _plain(text)
    return any(a in plain for a in addresses) or _namesake(text, known)


def _namesake(text: str, known: list[Mapping[str, str | None]]) -> bool:
    """Somebody with the child's family name and another given name."""
    families = {w for f in known if (w := (f.get("family_name") or "").strip())}
    own = {w.casefold() for f in known for k in ("given_name", "other_names", "family_name") for w in (f.get(k) or "").split()}
    for family in families:
        for found in re.finditer(rf"\b([A-Z][\w’'-]+) +{re.escape(family)}\b", text):
            if found[1].casefold() not in own:
                return True
    return False


def _plain(text: str | None) -> str:
    return " ".join((text or "").casefold().split())
