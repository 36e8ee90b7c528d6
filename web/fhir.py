"""A CSOG outcome as FHIR R4 (4.0.1): Bundle of Communication, Flag(s) and Provenance. Pure; what domain.md §3c asks, no more.

Every value is picked by name: no name, address, sibling, third party or chronology can get in. Where R4 has no element, an
extension says it (`EXTENSION`), and the same stands in words in `payload`, so that a system without them still shows all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from domain.model import make_id
from domain.problems import SightlineError
from domain.sharing import PRACTICE, SEE, Reader, decide
from domain.times import iso
from schemas.codes import label
from web.ports import Json

NHS_NUMBER: Final = "https://fhir.nhs.uk/Id/nhs-number"
ODS: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
SNOMED: Final = "http://snomed.info/sct"
EXTENSION: Final = "urn:sightline:fhir:extension:"

RESTRICTED: Final[Json] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R", "display": "restricted",
}  # fmt: skip
NOT_TO_PATIENT: Final[Json] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT",
    "display": "no disclosure to patient, family or caregivers without attending provider's authorization",
}  # fmt: skip

RECEIPT_STATES: Final = ("ACCEPTED", "READ", "CODED", "REJECTED")


class NotACsogMessage(SightlineError):
    """The view does not hold the outcome a message is about: retracted, or its key destroyed."""


@dataclass(frozen=True, slots=True)
class GpContent:
    """All that a practice is told. Days are ISO dates, `sent_at` µs UTC."""

    message_id: str
    event_id: str
    nhs_number: str | None
    practice_ods: str
    sent_at: int
    csog_date: str
    level_agency: str
    level_joint: str
    what_changed: str
    gp_action: str
    gp_action_due: str | None
    lead_role: str
    lead_contact: str
    snomed_add: tuple[str, ...]
    snomed_end: tuple[str, ...]
    plan_ref: str | None
    do_not_show_online: bool
    subject_may_be_informed: bool
    review_date: str | None


def gp_content(view: Mapping[str, Any], message: Mapping[str, Any]) -> GpContent:
    """What the practice is told of a message of this child.

    Raises:
        NotACsogMessage: the outcome is not there any more, or a practice may not be told it.
    """
    fact = next((f for f in view["chronology"] if f["event_id"] == message["csog_event_id"]), None)
    if (
        fact is None
        or fact["record"] != "CsogOutcome"
        or fact["state"] == "RETRACTED"
        or decide(Reader(PRACTICE), fact["sharing"]) is not SEE
    ):
        raise NotACsogMessage("the outcome this message is about is no longer there")
    body = fact["body"]
    return GpContent(
        message["message_id"],
        fact["event_id"],
        message.get("nhs_number") or _nhs_number(view),
        message["practice_ods"],
        message["raised_at"],
        body["csog_date"],
        body["level_agency"],
        body["level_joint"],
        body["what_changed"],
        body["gp_action"],
        body.get("gp_action_due"),
        body["lead_professional"]["role"],
        body["lead_professional"]["contact"],
        tuple(body["snomed_add"]),
        tuple(body["snomed_end"]),
        body.get("plan_ref"),
        body["do_not_show_to_patient_online"],
        body["subject_may_be_informed"],
        body.get("review_date"),
    )


def message_bundle(content: GpContent) -> Json:
    """Bundle (collection): Communication, then a Flag for each concept to add or end, then Provenance."""
    communication = _communication(content)
    flags = _flags(content)
    resources = [communication, *flags, _provenance(content, [communication, *flags])]
    return {
        "resourceType": "Bundle",
        "id": content.message_id,
        "meta": _meta(content),
        "type": "collection",
        "timestamp": iso(content.sent_at),
        "entry": [{"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in resources],
    }


def inbox_bundle(items: Iterable[tuple[str, str, int]], base: str, onward: str | None = None, *, whole: bool = True) -> Json:
    """Bundle (searchset) of pointers: id, receipt state and time of each waiting message, nothing about anyone.

    `onward`: the address of the next page. `whole`: these are all there are; else the bundle says no `total`, which is optional.
    """
    entries = [
        {
            "fullUrl": f"{base}/Communication/{message_id}",
            "resource": {
                "resourceType": "Communication", "id": message_id, "meta": {"security": [RESTRICTED]}, "status": "in-progress",
                "sent": iso(sent_at), "extension": [_extension("receipt-state", valueCode=state)],
            },
            "search": {"mode": "match"},
        }
        for message_id, state, sent_at in items
    ]  # fmt: skip
    return {
        "resourceType": "Bundle", "type": "searchset", **({"total": len(entries)} if whole else {}),
        **({"link": [{"relation": "next", "url": onward}]} if onward else {}), **({"entry": entries} if entries else {}),
    }  # fmt: skip


def receipt(parameters: Any) -> tuple[str, str | None]:
    """(state, reason) of a Parameters resource with `state` and, when rejected, `reason`, each a valueCode.

    Raises:
        ValueError: not such a resource; the text says what is wrong.
    """
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise ValueError("send a Parameters resource with parameter `state` (and `reason` when it is REJECTED)")
    given = parameters.get("parameter")
    told = (p for p in given if isinstance(p, dict) and isinstance(p.get("name"), str)) if isinstance(given, list) else ()
    found = {p["name"]: p.get("valueCode") for p in told}
    state, reason = found.get("state"), found.get("reason")
    if not isinstance(state, str) or state not in RECEIPT_STATES:
        raise ValueError(f"parameter `state` must be one of {', '.join(RECEIPT_STATES)}")
    if (state == "REJECTED") != (reason is not None):
        raise ValueError("parameter `reason` is needed when the state is REJECTED, and only then")
    if reason is not None and not isinstance(reason, str):
        raise ValueError("parameter `reason` must be a valueCode")
    return state, reason


def _communication(content: GpContent) -> Json:
    due = f" By {content.gp_action_due}." if content.gp_action_due else ""
    own, joint = label("csog-level", content.level_agency), label("csog-level", content.level_joint)
    words = [
        f"CSOG of {content.csog_date}. Level: {own} (children's social care), {joint} (joint).",
        f"What changed and why: {content.what_changed}",
        f"Action for the practice: {content.gp_action}{due}",
        f"Lead professional: {content.lead_role}, {content.lead_contact}",
        "Keep this entry hidden from online and proxy access." if content.do_not_show_online else "May be shown online.",
        "The child may be told of this entry."
        if content.subject_may_be_informed
        else "Do not tell the child or family of this entry.",
    ]
    extensions = [
        _extension("csog-date", valueDate=content.csog_date),
        _extension("level-agency", valueCode=content.level_agency),
        _extension("level-joint", valueCode=content.level_joint),
        _extension("gp-action", valueString=content.gp_action),
        *([_extension("gp-action-due", valueDate=content.gp_action_due)] if content.gp_action_due else []),
        _extension("lead-professional-role", valueString=content.lead_role),
        _extension("lead-professional-contact", valueString=content.lead_contact),
        _extension("do-not-show-to-patient-online", valueBoolean=content.do_not_show_online),
        _extension("subject-may-be-informed", valueBoolean=content.subject_may_be_informed),
        *([_extension("review-date", valueDate=content.review_date)] if content.review_date else []),
    ]
    plan = {"basedOn": [{"type": "CarePlan", "identifier": {"value": content.plan_ref}}]} if content.plan_ref else {}
    return {
        "resourceType": "Communication",
        "id": content.message_id,
        "meta": _meta(content),
        "extension": extensions,
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{content.message_id}"}],
        **plan,
        "status": "completed",
        "category": [{"text": "Outcome of the contextual safeguarding operational group (CSOG)"}],
        "priority": "urgent",
        "subject": _patient(content),
        "topic": {"text": "Safeguarding: contextual safeguarding outcome"},
        "sent": iso(content.sent_at),
        "recipient": [{"type": "Organization", "identifier": {"system": ODS, "value": content.practice_ods}}],
        "sender": {"type": "Organization", "display": label("agency", "csc")},
        "payload": [{"contentString": w} for w in words],
    }


def _flags(content: GpContent) -> list[Json]:
    begun, ended = {"start": content.csog_date}, {"end": content.csog_date}
    if not content.snomed_add and not content.snomed_end:
        code: Json = {"text": f"CSOG level {label('csog-level', content.level_joint)}"}
        return [_flag(content, "level", "inactive" if content.level_joint in ("NONE", "CLOSED") else "active", code, begun)]
    return [_flag(content, c, "active", _concept(c), begun) for c in content.snomed_add] + [
        _flag(content, c, "inactive", _concept(c), ended) for c in content.snomed_end
    ]


def _flag(content: GpContent, key: str, status: str, code: Json, period: Json) -> Json:
    safety = {"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "safety", "display": "Safety"}
    return {
        "resourceType": "Flag", "id": make_id("flag", content.message_id, key, status), "meta": _meta(content), "status": status,
        "category": [{"coding": [safety]}], "code": code, "subject": _patient(content), "period": period,
    }  # fmt: skip


def _provenance(content: GpContent, targets: Sequence[Json]) -> Json:
    author = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}]}
    assembler = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "assembler"}]}
    source = {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{UUID(content.event_id)}"}}
    return {
        "resourceType": "Provenance", "id": make_id("provenance", content.message_id), "meta": _meta(content),
        "target": [{"reference": f"urn:uuid:{t['id']}"} for t in targets], "recorded": iso(content.sent_at),
        "agent": [
            {"type": author, "who": {"type": "Organization", "display": label("agency", "csc")}},
            {"type": assembler, "who": {"type": "Device", "display": "Sightline"}},
        ],
        "entity": [{"role": "source", "what": source}],
    }  # fmt: skip


def _meta(content: GpContent) -> Json:
    hidden = content.do_not_show_online or not content.subject_may_be_informed
    return {"security": [RESTRICTED, *([NOT_TO_PATIENT] if hidden else [])]}


def _patient(content: GpContent) -> Json:
    if content.nhs_number is None:
        return {"type": "Patient", "display": "NHS number not known: ask the lead professional"}
    return {"type": "Patient", "identifier": {"system": NHS_NUMBER, "value": content.nhs_number}}


def _concept(code: str) -> Json:
    return {"coding": [{"system": SNOMED, "code": code, "display": label("snomed", code)}]}


def _extension(name: str, **value: Any) -> Json:
    return {"url": EXTENSION + name, **value}


def _nhs_number(view: Mapping[str, Any]) -> str | None:
    """The one trusted NHS number of the child; None when there is none, or two contradict."""
    numbers = {
        i["value"].replace(" ", "")
        for p in view["identity"]
        for i in p.get("identifiers", ())
        if i["system"] == "nhs_number" and i["trusted"]
    }
    return numbers.pop() if len(numbers) == 1 else None
