"""The route that an API server asks before it takes an object of ours: on what is known already, and nobody is asked.

API servers show no certificate here, so the route's path is one that only they and the hub know: a stranger could
otherwise ask for the names of applications.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.contract.manifest import Manifest

_CONTEXT = b"axletree/admission/v1"
_LENGTH = 40


class _Request(BaseModel):
    uid: str
    operation: str = ""
    object: dict[str, Any] | None = None


class Review(BaseModel):
    """An `AdmissionReview` of `admission.k8s.io/v1`, as far as it is read."""

    request: _Request


def admission_key(digest_key: bytes) -> str:
    """The part of the path that nobody can guess; the same for every gateway of one hub."""
    return hmac.new(digest_key, _CONTEXT, hashlib.sha256).hexdigest()[:_LENGTH]


async def answer(body: bytes, refuse: Callable[[Manifest], Awaitable[str]] | None) -> dict[str, Any]:
    """The review's answer. `refuse` says why an object may not be, or nothing; None: nobody here knows."""
    review = Review.model_validate_json(body)
    request = review.request
    reason = ""
    if refuse is not None and request.object is not None and request.operation in {"CREATE", "UPDATE"}:
        reason = await refuse(request.object)
    response: dict[str, Any] = {"uid": request.uid, "allowed": not reason}
    if reason:
        response["status"] = {"code": 422, "reason": "Invalid", "message": reason}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
