"""One request that passed its route's policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.contract.errors import ApiError
from hub.web.problems import NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from pydantic import BaseModel

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.web.auth import Caller
    from hub.web.policy import Route

_GONE = 404


@dataclass(frozen=True, slots=True)
class Call:
    """`query` and `body` are of the route's models. `visible`: namespaces that may be seen; None: all."""

    request: web.Request
    route: Route
    caller: Caller
    query: Any
    body: Any
    visible: tuple[str, ...] | None = None

    @property
    def namespace(self) -> str:
        return self.request.match_info.get("namespace", "")

    @property
    def name(self) -> str:
        return self.request.match_info.get("name", "")

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def source(self) -> str:
        """Where it came from."""
        return self.request.remote or ""


Handler: TypeAlias = "Callable[[Call], Awaitable[BaseModel | web.StreamResponse]]"


async def fetched(client: RestClient, path: str) -> Manifest:
    """The object as the API server has it now. Raises `NotFound`."""
    try:
        return await client.get(path)
    except ApiError as error:
        if error.status == _GONE:
            raise NotFound from error
        raise
