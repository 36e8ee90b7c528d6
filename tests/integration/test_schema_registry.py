"""What a schema registry must hold our schemas to, ours or a given one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from infra import assembly
from infra.errors import InfraError
from schemas.catalogue import catalogue, spec
from schemas.codec import Codec
from schemas.registry import COMPATIBILITY, CompatibilityNotSet, IncompatibleSchema, Registry, UnknownSchema
from tests.golden.values import VALUES
from tests.services import Deployment


def text(name: str, *fields: str) -> str:
    """A record with these string fields, none of which has a default."""
    listed = [{"name": f, "type": "string"} for f in fields]
    return json.dumps({"type": "record", "name": name, "namespace": "uk.sightline.test", "fields": listed})


@pytest.fixture
def registry(deployment: Deployment) -> Iterator[Registry]:
    """The real one."""
    made = Registry(deployment.registry_url)
    yield made
    made.close()


class TestRealRegistry:
    """Against the registry that runs."""

    def test_incompatible_is_refused_before_anything_is_published(
        self, deployment: Deployment, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A required field more: registering names the subject, and nobody gets an id to publish with."""
        good = spec("SchoolConcern")
        schema = json.loads(good.text)
        schema["fields"].append({"name": "shoe_size", "type": "string"})
        bad = replace(good, text=json.dumps(schema))
        with pytest.raises(IncompatibleSchema, match="SchoolConcern"):
            registry.register(bad.subject, bad.text)
        everything = {**catalogue(), "SchoolConcern": bad}
        monkeypatch.setattr(assembly, "catalogue", lambda: everything)
        with pytest.raises(InfraError, match=r"uk\.sightline\.SchoolConcern"):
            assembly.register_schemas(deployment.settings)
        monkeypatch.setattr("schemas.codec.catalogue", lambda: everything)
        with pytest.raises(UnknownSchema):
            Codec(registry).encode("SchoolConcern", VALUES["SchoolConcern"])

    def test_what_it_does_not_know(self, registry: Registry) -> None:
        """An id that it never gave, a subject that it has not, a text of a subject that it has: it says so itself."""
        with pytest.raises(UnknownSchema):
            registry.text(987_654_321)
        with pytest.raises(UnknownSchema):
            registry.lookup("uk.sightline.test.None", text("None", "a"))
        with pytest.raises(UnknownSchema):
            registry.lookup(spec("SchoolConcern").subject, text("SchoolConcern", "a"))

    def test_a_subject_that_takes_anything(self, registry: Registry) -> None:
        """Its level is raised before a schema is registered; then what breaks readers is refused."""
        subject = f"uk.sightline.test.Loose{uuid4().hex[:8]}"
        registry.register(subject, text("Loose", "a"))
        registry._call("PUT", f"/config/{subject}", {"compatibility": "NONE"})
        registry.register(subject, text("Loose", "a", "b"))
        registry.ensure_compatibility(subject)
        with pytest.raises(IncompatibleSchema):
            registry.register(subject, text("Loose", "a", "b", "c"))


class Given:
    """A registry as somebody may give it: levels by subject (empty: the registry's own), and whether it lets itself be set."""

    def __init__(self, levels: dict[str, str], *, settable: bool = True) -> None:
        self.levels, self.settable, self.put = levels, settable, list[str]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        subject = request.url.path.removeprefix("/config").strip("/")
        if request.method == "PUT":
            if not self.settable:
                return httpx.Response(403, json={"error_code": 403})
            self.put.append(subject)
            self.levels[subject] = json.loads(request.content)["compatibility"]
        found = self.levels.get(subject)
        return httpx.Response(404, json={}) if found is None else httpx.Response(200, json={"compatibilityLevel": found})


@pytest.fixture
def given() -> Iterator[Callable[[Given], Registry]]:
    """A client of it."""
    made: list[Registry] = []

    def make(answers: Given) -> Registry:
        made.append(Registry("http://registry.test"))
        made[-1]._http = httpx.Client(transport=httpx.MockTransport(answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


class TestGivenRegistry:
    """Levels that other registries have by default."""

    @pytest.mark.parametrize("level", ["BACKWARD", "NONE", "FULL"])
    def test_is_set_for_the_subject_alone(self, given: Callable[[Given], Registry], level: str) -> None:
        """A registry that others use keeps its own level."""
        answers = Given({"": level})
        given(answers).ensure_compatibility("uk.sightline.X")
        assert {"": level, "uk.sightline.X": COMPATIBILITY} == answers.levels

    def test_is_left_alone_where_it_is_right(self, given: Callable[[Given], Registry]) -> None:
        """Nothing is written."""
        for levels in ({"": COMPATIBILITY}, {"": "NONE", "uk.sightline.X": COMPATIBILITY}):
            answers = Given(levels, settable=False)
            given(answers).ensure_compatibility("uk.sightline.X")
            assert [] == answers.put

    @pytest.mark.parametrize("levels", [{"": "NONE"}, {"": COMPATIBILITY, "uk.sightline.X": "NONE"}, {}])
    def test_is_refused_where_it_cannot_be_set(self, given: Callable[[Given], Registry], levels: dict[str, str]) -> None:
        """With the level that is there and the one that has to be."""
        with pytest.raises(CompatibilityNotSet, match="has to be FULL_TRANSITIVE"):
            given(Given(levels, settable=False)).ensure_compatibility("uk.sightline.X")
