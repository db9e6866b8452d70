"""Gitea and Forgejo.

https://docs.gitea.com/api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.hosts.githublike import Dialect, LinkedRepositories, open_requests

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Request, Spec

_DIALECT = Dialect(organization="owner", per_page="limit", page=50, sha="id", prefix="api/v1/", slashes=True)


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"} if token else {}


class GiteaRepositories(LinkedRepositories):
    """The repositories of an organization."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        super().__init__(client, spec, _DIALECT)


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests."""
    return await open_requests(client, spec, _DIALECT)
