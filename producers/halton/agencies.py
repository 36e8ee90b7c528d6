"""What each agency wrote down about a child: its own number, the identifiers it knows, and its slips of the pen.

Police and return-home interviewers never hold an NHS number. Police hold a name as heard, a date of birth and often an old
address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Any, Final

from domain.times import DAY_US
from producers.halton import names, numbers, rates
from producers.halton.population import Address, Child, rng_of

LOCAL_ID: Final = {
    "police": ("NIC", 104_729), "csc": ("", 15_485_863), "health": ("H", 32_452_843), "education": ("P", 49_979_687),
    "yjs": ("YJ", 67_867_967), "probation": ("PR", 86_028_121), "rhi": ("R", 94_906_249),
}  # fmt: skip
"""Prefix of each agency's own numbers, and the salt that scatters them."""

FIELDS: Final = (
    "local_id", "nhs_number", "nhs_number_status", "upn", "la_child_id", "pnc", "given_name", "family_name", "other_names",
    "birth_date", "sex", "ethnicity", "postcode", "address_line", "gp_ods", "school_urn",
)  # fmt: skip
"""The fields of a presentation, in the contract's order."""


@dataclass(slots=True)
class Desk:
    """Every agency's record card of one child: a pure function of seed, child and agency; `move` and `register` change it.

    `faithful` agencies make no slips with this child's name and date of birth (scenarios need some to be right).
    `knows` adds or overrides fields, by agency. Some police records are mended within the year after `since` (µs UTC).
    """

    seed: int
    child: Child
    faithful: bool = False
    since: int = 0
    knows: dict[str, dict[str, Any]] = field(default_factory=dict)
    moves: list[tuple[int, Address]] = field(default_factory=list)
    practices: list[tuple[int, str]] = field(default_factory=list)
    _cards: dict[tuple[str, bool], tuple[dict[str, Any], dict[str, Any], int | None]] = field(default_factory=dict)

    def move(self, at: int, address: Address) -> None:
        """The child lives at `address` from `at` (µs UTC); social care, health and schools learn it, police do not."""
        self.moves.append((at, address))

    def register(self, at: int, practice: str) -> None:
        """The child's practice from `at` (µs UTC)."""
        self.practices.append((at, practice))

    def practice_at(self, at: int) -> str:
        """The child's true practice at `at` (µs UTC)."""
        return next((p for since, p in sorted(self.practices, reverse=True) if since <= at), self.child.practice)

    def address_at(self, at: int) -> Address:
        """Where the child truly lives at `at` (µs UTC)."""
        return next((a for since, a in sorted(self.moves, key=lambda m: -m[0]) if since <= at), self.child.address)

    def card(self, agency: str, at: int, second: bool | None = None) -> dict[str, Any]:
        """The presentation `agency` sends at `at` (µs UTC). Police may keep two records for one child; `second` chooses."""
        if second is None:
            second = agency == "police" and not self.faithful and self._second(at)
        if (agency, second) not in self._cards:
            self._cards[agency, second] = self._write(agency, second)
        first, mended, mended_at = self._cards[agency, second]
        card = dict(mended if mended_at is not None and at >= mended_at else first)
        if self.moves and agency not in ("police", "rhi") and card["postcode"] is not None:
            here = self.address_at(at)
            card["postcode"], card["address_line"] = here.postcode, here.line
        if agency == "health":
            card["gp_ods"] = self.practice_at(at)
        card.update(self.knows.get(agency, {}))
        return card

    def _second(self, at: int) -> bool:
        """Two stations, two records: which of them is used depends on the day."""
        rng = rng_of(self.seed, self.child.id, "second")
        return rng.random() < rates.POLICE_SECOND_ID and (at // DAY_US) % 3 == 0

    def _write(self, agency: str, second: bool) -> tuple[dict[str, Any], dict[str, Any], int | None]:
        rng, child = rng_of(self.seed, self.child.id, agency, second), self.child
        card: dict[str, Any] = dict.fromkeys(FIELDS)
        prefix, salt = LOCAL_ID[agency]
        own = numbers.scatter(child.number, salt)
        card |= {
            "local_id": f"{prefix}{own:08d}{'B' if second else ''}",
            "given_name": child.given, "family_name": child.family, "birth_date": child.born.isoformat(), "sex": child.sex,
        }  # fmt: skip
        WRITERS[agency](card, child, rng)
        mended = dict(card)
        if not self.faithful:
            misspell(card, agency, rng)
        if agency == "police" and card != mended and rng.random() < rates.POLICE_MENDED:
            return card, mended, self.since + rng.randrange(365) * DAY_US
        return card, card, None


def _csc(card: dict[str, Any], child: Child, rng: Random) -> None:
    card |= {
        "la_child_id": f"{child.home_la}-{card['local_id']}", "ethnicity": child.ethnicity, "postcode": child.address.postcode,
        "address_line": child.address.line, "school_urn": child.school,
    }  # fmt: skip
    if rng.random() < rates.CSC_NHS_NUMBER:
        traced = rng.random() < rates.CSC_NHS_TRACED
        card |= {"nhs_number": child.nhs, "nhs_number_status": "01" if traced else rng.choice(("02", "03", "04"))}
        if rng.random() < rates.CSC_NHS_BAD_CHECK:
            card |= {"nhs_number": numbers.break_check(child.nhs), "nhs_number_status": "02"}
    else:
        card["nhs_number_status"] = "07"
    if rng.random() < rates.CSC_UPN:
        card["upn"] = child.upn


def _health(card: dict[str, Any], child: Child, _rng: Random) -> None:
    card |= {
        "nhs_number": child.nhs, "nhs_number_status": "01", "postcode": child.address.postcode,
        "address_line": child.address.line, "gp_ods": child.practice,
    }  # fmt: skip


def _education(card: dict[str, Any], child: Child, rng: Random) -> None:
    card |= {
        "upn": child.upn if rng.random() < rates.EDUCATION_UPN else None, "school_urn": child.school,
        "postcode": child.address.postcode, "address_line": child.address.line,
    }  # fmt: skip


def _police(card: dict[str, Any], child: Child, rng: Random) -> None:
    here = child.address_before if rng.random() < rates.POLICE_OLD_ADDRESS else child.address
    card |= {"address_line": here.line, "postcode": here.postcode if rng.random() < 0.8 else None}
    if child.pnc and rng.random() < 0.5:
        card["pnc"] = child.pnc


def _yjs(card: dict[str, Any], child: Child, rng: Random) -> None:
    card |= {
        "pnc": child.pnc, "postcode": child.address.postcode, "address_line": child.address.line, "school_urn": child.school,
        "upn": child.upn if rng.random() < 0.4 else None,
    }  # fmt: skip


def _probation(card: dict[str, Any], child: Child, _rng: Random) -> None:
    card |= {"pnc": child.pnc, "address_line": child.address.line}


def _rhi(card: dict[str, Any], child: Child, rng: Random) -> None:
    """The provider is told a name and a date of birth, and sometimes the authority's id (see `Desk.knows`)."""


WRITERS: Final = {
    "csc": _csc, "health": _health, "education": _education, "police": _police, "yjs": _yjs, "probation": _probation,
    "rhi": _rhi,
}  # fmt: skip


def misspell(card: dict[str, Any], agency: str, rng: Random) -> None:
    """Slips of the pen, as often as the agency makes them."""
    police = agency in ("police", "rhi")
    if rng.random() < (rates.POLICE_NICKNAME if police else 0) and card["given_name"] in names.NICKNAMES:
        card["given_name"] = names.NICKNAMES[card["given_name"]]
    elif rng.random() < (rates.POLICE_TYPO if police else rates.OTHER_TYPO):
        key = rng.choice(("given_name", "family_name"))
        card[key] = typo(card[key], rng)
    roll = rng.random()
    if police and roll < rates.POLICE_WRONG_DOB:
        card["birth_date"] = wrong_date(card["birth_date"], rng)
    elif police and roll < rates.POLICE_WRONG_DOB + rates.POLICE_NO_DOB:
        card["birth_date"] = None


def typo(name: str, rng: Random) -> str:
    """`name` with two letters swapped, one doubled, or one lost; never empty, never the same."""
    at = rng.randrange(1, len(name) - 1) if len(name) > 2 else 0
    swapped = name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]
    options = [swapped, name[: at + 1] + name[at:], name[:at] + name[at + 1 :]]
    return rng.choice([o for o in options if o and o != name])


def wrong_date(day: str, rng: Random) -> str:
    """A birth date written wrongly: day and month swapped where that gives an earlier date, else the year before."""
    born = date.fromisoformat(day)
    if born.day < born.month and rng.random() < 0.7:
        return born.replace(month=born.day, day=born.month).isoformat()
    return born.replace(year=born.year - 1, day=min(born.day, 28)).isoformat()
