"""CP-IS resources as they come: one child, one plan, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from producers.cpis_fhir import Joined, join
from producers.drafts import Draft
from producers.facts import spec_of
from producers.fhir import parse
from producers.waiting import WaitingRoom
from projections.entries import ACCEPTED
from schemas.validation import from_json
from tests.fault.memory import Memory

NOW = 1_800_000_000_000_000


PATIENT = b"""<?xml version="1.0"?><Patient xmlns="http://hl7.org/fhir"><id value="P1"/>
 <identifier><extension url="https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus">
  <valueCodeableConcept><coding><code value="01"/></coding></valueCodeableConcept></extension>
  <system value="https://fhir.nhs.uk/Id/nhs-number"/><value value="9990000018"/></identifier>
 <name><use value="nickname"/><given value="Z"/></name>
 <name><use value="official"/><family value="Testcase"/><given value="Zo&#235;"/><given value="Ann"/></name>
 <gender value="female"/><birthDate value="2011-10-30">
  <extension url="x"><valueDateTime value="2011-10-30T01:30:00Z"/></extension></birthDate>
 <address><line value="1 Example Street"/><city value="Widnes"/><postalCode value="ZZ99 3VZ"/></address>
</Patient>"""


PLAN: dict[str, Any] = {
    "resourceType": "CarePlan",
    "id": "CP1",
    "status": "active",
    "intent": "plan",
    "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "342191000000101"}]}],
    "subject": {"reference": "Patient/P1"},
    "period": {"start": "2026-01-05"},
    "careTeam": [{"reference": "CareTeam/t1"}],
}


TEAM = {"resourceType": "CareTeam", "id": "T1", "name": "Halton", "telecom": [{"system": "phone", "value": "0151 496 0000"}]}


FLAG = {
    "resourceType": "Flag",
    "id": "F1",
    "status": "active",
    "code": {"coding": [{"code": "child-protection-information-system-flag"}]},
    "subject": {"reference": "Patient/P1"},
    "extension": [{"url": "flag-detail", "valueReference": {"reference": "CarePlan/CP1"}}],
}


def bundle(*resources: Any) -> bytes:
    """A JSON Bundle."""
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}).encode()


FILES: dict[str, bytes] = {
    "patient.xml": PATIENT,
    "plan.json": json.dumps(PLAN).encode(),
    "team.json": json.dumps(TEAM).encode(),
    "flag.json": bundle(FLAG),
}


def joined(files: Sequence[bytes]) -> Joined:
    """All at once, nothing told before."""
    return join([r for n, data in enumerate(files) for r in parse(f"file{n}", data)], {})


def content(draft: Draft) -> dict[str, Any]:
    """What a fact says, without its ids."""
    envelope = {k: v for k, v in draft.value["envelope"].items() if k not in ("event_id", "supersedes")}
    return {**draft.value, "envelope": envelope}


def version(day: str, start: str, end: str | None = None, **change: Any) -> dict[str, Any]:
    """The plan as updated on a day of February 2026 (empty: it does not say when)."""
    period = {"start": start, **({"end": end} if end else {})}
    dated = {"meta": {"lastUpdated": f"2026-02-{day}T00:00:00Z"}} if day else {}
    return {**PLAN, "period": period, "status": "completed" if end else "active", **dated, **change}


def receive(folder: Path, *files: bytes) -> Joined:
    """One call of the command."""
    room = WaitingRoom(folder)
    found = room.receive([r for n, data in enumerate(files) for r in parse(f"file{n}", data)])
    room.told(found)
    room.close()
    return found


def send(folder: Path, *versions: dict[str, Any]) -> list[Draft]:
    """Each version of the plan by a call of its own, beside all else; what was told."""
    return [draft for plan in versions for draft in receive(folder, PATIENT, bundle(plan, TEAM, FLAG)).drafts]


def shown(told: Sequence[Draft]) -> list[tuple[str, str, str | None]]:
    """Type, start and end of the plans that are shown of any child once all of it has arrived, in the order given."""
    house = Memory(NOW)
    for draft in told:
        value = from_json(spec_of(draft.record), draft.value)
        assert ACCEPTED == house.take("facts.health", draft.record, value).verdict
    return [(p["plan_type"], p["start"], p["end"]) for view in house.views() for p in view["cpis"]["status"]]


def patient(day: str, place: str) -> bytes:
    """The Patient as updated on a day, in the street of that name."""
    dated = b'<meta><lastUpdated value="%sT09:00:00Z"/></meta>' % day.encode() if day else b""
    street = PATIENT.replace(b"1 Example Street", b"1 %s Street" % place.encode()).replace(b'<city value="Widnes"/>', b"")
    return street.replace(b'<id value="P1"/>', b'<id value="P1"/>' + dated)


def asked(found: Joined) -> list[tuple[str, bool]]:
    """Where it is reported that a version's date leaves something open."""
    return [(r.field, r.kept) for r in found.reports if r.rule == "version-unclear"]


def forget(folder: Path, *names: str) -> None:
    """As an earlier release left its memory, without these."""
    kept = json.loads((folder / "sent.json").read_text())
    (folder / "sent.json").write_text(
        json.dumps({ref: {k: v for k, v in one.items() if k not in names} for ref, one in kept.items()})
    )
