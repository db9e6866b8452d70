"""What commands read and do on a hub: over its API where one is named, else over its API server.

Both give the same objects and do the same acts, decided by the same rules; a command does not know which it has.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import GROUP
from agent.kube.response import Listing
from hub.cli import api
from hub.cli.connect import FORBIDDEN, NOT_FOUND, connected, hub_kubeconfig
from hub.cli.here import hub_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.cli.names import Found
    from hub.web.asked import ApproveRequest, RollbackRequest, SyncRequest
    from hub.web.client import Client
    from hub.web.models import Done

MANAGER = "axle"
_PAGE = 250

Body: TypeAlias = "SyncRequest | RollbackRequest | ApproveRequest | None"


class Reads(Protocol):
    """Objects by their paths on the API server, whoever is asked for them."""

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing: ...

    async def get(self, path: str) -> Manifest: ...


class Reach(Reads, Protocol):
    """`stopped`: this machine knows that the hub's process has ended."""

    stopped: bool

    async def hub_id(self) -> str | None:
        """The hub's id; None where the asker may not read it, or the hub never ran."""
        ...

    async def act(self, verb: str, found: Found, body: Body = None) -> Done | None:
        """Do it; None where there was nothing to do. Raises `WebError`, `ApiError`."""
        ...


@contextlib.asynccontextmanager
async def reaching(kubeconfig: Path | None) -> AsyncIterator[Reach]:
    """The hub that is meant: a kubeconfig that was named, else the API that the environment names, else as found."""
    if kubeconfig is None and api.is_named():
        async with api.client_of() as client:
            yield OverApi(client)
    else:
        stopped = hub_stopped(hub_kubeconfig(kubeconfig))
        async with connected(kubeconfig) as client:
            yield OverKubernetes(client, stopped=stopped)


class OverKubernetes:
    """As whoever the kubeconfig says."""

    def __init__(self, client: RestClient, *, stopped: bool = False) -> None:
        self.client = client
        self.stopped = stopped

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        return await self.client.list(path, label_selector=label_selector, field_selector=field_selector)

    async def get(self, path: str) -> Manifest:
        return await self.client.get(path)

    async def hub_id(self) -> str | None:
        from hub.gateway import paths  # noqa: PLC0415 - cryptography, which few commands need
        from hub.gateway.identity import SECRET_NAME, HubIdentity  # noqa: PLC0415

        try:
            return HubIdentity.from_secret(await self.client.get(paths.secret(SECRET_NAME))).hub_id
        except ApiError as error:
            if error.status not in {FORBIDDEN, NOT_FOUND}:
                raise
            return None

    async def act(self, verb: str, found: Found, body: Body = None) -> Done | None:
        from hub.web.acts import decide  # noqa: PLC0415 - the models of the API, which reading does not need
        from hub.web.models import Done  # noqa: PLC0415
        from hub.web.problems import NothingToDo  # noqa: PLC0415

        token = secrets.token_hex(8)
        try:
            annotations, said = decide(verb, await self.client.get(found.path), body, token=token)
        except NothingToDo as error:
            if error.reason != NothingToDo.reason:
                raise
            return None
        patch = {"metadata": {"annotations": annotations}}
        await self.client.merge_patch(found.path, patch, field_manager=MANAGER)
        return Done(act=verb, target=found.path, changed=said, request=token)


class OverApi:
    """As whoever the token is; every act is in the hub's audit."""

    stopped = False

    def __init__(self, client: Client) -> None:
        self.client = client

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        from hub.web.asked import ObjectQuery  # noqa: PLC0415 - as everything of the API

        namespace, plural, name = _parts(path)
        name = name or field_selector.removeprefix("metadata.name=")
        items: list[Manifest] = []
        cursor = ""
        while True:
            query = ObjectQuery(
                namespace=namespace, name=name, label_selector=label_selector, cursor=cursor, limit=_PAGE
            )
            page = await self._pages(plural)(query)
            items += page.items
            cursor = page.next_cursor
            if not cursor:
                return Listing(items, "")

    async def get(self, path: str) -> Manifest:
        found = (await self.list(path)).items
        if not found:
            raise ApiError(f"{path}: there is nothing here", status=NOT_FOUND, api_reason="NotFound")
        return found[0]

    async def hub_id(self) -> str | None:
        return (await self.client.hub()).id or None

    async def act(self, verb: str, found: Found, body: Body = None) -> Done | None:
        from hub.web.connection import ApiProblem  # noqa: PLC0415 - as everything of the API
        from hub.web.problems import NothingToDo  # noqa: PLC0415

        metadata = found.obj["metadata"]
        one = f"{found.kind.kind.lower()}"
        do: Any = getattr(self.client, f"{verb}_{one}")
        where = (metadata["namespace"], metadata["name"]) if found.kind.namespaced else (metadata["name"],)
        key = secrets.token_hex(16)
        given = () if body is None else (body,)
        try:
            done: Done = await do(*where, *given, key=key)
        except ApiProblem as error:
            if error.reason != NothingToDo.reason:
                raise
            return None
        return done

    def _pages(self, plural: str) -> Any:
        return getattr(self.client, f"{plural}_objects")


class NoRoute(AxletreeError):
    """The API does not tell of that: a kubeconfig of the hub is needed."""

    reason = "NoRoute"


def _parts(path: str) -> tuple[str, str, str]:
    """Namespace, plural and name of a path of our kinds, or of the hub's Leases. Raises `NoRoute`."""
    words = path.strip("/").split("/")
    ours = words[:2] == ["apis", GROUP]
    if not ours and "/leases" not in path:
        raise NoRoute(f"{path}: the API does not tell of that; name a kubeconfig with --kubeconfig")
    rest = words[3:]
    namespace = rest[1] if rest[:1] == ["namespaces"] else ""
    plural, *name = rest[2:] if namespace else rest
    return namespace if ours else "", plural, name[0] if name else ""
