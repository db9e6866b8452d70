"""`scmProvider` and `pullRequest`: which host is meant, who asks it, and what passes the filters."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.core.patterns import matches
from hub.hosts import azure, bitbucket, bitbucketserver, gitea, github, gitlab
from hub.hosts.errors import HostMisconfigured, HostNotFound
from hub.hosts.model import AskRequests, Branch, Repository, ScmHost, repository_params, request_params
from hub.hosts.objects import token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hub.core.params import Params
    from hub.hosts.client import HostClient
    from hub.hosts.model import Request, Spec
    from hub.hosts.objects import Objects

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """One host: its usual address, its repositories, its requests, and how a token is shown."""

    api: str
    repositories: Callable[[HostClient, Spec], ScmHost]
    requests: AskRequests
    headers: Callable[[str], Mapping[str, str]] | None = None


_BITBUCKET_SERVER = Kind("", bitbucketserver.BitbucketServerRepositories, bitbucketserver.requests)
_AZURE = Kind(azure.API, azure.AzureRepositories, azure.requests)
HOSTS: Mapping[str, Kind] = {
    "github": Kind(github.API, github.GithubRepositories, github.requests, github.headers),
    "gitlab": Kind(gitlab.API, gitlab.GitlabRepositories, gitlab.requests, gitlab.headers),
    "gitea": Kind("", gitea.GiteaRepositories, gitea.requests, gitea.headers),
    "bitbucket": Kind(bitbucket.API, bitbucket.BitbucketRepositories, bitbucket.requests),
    "bitbucketServer": _BITBUCKET_SERVER,
    "azureDevOps": _AZURE,
    "azuredevops": _AZURE,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which host a generator names."""

    name: str
    spec: Spec
    kind: Kind

    @property
    def api(self) -> str:
        api = str(self.spec.get("api") or self.kind.api)
        if not api:
            raise HostMisconfigured(f"{self.name}.api: the host's address is needed")
        return api


def asked(spec: Mapping[str, Any]) -> Asked:
    """The one host of a checked generator."""
    name = next(name for name in HOSTS if spec.get(name) is not None)
    return Asked(name, {**spec[name], "filters": spec.get("filters") or []}, HOSTS[name])


async def authorization(one: Asked, objects: Objects, namespace: str) -> Mapping[str, str]:
    """The headers that say who asks. Raises `HostMisconfigured`."""
    spec = one.spec
    if one.kind.headers is not None:
        return one.kind.headers(await token(objects, namespace, spec.get("tokenRef")))
    if spec.get("bearerToken"):
        return {"Authorization": f"Bearer {await token(objects, namespace, spec['bearerToken']['tokenRef'])}"}
    if spec.get("basicAuth"):
        user, ref = spec["basicAuth"]["username"], spec["basicAuth"]["passwordRef"]
    else:
        user = spec.get("user") or ""
        ref = spec.get("appPasswordRef") or spec.get("accessTokenRef") or spec.get("tokenRef")
    if not ref:
        return {}
    password = await token(objects, namespace, ref)
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def repositories(client: HostClient, one: Asked, *, ssh: bool) -> list[Params]:
    """A parameter set a branch that passes, by repository and branch."""
    host = one.kind.repositories(client, one.spec)
    filters = one.spec["filters"]
    _compile(filters, ("repositoryMatch", "labelMatch", "branchMatch"))
    every = bool(one.spec.get("allBranches"))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def of(repository: Repository) -> list[Params]:
        async with gate:
            passing = [each for each in filters if _repository_passes(each, repository)]
            if (filters and not passing) or not (repository.default_branch or every):
                return []
            branches = await host.branches(repository, every=every)
            return [
                repository_params(repository, branch, ssh=ssh)
                for branch in sorted(branches, key=lambda each: each.name)
                if not filters or await _any_passes(host, passing, repository, branch)
            ]

    found = sorted(await host.repositories(), key=lambda each: (each.organization, each.name))
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(of(repository)) for repository in found]
    return [row for task in asking for row in task.result()]


async def requests(client: HostClient, one: Asked, *, missing_ok: bool) -> list[Params]:
    """A parameter set a request that passes, by number."""
    filters = one.spec["filters"]
    _compile(filters, ("branchMatch", "targetBranchMatch", "titleMatch"))
    try:
        found = await one.kind.requests(client, one.spec)
    except HostNotFound:
        if not missing_ok:
            raise
        return []
    wanted = set(one.spec.get("labels") or ())
    return [
        request_params(each)
        for each in sorted(found, key=lambda each: each.number)
        if wanted <= set(each.labels) and (not filters or any(_request_passes(f, each) for f in filters))
    ]


def _compile(filters: list[Any], names: tuple[str, ...]) -> None:
    """Patterns that we do not run are told before anybody is asked."""
    for each in filters:
        for name in names:
            if each.get(name):
                matches(each[name], "")


def _repository_passes(one: Mapping[str, Any], repository: Repository) -> bool:
    if one.get("repositoryMatch") and not matches(one["repositoryMatch"], repository.name):
        return False
    return not one.get("labelMatch") or any(matches(one["labelMatch"], each) for each in repository.labels)


async def _any_passes(host: ScmHost, filters: list[Any], repository: Repository, branch: Branch) -> bool:
    for one in filters:
        if one.get("branchMatch") and not matches(one["branchMatch"], branch.name):
            continue
        there = [await host.has_path(repository, branch, path) for path in one.get("pathsExist") or ()]
        absent = [
            not await host.has_path(repository, branch, path) for path in one.get("pathsDoNotExist") or ()
        ]
        if all(there) and all(absent):
            return True
    return False


def _request_passes(one: Mapping[str, Any], request: Request) -> bool:
    subjects = (
        ("branchMatch", request.branch),
        ("targetBranchMatch", request.target_branch),
        ("titleMatch", request.title),
    )
    return all(not one.get(name) or matches(one[name], subject) for name, subject in subjects)
