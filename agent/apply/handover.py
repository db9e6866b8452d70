"""Looking at single objects that other tools manage, and taking them over: requests, on what `adopt` decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.adopt import handover_patch, plan_entry, tools_of
from agent.apply.failures import IMMUTABLE, explain
from agent.apply.ignore import effective
from agent.contract.adoption import AdoptionChange, AdoptionEntry
from agent.contract.errors import ApiError

if TYPE_CHECKING:
    from agent.apply.prepare import Desired
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_TRIES = 5
_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, 422
_REF, _TEXT, _TOOLS = 600, 1024, 8


class Handover:
    """For one agent's field manager. `user`: whom to write as; None only for trusted projects."""

    def __init__(self, client: RestClient, mapper: RestMapper, *, manager: str) -> None:
        self._client = client
        self._mapper = mapper
        self._manager = manager

    async def look(self, desired: Desired, *, user: str | None) -> AdoptionEntry:
        """What applying the object would change, and whom it belongs to now. Raises transient `ApiError`s."""
        ref = str(desired.ref)[:_REF]
        try:
            path = await self._path(desired)
            live = await self._read(path)
            if live is not None and desired.options.if_not_present:
                tools = list(tools_of(live, self._manager))[:_TOOLS]
                return AdoptionEntry(ref=ref, change=AdoptionChange.SAME, tools=tools)
            proposed = await self._client.apply(
                path,
                self._sent(desired, live),
                field_manager=self._manager,
                force=not desired.options.fail_on_conflict,
                dry_run=True,
                impersonate=user,
            )
        except ApiError as error:
            if error.transient:
                raise
            failure = explain(error, desired.ref)
            return AdoptionEntry(
                ref=ref,
                change=AdoptionChange.REFUSED,
                restarts=failure.reason == IMMUTABLE,
                message=f"{failure.reason}: {failure.message}"[:_TEXT],
            )
        if live is None:
            return AdoptionEntry(ref=ref, change=AdoptionChange.CREATE)
        return plan_entry(desired.ref, live=live, proposed=proposed, manager=self._manager)

    async def take(self, desired: Desired, *, user: str | None) -> AdoptionEntry | None:
        """Make the object ours alone. None where it was, or is not there. Raises `ApiError`."""
        path = await self._path(desired)
        tools: tuple[str, ...] = ()
        for attempt in range(_TRIES):
            live = await self._read(path)
            patch = handover_patch(live, desired.manifest, self._manager) if live is not None else []
            if live is None or not patch:
                break
            tools = tools_of(live, self._manager)
            try:
                await self._client.json_patch(path, patch, field_manager=self._manager, impersonate=user)
            except ApiError as error:
                # Somebody wrote it meanwhile: the version that the patch was made from is gone.
                if error.status not in {_CONFLICT, _INVALID} or attempt == _TRIES - 1:
                    raise
        if not tools:
            return None
        ref = str(desired.ref)[:_REF]
        return AdoptionEntry(ref=ref, change=AdoptionChange.SAME, tools=list(tools)[:_TOOLS])

    def _sent(self, desired: Desired, live: Manifest | None) -> Manifest:
        """What an apply would send: with what is ignored left as it is."""
        ignored = desired.options.ignored
        if not ignored or live is None:
            return desired.manifest
        return effective(desired.manifest, live, self._manager, ignored)

    async def _path(self, desired: Desired) -> str:
        resource = await self._mapper.resource(desired.api_version, desired.ref.kind)
        return resource.path(desired.ref.namespace, desired.ref.name)

    async def _read(self, path: str) -> Manifest | None:
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
