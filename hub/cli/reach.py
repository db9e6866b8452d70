"""What commands read and do on a hub: over its API where one is named, else over its API server.

Both give the same objects and do the same acts, decided by the same rules; a command does not know which it has.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agent.contract.errors import ApiError, AxletreeError
from hub.cli import api
from hub.cli.away import warn_if_away
from hub.cli.connect import FORBIDDEN, NOT_FOUND, connected, hub_kubeconfig
from hub.cli.here import hub_stopped
from hub.cli.watching import following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.response import Listing
    from hub.cli.names import Found
    from hub.cli.watching import Followed
    from hub.web.asked import AdoptRequest, ApproveRequest, RollbackRequest, SyncRequest
    from hub.web.models import Done

MANAGER = "axle"
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

Body: TypeAlias = "SyncRequest | RollbackRequest | ApproveRequest | AdoptRequest | None"


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

    def following(self, *paths: str, name: str = "") -> AbstractAsyncContextManager[Followed]:
        """Collections as they are and change, only what is called `name` where that is given."""
        ...


class NoRoute(AxletreeError):
    """The API does not tell of that: a kubeconfig of the hub is needed."""

    reason = "NoRoute"


@contextlib.asynccontextmanager
async def reaching(kubeconfig: Path | None) -> AsyncIterator[Reach]:
    """The hub that is meant: a kubeconfig that was named, else the API that the environment names, else as found."""
    if kubeconfig is None and api.is_named():
        from hub.cli.overapi import OverApi  # noqa: PLC0415 - models, which commands over Kubernetes do not need

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
        who = await self._who() if verb == "release" else ""
        try:
            annotations, said = decide(verb, await self.client.get(found.path), body, token=token, who=who)
        except NothingToDo as error:
            if error.reason != NothingToDo.reason:
                raise
            return None
        patch = {"metadata": {"annotations": annotations}}
        await self.client.merge_patch(found.path, patch, field_manager=MANAGER)
        await warn_if_away(self.client)
        return Done(act=verb, target=found.path, changed=said, request=token)

    def following(self, *paths: str, name: str = "") -> AbstractAsyncContextManager[Followed]:
        return following(self.client, *paths, name=name)

    async def _who(self) -> str:
        """Whom the API server takes us for; empty where it is too old to say."""
        question = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = await self.client.create(_WHO, question)
        except ApiError:
            return ""
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
