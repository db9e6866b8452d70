"""Refusals of the API, as problem details (RFC 9457) with the reasons that conditions and logs have."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from agent.contract.errors import AxletreeError


class WebError(AxletreeError):
    """`status` is the HTTP status; the message is the problem's detail."""

    status = 500
    reason = "ApiFailed"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ParameterInvalid(WebError):
    status = 400
    reason = "InvalidRequest"


class Unauthenticated(WebError):
    """No token, or one that the API server does not take."""

    status = 401
    reason = "Unauthenticated"


class NotFound(WebError):
    """Not there, or not to be seen by whoever asks: the two look alike."""

    status = 404
    reason = "NotFound"

    def __init__(self, what: str = "there is nothing here") -> None:
        super().__init__(what)


class Forbidden(WebError):
    """What is asked for may be seen, and not be done."""

    status = 403
    reason = "Forbidden"


class NothingToDo(WebError):
    """Nothing waits for that: no pin, no other release, nothing that is Held."""

    status = 409
    reason = "NothingToDo"


class NoSuchRelease(NothingToDo):
    """There is no release of that number any more, or its bundle is not kept."""

    reason = "NoSuchRelease"


class NothingReleased(NothingToDo):
    """Nothing of the app runs yet, so that there is no object to apply again."""

    reason = "NothingReleased"


class NoGate(NothingToDo):
    """What holds an app is nothing that force passes: it has no target, or no cluster to go to."""

    reason = "NoGate"


class NothingRendered(NothingToDo):
    """There is no target yet, so that nobody can say what would be applied."""

    reason = "NothingRendered"


class CursorExpired(WebError):
    """What the pages before were a snapshot of is not kept any more."""

    status = 410
    reason = "CursorExpired"


class KeyInUse(WebError):
    """The same idempotency key came before, with something else, or is being answered now."""

    status = 409
    reason = "IdempotencyKeyInUse"


class Unexplained(WebError):
    """It cannot be rendered, or has no such object or field: `reason` is that of the failure itself."""

    status = 422

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class MethodNotAllowed(WebError):
    """There is something here, and not for this method."""

    status = 405
    reason = "MethodNotAllowed"


class BodyTimeout(WebError):
    """A body that does not come."""

    status = 408
    reason = "BodyTimeout"


class TooMuch(WebError):
    status = 413
    reason = "BodyTooLarge"


class EncodingUnsupported(WebError):
    """A body that is packed: what little a body may have needs no packing, and nothing is unpacked here."""

    status = 415
    reason = "EncodingUnsupported"


class ExpectationFailed(WebError):
    """An `Expect` other than `100-continue`."""

    status = 417
    reason = "ExpectationFailed"


class TooManyRequests(WebError):
    """One caller asks more often, or holds more open, than its share."""

    status = 429
    reason = "TooManyRequests"


class Busy(WebError):
    """Too many of the same at once, or the database or API server is away."""

    status = 503
    reason = "NotReady"


def problem(error: WebError | AxletreeError, *, status: int = 500, allow: str = "") -> web.Response:
    """The answer for an error; `allow` are the methods that there are."""
    known = isinstance(error, WebError)
    code = error.status if isinstance(error, WebError) else status
    body = {
        "type": f"urn:axletree:reason:{error.reason}",
        "title": error.reason,
        "status": code,
        "detail": str(error) if known or status != 500 else "it failed inside",  # noqa: PLR2004
        "reason": error.reason,
    }
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after else {}
    if code == Unauthenticated.status:
        headers["WWW-Authenticate"] = "Bearer"
    if allow:
        headers["Allow"] = allow
    return web.Response(
        status=code, body=dumped(body), content_type="application/problem+json", headers=headers
    )


def dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
