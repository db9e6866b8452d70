"""Bitbucket Cloud.

https://developer.atlassian.com/cloud/bitbucket/rest/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.client import MAX_PAGES
from hub.hosts.errors import HostUnreachable
from hub.hosts.model import Branch, Repository, Request, listed

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

API = "https://api.bitbucket.org/2.0"
_PAGE = 100
_REQUESTS_PAGE = 50


async def _all(client: HostClient, path: str, params: dict[str, str | int]) -> list[Any]:
    """Every page's `values`; each page names the next one."""
    answer = await client.get(path, params)
    found: list[Any] = [*listed(answer.value["values"])]
    for _ in range(MAX_PAGES):
        if not answer.value.get("next"):
            return found
        answer = await client.follow(answer.value["next"])
        found += listed(answer.value["values"])
    raise HostUnreachable(f"more than {MAX_PAGES} pages")


class BitbucketRepositories:
    """The repositories of a workspace."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        owner = quote(self._spec["owner"], safe="")
        return [
            Repository(
                organization=self._spec["owner"],
                name=one.get("slug") or one["name"],
                key=f"repositories/{owner}/{quote(one.get('slug') or one['name'], safe='')}",
                https_url=_without_user(_link(one, "https")),
                ssh_url=_link(one, "ssh"),
                default_branch=(one.get("mainbranch") or {}).get("name", ""),
                identity=str(one.get("uuid", "")),
            )
            for one in await _all(self._client, f"repositories/{owner}", {"pagelen": _PAGE})
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        path = f"{repository.key}/refs/branches"
        if not every:
            found = [(await self._client.get(f"{path}/{quote(repository.default_branch)}")).value]
        else:
            found = await _all(self._client, path, {"pagelen": _PAGE})
        return [Branch(one["name"], one["target"]["hash"]) for one in found]

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        return await self._client.exists(
            f"{repository.key}/src/{branch.sha}/{quote(path)}", {"format": "meta"}
        )


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The open pull requests."""
    path = f"repositories/{quote(spec['owner'], safe='')}/{quote(spec['repo'], safe='')}/pullrequests"
    return [
        Request(
            number=one["id"],
            title=one["title"],
            branch=one["source"]["branch"]["name"],
            target_branch=one["destination"]["branch"]["name"],
            head_sha=one["source"]["commit"]["hash"],
            author=(one.get("author") or {}).get("nickname", ""),
        )
        for one in await _all(client, path, {"state": "OPEN", "pagelen": _REQUESTS_PAGE})
    ]


def _link(repository: dict[str, Any], name: str) -> str:
    links = (repository.get("links") or {}).get("clone") or ()
    return next((str(one["href"]) for one in links if one["name"] == name), "")


def _without_user(url: str) -> str:
    """The address names whoever asked; credentials are a Secret's matter."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"
