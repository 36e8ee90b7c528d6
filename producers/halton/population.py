"""The children of the borough, as they truly are. Nothing here is ever sent: agencies send what they wrote (`agencies.py`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random
from typing import Final

from producers.halton import names, numbers

HALTON: Final = "876"
"""Local authority code of Halton."""

OTHER_LAS: Final = (
    ("340", "Knowsley"),
    ("341", "Liverpool"),
    ("342", "St Helens"),
    ("877", "Warrington"),
    ("352", "Manchester"),
)
"""Authorities that place children in Halton: code and name."""

PRACTICES: Final = tuple(f"Y9{n:04d}" for n in range(1, 15))
"""Fourteen practices; no real practice has such a code."""

PRACTICES_ELSEWHERE: Final = ("Y98001", "Y98002", "Y98003")

PRIMARY_SCHOOLS: Final = tuple(str(n) for n in range(900_001, 900_052))
SECONDARY_SCHOOLS: Final = tuple(str(n) for n in range(900_101, 900_115))
"""65 schools by URN; the real register stops far below 900,000."""

EMERGENCY_DEPARTMENTS: Final = ("Y9W01", "Y9A01")
"""Two departments, both outside the borough (R23); codes of no real site."""

ETHNICITIES: Final = (
    ("WBRI", 0.945), ("WOTH", 0.021), ("MWBC", 0.007), ("MOTH", 0.007), ("AIND", 0.005), ("APKN", 0.005), ("BAFR", 0.004),
    ("OOTH", 0.006),
)  # fmt: skip
"""DfE codes in the shares of domain.md 3f."""

TWIN_BIRTHS: Final = 0.013
OTHER_SURNAME: Final = 0.10
PNC_TEENS: Final = 0.04
SCENARIO_NUMBERS: Final = 90_000_000
"""Children of scenarios are numbered from here, so that they never share a number with the borough's own."""
SCENARIO_SEEDS: Final = 10_000
SCENARIO_BODIES: Final = 9 * 4 * SCENARIO_SEEDS
"""NHS bodies below this are kept for scenarios: four for each of nine slots and 10,000 seeds."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a child lives."""

    line: str
    postcode: str


@dataclass(frozen=True, slots=True)
class Child:
    """A child as they truly are. `id` is the truth's own and is known to no agency; `number` seeds the agencies' local ids."""

    id: str
    number: int
    given: str
    family: str
    sex: str
    born: date
    nhs: str
    upn: str | None
    pnc: str | None
    address: Address
    address_before: Address
    practice: str
    school: str | None
    ethnicity: str
    home_la: str = HALTON
    placing_la: str | None = None
    twin: str | None = None

    def age_at(self, day: date) -> int:
        """Completed years on `day`."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))


def rng_of(*parts: object) -> Random:
    """A random source that depends on `parts` alone, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return Random(int.from_bytes(digest[:16], "big"))  # noqa: S311 - a simulation must be repeatable; nothing here is secret


def weighted(rng: Random, choices: Sequence[tuple[str, float]]) -> str:
    """One of `choices` (value, weight)."""
    return rng.choices([c for c, _ in choices], [w for _, w in choices])[0]


def populate(seed: int, children: int, today: date) -> list[Child]:
    """`children` children under 18 on `today`, in families; the same for the same arguments."""
    rng, people = rng_of(seed, "population"), list[Child]()
    supply = ((b, n) for b, n in numbers.nhs_numbers(rng.randrange(numbers.NHS_BODIES)) if b >= SCENARIO_BODIES)
    taken: set[str] = set()
    while len(people) < children:
        for child in _family(rng, len(people), today):
            if child.twin:
                _, nhs = numbers.next_nhs_number(int(people[-1].nhs[3:9]))
            else:
                _, nhs = next(supply)
            while nhs in taken:
                _, nhs = next(supply)
            taken.add(nhs)
            people.append(replace(child, nhs=nhs))
    return people[:children]


def invent(seed: int, label: str, *, slot: int, member: int, age: int, today: date, sex: str | None = None) -> Child:
    """A child for a scenario, `age` on `today`: none of `populate`'s, another for each seed < 10,000, slot < 9 and member < 3.

    Members 0 and 1 have consecutive NHS numbers, as twins do.
    """
    rng = rng_of(seed, "invent", label, member)
    sex = sex or rng.choice("FM")
    born = today - timedelta(days=round(age * 365.25) + rng.randrange(20, 340))
    number = SCENARIO_NUMBERS + slot * 1_000_000 + seed % SCENARIO_SEEDS * 10 + member
    body, nhs = slot * SCENARIO_SEEDS * 4 + seed % SCENARIO_SEEDS * 4, ""
    for _ in range(member + 1):
        body, nhs = numbers.next_nhs_number(body)
    return _child(
        rng, number=number, truth_id=f"{label}-{seed}-{member}", family_name=family(rng), sex=sex, born=born, nhs=nhs,
        today=today, homes=(new_address(rng), new_address(rng)), practice=rng.choice(PRACTICES),
    )  # fmt: skip


def given(rng: Random, sex: str) -> str:
    """A given name, common ones more often."""
    return _ranked(rng, names.GIRLS if sex == "F" else names.BOYS)


def family(rng: Random) -> str:
    """A family name, common ones more often."""
    return _ranked(rng, names.FAMILY)


def school_for(rng: Random, age: int) -> str | None:
    """A school for the age: primary from 4, secondary from 11 to 16, none otherwise."""
    return rng.choice(PRIMARY_SCHOOLS if age < 11 else SECONDARY_SCHOOLS) if 4 <= age <= 16 else None


def _family(rng: Random, first: int, today: date) -> list[Child]:
    surname, homes, practice = family(rng), (new_address(rng), new_address(rng)), rng.choice(PRACTICES)
    out: list[Child] = []
    for _ in range(rng.choices((1, 2, 3, 4), (36, 41, 16, 7))[0]):
        born = today - timedelta(days=rng.randrange(1, 18 * 365))
        name = rng.choice(names.FAMILY) if rng.random() < OTHER_SURNAME else surname
        for _ in range(2 if rng.random() < TWIN_BIRTHS else 1):
            number = first + len(out)
            one = _child(
                rng, number=number, truth_id=f"h-{number:06d}", family_name=name, sex=rng.choice("FM"), born=born, nhs="",
                today=today, homes=homes, practice=practice,
            )  # fmt: skip
            second = bool(out) and out[-1].born == born
            out.append(replace(one, twin=out[-1].id, school=out[-1].school) if second else one)
    return out


def _child(
    rng: Random, *, number: int, truth_id: str, family_name: str, sex: str, born: date, nhs: str, today: date,
    homes: tuple[Address, Address], practice: str,
) -> Child:  # fmt: skip
    age = (today - born).days * 4 // 1461
    serial = numbers.scatter(number, 7_919) * 10 + number % 10
    upn = numbers.upn(HALTON, serial) if age >= 4 else None
    police = numbers.pnc(born.year + 12, number % 10_000_000) if age >= 12 and rng.random() < PNC_TEENS else None
    return Child(
        truth_id, number, given(rng, sex), family_name, sex, born, nhs, upn, police, *homes, practice, school_for(rng, age),
        weighted(rng, ETHNICITIES),
    )  # fmt: skip


def new_address(rng: Random) -> Address:
    """An address in Runcorn or Widnes that does not exist."""
    district = rng.choice(("WA7 1", "WA7 2", "WA7 4", "WA7 5", "WA7 6", "WA8 0", "WA8 3", "WA8 6", "WA8 7", "WA8 8", "WA8 9"))
    return Address(
        f"{rng.randrange(1, 140)} {rng.choice(names.STREETS)}", district + "".join(rng.choices("ABDEFGHJLNPQRSTUWXYZ", k=2))
    )


def _ranked(rng: Random, listed: Sequence[str]) -> str:
    """Density falls as the square of a uniform draw: the first tenth of the list has a third of the children."""
    return listed[int(len(listed) * rng.random() ** 2)]
