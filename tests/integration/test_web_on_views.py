"""The pages on the real parts: what is withheld appears on no way out of the living house, in no role, on no route."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, Final
from uuid import uuid4

import pytest
from starlette.routing import Route

from domain.sharing import ROLES
from projections.accounts import PEOPLE_ROLES
from tests.fault.harness import OUTPUTS
from tests.living import Answer, Living, Person, at_once, fact, living
from tests.livingworld import BORN, FAMILY, GIVEN, HIDDEN_ADDRESS, NHS, SEALED_ADDRESS, SEALED_NAME, World, everyone, told
from tests.services import Services
from tests.unit.test_web_contract import MODELS
from web.api import models
from web.app import EVERY_ROUTER

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

STREAMS: Final = ("/live/queue", "/live/children/{child_id}", "/live/pulse")
PERSONAL: Final = (GIVEN, FAMILY, BORN, *NHS[:4], SEALED_NAME, "Sealed-Canary", "Thesame", "2013-05-06", "Triggered")
"""Whoever has no seat is shown none of these, and no log and no address holds one."""

ASKED: Final[dict[str, tuple[str, ...]]] = {
    "/children/{child_id}": (
        "?as_of-day=1&as_of-month=1&as_of-year=2025",
        "?as_of-day=99&as_of-month=1&as_of-year=2025",
        "?purpose=OWN_CASE",
    ),
    "/api/children/{child_id}": ("?as_of=2025-01-01T00:00:00Z&known_at=2025-01-01T00:00:00Z",),
    "/matches": tuple(f"?state={s}" for s in ("CONFIRMED", "REJECTED", "UNDONE", "nonsense")),
    "/api/matches": tuple(f"?state={s}" for s in ("CONFIRMED", "REJECTED", "UNDONE", "nonsense")),
    "/dead-letters": ("?agency=education", "?agency=nonsense"),
    "/api/dead-letters": ("?agency=education",),
    "/fhir/r4/Communication": ("?state=all", "?_count=1", "?state=all&_count=1"),
    "/sign-in": ("?next=/queue",),
}
"""Queries that a route takes beside none at all."""

POSTED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    # route: (what the form's ticket is about, what is sent); nothing here may be recorded, each answer must be safe
    "/sign-in": ("", {"name": "nobody", "password": "not a password"}),
    "/sign-out": ("", {"csrf": "wrong"}),
    "/search": ("", {"name": GIVEN, "purpose": "OVERSIGHT"}),
    "/children/{child_id}/case": ("case:another", {"taken": "yes"}),
    "/recommendations/{recommendation_id}/decide": ("decide:{recommendation_id}", {"decision": "DECLINE"}),
    "/recommendations/{recommendation_id}/held": ("held:{recommendation_id}", {}),
    "/recommendations/{recommendation_id}/disagree": ("disagree:{recommendation_id}", {}),
    "/recommendations/{recommendation_id}/close": ("close:{recommendation_id}", {}),
    "/matches/{match_id}": ("match:{match_id}", {"what": "undo"}),
    "/gp-exceptions/{message_id}": ("gp:{message_id}", {}),
    "/gp-exceptions/{message_id}/case": ("gp-case:another", {"taken": "yes"}),
    "/api/session": ("", {"name": "nobody", "password": "not a password"}),
    "/api/search": ("", {"name": GIVEN, "purpose": "OVERSIGHT"}),
    "/api/children/{child_id}/case": ("", {"taken": "perhaps"}),
    "/api/recommendations/{recommendation_id}/decide": ("", {"decision": "DECLINE", "reason": "OTHER", "rationale": "x"}),
    "/api/recommendations/{recommendation_id}/held": ("", {"attended": []}),
    "/api/recommendations/{recommendation_id}/disagree": ("", {"ground": ""}),
    "/api/recommendations/{recommendation_id}/close": ("", {"rationale": ""}),
    "/api/matches/{match_id}": ("", {"decision": "undo"}),
    "/api/gp-exceptions/{message_id}": ("", {"resolution": ""}),
    "/api/gp-exceptions/{message_id}/case": ("", {"taken": "perhaps"}),
    "/fhir/r4/Communication/{message_id}/$receipt": ("", {"resourceType": "Parameters"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything told once; tests that decide something do it on children of their own."""
    with living(services, tmp_path_factory.mktemp("living")) as house:
        yield told(house)


def routes(house: Living) -> dict[str, set[str]]:
    """Every route of the application by path, with its methods: from its own table, so that none can be forgotten."""
    house.routes()
    found: dict[str, set[str]] = {}
    for route in [*house.app.routes, *(r for router in EVERY_ROUTER for r in router.routes)]:
        if isinstance(route, Route):
            found.setdefault(route.path, set()).update(set(route.methods or ()) - {"HEAD"})
    return found


def filled(path: str, ids: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, dict[str, str]]]:
    """The addresses of a route with every id there is."""
    names = re.findall(r"{(\w+)}", path)
    for values in product(*(ids[n] for n in names)):
        chosen = dict(zip(names, values, strict=True))
        yield path.format(**chosen), chosen


def crawl(world: World, person: Person) -> list[Answer]:
    """Every route with every id, asked for and posted to; nothing is recorded by it."""
    house, ids = world.living, world.ids()
    tickets = house.routes().acting
    person.seen.clear()
    for path, methods in sorted(routes(house).items()):
        for address, chosen in filled(path, ids):
            if "GET" in methods and path not in STREAMS:
                for query in ("", *ASKED.get(path, ())):
                    person.get(address + query)
            if "POST" not in methods:
                continue
            about, body = POSTED[path]
            if path.startswith(("/api/", "/fhir/")):
                person.api(address, {"event_id": str(uuid4()), "based_on": 1, **body})
            else:
                person.post(address, {"ticket": tickets.open(about.format(**chosen), 1)} | body)
    return list(person.seen)


def shape_of(path: str) -> type[models.Shape] | None:
    """The model of an answer about children."""
    return next((m for p, m in MODELS.items() if re.fullmatch(re.sub(r"{\w+}", "[0-9a-f-]{36}", p), path)), None)


class TestEveryWayOut:
    """The canaries: bodies, headers, addresses, JSON, FHIR, events, logs, topics."""

    def test_the_crawl_reaches_every_route(self, world: World) -> None:
        """A new route is asked for by itself; a new parameter, stream or form must be named above."""
        found = routes(world.living)
        ids = world.ids()
        assert {n for p in found for n in re.findall(r"{(\w+)}", p)} == set(ids)
        assert {p for p in found if p.startswith("/live/")} == set(STREAMS)
        assert {p for p, methods in found.items() if "POST" in methods} == set(POSTED)
        assert {m for methods in found.values() for m in methods} == {"GET", "POST", "DELETE"}
        assert ["/api/session"] == [p for p, methods in found.items() if "DELETE" in methods]
        assert all(values for values in ids.values())
        assert min(len(ids[n]) for n in ("child_id", "message_id")) >= 2

    @pytest.mark.parametrize("role", PEOPLE_ROLES)
    def test_no_withheld_fact_in_any_role(self, world: World, role: str) -> None:
        """What must not be sent is nowhere; what may be seen is there; nothing fails."""
        person = world.living.person(role)
        answers = crawl(world, person)
        assert [] == [(a.method, a.url, a.status) for a in answers if a.status >= 500]
        assert [] == [a.url for a in answers if a.status in (202, 303) and a.method == "POST"]
        everything = "\n".join(a.whole for a in answers).casefold()
        withheld = list(world.withheld_from(role))
        assert [] == [c for c in withheld if c in everything]
        assert [] == sorted(c for c in world.story.withheld if c not in withheld and c not in everything)
        for a in answers:
            path = a.url.removeprefix(world.living.base).partition("?")[0]
            if a.status == 200 and (model := shape_of(path)) is not None:
                model.model_validate_json(a.body)
        manager = role == "icart_manager"
        assert manager == (SEALED_NAME.casefold() in everything)
        assert manager == (SEALED_ADDRESS.casefold() in everything)
        assert (role in ("icart_manager", "icart_police")) == (HIDDEN_ADDRESS.casefold() in everything)
        assert "canary-letter" not in everything
        if role not in ROLES:
            assert [] == [p for p in PERSONAL if p.casefold() in everything]
        else:
            assert GIVEN.casefold() in everything
        assert [] == [a.url for a in answers if any(p.casefold() in a.url.casefold() for p in PERSONAL)]

    def test_a_withheld_reason_says_so_and_no_more(self, world: World) -> None:
        """The harm trigger that rests on the police's own grade counts for all, and is told to those who may know it."""
        rec = "select about from conclusion where kind = 'recommended' and child_id = '{}'"
        (found,) = set(world.living.ids(rec.format(world.harmed)))
        told_to = {
            r: world.living.person(r).json(f"/api/recommendations/{found}")["recommendation"]["reasons"] for r in sorted(ROLES)
        }
        trigger = next(r for r in told_to["icart_manager"] if r["trigger"])
        for role, reasons in told_to.items():
            assert trigger["points"] == next(r["points"] for r in reasons if r["trigger"])
            assert (role in ("icart_manager", "icart_police")) == (trigger["text"] in str(reasons)), role
            assert ("Information withheld" in str(reasons)) == (trigger["text"] not in str(reasons)), role
        for path in ("/queue", f"/recommendations/{found}", f"/children/{world.harmed}"):
            page = world.living.person("icart_education").get(path).body
            assert "Information withheld" in page and trigger["text"] not in page, path

    def test_events_hold_no_content(self, world: World) -> None:
        """While facts arrive, every stream of every role says that something changed, and nothing else."""
        paths = [("/live/queue", "queue"), (f"/live/children/{world.every}?version=0", "changed"), ("/live/pulse", "pulse")]
        people = [(role, path, name) for role in PEOPLE_ROLES for path, name in paths]
        heard: dict[tuple[str, str], list[str]] = {}

        def listen(role: str, path: str) -> Answer:
            seats = role in ROLES or path == "/live/pulse"
            heard[(role, path)] = world.living.person(role).events(path, 1, 30 if seats else 3)
            return Answer("GET", path, 200, {}, "")

        def speak() -> Answer:
            until = time.monotonic() + 30
            while len(heard) < len(people) and time.monotonic() < until:
                body = {"grade": "LOW", "scale": "EXPLOITATION", "rationale": "canary-streamed"}
                world.living.publish([fact("RiskGraded", "health", everyone("health"), body, sensitivity="SEALED")])
                time.sleep(0.3)
            return Answer("POST", "", 200, {}, "")

        for role in PEOPLE_ROLES:
            world.living.person(role)
        at_once([speak, *(lambda r=role, p=path: listen(r, p) for role, path, _ in people)])
        for role, path, name in people:
            events = heard[(role, path)]
            wanted = 1 if role in ROLES or path == "/live/pulse" else 0
            assert wanted == len(events), (role, path, events)
            assert all(f"event: {name}" in e for e in events)
            assert [] == [w for e in events for w in (*PERSONAL, "canary") if w.casefold() in e.casefold()]

    def test_a_stranger_gets_nothing(self, world: World) -> None:
        """Every address asks to sign in, is static, or says so."""
        answers = crawl(world, world.living.stranger())
        everything = "\n".join(a.whole for a in answers).casefold()
        assert [] == [c for c in (*world.story.withheld, *PERSONAL) if c.casefold() in everything]
        opened = {a.url.removeprefix(world.living.base).partition("?")[0] for a in answers if a.status == 200}
        assert opened == {
            "/sign-in", "/healthz", "/readyz", "/api/docs", "/api/openapi.json", "/fhir/r4/metadata", "/static/x/icon.svg",
            "/assets/images/icon.svg",
        }  # fmt: skip

    def test_a_practice_reaches_its_own_messages_only(self, world: World) -> None:
        """The practice of today reads both (one was re-routed, unread); the former and any other none; none learns more."""
        before, now = world.practices
        for ods, wanted in ((now, 2), (before, 0), ("Y99999", 0)):
            answers = crawl(world, world.living.practice(ods))
            everything = "\n".join(a.whole for a in answers).casefold()
            assert [] == [c for c in (*world.story.withheld, *PERSONAL) if c.casefold() in everything]
            read = [a for a in answers if a.status == 200 and re.search(r"/fhir/r4/Communication/[0-9a-f-]{36}$", a.url)]
            assert wanted == len(read), ods
        child = world.living.person("icart_manager").json(f"/api/children/{world.gp}")
        message, _ = [m for m in child["messages"] if m["practice_ods"] == now and m["state"] != "WITHDRAWN"]
        assert message["message_id"] in read_of(world, now)
        bundle = world.living.people[f"practice-{now}"].get(f"/fhir/r4/Communication/{message['message_id']}").body
        shown = [p["fields"] for p in child["identity"]]
        third = {f[k] for f in shown for k in ("given_name", "family_name", "address_line", "postcode") if f[k]}
        assert third
        assert [] == [t for t in third if t in bundle]

    def test_nothing_personal_in_logs_topics_and_records(self, world: World) -> None:
        """After all of the above: logs, the ledger's bytes, what leaves by Kafka, and access records (I7)."""
        house = world.living
        secrets = [*(c for c in world.story.withheld), *PERSONAL, "CANARY-letter", "canary-streamed"]
        logs = house.logs().casefold()
        assert "request" in logs
        assert [] == [s for s in secrets if s.casefold() in logs]
        for topic in ("ledger", "accesses", *OUTPUTS):
            sent = b"\n".join(
                b"".join((r.key or b"", r.value or b"", *(v for _, v in r.headers))) for r in house.house.read(topic)
            ).lower()
            assert [] == [s for s in secrets if s.casefold().encode() in sent], topic

    def test_every_look_is_recorded(self, world: World) -> None:
        """Page, API, search without hits and a practice's reading: who, as what, why, whom (I7)."""
        person = world.living.person("icart_health")
        person.get(f"/children/{world.every}?purpose=OWN_CASE")
        person.api("/api/search", {"name": "Nobody-at-all", "purpose": "OVERSIGHT"})
        with world.living.keep.connect() as conn:
            query = "select role, action, purpose, children from access_record order by at desc limit 2"
            found = [tuple(r) for r in conn.exec_driver_sql(query)]
        assert found[0][:3] == ("icart_health", "POST /api/search", "OVERSIGHT")
        assert found[1][:3] == ("icart_health", "GET /children/{child_id}", "OWN_CASE")
        assert world.every in found[1][3]
        assert world.every not in found[0][3]

    def test_what_no_database_can_hold(self, world: World) -> None:
        """A NUL in a number, a name or a client id is nobody's; the search is recorded."""
        person, stranger = world.living.person("icart_health"), world.living.stranger()
        found = person.api("/api/search", {"identifier": f"{NHS[0]}\0", "purpose": "OVERSIGHT"})
        assert (200, '{"items":[],"more":false}') == (found.status, found.body)
        with world.living.keep.connect() as conn:
            query = "select action, children from access_record order by at desc limit 1"
            assert ("POST /api/search", "[]") == tuple(conn.exec_driver_sql(query).one())
        assert 400 == stranger.sign_in("edt\0").status
        assert 401 == stranger.api("/api/session", {"name": "edt\0", "password": "wrong password"}).status
        assert 401 == stranger.http.get("/fhir/r4/Communication", auth=("client\0", "secret")).status_code


def read_of(world: World, ods: str) -> str:
    """The list of a practice's waiting messages."""
    return world.living.people[f"practice-{ods}"].get("/fhir/r4/Communication").body
