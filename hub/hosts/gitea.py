"""Gitea and Forgejo.

https://docs.gitea.com/api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.model import Branch, Repository, Request

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

_V1 = "api/v1"
_PAGE = 50


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"} if token else {}


class GiteaRepositories:
    """The repositories of an organization."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        owner = quote(self._spec["owner"], safe="")
        found: list[Any] = []
        async for page in self._client.pages(f"{_V1}/orgs/{owner}/repos", {"limit": _PAGE}):
            found += page.value
        return [
            Repository(
                organization=self._spec["owner"],
                name=one["name"],
                key=f"{_V1}/repos/{owner}/{quote(one['name'], safe='')}",
                https_url=one["clone_url"],
                ssh_url=one.get("ssh_url") or "",
                default_branch="" if one.get("empty") else one.get("default_branch") or "",
                identity=str(one["id"]),
                labels=tuple(one.get("topics") or ()),
            )
            for one in found
            if not (self._spec.get("excludeArchivedRepos") and one.get("archived"))
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        path = f"{repository.key}/branches"
        if not every:
            one = await self._client.get(f"{path}/{quote(repository.default_branch)}")
            return [Branch(one.value["name"], one.value["commit"]["id"])]
        found: list[Branch] = []
        async for page in self._client.pages(path, {"limit": _PAGE}):
            found += [Branch(one["name"], one["commit"]["id"]) for one in page.value]
        return found

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        return await self._client.exists(f"{repository.key}/contents/{quote(path)}", {"ref": branch.name})


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests."""
    path = f"{_V1}/repos/{quote(spec['owner'], safe='')}/{quote(spec['repo'], safe='')}/pulls"
    found: list[Request] = []
    async for page in client.pages(path, {"state": "open", "limit": _PAGE}):
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
