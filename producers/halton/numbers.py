"""Numbers that pass their checks and belong to nobody: NHS test range 999, UPN, PNC; local numbers without collisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.identifiers import PNC_LETTERS, UPN_LETTERS

SPREAD: Final = 99_999_989
"""The greatest prime below 10⁸: multiplying modulo a prime scatters numbers without two falling together."""

NHS_STRIDE: Final = 611_953
"""Odd and not a multiple of 5, so that a walk by this stride visits every one of the 10⁶ bodies of the range."""

NHS_BODIES: Final = 1_000_000


def nhs_number(body: int) -> str | None:
    """The NHS number 999 + six digits of `body` + check digit; None when that body has no valid check digit (check 10)."""
    digits = f"999{body % NHS_BODIES:06d}"
    check = 11 - sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=True)) % 11
    return None if check == 10 else digits + str(check % 11)


def nhs_numbers(offset: int) -> Iterator[tuple[int, str]]:
    """Bodies and NHS numbers, scattered over the test range, none twice, until the range is used up."""
    for step in range(NHS_BODIES):
        body = (offset + step * NHS_STRIDE) % NHS_BODIES
        if (number := nhs_number(body)) is not None:
            yield body, number


def next_nhs_number(body: int) -> tuple[int, str]:
    """The next valid NHS number after `body`, as newborn twins get them."""
    while (number := nhs_number(body + 1)) is None:
        body += 1
    return (body + 1) % NHS_BODIES, number


def break_check(number: str) -> str:
    """The number with its last digit off by one: its check fails."""
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def upn(la: str, serial: int) -> str:
    """A permanent unique pupil number of local authority `la` (three digits); `serial` below 10⁹."""
    digits = f"{la}{serial:09d}"
    return UPN_LETTERS[sum(int(d) * i for i, d in enumerate(digits, 2)) % 23] + digits


def pnc(year: int, serial: int) -> str:
    """A Police National Computer id, `YYYY/NNNNNNNC`; `serial` below 10⁷."""
    return f"{year}/{serial:07d}{PNC_LETTERS[int(f'{year % 100:02d}{serial:07d}') % 23]}"


def scatter(number: int, salt: int) -> int:
    """A number below 10⁸ that differs for every `number` below 10⁸ under one `salt` (1 … SPREAD-1)."""
    return (number + 1) * (salt % (SPREAD - 1) + 1) % SPREAD
