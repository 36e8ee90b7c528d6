"""What each role may do on these pages. What a role may *see* of a fact is `domain.sharing`'s to say."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from schemas.codes import label


class Right(StrEnum):
    """One thing a page or route asks for."""

    CHILDREN = "children"
    DECIDE = "decide"
    HOLD = "hold"
    DISAGREE = "disagree"
    TAKE = "take"
    MATCH = "match"
    GP_EXCEPTIONS = "gp-exceptions"
    OPERATE = "operate"
    BOARD = "board"


_WORKER: Final = {Right.CHILDREN, Right.HOLD, Right.DISAGREE, Right.TAKE, Right.MATCH}
_PARTNER: Final = {Right.CHILDREN, Right.DISAGREE}

RIGHTS: Final[dict[str, frozenset[Right]]] = {
    "icart_social_worker": frozenset(_WORKER),
    "icart_manager": frozenset(_WORKER | {Right.DECIDE, Right.GP_EXCEPTIONS}),
    "icart_police": frozenset(_PARTNER),
    "icart_health": frozenset(_PARTNER | {Right.GP_EXCEPTIONS}),
    "icart_education": frozenset(_PARTNER),
    "edt": frozenset({Right.CHILDREN, Right.DECIDE, Right.HOLD, Right.DISAGREE, Right.TAKE}),
    "board_analyst": frozenset({Right.BOARD}),
    "admin": frozenset({Right.OPERATE}),
}
"""The duty team decides out of hours, so it has the manager's rights over recommendations, but settles no identity at night."""

AGENCY: Final = {
    "icart_social_worker": "csc",
    "icart_manager": "csc",
    "icart_police": "police",
    "icart_health": "health",
    "icart_education": "education",
    "edt": "csc",
}
"""The agency somebody speaks for, where they speak for one."""

VOICE: Final = {
    "icart_social_worker": "csc",
    "icart_manager": "csc",
    "icart_police": "police",
    "icart_health": "health",
    "icart_education": "education",
    "edt": "edt",
}
"""The code of list `icart-agency` under which a role disagrees."""


def may(role: str, right: Right) -> bool:
    """Whether `role` has `right`; an unknown role has none."""
    return right in RIGHTS.get(role, frozenset())


def role_label(role: str) -> str:
    """The role in words."""
    return label("role", role)
