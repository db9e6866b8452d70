"""Each host as its documents say that it answers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hub.core.needs import ExternalNeed
from hub.hosts.ask import Asker, Asking
from hub.hosts.objects import FileObjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.hub.hosts.conftest import Host

SECRET = {"kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "stringData": {"token": "t0ken"}}
REF = {"secretName": "s", "key": "token"}
SHA = "0123456789abcdef"


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    found = Asker(FileObjects([SECRET]), clock=lambda: 0.0)
    yield found
    await found.close()


async def ask(asker: Asker, kind: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    return await asker.answer(ExternalNeed(kind, json.dumps(spec)), Asking("shop", "apps"))


def paged(pages: list[Any], header: str = "Link") -> Any:
    """Pages by the `Link` header, as GitHub, GitLab and Gitea have them."""

    async def handler(request: web.Request) -> web.Response:
        at = int(request.query.get("page", "1"))
        url = request.url.update_query(page=str(at + 1))
        headers = {header: f'<{url}>; rel="next"'} if at < len(pages) else {}
        return web.json_response(pages[at - 1], headers=headers)

    return handler


def github_repo(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "name": name,
        "owner": {"login": "org"},
        "clone_url": f"https://gh/org/{name}.git",
        "ssh_url": f"git@gh:org/{name}.git",
        "default_branch": "main",
        "topics": [],
        "archived": False,
        **more,
    }


async def test_github_repositories(host: Host, asker: Asker) -> None:
    host.routes |= {
        "/orgs/org/repos": paged(
            [[github_repo("web", topics=["deploy"])], [github_repo("old", archived=True), github_repo("api")]]
        ),
        "/repos/org/web/branches/main": {"name": "main", "commit": {"sha": SHA}},
        "/repos/org/api/branches/main": {"name": "main", "commit": {"sha": SHA}},
        "/repos/org/web/contents/deploy/app.yaml": {"type": "file"},
    }
    spec: dict[str, Any] = {
        "github": {"organization": "org", "api": host.base, "tokenRef": REF, "excludeArchivedRepos": True}
    }
    rows = await ask(asker, "scmProvider", spec)
    assert [row["repository"] for row in rows] == ["api", "web"]
    assert rows[1] == {
        "organization": "org",
        "repository": "web",
        "repository_id": "7",
        "url": "https://gh/org/web.git",
        "branch": "main",
        "branchNormalized": "main",
        "sha": SHA,
        "short_sha": SHA[:8],
        "short_sha_7": SHA[:7],
        "labels": "deploy",
    }
    assert {request.headers["Authorization"] for request in host.asked} == {"Bearer t0ken"}
    for filters, expected in (
        ([{"repositoryMatch": "^w"}], ["web"]),
        ([{"labelMatch": "dep"}], ["web"]),
        ([{"pathsExist": ["deploy/app.yaml"]}], ["web"]),
        ([{"pathsDoNotExist": ["deploy/app.yaml"]}], ["api"]),
        ([{"branchMatch": "^release"}], []),
        ([{"repositoryMatch": "^w", "branchMatch": "x"}, {"repositoryMatch": "api"}], ["api"]),
    ):
        rows = await ask(asker, "scmProvider", {**spec, "filters": filters, "cloneProtocol": "ssh"})
        assert [row["repository"] for row in rows] == expected
        assert all(row["url"].startswith("git@") for row in rows)


async def test_github_pull_requests(host: Host, asker: Asker) -> None:
    def pull(number: int, *labels: str, title: str = "t") -> dict[str, Any]:
        return {
            "number": number,
            "title": title,
            "head": {"ref": f"feature/Nr_{number}", "sha": SHA},
            "base": {"ref": "main"},
            "labels": [{"name": label} for label in labels],
            "user": {"login": "ann"},
        }

    host.routes["/repos/org/web/pulls"] = paged(
        [[pull(2, "preview")], [pull(1, "preview", "x", title="skip")]]
    )
    spec = {"github": {"owner": "org", "repo": "web", "api": host.base, "labels": ["preview"]}}
    rows = await ask(asker, "pullRequest", spec)
    assert [row["number"] for row in rows] == ["1", "2"]
    assert rows[1] == {
        "number": "2",
        "title": "t",
        "branch": "feature/Nr_2",
        "branch_slug": "feature-nr-2",
        "target_branch": "main",
        "target_branch_slug": "main",
        "head_sha": SHA,
        "head_short_sha": SHA[:8],
        "head_short_sha_7": SHA[:7],
        "labels": ["preview"],
        "author": "ann",
    }
    for filters, expected in (
        ([{"titleMatch": "^t$"}], ["2"]),
        ([{"branchMatch": "Nr_1$"}, {"branchMatch": "Nr_2$"}], ["1", "2"]),
        ([{"targetBranchMatch": "release"}], []),
    ):
        rows = await ask(asker, "pullRequest", {**spec, "filters": filters})
        assert [row["number"] for row in rows] == expected


async def test_gitlab(host: Host, asker: Asker) -> None:
    def project(at: int, name: str, **more: Any) -> dict[str, Any]:
        return {
            "id": at,
            "path": name,
            "namespace": {"full_path": "group/sub"},
            "http_url_to_repo": f"https://gl/{name}.git",
            "ssh_url_to_repo": f"git@gl:{name}.git",
            "default_branch": "main",
            "topics": ["t"],
            **more,
        }

    host.routes |= {
        "/api/v4/groups/group%2Fsub/projects": paged(
            [[project(1, "web")], [project(2, "empty", default_branch=None)]]
        ),
        "/api/v4/projects/1/repository/branches": paged(
            [[{"name": "main", "commit": {"id": SHA}}], [{"name": "dev", "commit": {"id": SHA}}]]
        ),
        "/api/v4/projects/2/repository/branches": [],
        "/api/v4/projects/1/repository/tree": [{"name": "x"}],
        "/api/v4/projects/group%2Fweb/merge_requests": paged(
            [
                [
                    {
                        "iid": 5,
                        "title": "t",
                        "source_branch": "a",
                        "target_branch": "main",
                        "sha": SHA,
                        "labels": ["l"],
                        "author": {"username": "bob"},
                    }
                ]
            ]
        ),
    }
    spec = {
        "gitlab": {"group": "group/sub", "api": host.base, "tokenRef": REF, "allBranches": True},
        "filters": [{"pathsExist": ["deploy"]}],
    }
    rows = await ask(asker, "scmProvider", spec)
    assert [(row["organization"], row["repository"], row["branch"]) for row in rows] == [
        ("group/sub", "web", "dev"),
        ("group/sub", "web", "main"),
    ]
    assert {request.headers["PRIVATE-TOKEN"] for request in host.asked} == {"t0ken"}
    rows = await ask(
        asker, "pullRequest", {"gitlab": {"project": "group/web", "api": host.base, "labels": ["l"]}}
    )
    assert [(row["number"], row["author"], row["labels"]) for row in rows] == [("5", "bob", ["l"])]
    assert "state=opened" in host.paths[-1]


async def test_gitea(host: Host, asker: Asker) -> None:
    repo = {"id": 1, "name": "web", "clone_url": "https://gt/org/web.git", "default_branch": "main"}
    host.routes |= {
        "/api/v1/orgs/org/repos": paged([[repo], [{**repo, "name": "empty", "empty": True}]]),
        "/api/v1/repos/org/web/branches/main": {"name": "main", "commit": {"id": SHA}},
        "/api/v1/repos/org/web/pulls": paged(
            [[{"number": 3, "title": "t", "head": {"ref": "b", "sha": SHA}, "base": {"ref": "main"}}]]
        ),
    }
    rows = await ask(asker, "scmProvider", {"gitea": {"owner": "org", "api": host.base, "tokenRef": REF}})
    assert [(row["repository"], row["sha"]) for row in rows] == [("web", SHA)]
    assert host.asked[0].headers["Authorization"] == "token t0ken"
    rows = await ask(asker, "pullRequest", {"gitea": {"owner": "org", "repo": "web", "api": host.base}})
    assert [(row["number"], row["labels"]) for row in rows] == [("3", [])]


async def test_bitbucket_cloud(host: Host, asker: Asker) -> None:
    async def repositories(request: web.Request) -> web.Response:
        if "page" in request.query:
            return web.json_response({"values": [{"slug": "empty", "mainbranch": None}]})
        clone = [
            {"name": "https", "href": "https://ann@bb/org/web.git"},
            {"name": "ssh", "href": "git@bb:org/web.git"},
        ]
        first = {"slug": "web", "uuid": "{1}", "mainbranch": {"name": "main"}, "links": {"clone": clone}}
        return web.json_response({"values": [first], "next": f"{request.url.with_query(None)}?page=2"})

    host.routes |= {
        "/repositories/org": repositories,
        "/repositories/org/web/refs/branches/main": {"name": "main", "target": {"hash": SHA}},
        f"/repositories/org/web/src/{SHA}/a.yaml": {},
        "/repositories/org/web/pullrequests": {
            "values": [
                {
                    "id": 4,
                    "title": "t",
                    "source": {"branch": {"name": "b"}, "commit": {"hash": SHA}},
                    "destination": {"branch": {"name": "main"}},
                    "author": {"nickname": "ann"},
                }
            ]
        },
    }
    spec = {
        "bitbucket": {"owner": "org", "user": "ann", "appPasswordRef": REF, "api": host.base},
        "filters": [{"pathsExist": ["a.yaml"]}],
    }
    rows = await ask(asker, "scmProvider", spec)
    assert [(row["repository"], row["url"]) for row in rows] == [("web", "https://bb/org/web.git")]
    expected = "Basic " + base64.b64encode(b"ann:t0ken").decode()
    assert {request.headers["Authorization"] for request in host.asked} == {expected}
    bearer = {"owner": "org", "repo": "web", "api": host.base, "bearerToken": {"tokenRef": REF}}
    rows = await ask(asker, "pullRequest", {"bitbucket": bearer})
    assert [(row["number"], row["author"]) for row in rows] == [("4", "ann")]
    assert host.asked[-1].headers["Authorization"] == "Bearer t0ken"


async def test_bitbucket_server(host: Host, asker: Asker) -> None:
    def values(*items: Any) -> Any:
        async def handler(request: web.Request) -> web.Response:
            at = int(request.query["start"])
            last = at + 1 >= len(items)
            return web.json_response(
                {
                    "values": list(items[at : at + 1]),
                    "isLastPage": last,
                    "nextPageStart": None if last else at + 1,
                }
            )

        return handler

    base = "/rest/api/1.0/projects/PRJ"
    clone = [{"name": "http", "href": "https://bs/scm/prj/web.git"}]
    repo = {"slug": "web", "id": 1, "project": {"key": "PRJ"}, "links": {"clone": clone}}
    host.routes |= {
        f"{base}/repos": values(repo, {**repo, "slug": "empty"}),
        f"{base}/repos/web/labels": values({"name": "deploy"}),
        f"{base}/repos/empty/labels": values(),
        f"{base}/repos/web/branches": values(
            {"displayId": "dev", "latestCommit": SHA},
            {"displayId": "main", "latestCommit": SHA, "isDefault": True},
        ),
        f"{base}/repos/web/pull-requests": values(
            {
                "id": 9,
                "title": "t",
                "fromRef": {"displayId": "b", "latestCommit": SHA},
                "toRef": {"displayId": "main"},
                "author": {"user": {"name": "ann"}},
            }
        ),
    }
    auth = {"basicAuth": {"username": "ann", "passwordRef": REF}}
    spec = {
        "bitbucketServer": {"project": "PRJ", "api": host.base, **auth},
        "filters": [{"labelMatch": "deploy"}],
    }
    rows = await ask(asker, "scmProvider", spec)
    assert [(row["repository"], row["branch"]) for row in rows] == [("web", "main")]
    rows = await ask(
        asker, "pullRequest", {"bitbucketServer": {"project": "PRJ", "repo": "web", "api": host.base, **auth}}
    )
    assert [(row["number"], row["author"]) for row in rows] == [("9", "ann")]


async def test_azure_devops(host: Host, asker: Asker) -> None:
    async def refs(request: web.Request) -> web.Response:
        if "continuationToken" in request.query:
            return web.json_response({"value": [{"name": "refs/heads/dev", "objectId": SHA}]})
        found = {"value": [{"name": "refs/heads/main", "objectId": SHA}]}
        return web.json_response(found, headers={"x-ms-continuationtoken": "more"})

    async def pulls(request: web.Request) -> web.Response:
        skip = int(request.query["$skip"])
        many = [
            {
                "pullRequestId": number,
                "title": "t",
                "sourceRefName": "refs/heads/b",
                "targetRefName": "refs/heads/main",
                "lastMergeSourceCommit": {"commitId": SHA},
                "labels": [{"name": "l"}],
                "createdBy": {"uniqueName": "ann@example.com"},
            }
            for number in range(1, 103)
        ]
        return web.json_response({"value": many[skip : skip + 100]})

    base = "/org/team/_apis/git/repositories"
    host.routes |= {
        base: {
            "value": [
                {
                    "id": "i1",
                    "name": "web",
                    "defaultBranch": "refs/heads/main",
                    "remoteUrl": "https://org@az/web",
                },
                {"id": "i2", "name": "off", "remoteUrl": "https://az/off", "isDisabled": True},
            ]
        },
        f"{base}/i1/refs": refs,
        f"{base}/web/pullrequests": pulls,
    }
    azure = {"organization": "org", "teamProject": "team", "accessTokenRef": REF, "api": host.base}
    rows = await ask(asker, "scmProvider", {"azureDevOps": {**azure, "allBranches": True}})
    assert [(row["branch"], row["url"]) for row in rows] == [
        ("dev", "https://az/web"),
        ("main", "https://az/web"),
    ]
    assert host.asked[0].headers["Authorization"] == "Basic " + base64.b64encode(b":t0ken").decode()
    requests = {"organization": "org", "project": "team", "repo": "web", "api": host.base, "labels": ["l"]}
    rows = await ask(asker, "pullRequest", {"azuredevops": requests})
    assert len(rows) == 102
    assert rows[0]["author"] == "ann"
