"""GitHub and GitHub Enterprise.

https://docs.github.com/en/rest
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.model import Branch, Repository, Request

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

API = "https://api.github.com"
_PAGE = 100


def headers(token: str) -> dict[str, str]:
    """What says who asks, and in which version of the API."""
    return {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }


class GithubRepositories:
    """The repositories of an organization."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        path = f"orgs/{quote(self._spec['organization'], safe='')}/repos"
        found: list[Any] = []
        async for page in self._client.pages(path, {"per_page": _PAGE}):
            found += page.value
        return [
            Repository(
                organization=one["owner"]["login"],
                name=one["name"],
                key=f"repos/{quote(one['owner']['login'], safe='')}/{quote(one['name'], safe='')}",
                https_url=one["clone_url"],
                ssh_url=one.get("ssh_url") or "",
                default_branch=one.get("default_branch") or "",
                identity=str(one["id"]),
                labels=tuple(one.get("topics") or ()),
            )
            for one in found
            if not (self._spec.get("excludeArchivedRepos") and one.get("archived"))
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        if not every:
            one = await self._client.get(
                f"{repository.key}/branches/{quote(repository.default_branch, safe='')}"
            )
            return [Branch(one.value["name"], one.value["commit"]["sha"])]
        found: list[Branch] = []
        async for page in self._client.pages(f"{repository.key}/branches", {"per_page": _PAGE}):
            found += [Branch(one["name"], one["commit"]["sha"]) for one in page.value]
        return found

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        return await self._client.exists(f"{repository.key}/contents/{quote(path)}", {"ref": branch.name})


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests that carry all the labels."""
    path = f"repos/{quote(spec['owner'], safe='')}/{quote(spec['repo'], safe='')}/pulls"
    found: list[Request] = []
    async for page in client.pages(path, {"state": "open", "per_page": _PAGE}):
        found += [
            Request(
                number=one["number"],
                title=one["title"],
                branch=one["head"]["ref"],
                target_branch=one["base"]["ref"],
                head_sha=one["head"]["sha"],
                labels=tuple(label["name"] for label in one.get("labels") or ()),
                author=(one.get("user") or {}).get("login", ""),
            )
            for one in page.value
        ]
    return found
