"""Headers on every answer, tokens on every form, one log line a request without personal data (I7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log: Final = structlog.get_logger("web")

CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"

BODY_BYTES_MAX: Final = 64 * 1024
"""The longest form has two texts of 4,000 characters; at most 4 bytes each, percent-encoded threefold."""

FIXED: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def csrf_token(secret: str, holder: str) -> str:
    """The token of a session (or of a visitor not yet signed in): useless to anyone who has not its cookie."""
    return _b64(hmac.new(secret.encode(), b"csrf\x1f" + holder.encode(), hashlib.sha256).digest())


def same_token(given: str, wanted: str) -> bool:
    """Compare without telling by the time it takes."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def content_security_policy(nonce: str) -> str:
    """Nothing from elsewhere, nothing inline but with this answer's nonce."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class Guard:
    """Outermost: request id, nonce, body limit, security headers, the log line, and an error that gives nothing away.

    `failed` makes that answer: (body, media type) for a path, request id and nonce.
    """

    def __init__(self, app: ASGIApp, *, secure: bool, failed: Callable[[str, str, str], tuple[bytes, str]]) -> None:
        self._app = app
        self._secure = secure
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["nonce"] = str(uuid4()), secrets.token_urlsafe(16)
        begun, status, started, size = time.perf_counter(), 500, False, 0

        async def answer(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                self._headers(MutableHeaders(scope=message), state["nonce"], state["request_id"])
            await send(message)

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_BYTES_MAX:
                raise BodyTooLong
            return message

        try:
            await self._app(scope, limited, answer)
        except Exception as err:  # whatever it is, its text may hold personal data: only type and place are logged (I7)
            place = traceback.extract_tb(err.__traceback__)[-1]
            log.error(  # noqa: TRY400 - a traceback quotes values
                "request failed", error=type(err).__name__, at=f"{place.name}:{place.lineno}", request_id=state["request_id"]
            )
            if not started:
                await _plain(answer, 500, *self._failed(scope["path"], state["request_id"], state["nonce"]))
        finally:
            failed = sys.exc_info()[0] is not None  # the client went away
            route = getattr(scope.get("route"), "path", "none")
            log.info(
                "request", method=scope["method"], route=route, status=499 if failed else status,
                ms=round((time.perf_counter() - begun) * 1000), actor=state.get("actor"), request_id=state["request_id"],
            )  # fmt: skip

    def _headers(self, headers: MutableHeaders, nonce: str, request_id: str) -> None:
        for name, value in FIXED.items():
            headers[name] = value
        headers["content-security-policy"] = content_security_policy(nonce)
        headers["x-request-id"] = request_id
        headers.setdefault("cache-control", "no-store")
        if self._secure:
            headers["strict-transport-security"] = "max-age=31536000"


class BodyTooLong(HTTPException):
    """A request body over the limit; of this kind because FastAPI makes a 400 of every other error while it reads one."""

    def __init__(self) -> None:
        super().__init__(413)


async def _plain(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
