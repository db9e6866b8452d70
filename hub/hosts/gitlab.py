"""GitLab, hosted or one's own.

https://docs.gitlab.com/api/rest/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.model import Branch, Repository, Request, listed

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

API = "https://gitlab.com"
_V4 = "api/v4"
_PAGE = 100


def headers(token: str) -> dict[str, str]:
    return {"PRIVATE-TOKEN": token} if token else {}


class GitlabRepositories:
    """The projects of a group."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        spec = self._spec
        params: dict[str, str | int] = {
            "per_page": _PAGE,
            "include_subgroups": _flag(spec.get("includeSubgroups", False)),
            "with_shared": _flag(spec.get("includeSharedProjects", True)),
        }
        if not spec.get("includeArchivedRepos"):
            params["archived"] = "false"
        if spec.get("topic"):
            params["topic"] = spec["topic"]
        found: list[Any] = []
        async for page in self._client.pages(
            f"{_V4}/groups/{quote(str(spec['group']), safe='')}/projects", params
        ):
            found += listed(page.value)
        return [
            Repository(
                organization=one["namespace"]["full_path"],
                name=one["path"],
                key=f"{_V4}/projects/{one['id']}",
                https_url=one["http_url_to_repo"],
                ssh_url=one.get("ssh_url_to_repo") or "",
                default_branch=one.get("default_branch") or "",
                identity=str(one["id"]),
                labels=tuple(one.get("topics") or ()),
            )
            for one in found
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        path = f"{repository.key}/repository/branches"
        if not every:
            one = await self._client.get(f"{path}/{quote(repository.default_branch, safe='')}")
            return [Branch(one.value["name"], one.value["commit"]["id"])]
        found: list[Branch] = []
        async for page in self._client.pages(path, {"per_page": _PAGE}):
            found += [Branch(one["name"], one["commit"]["id"]) for one in listed(page.value)]
        return found

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        file = f"{repository.key}/repository/files/{quote(path, safe='')}"
        if await self._client.exists(file, {"ref": branch.name}):
            return True
        tree = f"{repository.key}/repository/tree"
        # a folder that is not there is 404 in newer versions, and an empty list in older ones
        params: dict[str, str | int] = {"path": path, "ref": branch.name, "per_page": 1}
        return await self._client.exists(tree, params) and bool((await self._client.get(tree, params)).value)


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The merge requests, the open ones unless another state is asked for."""
    params: dict[str, str | int] = {
        "state": spec.get("pullRequestState") or "opened",
        "per_page": _PAGE,
    }
    if spec.get("labels"):
        params["labels"] = ",".join(spec["labels"])
    path = f"{_V4}/projects/{quote(str(spec['project']), safe='')}/merge_requests"
    found: list[Request] = []
    async for page in client.pages(path, params):
        found += [
            Request(
                number=one["iid"],
                title=one["title"],
                branch=one["source_branch"],
                target_branch=one["target_branch"],
                head_sha=one["sha"],
                labels=tuple(one.get("labels") or ()),
                author=(one.get("author") or {}).get("username", ""),
            )
            for one in listed(page.value)
        ]
    return found


def _flag(value: object) -> str:
    return "true" if value else "false"
