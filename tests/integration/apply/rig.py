"""One app on a real API server, as the agent's loop would drive it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.apply.execute import Applier
from agent.apply.inventory import EMPTY, Inventory
from agent.apply.round import View, unknown
from agent.contract.bundle import ApplyPolicy
from agent.contract.errors import ApiError
from agent.contract.names import applyset_id
from agent.kube.client import RestClient
from agent.kube.discovery import RestMapper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.apply.result import Action, ApplyResult
    from agent.contract.manifest import Manifest, ObjectRef

MANAGER = "axletree-test"


class CountingClient(RestClient):
    """The real client, which notes what was asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[tuple[str, str]] = []

    async def request(self, method: str, path: str, **kwargs: Any) -> Manifest:
        self.asked.append((method, path))
        return await super().request(method, path, **kwargs)


@dataclass
class App:
    """An app with its inventory; `run` is one round, `saves` every inventory that was recorded."""

    client: CountingClient
    namespace: str
    name: str
    saves: list[Inventory] = field(default_factory=list)
    inventory: Inventory = EMPTY

    def __post_init__(self) -> None:
        self.applyset = applyset_id("hub", "eu1", self.name)
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is remembered but the inventory."""
        self.applier = Applier(
            self.client, RestMapper(self.client), manager=MANAGER, applyset=self.applyset, app=self.name
        )

    async def save(self, inventory: Inventory) -> None:
        self.saves.append(inventory)

    def policy(self, **changes: Any) -> ApplyPolicy:
        return ApplyPolicy(**{"namespace": self.namespace, "create_namespace": True, **changes})

    async def run(self, objects: Sequence[Manifest], *, view: View = unknown, **policy: Any) -> ApplyResult:
        elsewhere: frozenset[ObjectRef] = policy.pop("elsewhere", frozenset())
        result = await self.applier.apply(
            objects,
            self.policy(**policy),
            inventory=self.inventory,
            save=self.save,
            deadline=asyncio.get_running_loop().time() + 60,
            view=view,
            elsewhere=elsewhere,
        )
        self.inventory = result.inventory
        return result

    async def delete_all(self, **policy: Any) -> ApplyResult:
        result = await self.applier.delete_all(
            self.inventory,
            self.policy(**policy),
            save=self.save,
            deadline=asyncio.get_running_loop().time() + 60,
        )
        self.inventory = result.inventory
        return result

    async def need(self, path: str) -> Manifest:
        """The object, which must be there."""
        return await self.client.get(path)

    async def get(self, path: str) -> Manifest | None:
        try:
            return await self.client.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def path(self, plural: str, name: str, root: str = "/api/v1") -> str:
        return f"{root}/namespaces/{self.namespace}/{plural}/{name}"

    async def config_map(self, name: str) -> Manifest:
        return await self.need(self.path("configmaps", name))

    async def has_config_map(self, name: str) -> bool:
        return await self.get(self.path("configmaps", name)) is not None

    async def gone(self, path: str) -> None:
        """Wait until the object is not there."""

        async def absent() -> bool:
            return await self.get(path) is None

        await self.until(absent)

    async def until(self, condition: Callable[[], Awaitable[bool]], *, seconds: float = 90.0) -> None:
        """Wait until the awaited condition holds."""
        try:
            async with asyncio.timeout(seconds):
                while not await condition():  # noqa: ASYNC110 - the API server raises no asyncio event
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise AssertionError(f"not in {seconds} s: {condition.__qualname__}") from error

    async def served(self, api_version: str, *kinds: str) -> None:
        """Wait until discovery has those kinds: it follows a definition that is there already some time later."""

        async def there() -> bool:
            found = await self.get(f"/apis/{api_version}") or {}
            groups = (await self.need("/apis")).get("groups") or ()
            versions = {each["groupVersion"] for group in groups for each in group["versions"]}
            served = {each["kind"] for each in found.get("resources") or ()}
            return api_version in versions and served >= set(kinds)

        await self.until(there)

    async def allowed(self, user: str, *, wanted: bool = True, **attributes: str) -> None:
        """Wait until the API server's authorizer says so: it learns of a binding by a watch."""
        spec = {"user": user, "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}

        async def told() -> bool:
            url = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            answer = await self.client.request("POST", url, body=review)
            return bool(answer["status"]["allowed"]) is wanted

        await self.until(told)


def did(result: ApplyResult) -> dict[str, Action]:
    return {f"{entry.ref.kind}/{entry.ref.name}": entry.action for entry in result.entries}
