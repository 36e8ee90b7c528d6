"""What leaves the house because of an entry: a pure function of the entry, so that it can be made again and is the same (I3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.model import Json, make_id
from projections.entries import ACCEPTED, ACT, CONFLICT, FACT, REFUSED, Entry
from schemas.topics import AGENCIES, HOUSE

Output = tuple[str, str, str, Json]
"""(topic without prefix, key, record name, value)."""

NOTICES: Final = {
    "recommended": "OPEN", "evidence_changed": "EVIDENCE_CHANGED", "recommendation_overdue": "OVERDUE",
    "meeting_overdue": "OVERDUE", "overdue_withdrawn": "OVERDUE_WITHDRAWN", "convened": "CONVENED",
    "declined": "DECLINED", "held": "HELD", "disagreed": "DISAGREED", "closed": "CLOSED", "joined": "JOINED",
    "parted": "OPEN",
}  # fmt: skip


def outputs(entry: Entry) -> list[Output]:
    """Outcome and dead letter for the agency, notices of recommendations, pointers to GP messages; in a fixed order."""
    out: list[Output] = []
    if entry.kind == FACT and entry.agency in AGENCIES:
        out.append((f"outcomes.{entry.agency}", entry.event_id or "", "Outcome", _outcome(entry)))
        if addressee_of(entry) is not None:
            out.append((f"dead-letters.{entry.agency}", letter_id(entry), "DeadLetter", letter(entry)))
    for seq, (kind, data) in enumerate(entry.conclusions):
        if kind in NOTICES:
            out.append(("recommendations", data["recommendation_id"], "RecommendationNotice", _notice(entry, seq, kind, data)))
        if kind in ("gp_message", "gp_withdrawn") and data.get("practice_ods"):
            out.append(("gp.messages", data["message_id"], "GpMessagePointer", _pointer(entry, seq, kind, data)))
        if kind == "not_the_owner":
            late = late_letter(entry, data)
            out.append((f"dead-letters.{data['agency']}", late["letter_id"], "DeadLetter", late))
    return out


def addressee_of(entry: Entry) -> str | None:
    """Whose dead letter is to be written about this entry: an agency's, the house's, or nobody's.

    The house gets one for a record of its own topics (decisions, receipts, clock) that could not be read; nobody but it can
    mend that. Such a record has no content hash; an act that was read and refused has, and its actor is told.
    """
    if entry.kind == FACT and entry.verdict in (REFUSED, CONFLICT):
        return entry.agency
    return HOUSE if entry.kind == ACT and entry.verdict == REFUSED and entry.content is None else None


def letter_id(entry: Entry) -> str:
    """The id of the dead letter about an entry's source."""
    return make_id("letter", *(entry.source or ()))


def letter(entry: Entry) -> Json:
    """The dead letter about a refused entry: reason and pointer, never content (I7)."""
    message = "; ".join(f"{p.field}: {p.message}" for p in entry.problems)[:400] or MESSAGES.get(entry.reason or "", "")
    again = "see which program of the house wrote it" if entry.kind == ACT else AGAIN
    return {
        "letter_id": letter_id(entry), "agency": addressee_of(entry), "event_id": entry.event_id, "record": entry.record,
        "reason": entry.reason or "", "message": message or again,
        "problems": _problems(entry), **_source(entry), "number": entry.number, "accepted_at": entry.accepted_at,
    }  # fmt: skip


def late_letter(entry: Entry, data: Mapping[str, Any]) -> Json:
    """The dead letter about a correction that was accepted before its target, which is another agency's, was known."""
    topic, partition, offset = data["source"]
    return {
        "letter_id": make_id("letter", topic, partition, offset), "agency": data["agency"], "event_id": data["event_id"],
        "record": data["record"], "reason": "not-the-owner", "message": MESSAGES["not-the-owner"],
        "problems": [{"field": data["field"], "rule": "not-the-owner", "message": "names a fact of another agency"}],
        "source_topic": topic, "source_partition": partition, "source_offset": offset, "number": data["number"],
        "accepted_at": entry.accepted_at,
    }  # fmt: skip


AGAIN: Final = "send the fact again with a new id that supersedes this one"
MESSAGES: Final = {
    "same-id-other-content": "this event_id was accepted with other content; send a correction under a new id with `supersedes`",
    "wrong-agency": "the envelope names another agency than the topic belongs to; send it as the agency it is from",
    "wrong-topic": "this record does not belong on this topic",
    "unknown-schema-id": "the registry knows no such schema; publish with a registered one",
    "unknown-record": "this schema is not a record of the contract",
    "not-avro-wire-format": "the value must begin with 0x00 and a schema id (Confluent wire format)",
    "corrupt": "the bytes do not decode; send the fact again with a new id",
    "too-large": "a fact is at most 256 KiB",
    "rule-failed": "a defect of the backbone, not of the fact, kept it from being accepted; its operators have an alarm; "
    "send the fact again once they say that it is mended",
    "entry-too-large": "so much would follow from it that the ledger cannot take it; ask the operators of the backbone",
    "not-the-owner": "only the agency that said a fact may supersede or retract it",
    "erased": "the record of this child was erased; nothing more is kept under it",
}


def _outcome(entry: Entry) -> Json:
    reason = entry.reason
    if entry.conclusions:
        concluded = {kind for kind, _ in entry.conclusions}
        reason = reason or ("not-evaluated" if "not_evaluated" in concluded else None)
        if entry.verdict == ACCEPTED and "quality_defect" in concluded:
            reason = "voice-missing"
    return {
        "event_id": entry.event_id, "record": entry.record, "verdict": entry.verdict, "reason": reason,
        "problems": _problems(entry), **_source(entry), "number": entry.number, "accepted_at": entry.accepted_at,
    }  # fmt: skip


def _notice(entry: Entry, seq: int, kind: str, data: Json) -> Json:
    return {
        "notice_id": make_id("notice", entry.number, seq), "recommendation_id": data["recommendation_id"],
        "child_id": data["child_id"], "state": NOTICES[kind], "due_at": data.get("due_at"), "number": entry.number,
        "at": entry.accepted_at, "passed_to": [t["role"] for t in data.get("passed_to", ())],
    }  # fmt: skip


def _pointer(entry: Entry, seq: int, kind: str, data: Json) -> Json:
    return {
        "notice_id": make_id("pointer", entry.number, seq), "message_id": data["message_id"],
        "practice_ods": data["practice_ods"], "change": "WAITING" if kind == "gp_message" else "WITHDRAWN",
        "number": entry.number, "at": entry.accepted_at,
    }  # fmt: skip


def _source(entry: Entry) -> Json:
    topic, partition, offset = entry.source or ("", 0, 0)
    return {"source_topic": topic, "source_partition": partition, "source_offset": offset}


def _problems(entry: Entry) -> list[dict[str, Any]]:
    return [{"field": p.field, "rule": p.rule, "message": p.message} for p in entry.problems]
