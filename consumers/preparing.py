"""From bytes in the intake to something that can be decided about: decode, check, name. No database, no memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from consumers.host import Intake
from domain.model import Json
from domain.problems import Problem
from projections.entries import ACT, FACT
from projections.keyring import keyed_hash
from schemas.catalogue import RecordSpec, spec
from schemas.codec import Codec, Undecodable
from schemas.validation import FACT_BYTES_MAX, check

UUID_TEXT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Anything else in an id field may be somebody's name: it is not repeated (I7)."""

SUBJECT_FIELDS: Final = tuple(r.keys[-1] for r in spec("SchoolConcern").rules if r.keys[:2] == ("envelope", "subject"))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One intake record, understood. `reason` is None when it may be accepted."""

    intake: Intake
    kind: str
    agency: str | None
    record: str | None = None
    event_id: str | None = None
    reason: str | None = None
    problems: tuple[Problem, ...] = ()
    writer: str | None = None
    content: bytes = b""
    value: Json | None = None
    body: bytes | None = None
    presentation_id: str | None = None
    local_only: bool = False

    @property
    def subject(self) -> Json:
        """The presentation as sent."""
        assert self.value is not None
        found: Json = self.value["envelope"]["subject"]
        return found

    @property
    def replaces(self) -> str | None:
        """The event_id that this fact supersedes or retracts."""
        assert self.value is not None
        env = self.value["envelope"]
        found: str | None = env["supersedes"] or env["retracts"]
        return found

    @property
    def corrects(self) -> list[tuple[str, str]]:
        """(field, event_id) of each fact that this one supersedes or retracts."""
        assert self.value is not None
        env = self.value["envelope"]
        return [(f"envelope.{name}", env[name]) for name in ("supersedes", "retracts") if env[name] is not None]


class Preparer:
    """Prepares records with the deployment's codec, secret and clock."""

    def __init__(self, codec: Codec, secret: bytes, now_us: Callable[[], int]) -> None:
        self._codec, self._secret, self._now = codec, secret, now_us

    def prepare(self, intake: Intake) -> Prepared:
        """Decode, check and name one record. Faults of data become a `reason`; nothing is raised for them.

        Raises:
            RegistryUnavailable: try the batch again later.
        """
        blank = unread(intake)
        what, agency = blank.kind, blank.agency
        if len(intake.value) > FACT_BYTES_MAX:
            return refuse(blank, "too-large")
        try:
            decoded = self._codec.decode(intake.value)
        except Undecodable as err:
            return refuse(blank, err.reason)
        record, value = decoded.spec, decoded.value
        named = Prepared(intake, what, agency, record.name, _event_id(value), writer=decoded.writer)
        if not _belongs(record, what, agency, intake.topic):
            return refuse(named, "wrong-topic")
        if problems := check(record, value, max(self._now(), intake.appended_at)):
            return refuse(named, problems[0].rule, tuple(problems))
        if what == FACT and value["envelope"]["agency"] != agency:
            return refuse(
                named, "wrong-agency", (Problem("envelope.agency", "wrong-agency", "names another agency than the topic's"),)
            )
        content = self._hash(record.name, stated(value))
        pid, local_only = self._presentation(agency, value) if agency is not None else (None, False)
        return Prepared(
            intake,
            what,
            agency,
            record.name,
            named.event_id,
            None,
            (),
            decoded.writer,
            content,
            value,
            decoded.body,
            pid,
            local_only,
        )

    def same(self, item: Prepared, content: bytes) -> bool:
        """Is this the content hash of what `item` says? Before 0.1.0 it was taken of what is left empty as well: such a hash is
        known until a schema of it gains a field.
        """
        return content == item.content or (item.value is not None and content == self._hash(item.record or "", item.value))

    def _hash(self, record: str, value: Json) -> bytes:
        return keyed_hash(self._secret, record, orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())[:16]

    def _presentation(self, agency: str, value: Json) -> tuple[str, bool]:
        """The presentation's id: a keyed hash of agency and fields as sent; and whether it gives a local id alone."""
        subject = value["envelope"]["subject"]
        fields = [f"{n}={subject[n]}" for n in SUBJECT_FIELDS if subject[n] is not None]
        return keyed_hash(self._secret, "presentation", agency, *fields).hex()[:32], len(fields) == 1


def stated(value: Json) -> Json:
    """The value without the fields that are left empty: whoever knows more fields or fewer reads the same from the same bytes."""
    return {k: _stated(v) for k, v in value.items() if v is not None and v != []}


def _stated(value: object) -> object:
    if isinstance(value, dict):
        return stated(value)
    return [_stated(v) for v in value] if isinstance(value, list) else value


def _event_id(value: Json) -> str | None:
    head = value.get("envelope") or value.get("act") or {}
    found = head.get("event_id")
    return found if isinstance(found, str) and UUID_TEXT.fullmatch(found) else None


def _belongs(record: RecordSpec, what: str, agency: str | None, topic: str) -> bool:
    if what == FACT:
        return record.kind == "event" and agency in record.agencies
    return record.kind == "act" and record.topic == topic


def unread(intake: Intake) -> Prepared:
    """A record of which nothing but its place is known."""
    kind, _, owner = intake.topic.partition(".")
    return Prepared(intake, *((FACT, owner) if kind == "facts" else (ACT, None)))


def refuse(named: Prepared, reason: str, problems: tuple[Problem, ...] = ()) -> Prepared:
    """The same record, to be refused for `reason`: its content is dropped."""
    return Prepared(named.intake, named.kind, named.agency, named.record, named.event_id, reason, problems, named.writer)
