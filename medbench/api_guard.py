"""What stands before the API: bodies are limited as they come in, and every refusal has the same three fields."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medbench.errors import MedbenchError, full_disk

BODY_LIMIT = 16_000_000  # bytes of JSON; parsed on the event loop, so kept small
FILE_LIMIT = 1_000_000_000  # bytes
PICTURES_LIMIT = 200_000_000  # bytes
_LIMITS = {"/predict/file": FILE_LIMIT, "/datasets": FILE_LIMIT, "/lesion/predict": PICTURES_LIMIT}
_log = logging.getLogger("medbench.api")


class RefusedError(MedbenchError):
    """A MedbenchError with an HTTP status of its own."""

    def __init__(self, status: int, expected: str, found: str, todo: str) -> None:
        """Store the status and the three parts."""
        super().__init__(expected, found, todo)
        self.status = status


def problem(status: int, expected: str, found: str, todo: str) -> JSONResponse:
    """Return a refusal with its three fields."""
    return JSONResponse({"expected": expected, "found": found, "todo": todo}, status)


class TooLargeError(HTTPException):
    """Raised while a body is read; FastAPI lets only its own kind of error through from there."""

    def __init__(self, limit: int) -> None:
        """Store the limit, in bytes."""
        super().__init__(413)
        self.limit = limit

    def answer(self) -> Response:
        """Return the refusal."""
        return problem(413, f"at most {self.limit:,} bytes a call", "more", "Send it in parts, or as a file.")


class Guard:
    """Limits bodies as they come in, refuses forms of other sites, and keeps stack traces for the log."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"])
        limit = next((limit for ending, limit in _LIMITS.items() if path.endswith(ending)), BODY_LIMIT)
        size, started = 0, False

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise TooLargeError(limit)
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        refusal = _refusal(Headers(scope=scope), str(scope["method"]), limit)
        try:
            await (refusal or self.app)(scope, limited, noted)
        except Exception as error:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await _fault(error)(scope, receive, send)


def _fault(error: Exception) -> Response:
    """Return what a caller is told of a failure: a full disk by name, anything else as a fault."""
    if full_disk(error) is not None:
        return problem(507, "room on the server's disk", "a full disk", "Free some space there, then ask again.")
    return problem(500, "an answer", "a fault in medbench", "Look into the log of the server, and report it.")


def _refusal(headers: Headers, method: str, limit: int) -> Response | None:
    """Return why a request is refused by its headers alone, or None."""
    # A page of another site could make a visitor's browser send forms here; browsers name such requests.
    if method in ("POST", "PUT", "DELETE") and headers.get("sec-fetch-site") == "cross-site":
        return problem(403, "a request from this server's own pages or a program", "one from another site", "Use curl.")
    length = headers.get("content-length", "")
    return TooLargeError(limit).answer() if length.isdecimal() and int(length) > limit else None
