"""Which kinds an API server has, and where they are: asked lazily, a group version at a time.

An agent applies a few dozen kinds out of hundreds; asking for all of them would cost memory and, with one
aggregated API down, an answer. A failing group is remembered as failing, which is not the same as absent.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from agent.contract.errors import ApiError, TerminalError, TransientError
from agent.contract.manifest import group_of
from agent.kube.response import ApiUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_T = TypeVar("_T")

_NOT_FOUND = 404
_FRESH = 5.0
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*").fullmatch
"""What nearly every name is: it stands in a path as it is."""
"""Seconds for which a known absence or a known failure is answered without asking again."""


class NoMatch(TransientError):
    """The API server has no such kind (yet): its CRD may still come."""

    reason = "NoMatch"


class GroupUnavailable(TransientError):
    """A group is there and does not answer: an aggregated API is down. Nothing follows from it."""

    reason = "GroupUnavailable"


class PathInvalid(TerminalError):
    """A name or namespace that no path can carry."""

    reason = "InvalidName"


@dataclass(frozen=True, slots=True)
class ApiResource:
    """One kind at one version, as served."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Path of an object; without a name, of the collection; without a namespace, of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            root += f"/namespaces/{_segment(namespace)}"
        root += f"/{self.plural}"
        if name:
            root += f"/{_segment(name)}"
        return f"{root}/{subresource}" if subresource else root


@dataclass(frozen=True, slots=True)
class _Known:
    """What one group version answered: its kinds, or why it could not say."""

    kinds: dict[str, ApiResource]
    asked_at: float
    error: str | None = None


class RestMapper:
    """(apiVersion, kind) -> resource, cached by group version.

    A known kind costs nothing. An absent one is asked for again once the absence is some seconds old, so that
    a new CRD is found without a reset; `refresh=True` asks at once. Concurrent questions share one request.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._known: dict[str, _Known] = {}
        self._preferred: dict[str, list[str]] = {}
        self._asking: dict[str, asyncio.Task[Any]] = {}

    @property
    def failed(self) -> frozenset[str]:
        """Groups of which some version did not answer when last asked."""
        return frozenset(group_of(version) for version, known in self._known.items() if known.error)

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource:
        """Raises `NoMatch` if the server has no such kind, `GroupUnavailable` if it cannot say."""
        known = self._known.get(api_version)
        if known is not None and not refresh:
            if kind in known.kinds:
                return known.kinds[kind]
            if asyncio.get_running_loop().time() - known.asked_at > _FRESH:
                known = None
        if known is None or refresh:
            known = await self._once(api_version, lambda: self._ask(api_version))
        if kind in known.kinds:
            return known.kinds[kind]
        if known.error:
            raise GroupUnavailable(f"{api_version}: {known.error}", retry_after=_FRESH)
        raise NoMatch(f"the API server has no {kind} in {api_version}")

    async def preferred(self, group: str, kind: str) -> ApiResource:
        """The kind in the group's preferred version, or in the next version that has it."""
        versions = self._preferred.get(group)
        if versions is None:
            versions = await self._once(f"{group}/", lambda: self._ask_versions(group))
        for version in versions:
            try:
                return await self.resource(version, kind)
            except NoMatch:
                continue
        self._preferred.pop(group, None)
        raise NoMatch(f"the API server has no {kind} in the group {group or 'core'!r}")

    def forget(self, group: str | None = None) -> None:
        """Drop what is known of one group, or of all."""
        if group is None:
            self._known.clear()
            self._preferred.clear()
            return
        self._preferred.pop(group, None)
        for version in [version for version in self._known if group_of(version) == group]:
            del self._known[version]

    async def _once(self, key: str, ask: Callable[[], Coroutine[None, None, _T]]) -> _T:
        """Share one running question between all who ask it; one who is cancelled does not take it along."""
        task: asyncio.Task[_T] | None = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(ask(), name=f"discovery {key}")
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    def _answered(self, key: str, task: asyncio.Task[Any]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # taken, lest a question that everybody gave up on complains in the log

    async def _ask(self, api_version: str) -> _Known:
        now = asyncio.get_running_loop().time()
        group, version = group_of(api_version), api_version.rpartition("/")[2]
        path = f"/apis/{_segment(group)}/{_segment(version)}" if group else f"/api/{_segment(version)}"
        try:
            known = _Known(_kinds(await self._client.get(path), group=group, version=version), now)
        except ApiUnreachable as error:
            known = self._silent(api_version, error, now)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                known = _Known({}, now)
            elif error.transient:
                known = self._silent(api_version, error, now)
            else:
                raise
        self._known[api_version] = known
        return known

    def _silent(self, api_version: str, error: Exception, now: float) -> _Known:
        """What was known stays known: no answer takes nothing away."""
        before = self._known.get(api_version)
        return _Known(before.kinds if before else {}, now, str(error))

    async def _ask_versions(self, group: str) -> list[str]:
        if not group:
            return ["v1"]
        try:
            found = await self._client.get(f"/apis/{_segment(group)}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return []
            if error.transient:
                raise GroupUnavailable(f"{group}: {error}", retry_after=_FRESH) from error
            raise
        first = (found.get("preferredVersion") or {}).get("groupVersion")
        served = [version["groupVersion"] for version in found.get("versions") or []]
        versions = sorted(served, key=lambda version: version != first)
        self._preferred[group] = versions
        return versions


def _kinds(answer: Manifest, *, group: str, version: str) -> dict[str, ApiResource]:
    """By kind, without subresources: `deployments/scale` has a kind of another group."""
    return {
        entry["kind"]: ApiResource(
            group=group,
            version=version,
            kind=entry["kind"],
            plural=entry["name"],
            namespaced=bool(entry.get("namespaced")),
            verbs=frozenset(entry.get("verbs") or ()),
        )
        for entry in answer.get("resources") or []
        if "/" not in entry["name"]
    }


def _segment(value: str) -> str:
    """One escaped path segment. Raises `PathInvalid` for what a path would not keep as one."""
    if value in {"", ".", ".."}:
        raise PathInvalid(f"{value!r} cannot be part of a path")
    return value if _PLAIN(value) else quote(value, safe=":@!$&'()*+,;=~")
