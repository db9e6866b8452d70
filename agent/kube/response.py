"""What an API server answers, and how its failures are told apart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from agent.contract.errors import ApiError, TransientError
from agent.kube.retryafter import seconds_asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
    from agent.kube.encoding import Loads

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

MAX_LINE = 64 * 1024 * 1024
"""An upper bound in bytes on one watch event: etcd holds no object a tenth of it."""
_EXCERPT = 200
_VERSION = "resourceVersion"
_SERVER_ERROR = 500
_UNPROCESSABLE = 422


class ApiUnreachable(TransientError):
    """No answer of an API server: no connection, no time, or something else that answered in its place."""

    reason = "ApiUnreachable"


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole collection at one version; every item carries apiVersion and kind."""

    items: list[Manifest]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. A BOOKMARK's object has nothing but a resourceVersion."""

    type: EventType
    object: Manifest


def decode_object(data: bytes, *, loads: Loads, ref: str) -> Manifest:
    """Give the answer's object. Anything else (a captive portal's page, a cut body) is no answer at all."""
    try:
        value = loads(data)
    except ValueError as error:
        raise ApiUnreachable(f"{ref}: the answer is not JSON: {_excerpt(data)}") from error
    if not isinstance(value, dict):
        raise ApiUnreachable(f"{ref}: the answer is not an object")
    return value


def decode_event(line: bytes, *, loads: Loads, ref: str) -> WatchEvent:
    """One line of a watch. ERROR raises what it carries."""
    event = decode_object(line, loads=loads, ref=ref)
    kind, found = event.get("type"), event.get("object")
    if not isinstance(found, dict) or (kind != "ERROR" and not (found.get("metadata") or {}).get(_VERSION)):
        raise ApiUnreachable(f"{ref}: an event without an object, or an object without a version")
    match kind:
        case "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK":
            return WatchEvent(kind, found)
        case "ERROR":
            raise _status_error(found, status=int(found.get("code") or _SERVER_ERROR), ref=ref)
        case _:
            raise ApiUnreachable(f"{ref}: an event of the unknown type {kind!r}")


def list_items(page: Manifest, *, ref: str) -> list[Manifest]:
    """Give the items of a `FooList`, each with the apiVersion and kind that built-in lists leave out.

    What is not plainly a list raises `ApiUnreachable`: read as an empty one, it would look like deletions.
    """
    items = page.get("items", ...)
    kind = page.get("kind") or ""
    metadata = page.get("metadata")
    if not kind.endswith("List") or not isinstance(metadata, dict) or not metadata.get(_VERSION):
        raise ApiUnreachable(f"{ref}: the answer is a {kind or 'nameless thing'}, not a list with a version")
    if items is None:
        return []
    if not isinstance(items, list):
        raise ApiUnreachable(f"{ref}: the answer is a list without items")
    api_version, kind = page.get("apiVersion") or "", kind.removesuffix("List")
    for item in items:
        item.setdefault("apiVersion", api_version)
        item.setdefault("kind", kind)
    return items


def raise_for_status(
    status: int, headers: Mapping[str, str], data: bytes, *, loads: Loads, ref: str
) -> NoReturn:
    """Raise the `ApiError` that an answer other than 2xx stands for."""
    try:
        found = loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "Status":
        found = {"message": _excerpt(data)}
    asked = seconds_asked(headers.get("Retry-After", ""), now=time.time())
    raise _status_error(found, status=status, ref=ref, retry_after=asked)


def untyped_error(error: ApiError) -> ApiError:
    """Turn a 500 that means "this does not fit the schema" into the 422 that it should be."""
    if error.status != _SERVER_ERROR or "failed to create typed " not in str(error):
        return error
    return ApiError(
        str(error), status=_UNPROCESSABLE, api_reason="Invalid", ref=error.ref, details=error.details
    )


def _status_error(
    body: Mapping[str, Any], *, status: int, ref: str, retry_after: float | None = None
) -> ApiError:
    details: dict[str, Any] = body.get("details") or {}
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    return ApiError(
        f"{ref}: {status} {body.get('message') or 'without a message'}",
        status=status,
        api_reason=str(body.get("reason") or ""),
        ref=ref,
        details=details,
        retry_after=retry_after,
    )


class LineSplitter:
    """Lines out of chunks of any size.

    A StreamReader's own `readline` refuses lines over its buffer limit, and one object is often larger. What
    is left of an unfinished line is kept in pieces, so that a big event does not cost a copy a chunk.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take one chunk, give the lines that it completes. Raises `ApiUnreachable` for an endless one."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._pieces:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
            self._size = 0
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > MAX_LINE:
                raise ApiUnreachable(f"a watch event is longer than {MAX_LINE} bytes")
        return [line for line in lines if line]


def _excerpt(data: bytes) -> str:
    return data[:_EXCERPT].decode(errors="replace").strip()
