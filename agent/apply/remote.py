"""The requests that one object of an app may cost, each made as the app's own user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.failures import kind_missing
from agent.apply.ignore import carried
from agent.apply.plan import Unseen
from agent.apply.takeover import needs_takeover, takeover_patch
from agent.contract.errors import ApiError, TransientError
from agent.contract.names import short_hash

if TYPE_CHECKING:
    from agent.apply.plan import Live
    from agent.apply.prepare import Desired
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, 422
_TAKEOVER_TRIES = 3


class TakeoverConflict(TransientError):
    """Somebody writes the object faster than it can be taken over from kubectl."""

    reason = "TakeoverConflict"


class Remote:
    """Raises what the API server says."""

    def __init__(self, client: RestClient, mapper: RestMapper, *, manager: str) -> None:
        self._client = client
        self._mapper = mapper
        self._manager = manager

    async def read(self, desired: Desired) -> Live:
        try:
            return await self._client.get(await self._path(desired))
        except ApiError as error:
            if error.status == _NOT_FOUND and not kind_missing(error):
                return Unseen.ABSENT
            raise

    async def apply(self, desired: Desired, *, impersonate: str | None, dry_run: bool = False) -> Manifest:
        """Server-side apply. Forced, unless the app wants conflicts: what the bundle says belongs to Git."""
        return await self._client.apply(
            await self._path(desired),
            desired.manifest,
            field_manager=self._manager,
            force=dry_run or not desired.options.fail_on_conflict,
            dry_run=dry_run,
            impersonate=impersonate,
        )

    async def replace(self, desired: Desired, live: Manifest, *, impersonate: str | None) -> None:
        """The whole object, as the bundle has it: the apply after this makes its fields ours."""
        body = carried(desired.manifest, live, desired.options.ignored)
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        await self._client.replace(
            await self._path(desired), body, field_manager=self._manager, impersonate=impersonate
        )

    async def delete(self, desired: Desired, uid: str, *, impersonate: str | None) -> None:
        try:
            await self._client.delete(await self._path(desired), uid=uid, impersonate=impersonate)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise

    async def take_over(self, desired: Desired, live: Manifest, *, impersonate: str | None) -> Manifest:
        """Have kubectl's fields become ours. Raises `TakeoverConflict`."""
        path = await self._path(desired)
        for _ in range(_TAKEOVER_TRIES):
            try:
                await self._client.json_patch(
                    path,
                    takeover_patch(live, self._manager),
                    field_manager=self._manager,
                    impersonate=impersonate,
                )
            except ApiError as error:
                if error.status not in {_CONFLICT, _INVALID}:
                    raise
            live = await self.apply(desired, impersonate=impersonate)
            if not needs_takeover(live):
                return live
        raise TakeoverConflict(f"{desired.ref} changes too often to be taken over from kubectl")

    async def as_new(self, desired: Desired, *, impersonate: str | None) -> Manifest:
        """What the API server would make of it, were it made now, under another name. Nothing is written."""
        resource = await self._mapper.resource(desired.api_version, desired.ref.kind)
        name = f"{desired.ref.name[:40].rstrip('-.')}-{short_hash(desired.digest, 8)}"
        body = {**desired.manifest, "metadata": {**desired.manifest["metadata"], "name": name}}
        return await self._client.request(
            "POST",
            resource.path(desired.ref.namespace),
            params={"dryRun": "All", "fieldManager": self._manager},
            body=body,
            impersonate=impersonate,
        )

    async def _path(self, desired: Desired) -> str:
        resource = await self._mapper.resource(desired.api_version, desired.ref.kind)
        return resource.path(desired.ref.namespace, desired.ref.name)
