"""As whom an app's objects are written: a ServiceAccount of its Project, and nobody else in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.apply.errors import ServiceAccountMissing
from agent.contract.errors import ApiError

if TYPE_CHECKING:
    from agent.contract.bundle import ApplyPolicy
    from agent.kube.client import RestClient

_NOT_FOUND = 404


class Accounts:
    """Looks for the account before each round: the API server would let one impersonate what does not exist.

    `asked` holds the questions under way, for all apps of one agent: those that begin together share an answer.
    """

    def __init__(
        self, client: RestClient, *, namespace: str, asked: dict[str, asyncio.Task[None]] | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._asked: dict[str, asyncio.Task[None]] = {} if asked is None else asked
        self._ahead: tuple[str, asyncio.Task[None]] | None = None

    def look_ahead(self, policy: ApplyPolicy) -> asyncio.Task[None] | None:
        """Begin to ask for a policy's account: the answer comes while the round does something else.

        The next `user` for the same account takes it; for another, or without this, it asks itself.
        """
        name = policy.service_account
        if name is None:
            return None
        task = asyncio.create_task(self._exists(name), name=f"ServiceAccount {name}")
        self._ahead = name, task
        return task

    async def user(self, policy: ApplyPolicy) -> str | None:
        """The user to write as; None where the project is trusted. Raises `ServiceAccountMissing`."""
        name = policy.service_account
        ahead, self._ahead = self._ahead, None
        if name is None:
            return None
        if ahead is not None and ahead[0] == name:
            await ahead[1]
        else:
            await self._exists(name)
        return f"system:serviceaccount:{self._namespace}:{name}"

    async def _exists(self, name: str) -> None:
        """The answer, whoever asked. Who is cancelled does not cancel it for the others."""
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.create_task(self._ask(name), name=f"ServiceAccount {name}")
            task.add_done_callback(lambda done: self._answered(name, done))
        await asyncio.shield(task)

    def _answered(self, name: str, task: asyncio.Task[None]) -> None:
        del self._asked[name]
        if not task.cancelled():
            task.exception()  # is told to whoever still waits

    async def _ask(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{name}"
        try:
            await self._client.get(path)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            raise ServiceAccountMissing(
                f"ServiceAccount {self._namespace}/{name} does not exist on this cluster, and nothing is written with "
                "the agent's own rights: create it there, with the rights that the app needs"
            ) from error
