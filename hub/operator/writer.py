"""Writes to the hub's API server: bounded, and read back at once into the caches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import MANAGER_CONTROLLER
from hub.operator import paths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.operator.caches import Caches
    from hub.operator.objects import Objects

NOT_FOUND = 404
CONFLICT = 409
_BEGUN_AT_ONCE = 64


class Writer:
    """Every write of the controller goes through here."""

    def __init__(self, client: RestClient, caches: Caches, *, concurrency: int) -> None:
        self._client = client
        self._caches = caches
        self._slots = asyncio.Semaphore(concurrency)
        self.count = 0

    async def all(self, writes: Iterable[Awaitable[Any]]) -> list[BaseException]:
        """Run many, let each finish, and return what failed: one bad object never holds up the others.

        Most of what a pass over a whole fleet begins so finds nothing to write, and would hold up the loop for as long
        as that takes: it is begun a few at a time.
        """
        begun: list[asyncio.Future[Any]] = []
        try:
            for write in writes:
                begun.append(asyncio.ensure_future(write))
                if len(begun) % _BEGUN_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except BaseException:
            for each in begun:
                each.cancel()
            raise
        results = await asyncio.gather(*begun, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        for failure in failed:
            if not isinstance(failure, Exception):
                raise failure
        return failed

    async def apply_application(self, manifest: Manifest) -> Manifest:
        """Create or update a child by server-side apply; other managers' fields are left alone."""
        metadata = manifest["metadata"]
        path = paths.namespaced(paths.APPLICATIONS, metadata["namespace"], metadata["name"])
        async with self._slots:
            self.count += 1
            answer = await self._client.apply(path, manifest, field_manager=MANAGER_CONTROLLER, force=True)
        return self._observe(self._caches.applications, answer)

    async def status(self, objects: Objects, path: str, patch: dict[str, Any]) -> Manifest | None:
        """Merge into status. None where the object has gone meanwhile: nothing is left to say."""
        async with self._slots:
            self.count += 1
            try:
                answer = await self._client.merge_patch(
                    path, {"status": patch}, field_manager=MANAGER_CONTROLLER, subresource="status"
                )
            except ApiError as error:
                if error.status == NOT_FOUND:
                    return None
                raise
        return self._observe(objects, answer)

    async def merge(self, objects: Objects, path: str, patch: dict[str, Any]) -> Manifest | None:
        """Merge into the object itself; None where it has gone."""
        async with self._slots:
            self.count += 1
            try:
                answer = await self._client.merge_patch(path, patch, field_manager=MANAGER_CONTROLLER)
            except ApiError as error:
                if error.status == NOT_FOUND:
                    return None
                raise
        return self._observe(objects, answer)

    async def remove(self, path: str, *, uid: str) -> None:
        """Delete exactly this object; one that is gone or was made again is none of ours."""
        async with self._slots:
            self.count += 1
            try:
                await self._client.delete(path, uid=uid)
            except ApiError as error:
                if error.status not in (NOT_FOUND, CONFLICT):
                    raise

    async def assignment(self, manifest: Manifest) -> Manifest:
        """Create, or replace at the resourceVersion that it carries. Raises ApiError 409 for a stale one."""
        async with self._slots:
            self.count += 1
            name = manifest["metadata"]["name"]
            if manifest["metadata"].get("resourceVersion"):
                answer = await self._client.replace(
                    f"{paths.ASSIGNMENTS}/{name}", manifest, field_manager=MANAGER_CONTROLLER
                )
            else:
                answer = await self._client.create(
                    paths.ASSIGNMENTS, manifest, field_manager=MANAGER_CONTROLLER
                )
        return self._observe(self._caches.assignments, answer)

    async def get(self, path: str) -> Manifest | None:
        """A live read, for decisions that must not rest on a cache; None for 404."""
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    @staticmethod
    def _observe(objects: Objects, answer: Manifest) -> Manifest:
        answer.get("metadata", {}).pop("managedFields", None)
        objects.observe(None, answer)
        return answer


def changed(current: dict[str, Any] | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes the named fields of `current` equal to `wanted`; empty when they are.

    A field of None is removed. Lists are replaced whole; nested objects are compared recursively, and keys that
    are no longer wanted inside them are removed.
    """
    current = current or {}
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        have = current.get(key)
        if have == value:
            continue
        if isinstance(value, dict) and isinstance(have, dict):
            inner = changed(have, value)
            inner |= {name: None for name in have if name not in value}
            if inner:
                patch[key] = inner
        elif value is not None or key in current:
            patch[key] = value
    return patch
