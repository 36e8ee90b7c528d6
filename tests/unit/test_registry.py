"""The registry's client when something else answers in the registry's place: it is away, and no fact is at fault."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from schemas.codec import HEADER, MAGIC, Codec, Undecodable
from schemas.registry import Registry, RegistryUnavailable, UnknownSchema


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A server that answers everything with `status` and `body`; its URL."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the server's own names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


CALLS: list[Callable[[Registry], object]] = [lambda r: r.text(7), lambda r: r.lookup("s", "{}"), lambda r: r.register("s", "{}")]


@pytest.mark.parametrize(
    "body", [b"<html>Sign in to the network</html>", b"{}", b"[1, 2]", b'"words"', b'{"schema": null}', b'{"schema": {}}']
)
def test_what_is_not_the_registrys_answer(body: bytes) -> None:
    """A captive portal's page, another service's JSON: unavailable, so that the batch is tried again."""
    with answering(body) as url:
        registry = Registry(url)
        for call in CALLS:
            with pytest.raises(RegistryUnavailable):
                call(registry)
        registry.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"default backend - 404", b"[404]", b'{"status": 404}', b'{"error_code": []}', b'{"error_code": 404, "message": "no"}'],
)
def test_a_404_of_another(body: bytes) -> None:
    """A proxy's default backend, a path that the registry has not: no fact is refused for it, which would be for good (I1)."""
    with answering(body, 404) as url:
        registry = Registry(url)
        for call in CALLS:
            with pytest.raises(RegistryUnavailable):
                call(registry)
        with pytest.raises(RegistryUnavailable):
            Codec(registry).decode(HEADER.pack(MAGIC, 7) + b"body")
        registry.close()


@pytest.mark.parametrize("code", [40401, 40403])
def test_what_the_registry_does_not_know(code: int) -> None:
    """It says so by the API's own codes."""
    with answering(f'{{"error_code": {code}, "message": "not found"}}'.encode(), 404) as url:
        registry = Registry(url)
        for call in CALLS[:2]:
            with pytest.raises(UnknownSchema):
                call(registry)
        registry.close()


def test_a_schema_that_is_none() -> None:
    """An id whose text is no JSON, and of which nobody says that it is another format: the fact waits."""
    with answering(b'{"schema": "not a schema"}') as url:
        registry = Registry(url)
        with pytest.raises(RegistryUnavailable):
            Codec(registry).decode(HEADER.pack(MAGIC, 7) + b"body")
        registry.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": 'syntax = "proto3"; message Else {}', "schemaType": "PROTOBUF"},
        {"schema": '{"type": "object"}', "schemaType": "JSON"},
        {"schema": "[]"},
    ],
)
def test_a_schema_of_another_format(answer: dict[str, str]) -> None:
    """On a registry that others use, an id may stand for Protobuf or JSON Schema: no record of ours, and nothing to wait for."""
    with answering(json.dumps(answer).encode()) as url:
        registry = Registry(url)
        with pytest.raises(Undecodable) as error:
            Codec(registry).decode(HEADER.pack(MAGIC, 7) + b"body")
        registry.close()
    assert "unknown-record" == error.value.reason
