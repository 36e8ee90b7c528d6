"""Ledger entries as bytes, those without sections: what is said in the clear."""

from __future__ import annotations

from typing import Any, cast

import pytest

from domain.problems import Problem
from projections.entries import ACT, FACT, REFERENCE, REFUSED, Entry, header, opened, seal

NOBODY: Any = cast("Any", None)
"""The keys of entries that hold no section."""

ENTRIES = (
    Entry(1, 0, REFERENCE, 1_700_000_000_000_000, record="schema", writer="f" * 64, clear=b"{}"),
    Entry(2, 1, FACT, 1_700_000_000_000_001, ("facts.police", 3, 70_000), "police", "RiskGraded", "e1", presentation_id="p1"),
    Entry(
        3, 1, FACT, 1_700_000_000_000_002, ("facts.health", 0, 0), "health", None, None, REFUSED, "invalid",
        (Problem("envelope.regime", "code", "not a code"), Problem("grade", "code", "")), b"\xff" * 32, "w", "p", "c",
    ),
    Entry(1 << 40, 1 << 20, ACT, 1, ("acts", 11, 1 << 40), None, "CaseTaken", "Zoë"),
)  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_was_sealed_is_opened(entry: Entry) -> None:
    """Every field in the clear."""
    assert entry == opened(header(seal(entry, NOBODY)), NOBODY, {})
