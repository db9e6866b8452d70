"""Bitbucket Server and Data Center.

https://developer.atlassian.com/server/bitbucket/rest/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.client import MAX_PAGES
from hub.hosts.errors import HostNotFound, HostUnreachable
from hub.hosts.model import Branch, Repository, Request, listed

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

_V1 = "rest/api/1.0"
_PAGE = 100


async def _all(client: HostClient, path: str, params: dict[str, str | int]) -> list[Any]:
    """Every page's `values`; each says where the next one starts."""
    found: list[Any] = []
    start = 0
    for _ in range(MAX_PAGES):
        page = (await client.get(path, {**params, "limit": _PAGE, "start": start})).value
        found += listed(page["values"])
        if page.get("isLastPage", True):
            return found
        start = page["nextPageStart"]
    raise HostUnreachable(f"more than {MAX_PAGES} pages")


class BitbucketServerRepositories:
    """The repositories of a project."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        project = f"{_V1}/projects/{quote(self._spec['project'], safe='~')}"
        return [
            Repository(
                organization=one["project"]["key"],
                name=one["slug"],
                key=f"{project}/repos/{quote(one['slug'], safe='')}",
                https_url=_link(one, "http"),
                ssh_url=_link(one, "ssh"),
                default_branch="?",  # the list does not say; the branches do
                identity=str(one["id"]),
                labels=await self._labels(f"{project}/repos/{quote(one['slug'], safe='')}"),
            )
            for one in await _all(self._client, f"{project}/repos", {})
        ]

    async def _labels(self, key: str) -> tuple[str, ...]:
        if not any(one.get("labelMatch") for one in self._spec.get("filters") or ()):
            return ()
        return tuple(one["name"] for one in await _all(self._client, f"{key}/labels", {}))

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        try:
            found = await _all(self._client, f"{repository.key}/branches", {})
        except HostNotFound:
            return []  # a repository without a commit
        return [
            Branch(one["displayId"], one["latestCommit"]) for one in found if every or one.get("isDefault")
        ]

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        params: dict[str, str | int] = {"at": f"refs/heads/{branch.name}", "type": "true"}
        return await self._client.exists(f"{repository.key}/browse/{quote(path)}", params)


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests."""
    path = f"{_V1}/projects/{quote(spec['project'], safe='~')}/repos/{quote(spec['repo'], safe='')}/pull-requests"
    return [
        Request(
            number=one["id"],
            title=one["title"],
            branch=one["fromRef"]["displayId"],
            target_branch=one["toRef"]["displayId"],
            head_sha=one["fromRef"]["latestCommit"],
            author=((one.get("author") or {}).get("user") or {}).get("name", ""),
        )
        for one in await _all(client, path, {"state": "OPEN"})
    ]


def _link(repository: dict[str, Any], name: str) -> str:
    links = (repository.get("links") or {}).get("clone") or ()
    return next((str(one["href"]) for one in links if one["name"] == name), "")
