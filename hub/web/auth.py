"""Who asks, and what they may: Kubernetes says both. There is no user database here.

Answers are kept for seconds, by the token's hash: what is taken away is gone with that. Long streams ask again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import GROUP
from hub.web.problems import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.kube.client import RestClient

KEPT_SECONDS = 10.0
MAX_TOKEN = 16 * 1024
_KEPT = 10_000
_AT_ONCE = 16
_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Caller:
    """A user as the API server knows it."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


class Access:
    """Asks the API server. `clock` gives seconds and never jumps."""

    def __init__(self, client: RestClient, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._callers: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._verdicts: OrderedDict[tuple[Any, ...], tuple[float, bool]] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def caller(self, header: str) -> Caller:
        """Whose token this is. Raises `Unauthenticated`, `ApiError`."""
        token = _token(header)
        key = hashlib.sha256(token.encode()).digest()
        known = self._callers.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        refused = self._refused.get(key)
        if refused is not None and refused[0] > self._clock():
            raise Unauthenticated(refused[1])
        async with self._slots:
            review = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token},
            }
            status = (await self._client.request("POST", _TOKENS, body=review)).get("status") or {}
        if not status.get("authenticated"):
            message = "the API server does not take this token"
            _keep(self._refused, key, (self._clock() + KEPT_SECONDS, message))
            raise Unauthenticated(message)
        user = status.get("user") or {}
        caller = Caller(
            name=str(user.get("username", "")),
            uid=str(user.get("uid", "")),
            groups=tuple(user.get("groups") or ()),
            extra=tuple(sorted((name, tuple(each)) for name, each in (user.get("extra") or {}).items())),
        )
        _keep(self._callers, key, (self._clock() + KEPT_SECONDS, caller))
        return caller

    def knows(self, header: str) -> bool:
        """Whether `caller` answers without asking anybody. Raises `Unauthenticated` where there is no token."""
        key, now = hashlib.sha256(_token(header).encode()).digest(), self._clock()
        return any(key in held and held[key][0] > now for held in (self._callers, self._refused))

    async def may(
        self, caller: Caller, verb: str, resource: str, *, namespace: str = "", name: str = ""
    ) -> bool:
        """Whether the caller may do that; without a namespace, in all of them."""
        key = (caller, verb, resource, namespace, name)
        known = self._verdicts.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        attributes = {
            "group": GROUP,
            "resource": resource,
            "verb": verb,
            "namespace": namespace,
            "name": name,
        }
        spec = {
            "user": caller.name,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": {key: list(values) for key, values in caller.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        async with self._slots:
            status = (await self._client.request("POST", _ACCESS, body=review)).get("status") or {}
        allowed = bool(status.get("allowed")) and not status.get("denied")
        _keep(self._verdicts, key, (self._clock() + KEPT_SECONDS, allowed))
        return allowed

    async def visible(
        self, caller: Caller, verb: str, resource: str, namespaces: Iterable[str]
    ) -> tuple[str, ...] | None:
        """The namespaces, of those that there are, in which the caller may; None: in all."""
        if await self.may(caller, verb, resource):
            return None
        names = sorted(namespaces)
        verdicts = await asyncio.gather(*(self.may(caller, verb, resource, namespace=name) for name in names))
        return tuple(name for name, allowed in zip(names, verdicts, strict=True) if allowed)

    async def require(
        self, caller: Caller, verb: str, resource: str, *, namespace: str = "", name: str = ""
    ) -> None:
        """Raises `Forbidden`."""
        if not await self.may(caller, verb, resource, namespace=namespace, name=name):
            raise Forbidden(f"{caller.name} may not {verb} {resource} here")


def _token(header: str) -> str:
    kind, _, token = header.partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
        raise Unauthenticated("a Kubernetes bearer token is needed: `Authorization: Bearer ...`")
    return token


def _keep(held: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    held[key] = value
    held.move_to_end(key)
    while len(held) > _KEPT:
        held.popitem(last=False)
