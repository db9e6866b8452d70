"""Secrets in the agent's own namespace, written with one request each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from agent.contract.names import AGENT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_PATH = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
_MANAGER = "axletree-agent"
_NOT_FOUND = 404
_CONFLICT = 409


class SecretWriter:
    """Remembers which Secrets exist, so that a write is one POST or one PUT, not a read and a write.

    Unconditional on purpose: these Secrets have one writer, and the newest state is always the right one.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._known: set[str] = set()

    async def ensure_namespace(self) -> None:
        """Make the agent's namespace where it is missing. Who may not look is told by the next write."""
        try:
            await self._client.get(f"/api/v1/namespaces/{AGENT_NAMESPACE}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                return
            await self._create_namespace()

    async def get(self, name: str) -> Manifest | None:
        """One Secret; None where there is none."""
        try:
            secret = await self._client.get(f"{_PATH}/{name}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        self._known.add(name)
        return secret

    async def list(self, label_selector: str) -> list[Manifest]:
        """All that match, completely, or an error."""
        listing = await self._client.list(_PATH, label_selector=label_selector)
        self._known.update(item["metadata"]["name"] for item in listing.items)
        return listing.items

    async def put(self, secret: Manifest) -> None:
        """Create or replace."""
        name = secret["metadata"]["name"]
        replace = name in self._known
        try:
            await self._write(name, secret, replace=replace)
        except ApiError as error:
            if error.status != (_NOT_FOUND if replace else _CONFLICT):
                raise
            await self._write(name, secret, replace=not replace)
        self._known.add(name)

    async def delete(self, names: Iterable[str]) -> None:
        """Delete each; one that is gone already is fine."""
        for name in names:
            try:
                await self._client.delete(f"{_PATH}/{name}")
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
            self._known.discard(name)

    async def _write(self, name: str, secret: Manifest, *, replace: bool) -> None:
        if replace:
            await self._client.replace(f"{_PATH}/{name}", secret, field_manager=_MANAGER)
        else:
            await self._client.create(_PATH, secret, field_manager=_MANAGER)

    async def _create_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENT_NAMESPACE}}
        try:
            await self._client.create("/api/v1/namespaces", body, field_manager=_MANAGER)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
