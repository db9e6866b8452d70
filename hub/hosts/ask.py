"""Answers what expansions need from outside, remembers the answers for as long as their generators say.

A failure is remembered as well, for as long as the other side asked: a frozen set that is tried every few seconds
must not keep a host busy that limits our rate.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import ValidationError

from agent.contract.errors import AxletreeError, TransientError
from agent.contract.names import short_hash
from hub.api.hosts import GENERATORS
from hub.core.children import problems
from hub.core.expansion import GeneratorError
from hub.core.globs import glob_matches
from hub.hosts import decisions, plugin, scm
from hub.hosts.client import TIMEOUT, HostClient, Memory, base_url
from hub.hosts.errors import HostRefused, HostUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hub.api.project import ProjectSpec
    from hub.core.needs import ExternalNeed
    from hub.core.params import Params
    from hub.hosts.objects import Objects

_RETRY = 15.0
"""How long a failure is remembered where the other side did not say, in seconds."""
_SHAPE = (KeyError, TypeError, AttributeError, IndexError, ValueError)
_LOOK = 10.0
_FORGET = 3
"""An answer that nobody asked for within so many of its lifetimes is forgotten."""


@dataclass(frozen=True, slots=True)
class Asking:
    """For whom something is asked."""

    namespace: str
    set_name: str
    project: ProjectSpec | None = None
    """None: nothing bounds it, for a person's own files."""

    @property
    def set_key(self) -> str:
        return f"{self.namespace}/{self.set_name}"


@dataclass(slots=True)
class _Known:
    until: float
    lifetime: float
    used: float
    rows: list[Params] | None = None
    error: AxletreeError | None = None
    sets: set[str] = field(default_factory=set)
    woken: bool = False
    """Its sets were told that it is old: they ask again, or are gone."""


class Asker:
    """One a controller. `clock` counts seconds, from wherever."""

    def __init__(self, objects: Objects, *, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._clock = clock
        self._known: dict[tuple[str, str, ExternalNeed], _Known] = {}
        self._memory = Memory()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, need: ExternalNeed, asking: Asking, *, fresh: bool = False) -> list[Params]:
        """The parameter sets. Raises `ExpansionError` and the errors of `hub.hosts.errors`."""
        now = self._clock()
        key = (asking.namespace, asking.set_name, need)
        known = self._known.get(key)
        if known is not None and now < known.until and not (fresh and known.error is None):
            known.used = now
            if known.error is not None:
                raise known.error
            return known.rows or []
        spec = _checked(need)
        lifetime = float(spec["requeueAfterSeconds"])
        try:
            rows = await self._ask(need.kind, spec, asking)
        except TransientError as error:
            wait = min(error.retry_after or _RETRY, lifetime)
            self._known[key] = _Known(now + wait, lifetime, now, error=error, sets={asking.set_key})
            raise
        self._known[key] = _Known(now + lifetime, lifetime, now, rows=rows, sets={asking.set_key})
        return rows

    def expire(self, set_key: str) -> None:
        """Something moved there: what this set was answered is asked for again when it is next planned."""
        now = self._clock()
        for known in self._known.values():
            if set_key in known.sets and known.error is None:
                known.until = min(known.until, now)

    async def watch(self, wake: Callable[[str], None]) -> None:
        """Wake sets whose answers have become old, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            for set_key in sorted(self.due()):
                wake(set_key)

    def due(self) -> set[str]:
        """Sets with an answer that is older than it may be, each once; what nobody asks for is forgotten."""
        now = self._clock()
        for key, known in list(self._known.items()):
            if now > known.used + _FORGET * known.lifetime:
                del self._known[key]
        found: set[str] = set()
        for known in self._known.values():
            if now >= known.until and not known.woken:
                known.woken = True
                found |= known.sets
        return found

    async def _ask(self, kind: str, spec: Mapping[str, Any], asking: Asking) -> list[Params]:
        try:
            if kind == "clusterDecisionResource":
                return await decisions.ask(self._objects, asking.namespace, spec)
            if kind == "plugin":
                return await self._plugin(spec, asking)
            return await self._scm(kind, spec, asking)
        except (*_SHAPE, ExceptionGroup) as error:
            found = _first(error)
            if isinstance(found, AxletreeError):
                raise found from error
            if not isinstance(found, _SHAPE):
                raise
            # an answer of another shape than the host documents: nothing of it is used
            raise HostUnreachable(f"{kind}: an answer has not the form that its host documents") from error

    async def _plugin(self, spec: Mapping[str, Any], asking: Asking) -> list[Params]:
        name = spec["configMapRef"]["name"]
        address, headers, timeout = await plugin.settings(self._objects, asking.namespace, name)
        client = self._client(address, headers, asking, timeout=timeout)
        parameters = (spec.get("input") or {}).get("parameters") or {}
        return await plugin.ask(client, parameters, set_name=asking.set_name)

    async def _scm(self, kind: str, spec: Mapping[str, Any], asking: Asking) -> list[Params]:
        one = scm.asked(spec)
        headers = await scm.authorization(one, self._objects, asking.namespace)
        client = self._client(one.api, headers, asking)
        if kind == "scmProvider":
            return await scm.repositories(client, one, ssh=spec.get("cloneProtocol") == "ssh")
        return await scm.requests(client, one, missing_ok=bool(spec.get("continueOnRepoNotFoundError")))

    def _client(
        self, address: str, headers: Mapping[str, str], asking: Asking, *, timeout: float = TIMEOUT
    ) -> HostClient:
        url = str(base_url(address)).rstrip("/")
        project = asking.project
        if project is not None and not any(glob_matches(glob, url) for glob in project.generator_hosts):
            raise HostRefused(f"{url} is not among the project's generatorHosts")
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return HostClient(
            self._session,
            url,
            authorization=headers,
            timeout=timeout,
            memory=self._memory,
            identity=short_hash(f"{asking.namespace}|{sorted(headers.items())}", 64),
        )


def _checked(need: ExternalNeed) -> dict[str, Any]:
    """The generator's fields, with defaults. Raises `GeneratorError` with the nearest right name."""
    model = GENERATORS[need.kind]
    raw = json.loads(need.spec)
    try:
        checked = model.model_validate(raw, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        raise GeneratorError("; ".join(problems(error, model, at=need.kind))) from error
    return {"requeueAfterSeconds": checked.to_json()["requeueAfterSeconds"], **raw}


def _first(error: BaseException) -> BaseException:
    """Of several that failed at once, one: which one does not matter."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
