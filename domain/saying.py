"""What was said with an act's id: one id stands for one saying, of one record, by one person, about one thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

SUBJECTS: Final = ("recommendation_id", "message_id", "match_id")
"""What an act is about, where its own fields say so. A child's id may lead elsewhere after a merge, so it counts only for
acts about nothing else."""


def said(record: str, value: Mapping[str, Any]) -> bytes:
    """16 bytes: the same for the same record, person, subject and words, whenever and how often they are sent.

    Fields that are null are as if left out. When it was said, the version seen and the correlation id are of the sending.
    """
    act, body = value["act"], {k: v for k, v in value.items() if k != "act" and v is not None}
    child = None if any(body.get(s) for s in SUBJECTS) else act["child_id"]
    whole = json.dumps([record, act["actor_id"], child, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(whole.encode()).digest()[:16]
