"""A Confluent-compatible schema registry, as far as Sightline needs one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from domain.problems import SightlineError

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 10.0
"""A registry answers in milliseconds; ten seconds covers one that is starting."""


COMPATIBILITY: Final = "FULL_TRANSITIVE"
"""Readers and writers of any two versions of a subject understand one another. Apicurio's own default is NONE."""

UNKNOWN: Final = (40401, 40403)
"""The API's own codes of a subject and of a schema that is not there. Of a path that it has not, a registry says 404 alone."""

AVRO: Final = "AVRO"
"""What a registry says of a schema, or leaves out."""

NOT_THE_REGISTRY: Final = "the schema registry answers something else than its API"


class RegistryUnavailable(SightlineError):
    """The registry did not answer; what asked may try again."""


class UnknownSchema(SightlineError):
    """The registry answers, and knows no schema of this id."""


class NotAvro(SightlineError):
    """The registry says that the schema of this id is of another format."""


class IncompatibleSchema(SightlineError):
    """The registry refuses a schema: readers of older or newer facts would break."""


class CompatibilityNotSet(SightlineError):
    """The registry would take schemas that readers of older or newer facts cannot read."""


class Registry:
    """Client of the registry at `url` (up to and including the version path, like `…/apis/ccompat/v7`)."""

    def __init__(self, url: str) -> None:
        import httpx  # a tenth of the start of whoever asks no registry

        self.url = url.rstrip("/")
        self._failure = httpx.HTTPError
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def register(self, subject: str, text: str) -> int:
        """Register `text` under `subject` (the same text twice gives the same id); returns the id.

        Raises:
            IncompatibleSchema: refused under the subject's compatibility; RegistryUnavailable.
        """
        answer = self._call("POST", f"/subjects/{subject}/versions", {"schema": text})
        if answer.status_code in (409, 422):
            raise IncompatibleSchema(f"{subject}: the registry refuses this schema; add optional fields with defaults only")
        return int(self._field(answer, "id"))

    def lookup(self, subject: str, text: str) -> int:
        """The id under which deployment registered `text`; registers nothing (agencies may not).

        Raises:
            UnknownSchema: it has not been registered; RegistryUnavailable.
        """
        answer = self._call("POST", f"/subjects/{subject}", {"schema": text})
        if self._is_unknown(answer):
            raise UnknownSchema(f"{subject}: this version is not registered; deployment registers it (sightline up)")
        return int(self._field(answer, "id"))

    def text(self, schema_id: int) -> str:
        """The schema of an id, in JSON.

        Raises:
            UnknownSchema: there is none; NotAvro; RegistryUnavailable, also when it says what no registry says.
        """
        answer = self._call("GET", f"/schemas/ids/{schema_id}", None)
        if self._is_unknown(answer):
            raise UnknownSchema(f"the registry knows no schema {schema_id}")
        found, format_ = self._field(answer, "schema"), self._json(answer).get("schemaType", AVRO)
        if format_ != AVRO:
            raise NotAvro(f"schema {schema_id} of the registry is no Avro")
        try:
            json.loads(found)
        except (TypeError, ValueError) as err:
            raise RegistryUnavailable(NOT_THE_REGISTRY) from err
        return str(found)

    def ensure_compatibility(self, subject: str, level: str = COMPATIBILITY) -> None:
        """Have `level` in force for `subject`: it is left alone where it is, and set for this subject alone where it is not.

        Raises:
            CompatibilityNotSet: the registry has another level and does not let us set it; RegistryUnavailable.
        """
        if self._compatibility(subject) == level:
            return
        self._call("PUT", f"/config/{subject}", {"compatibility": level})
        found = self._compatibility(subject)
        if found != level:
            raise CompatibilityNotSet(
                f"{subject}: the schema registry keeps compatibility at {found}, and it has to be {level}; set it there, or let "
                "this user set it"
            )

    def _compatibility(self, subject: str) -> str:
        """The level in force: the subject's own, else the registry's."""
        for path in (f"/config/{subject}", "/config"):
            answer = self._call("GET", path, None)
            if answer.status_code == 200:
                return str(self._json(answer).get("compatibilityLevel"))
            if answer.status_code != 404:
                break
        return f"unknown (HTTP {answer.status_code})"

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _call(self, method: str, path: str, body: object | None) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
        try:
            answer = self._http.request(method, self.url + path, content=content, headers=headers)
        except self._failure as err:
            raise RegistryUnavailable(f"the schema registry does not answer ({type(err).__name__})") from err
        if answer.status_code >= 500:
            raise RegistryUnavailable(f"the schema registry answers {answer.status_code}")
        return answer

    def _is_unknown(self, answer: httpx.Response) -> bool:
        """The registry itself says that it has no such thing. Of one that is away, a proxy says 404 as well."""
        if answer.status_code != 404:
            return False
        try:
            said = answer.json()
        except ValueError:
            return False
        return isinstance(said, dict) and said.get("error_code") in UNKNOWN

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code >= 400:
            raise RegistryUnavailable(f"the schema registry answers {answer.status_code}")
        try:
            return dict(answer.json())
        except (ValueError, TypeError) as err:
            raise RegistryUnavailable(NOT_THE_REGISTRY) from err

    def _field(self, answer: httpx.Response, name: str) -> Any:
        """A field of the answer; whoever answers without it is not the registry (a proxy's page, another service)."""
        found = self._json(answer)
        if name not in found:
            raise RegistryUnavailable(NOT_THE_REGISTRY)
        return found[name]
