"""Azure DevOps.

https://learn.microsoft.com/rest/api/azure/devops/git/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.client import MAX_PAGES
from hub.hosts.errors import HostUnreachable
from hub.hosts.model import Branch, Repository, Request, listed, without_ref

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec

API = "https://dev.azure.com"
_VERSION = {"api-version": "7.1"}
_PAGE = 100


class AzureRepositories:
    """The repositories of a team project."""

    def __init__(self, client: HostClient, spec: Spec) -> None:
        self._client = client
        self._spec = spec

    async def repositories(self) -> list[Repository]:
        base = _base(self._spec["organization"], self._spec["teamProject"])
        answer = await self._client.get(f"{base}/repositories", _VERSION)
        return [
            Repository(
                organization=self._spec["organization"],
                name=one["name"],
                key=f"{base}/repositories/{quote(one['id'], safe='')}",
                https_url=_without_user(one["remoteUrl"]),
                ssh_url=one.get("sshUrl") or "",
                default_branch=without_ref(one.get("defaultBranch") or ""),
                identity=one["id"],
            )
            for one in listed(answer.value["value"])
            if not one.get("isDisabled")
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        wanted = "heads/" if every else f"heads/{repository.default_branch}"
        found: list[Any] = []
        params: dict[str, str | int] = {**_VERSION, "filter": wanted}
        for _ in range(MAX_PAGES):
            answer = await self._client.get(f"{repository.key}/refs", params)
            found += listed(answer.value["value"])
            token = answer.headers.get("x-ms-continuationtoken")
            if not token:
                break
            params["continuationToken"] = token
        else:
            raise HostUnreachable(f"more than {MAX_PAGES} pages")
        branches = [Branch(without_ref(one["name"]), one["objectId"]) for one in found]
        return [one for one in branches if every or one.name == repository.default_branch]

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        params: dict[str, str | int] = {
            **_VERSION,
            "path": f"/{path}",
            "versionDescriptor.versionType": "branch",
            "versionDescriptor.version": branch.name,
        }
        return await self._client.exists(f"{repository.key}/items", params)


async def requests(client: HostClient, spec: Spec) -> list[Request]:
    """The active pull requests."""
    path = f"{_base(spec['organization'], spec['project'])}/repositories/{quote(spec['repo'], safe='')}/pullrequests"
    found: list[Any] = []
    for _ in range(MAX_PAGES):
        page = (
            await client.get(
                path,
                {**_VERSION, "searchCriteria.status": "active", "$top": _PAGE, "$skip": len(found)},
            )
        ).value["value"]
        found += listed(page)
        if len(page) < _PAGE:
            return [_request(one) for one in found]
    raise HostUnreachable(f"more than {MAX_PAGES} pages")


def _request(one: Any) -> Request:
    return Request(
        number=one["pullRequestId"],
        title=one["title"],
        branch=without_ref(one["sourceRefName"]),
        target_branch=without_ref(one["targetRefName"]),
        head_sha=(one.get("lastMergeSourceCommit") or {}).get("commitId", ""),
        labels=tuple(label["name"] for label in one.get("labels") or () if label.get("active", True)),
        author=(one.get("createdBy") or {}).get("uniqueName", "").partition("@")[0],
    )


def _base(organization: str, project: str) -> str:
    return f"{quote(organization, safe='')}/{quote(project, safe='')}/_apis/git"


def _without_user(url: str) -> str:
    """The address names the organization as its user; credentials are a Secret's matter."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"
