"""Every route in every role: what a role must not see appears in no answer, and nothing personal in a log line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.routing import Route

from projections.accounts import PEOPLE_ROLES
from tests.webfixtures import Site, csrf, site
from tests.webworld import (
    AISHA_REC,
    CALLUM,
    CALLUM_REC,
    CANARIES,
    LETTER,
    MATCH,
    MESSAGE,
    MIA,
    MIA_REC,
    NOAH,
    NOAH_REC,
    PRACTICE,
    SEALED,
)
from web.app import EVERY_ROUTER

__all__ = ["site"]

IDS = {
    "child_id": (CALLUM, MIA, NOAH, SEALED),
    "recommendation_id": (CALLUM_REC, MIA_REC, NOAH_REC, AISHA_REC),
    "match_id": (MATCH,),
    "message_id": (MESSAGE,),
    "letter_id": (LETTER,),
    "event_id": (CALLUM,),
    "digest": ("x",),
    "name": ("x",),
}

PERSONAL = ("Ashworth", "Callum", "O’Connor", "2012-03-14", "9990000018", "X876200118001", "CANARY", "Canary")


def addresses(site: Site) -> Iterator[str]:
    """Every GET address, streams aside, with each id there is."""
    for route in [*site.app.routes, *(r for router in EVERY_ROUTER for r in router.routes)]:
        if isinstance(route, Route) and "GET" in (route.methods or ()) and not route.path.startswith("/live/"):
            found = [route.path]
            for name, values in IDS.items():
                found = [f.replace(f"{{{name}}}", v) for f in found for v in values] if f"{{{name}}}" in route.path else found
            yield from found


def test_the_crawl_reaches_every_page(site: Site) -> None:
    """A route added later is crawled by itself; an unknown parameter fails here."""
    found = list(addresses(site))
    assert 40 <= len(found)
    assert not any("{" in f for f in found)


@pytest.mark.parametrize("role", PEOPLE_ROLES)
def test_no_withheld_fact_on_any_way_out(site: Site, role: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Pages, API, search and explanations, as HTML and as JSON; and the canaries one may see do appear."""
    client = site.person(role)
    answers = [client.get(a) for a in addresses(site)]
    if role not in ("board_analyst", "admin"):
        for terms in ({"name": "callum"}, {"name": "canary"}, {"name": "person"}, {"birth_date": "2014-01-01"}):
            answers.append(client.post("/api/search", json=terms | {"purpose": "OVERSIGHT"}))
            form = {"csrf": csrf(client.get("/search")), "name": terms.get("name", ""), "purpose": "OVERSIGHT"}
            answers.append(client.post("/search", data=form))
    assert not [a.url.path for a in answers if a.status_code >= 500]
    text = "\n".join(a.text for a in answers)
    withheld = [c for c, roles in CANARIES.items() if role in roles or role in ("board_analyst", "admin")]
    assert [] == [c for c in withheld if c in text]
    assert [] == [c for c in CANARIES if c not in withheld and c not in text]
    if role in ("board_analyst", "admin"):
        assert [] == [p for p in PERSONAL if p in text]
    told = capfd.readouterr()
    assert [] == [p for p in PERSONAL if p in told.out + told.err]


def test_addresses_hold_no_personal_data(site: Site) -> None:
    """Nor do links and redirects on any page."""
    client = site.person("icart_manager")
    pages = [client.get(a) for a in addresses(site)]
    links = [part.split('"', 1)[0] for p in pages for word in ('href="', 'action="') for part in p.text.split(word)[1:]]
    assert links
    assert [] == [link for link in links for p in PERSONAL if p.casefold() in link.casefold()]


def test_a_stranger_gets_nothing(site: Site) -> None:
    """Every address asks to sign in, is static, or says so."""
    client = site.stranger()
    answers = [client.get(a) for a in addresses(site)]
    text = "\n".join(a.text for a in answers)
    assert [] == [p for p in PERSONAL if p in text]
    opened = {a.url.path for a in answers if a.status_code == 200}
    assert {"/sign-in", "/healthz", "/readyz", "/api/docs", "/api/openapi.json", "/fhir/r4/metadata"} == opened


def test_a_practice_reaches_only_its_door(site: Site) -> None:
    """Its credential opens nothing else, and its messages hold the minimum."""
    client = site.stranger()
    answers = [client.get(a, auth=site.practices[PRACTICE]) for a in addresses(site)]
    assert [] == [a.url.path for a in answers if a.status_code == 200 and "callum" in a.text.casefold()]
    mine = [a for a in answers if a.url.path.endswith(MESSAGE)]
    assert [200] == [a.status_code for a in mine if a.url.path.startswith("/fhir/")]
    assert "Mia" not in json.dumps([a.json() for a in mine if a.status_code == 200])
