"""What hosts have in common: repositories with branches, and requests to merge one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from hub.core.params import Params, normalize
from hub.core.templating import slugify

_SHORT, _SHORTER = 8, 7
_SLUG = 50


@dataclass(frozen=True, slots=True)
class Repository:
    """`key` is how the host's API names it, `default_branch` empty where it has no commit yet."""

    organization: str
    name: str
    key: str
    https_url: str
    ssh_url: str = ""
    default_branch: str = ""
    identity: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    name: str
    sha: str


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    title: str
    branch: str
    target_branch: str
    head_sha: str
    labels: tuple[str, ...] = ()
    author: str = ""


class ScmHost(Protocol):
    """One host's repositories; paging is its own matter, all errors are those of `hub.hosts.errors`."""

    async def repositories(self) -> list[Repository]: ...

    async def branches(self, repository: Repository, *, every: bool) -> list[Branch]:
        """All of them, or the default one alone."""
        ...

    async def has_path(self, repository: Repository, branch: Branch, path: str) -> bool: ...


def listed(value: Any) -> list[Any]:
    """An answer that is to be a list. Raises TypeError: an empty map would be read as "there is nothing"."""
    if not isinstance(value, list):
        raise TypeError(f"a {type(value).__name__} where a list is documented")
    return value


AskRequests: TypeAlias = Callable[..., Awaitable[list[Request]]]
Spec: TypeAlias = Mapping[str, Any]


def repository_params(repository: Repository, branch: Branch, *, ssh: bool) -> Params:
    """As Argo CD names them."""
    return {
        "organization": repository.organization,
        "repository": repository.name,
        "repository_id": repository.identity,
        "url": repository.ssh_url if ssh else repository.https_url,
        "branch": branch.name,
        "branchNormalized": normalize(branch.name),
        "sha": branch.sha,
        "short_sha": branch.sha[:_SHORT],
        "short_sha_7": branch.sha[:_SHORTER],
        "labels": ",".join(repository.labels),
    }


def request_params(request: Request) -> Params:
    """As Argo CD names them."""
    return {
        "number": str(request.number),
        "title": request.title,
        "branch": request.branch,
        "branch_slug": slugify(request.branch, _SLUG),
        "target_branch": request.target_branch,
        "target_branch_slug": slugify(request.target_branch, _SLUG),
        "head_sha": request.head_sha,
        "head_short_sha": request.head_sha[:_SHORT],
        "head_short_sha_7": request.head_sha[:_SHORTER],
        "labels": list(request.labels),
        "author": request.author,
    }


def without_ref(name: str) -> str:
    """`refs/heads/x` as `x`."""
    return name.removeprefix("refs/heads/")
