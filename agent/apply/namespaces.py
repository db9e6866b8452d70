"""The namespace of an app, which the agent makes with its own rights where `createNamespace` says so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from agent.contract.manifest import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.apply.inventory import Inventory
    from agent.apply.prepare import Desired
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_FORBIDDEN, _CONFLICT = 403, 409


class Namespaces:
    """`known` are those that were seen to exist, shared by the apps of one cluster; a wrong one costs a request.

    What is made here is nobody's member, and never pruned.
    """

    def __init__(self, client: RestClient, *, manager: str, known: set[str]) -> None:
        self._client = client
        self._manager = manager
        self._known = known

    def forget(self, names: Iterable[str]) -> None:
        self._known.difference_update(names)

    async def own(self, policy: ApplyPolicy) -> None:
        """Have the app's namespace, if it is the agent's to make. Raises what the API server says."""
        name = policy.namespace
        if policy.create_namespace and name not in self._known:
            await self._ensure(name)
            self._known.add(name)

    async def for_round(self, policy: ApplyPolicy, desired: Sequence[Desired], inventory: Inventory) -> None:
        """The same before a round, with no request where the bundle has it, or something of ours is in it."""
        name = policy.namespace
        if any(item.ref == namespace_ref(name) for item in desired):
            return
        if desired and any(entry.uid and ref.namespace == name for ref, entry in inventory.entries.items()):
            self._known.add(name)  # it held something of ours; if it went, the apply will say so
        await self.own(policy)

    async def _ensure(self, name: str) -> None:
        """Make it where it is missing, with one request in most cases."""
        body: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await self._client.create("/api/v1/namespaces", body, field_manager=self._manager)
        except ApiError as error:
            if error.status == _CONFLICT:
                return
            if error.status == _FORBIDDEN:  # who may not make any may still have been given this one
                with contextlib.suppress(ApiError):
                    await self._client.get(f"/api/v1/namespaces/{name}")
                    return
            raise


def namespace_ref(name: str) -> ObjectRef:
    return ObjectRef("", "Namespace", "", name)
