"""From an API server's refusal to what a person reads and a queue does: pure.

Messages about Secrets are built from field names alone: API servers quote the values that they refuse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.apply.options import SYNC_OPTIONS
from agent.apply.prepare import SECRET
from agent.contract.errors import ApiError, AxletreeError, TransientError

if TYPE_CHECKING:
    from agent.contract.manifest import ObjectRef

MAX_MESSAGE = 1024
_MAX_TEXT = 640
"""Of what the API server says: the hint has to fit behind it."""
_MAX_VALUE = 80
IMMUTABLE = "ImmutableField"
NAMESPACE_MISSING = "NamespaceMissing"
_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_LARGE, _INVALID = 400, 403, 404, 409, 413, 422
_IMMUTABLE = re.compile(
    r"field is immutable|is immutable after creation|may not change once set"
    r"|primary clusterIP can not be unset"
    r"|updates to statefulset spec for fields other than|cannot change roleRef|updates to \w+ are forbidden"
    r"|may not be changed|cannot be changed|is immutable|can not be less than (previous|status)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    message: str
    transient: bool
    retry_after: float | None = None


def explain(error: AxletreeError, ref: ObjectRef) -> Failure:
    """Sort one object's error. `transient` says whether the same request may succeed later."""
    if isinstance(error, ApiError):
        reason, hint, transient = _sort(error)
        message = _masked(error) if ref.group_kind == SECRET else _plain(error)
        text = f"{message}. {hint}" if hint else message
        return Failure(reason, text[:MAX_MESSAGE], transient, error.retry_after)
    transient = isinstance(error, TransientError)
    retry_after = error.retry_after if isinstance(error, TransientError) else None
    return Failure(error.reason, str(error)[:MAX_MESSAGE], transient, retry_after)


def kind_missing(error: ApiError) -> bool:
    """A 404 that names no object: the API server does not serve that path (yet)."""
    return error.status == _NOT_FOUND and not error.details.get("name")


def _sort(error: ApiError) -> tuple[str, str, bool]:
    """(reason, hint, transient)."""
    for pattern, verdict in _BY_TEXT:
        if pattern in str(error):
            return verdict
    if error.status == _INVALID:
        return _sort_invalid(error)
    if error.status == _FORBIDDEN:
        return _sort_forbidden(error)
    if error.status == _NOT_FOUND:
        return _sort_not_found(error), "", True
    if any(cause.get("reason") == "FieldManagerConflict" for cause in causes(error)):
        return "FieldConflict", "Git and they differ: give the field up in one of the two", False
    return _BY_STATUS.get(error.status) or (error.api_reason or "ApiError", "", error.transient)


_BY_TEXT = (
    (
        "duplicate entries for key",
        ("DuplicateListEntries", "Server-side apply needs each list key once: remove the duplicate", False),
    ),
    (
        "does not support dry run",
        ("DryRunUnsupported", "A webhook does not support dry runs (its sideEffects)", False),
    ),
    ("failed calling webhook", ("WebhookFailed", "", True)),
)
_BY_STATUS = {
    _BAD_REQUEST: ("Invalid", "", False),
    _CONFLICT: ("Conflict", "", True),
    _TOO_LARGE: ("TooLarge", "", False),
}


def _sort_not_found(error: ApiError) -> str:
    if error.details.get("kind") == "namespaces":
        return NAMESPACE_MISSING
    return "NoMatch" if kind_missing(error) else "NotFound"


def _sort_invalid(error: ApiError) -> tuple[str, str, bool]:
    found = [cause for cause in causes(error) if _IMMUTABLE.search(str(cause.get("message", "")))]
    if not found and not (not causes(error) and _IMMUTABLE.search(str(error))):
        return "Invalid", "", False
    fields = ", ".join(sorted({str(cause.get("field", "")) for cause in found if cause.get("field")}))
    hint = (
        f"{fields or 'A field'} cannot be changed in place: delete the object, apply it under another name, or have it "
        f"deleted and made again ({SYNC_OPTIONS}: Recreate)"
    )
    return IMMUTABLE, hint, False


def _sort_forbidden(error: ApiError) -> tuple[str, str, bool]:
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes(error)):
        return "NamespaceTerminating", "", True
    if "exceeded quota" in str(error):
        return "QuotaExceeded", "", True
    return "Forbidden", "", False


def causes(error: ApiError) -> list[dict[str, Any]]:
    """What the API server names, each with its field, reason and message as far as it has them."""
    found = error.details.get("causes")
    return [cause for cause in found if isinstance(cause, dict)] if isinstance(found, list) else []


def _plain(error: ApiError) -> str:
    """What the API server says. The values that it refuses may fill pages; what is wrong with them comes last."""
    text = str(error).removeprefix(f"{error.ref}: ")
    for cause in causes(error):
        said = str(cause.get("message", ""))
        value, colon, problem = said.rpartition(": ")
        if colon and len(value) > _MAX_VALUE:
            text = text.replace(said, f"{value[:_MAX_VALUE]}...: {problem}")
    if len(text) > _MAX_TEXT:
        text = f"{text[: _MAX_TEXT // 2]} ... {text[-_MAX_TEXT // 2 :]}"
    return text


def _masked(error: ApiError) -> str:
    fields = sorted({str(cause.get("field", "")) for cause in causes(error)} - {""})
    where = f" ({', '.join(fields)})" if fields else ""
    reason = error.api_reason or "refused"
    return f"{error.status} {reason}{where}; the message may quote values and is not shown"
