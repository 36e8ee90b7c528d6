"""GP practices: what a message says, whom it reaches, how it is answered."""

from __future__ import annotations

import importlib.util
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.webfixtures import Site, site
from tests.webworld import LOST_MESSAGE, MESSAGE, MIA, NOW, OTHER_PRACTICE, PRACTICE, World
from web import gp
from web.fhir import EXTENSION, NotACsogMessage, gp_content, inbox_bundle, message_bundle, receipt
from web.ports import Json
from web.security import BODY_BYTES_MAX

__all__ = ["site"]

PUBLISHED = bool(importlib.util.find_spec("fhirclient")) or bool(os.environ.get("CI"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)

READ = f"/fhir/r4/Communication/{MESSAGE}"


def bundle() -> Json:
    """The message of the small world."""
    found = World().gp_message(MESSAGE, PRACTICE)
    assert found
    return message_bundle(gp_content(*found))


def inbox() -> Json:
    """The list of a practice's waiting messages."""
    waiting = World().gp_inbox(PRACTICE, ("WAITING", "ACCEPTED", "READ"))
    return inbox_bundle([(i.message_id, i.state, i.sent_at) for i in waiting], "https://x.example/fhir/r4")


def bound(model: BaseModel) -> Iterator[tuple[str, str, list[str]]]:
    """(field, code, allowed codes) of every bound code in a resource and its parts."""
    for name, field in type(model).model_fields.items():
        value, more = getattr(model, name), field.json_schema_extra
        if isinstance(value, str) and isinstance(more, dict) and more.get("enum_values"):
            yield name, value, list(map(str, more["enum_values"]))  # type: ignore[arg-type]
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, BaseModel):
                yield from bound(part)


def receipt_of(state: str, reason: str | None = None) -> Json:
    """A Parameters resource."""
    given_ = [{"name": "state", "valueCode": state}, *([{"name": "reason", "valueCode": reason}] if reason else [])]
    return {"resourceType": "Parameters", "parameter": given_}


class TestContent:
    """The minimum of domain.md §3c, and nothing more."""

    def test_it_is_valid_r4(self) -> None:
        """R4B changed nothing in Bundle, Communication, Flag and Provenance."""
        types = [e.resource.get_resource_type() for e in Bundle.model_validate(bundle()).entry or () if e.resource]
        assert ["Communication", "Flag", "Provenance"] == types

    @pytest.mark.skipif(not PUBLISHED, reason="fhirclient (FHIR 4.0.1 models) is not installed: `make test` brings it")
    @pytest.mark.parametrize("what", ["message", "inbox"])
    def test_it_is_valid_by_the_published_r4_model(self, what: str) -> None:
        """FHIR 4.0.1, models made from its StructureDefinitions: nothing required is missing, no name or type is not theirs."""
        models = importlib.import_module("fhirclient.models.bundle")
        base = importlib.import_module("fhirclient.models.fhirabstractbase")
        said = bundle() if what == "message" else inbox()
        assert said == models.Bundle(said).as_json()
        for wrong in ({"status": None}, {"statuss": "completed"}, {"sent": "yesterday"}):
            resource = {k: v for k, v in (said["entry"][0]["resource"] | wrong).items() if v is not None}
            with pytest.raises(base.FHIRValidationError):
                models.Bundle({**said, "entry": [{**said["entry"][0], "resource": resource}]})

    def test_every_bound_code_is_of_its_value_set(self) -> None:
        """Codes whose binding is required; R4B has the same sets for these resources."""
        found = [*bound(Bundle.model_validate(bundle())), *bound(Bundle.model_validate(inbox()))]
        assert {"status", "type", "priority", "mode"} <= {name for name, _, _ in found}
        assert [] == [(name, code) for name, code, values in found if code not in values]

    def test_every_item_of_the_minimum(self) -> None:
        """Each as data, and the words for a system without extensions."""
        communication = bundle()["entry"][0]["resource"]
        said = {e["url"].removeprefix(EXTENSION): e for e in communication["extension"]}
        assert "2026-05-26" == said["csog-date"]["valueDate"]
        assert ("MEDIUM", "HIGH") == (said["level-agency"]["valueCode"], said["level-joint"]["valueCode"])
        assert "2026-06-05" == said["gp-action-due"]["valueDate"]
        assert said["do-not-show-to-patient-online"]["valueBoolean"] is True
        assert said["subject-may-be-informed"]["valueBoolean"] is False
        assert "2026-06-30" == said["review-date"]["valueDate"]
        assert "Social worker, CSE team" == said["lead-professional-role"]["valueString"]
        assert "9990000018" == communication["subject"]["identifier"]["value"]
        assert PRACTICE == communication["recipient"][0]["identifier"]["value"]
        assert "PLAN-77 v3" == communication["basedOn"][0]["identifier"]["value"]
        assert any("three missing episodes" in p["contentString"] for p in communication["payload"])
        assert {"R", "NOPAT"} == {s["code"] for s in communication["meta"]["security"]}

    def test_codes_to_add_and_to_end(self) -> None:
        """A flag each: active, inactive."""
        found = World().gp_message(MESSAGE, PRACTICE)
        assert found
        view, message = found
        view["chronology"][0]["body"] |= {"snomed_end": ["700253008"]}
        flags = [
            e["resource"] for e in message_bundle(gp_content(view, message))["entry"] if e["resource"]["resourceType"] == "Flag"
        ]
        assert [("919461000000108", "active"), ("700253008", "inactive")] == [
            (f["code"]["coding"][0]["code"], f["status"]) for f in flags
        ]

    def test_nothing_of_the_view_but_what_is_picked(self) -> None:
        """No name, address, sibling or third party."""
        text = json.dumps(bundle())
        assert not any(w in text for w in ("Mia", "Connor", "Canary-Address", "WA8", "account-of-somebody"))

    def test_the_same_twice(self) -> None:
        """Output ids are of what they are about (I3)."""
        assert bundle() == bundle()

    def test_a_retracted_outcome_is_not_told(self) -> None:
        """Nor a sealed one."""
        found = World().gp_message(MESSAGE, PRACTICE)
        assert found
        view, message = found
        view["chronology"][0]["state"] = "RETRACTED"
        with pytest.raises(NotACsogMessage):
            gp_content(view, message)

    def test_an_empty_inbox_is_a_valid_bundle(self) -> None:
        """Total 0, no `entry`."""
        assert 0 == Bundle.model_validate(inbox_bundle([], "https://x.example/fhir/r4")).total

    @given(ANYTHING)
    def test_whatever_is_sent_as_a_receipt(self, sent: object) -> None:
        """Either a receipt or a ValueError."""
        with pytest.raises(ValueError, match=r"Parameters|parameter"):
            receipt(sent)


class TestDoor:
    """Own credentials, own messages."""

    def test_no_credential(self, site: Site) -> None:
        """401 with a challenge, as an OperationOutcome."""
        for headers in (
            {},
            {"authorization": "Basic !!!"},
            {"authorization": b"Basic \xe9\xe9=="},
            {"authorization": "Bearer x"},
            {"authorization": "Basic bm9ib2R5Og=="},
            {"authorization": f"Basic {b64encode(bytes(1) + b':secret').decode()}"},
        ):
            answer = site.stranger().get("/fhir/r4/Communication", headers=headers)
            assert 401 == answer.status_code
            assert answer.headers["www-authenticate"].startswith("Basic")
            OperationOutcome.model_validate(answer.json())

    def test_a_session_is_no_credential(self, site: Site) -> None:
        """Nor does a manager read a practice's inbox here."""
        assert 401 == site.person("icart_manager").get("/fhir/r4/Communication").status_code

    def test_behind_a_tls_proxy(self, site: Site) -> None:
        """Which does not tell us: a practice that follows an address must not say its secret in the clear."""
        house = site.app.state.house
        for secure, scheme in ((False, "http"), (True, "https")):
            house.config = replace(house.config, secure_cookies=secure)
            listed = site.stranger().get("/fhir/r4/Communication", auth=site.practices[PRACTICE]).json()
            assert listed["entry"]
            assert {scheme} == {e["fullUrl"].partition("://")[0] for e in listed["entry"]}

    def test_own_messages_only(self, site: Site) -> None:
        """The other practice's are not found, to read or to answer."""
        client, mine, theirs = site.stranger(), site.practices[PRACTICE], site.practices[OTHER_PRACTICE]
        listed = client.get("/fhir/r4/Communication", auth=mine).json()
        assert [MESSAGE] == [e["resource"]["id"] for e in Bundle.model_validate(listed).model_dump()["entry"]]
        assert "9990000018" not in json.dumps(listed)
        assert 404 == client.get(READ, auth=theirs).status_code
        assert 404 == client.get(f"/fhir/r4/Communication/{LOST_MESSAGE}", auth=mine).status_code
        assert 404 == client.post(f"{READ}/$receipt", json=receipt_of("READ"), auth=theirs).status_code

    def test_a_page_at_a_time(self, site: Site) -> None:
        """`next` leads on to the end, also when what was listed has left the list; `total` stands where all is told."""
        client, auth = site.stranger(), site.practices[PRACTICE]
        messages = site.world.views[MIA]["messages"]
        more = [messages[0] | {"message_id": f"{n}" * 8 + MESSAGE[8:], "raised_at": NOW + n} for n in range(1, 5)]
        messages += more
        ids = [MESSAGE, *(m["message_id"] for m in more)]
        whole = client.get("/fhir/r4/Communication", auth=auth).json()
        assert (5, None) == (whole["total"], whole.get("link"))
        address, found = "/fhir/r4/Communication?_count=2", list[str]()
        for left in (1, 1, 0):
            page = client.get(address, auth=auth).json()
            Bundle.model_validate(page)
            assert (left, True) == (len(page.get("link", [])), "total" not in page)
            found += [e["resource"]["id"] for e in page["entry"]]
            messages.remove(next(m for m in messages if m["message_id"] == found[-1]))
            address = page["link"][0]["url"] if left else ""
        assert ids == found
        assert 2 == client.get("/fhir/r4/Communication?_count=9", auth=auth).json()["total"]
        assert 2 == client.get("/fhir/r4/Communication?_count=0", auth=auth).json()["total"]

    def test_a_page_of_everything(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next page of `state=all` is of all; a page is never longer than the limit."""
        monkeypatch.setattr(gp, "ENTRIES_MAX", 1)
        client, auth = site.stranger(), site.practices[PRACTICE]
        messages = site.world.views[MIA]["messages"]
        messages += [messages[0] | {"message_id": "1" * 8 + MESSAGE[8:], "raised_at": NOW, "state": "CODED"}]
        first = client.get("/fhir/r4/Communication?state=all&_count=50", auth=auth).json()
        second = client.get(first["link"][0]["url"], auth=auth).json()
        assert [MESSAGE, "1" * 8 + MESSAGE[8:]] == [b["entry"][0]["resource"]["id"] for b in (first, second)]
        assert "link" not in second

    @pytest.mark.parametrize("query", ["_count=-1", "_count=many", "after=1", "after=x.y", f"after={'9' * 17}.{MESSAGE}"])
    def test_no_such_page(self, site: Site, query: str) -> None:
        """422, an OperationOutcome."""
        answer = site.stranger().get(f"/fhir/r4/Communication?{query}", auth=site.practices[PRACTICE])
        assert 422 == answer.status_code
        OperationOutcome.model_validate(answer.json())

    def test_reading_is_recorded_and_marks_nothing(self, site: Site) -> None:
        """An access record of the practice; the state stays."""
        answer = site.stranger().get(READ, auth=site.practices[PRACTICE])
        assert "application/fhir+json" == answer.headers["content-type"]
        Bundle.model_validate(answer.json())
        assert ("gp_practice", "GP_MESSAGE", json.dumps([MIA])) == (site.accesses()[0][0], *site.accesses()[0][2:])
        assert [] == site.world.sent

    def test_receipts(self, site: Site) -> None:
        """Forward only; the same again is the same."""
        client, auth = site.stranger(), site.practices[PRACTICE]
        for state in ("ACCEPTED", "READ", "READ", "CODED"):
            answer = client.post(f"{READ}/$receipt", json=receipt_of(state), auth=auth)
            assert 200 == answer.status_code, answer.text
            OperationOutcome.model_validate(answer.json())
        assert ["ACCEPTED", "READ", "CODED"] == [v["state"] for _, v in site.world.sent]
        assert (PRACTICE, "gp_practice") == (site.world.sent[0][1]["act"]["actor_id"], site.world.sent[0][1]["act"]["actor_role"])
        assert 409 == client.post(f"{READ}/$receipt", json=receipt_of("READ"), auth=auth).status_code

    @pytest.mark.parametrize(
        "body",
        [
            receipt_of("LOST"),
            receipt_of("REJECTED"),
            receipt_of("READ", "DECEASED"),
            receipt_of("REJECTED", "NO_SUCH"),
            [],
            "{",
            "[" * 60_000,
        ],
    )
    def test_a_bad_receipt_says_what_is_wrong(self, site: Site, body: object) -> None:
        """400, an OperationOutcome, nothing sent."""
        sent = {"content": body} if isinstance(body, str) else {"json": body}
        answer = site.stranger().post(f"{READ}/$receipt", auth=site.practices[PRACTICE], **sent)
        assert 400 == answer.status_code
        OperationOutcome.model_validate(answer.json())
        assert [] == site.world.sent

    def test_a_long_receipt_says_the_limit(self, site: Site) -> None:
        """413, an OperationOutcome."""
        answer = site.stranger().post(f"{READ}/$receipt", auth=site.practices[PRACTICE], content=b" " * (BODY_BYTES_MAX + 1))
        assert (413, True) == (answer.status_code, "64 KiB" in answer.text)
        OperationOutcome.model_validate(answer.json())

    def test_rejected(self, site: Site) -> None:
        """With its reason."""
        auth = site.practices[PRACTICE]
        assert (
            200 == site.stranger().post(f"{READ}/$receipt", json=receipt_of("REJECTED", "NOT_OUR_PATIENT"), auth=auth).status_code
        )
        assert "NOT_OUR_PATIENT" == site.world.sent[0][1]["reason"]

    def test_pending_and_away(self, site: Site) -> None:
        """202 while the ledger is slow; 503 while the broker is away, then the same receipt goes."""
        client, auth = site.stranger(), site.practices[PRACTICE]
        site.world.away = True
        assert 503 == client.post(f"{READ}/$receipt", json=receipt_of("READ"), auth=auth).status_code
        site.world.away, site.world.slow_s = False, 30
        assert 202 == client.post(f"{READ}/$receipt", json=receipt_of("READ"), auth=auth).status_code

    def test_metadata(self, site: Site) -> None:
        """The capability statement says 4.0.1, to anyone."""
        assert "4.0.1" == site.stranger().get("/fhir/r4/metadata").json()["fhirVersion"]
