"""What GitHub's API and Gitea's have in common, and in which words they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.hosts.model import Branch, Repository, Request, listed

if TYPE_CHECKING:
    from hub.hosts.client import HostClient
    from hub.hosts.model import Spec


@dataclass(frozen=True, slots=True)
class Dialect:
    """`prefix` stands before every path."""

    organization: str
    """The field of a generator that names it."""
    per_page: str
    page: int
    sha: str
    """What a branch's commit calls its id."""
    prefix: str = ""
    slashes: bool = False
    """Whether a branch's name stands in a path with its slashes as they are."""


class LinkedRepositories:
    """The repositories of an organization, paged by `Link` headers."""

    def __init__(self, client: HostClient, spec: Spec, dialect: Dialect) -> None:
        self._client = client
        self._spec = spec
        self._dialect = dialect

    async def repositories(self) -> list[Repository]:
        owner = self._spec[self._dialect.organization]
        return [
            Repository(
                organization=_owner(one, owner),
                name=one["name"],
                key=_repository(self._dialect, _owner(one, owner), one["name"]),
                https_url=one["clone_url"],
                ssh_url=one.get("ssh_url") or "",
                default_branch="" if one.get("empty") else one.get("default_branch") or "",
                identity=str(one["id"]),
                labels=tuple(one.get("topics") or ()),
            )
            for one in await self._all(f"{self._dialect.prefix}orgs/{quote(owner, safe='')}/repos")
            if not (self._spec.get("excludeArchivedRepos") and one.get("archived"))
        ]

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        path = f"{repository.key}/branches"
        if every:
            found = await self._all(path)
        else:
            name = quote(repository.default_branch, safe="/" if self._dialect.slashes else "")
            found = [(await self._client.get(f"{path}/{name}")).value]
        return [Branch(one["name"], one["commit"][self._dialect.sha]) for one in found]

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool:
        return await self._client.exists(f"{repository.key}/contents/{quote(path)}", {"ref": branch.name})

    async def _all(self, path: str) -> list[Any]:
        found: list[Any] = []
        async for page in self._client.pages(path, {self._dialect.per_page: self._dialect.page}):
            found += listed(page.value)
        return found


async def open_requests(client: HostClient, spec: Spec, dialect: Dialect) -> list[Request]:
    """The open pull requests."""
    path = f"{_repository(dialect, spec['owner'], spec['repo'])}/pulls"
    found: list[Request] = []
    async for page in client.pages(path, {"state": "open", dialect.per_page: dialect.page}):
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
            for one in listed(page.value)
        ]
    return found


def _owner(one: Any, asked: str) -> str:
    """Its own spelling of who owns it, where the host says it."""
    return str((one.get("owner") or {}).get("login") or asked)


def _repository(dialect: Dialect, owner: str, name: str) -> str:
    return f"{dialect.prefix}repos/{quote(owner, safe='')}/{quote(name, safe='')}"
