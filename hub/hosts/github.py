"""GitHub and GitHub Enterprise.

https://docs.github.com/en/rest
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.hosts.githublike import Dialect, LinkedRepositories, open_requests

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Request, Spec

API = "https://api.github.com"
_DIALECT = Dialect(organization="organization", per_page="per_page", page=100, sha="sha")


def headers(token: str) -> dict[str, str]:
    """What says who asks, and in which version of the API."""
    return {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }


class GithubRepositories(LinkedRepositories):
    """The repositories of an organization."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        super().__init__(client, spec, _DIALECT)


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests."""
    return await open_requests(client, spec, _DIALECT)
