"""Webhooks: who may call, and what the hosts' own bodies say."""

# ruff: noqa: E501 - tables

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from hub.gateway.errors import WebhookRefused, WebhookUnreadable
from hub.gateway.webhooks import received
from hub.hosts.events import identity

SECRET = "s3cret-that-is-long-enough"
HEADERS = {
    "github": ("x-hub-signature-256", "x-github-event", "sha256="),
    "gitea": ("x-gitea-signature", "x-gitea-event", ""),
    "bitbucket": ("x-hub-signature", "x-event-key", "sha256="),
    "bitbucket-server": ("x-hub-signature", "x-event-key", "sha256="),
}


def secret(host: str, value: str = SECRET, *, label: str = "webhook") -> dict[str, Any]:
    data = {"host": host, "secret": value}
    return {
        "metadata": {"name": host, "labels": {"axletree.dev/credentials": label}},
        "data": {key: base64.b64encode(one.encode()).decode() for key, one in data.items()},
    }


def signed(host: str, name: str, body: bytes, value: str = SECRET) -> dict[str, str]:
    if host == "gitlab":
        return {"x-gitlab-token": value, "x-gitlab-event": name}
    if host == "azure-devops":
        return {"authorization": "Basic " + base64.b64encode(f"any:{value}".encode()).decode()}
    header, event, prefix = HEADERS[host]
    return {header: prefix + hmac.new(value.encode(), body, hashlib.sha256).hexdigest(), event: name}


def told(host: str, name: str, content: Any) -> Any:
    body = json.dumps(content).encode()
    return received(host, signed(host, name, body), body, secrets=[secret("other"), secret(host)])


GITHUB = {
    "full_name": "Shop/apps",
    "clone_url": "https://github.com/Shop/apps.git",
    "ssh_url": "git@github.com:Shop/apps.git",
}
GITLAB = {
    "id": 15,
    "path_with_namespace": "team/sub/apps",
    "git_http_url": "https://gitlab.example.com/team/sub/apps.git",
    "git_ssh_url": "git@gitlab.example.com:team/sub/apps.git",
}
CLOUD = {"full_name": "shop/apps", "links": {"html": {"href": "https://bitbucket.org/shop/apps"}}}
SERVER = {
    "slug": "apps",
    "project": {"key": "SHOP"},
    "links": {"self": [{"href": "https://git.example.com/ctx/projects/SHOP/repos/apps/browse"}]},
}
AZURE = {"remoteUrl": "https://shop@dev.azure.com/Shop/Team%20A/_git/apps"}


@pytest.mark.parametrize(
    ("host", "name", "body", "repository", "refs"),
    [
        ("github", "push", {"ref": "refs/heads/main", "repository": GITHUB}, "github.com/shop/apps", ["refs/heads/main"]),
        ("github", "create", {"ref": "v1", "ref_type": "tag", "repository": GITHUB}, "github.com/shop/apps", ["refs/tags/v1"]),
        ("gitea", "push", {"ref": "refs/tags/v1", "repository": GITHUB}, "github.com/shop/apps", ["refs/tags/v1"]),
        ("gitlab", "Push Hook", {"ref": "refs/heads/x", "project": GITLAB}, "gitlab.example.com/team/sub/apps", ["refs/heads/x"]),
        ("gitlab", "Tag Push Hook", {"ref": "refs/tags/x", "project": GITLAB}, "gitlab.example.com/team/sub/apps", ["refs/tags/x"]),
        (
            "bitbucket",
            "repo:push",
            {"repository": CLOUD, "push": {"changes": [{"old": None, "new": {"type": "branch", "name": "main"}}]}},
            "bitbucket.org/shop/apps",
            ["refs/heads/main"],
        ),
        (
            "bitbucket",
            "repo:push",
            {"repository": CLOUD, "push": {"changes": [{"old": {"type": "tag", "name": "v1"}, "new": None}]}},
            "bitbucket.org/shop/apps",
            ["refs/tags/v1"],
        ),
        (
            "bitbucket-server",
            "repo:refs_changed",
            {"repository": SERVER, "changes": [{"ref": {"id": "refs/heads/main"}}]},
            "git.example.com/ctx/scm/shop/apps",
            ["refs/heads/main"],
        ),
        (
            "azure-devops",
            "",
            {"eventType": "git.push", "resource": {"repository": AZURE, "refUpdates": [{"name": "refs/heads/main"}]}},
            "dev.azure.com/shop/team a/_git/apps",
            ["refs/heads/main"],
        ),
    ],
)  # fmt: skip
def test_a_push_says_which_branch_of_which_repository(
    host: str, name: str, body: Any, repository: str, refs: list[str]
) -> None:
    event = told(host, name, body)
    assert repository in event.repositories
    assert event.refs == set(refs)
    assert event.pushed


@pytest.mark.parametrize(
    ("host", "name", "body", "named"),
    [
        ("github", "pull_request", {"action": "opened", "repository": GITHUB}, "shop/apps"),
        ("gitea", "pull_request_label", {"repository": GITHUB}, "shop/apps"),
        ("gitlab", "Merge Request Hook", {"project": GITLAB}, "15"),
        ("gitlab", "Merge Request Hook", {"project": GITLAB}, "team/sub/apps"),
        ("bitbucket", "pullrequest:created", {"repository": CLOUD}, "shop/apps"),
        ("bitbucket-server", "pr:opened", {"pullRequest": {"toRef": {"repository": SERVER}}}, "shop/apps"),
        (
            "azure-devops",
            "",
            {"eventType": "git.pullrequest.created", "resource": {"repository": AZURE}},
            "shop/team a/apps",
        ),
    ],
)  # fmt: skip
def test_a_request_to_merge_says_its_repository(host: str, name: str, body: Any, named: str) -> None:
    event = told(host, name, body)
    assert named in event.names
    assert not event.pushed


@pytest.mark.parametrize(
    "host", ["github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "azure-devops"]
)
def test_s12_nothing_is_parsed_that_is_not_signed(host: str) -> None:
    bomb = b"[" * 100_000
    ours, other = [secret(host)], [secret("github" if host != "github" else "gitea")]
    with pytest.raises(WebhookRefused):
        received(host, signed(host, "push", bomb, "another-secret-of-someone"), bomb, secrets=ours)
    with pytest.raises(WebhookRefused):
        received(host, {}, bomb, secrets=ours)
    with pytest.raises(WebhookRefused):
        received(host, signed(host, "push", bomb), bomb, secrets=other)
    with pytest.raises(WebhookRefused):
        received(host, signed(host, "push", bomb), bomb, secrets=[secret(host, label="git")])
    with pytest.raises(WebhookUnreadable):
        received(host, signed(host, "push", bomb), bomb, secrets=ours)


def test_s12_a_body_that_was_changed_is_refused() -> None:
    body = json.dumps({"ref": "refs/heads/main", "repository": GITHUB}).encode()
    headers = signed("github", "push", body)
    with pytest.raises(WebhookRefused):
        received("github", headers, body.replace(b"main", b"prod"), secrets=[secret("github")])


@pytest.mark.parametrize("value", ["", "short"])
def test_s12_an_empty_or_short_secret_opens_nothing(value: str) -> None:
    for host in ("github", "gitlab", "azure-devops"):
        with pytest.raises(WebhookRefused):
            received(host, signed(host, "push", b"{}", value), b"{}", secrets=[secret(host, value)])
        with pytest.raises(WebhookRefused):
            received(host, {}, b"{}", secrets=[secret(host, value)])


def test_an_unknown_host_is_refused_as_a_wrong_signature_is() -> None:
    with pytest.raises(WebhookRefused) as caught:
        received("svn", {}, b"{}", secrets=[secret("svn")])
    with pytest.raises(WebhookRefused) as wrong:
        received("github", {}, b"{}", secrets=[])
    assert str(caught.value) == str(wrong.value)


@pytest.mark.parametrize(
    "content", [None, [], "x", 1, {}, {"repository": 1}, {"project": []}, {"resource": {"repository": []}}]
)
@pytest.mark.parametrize(
    "host", ["github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "azure-devops"]
)
def test_a_genuine_body_of_another_shape_says_nothing(host: str, content: Any) -> None:
    for name in ("push", "Push Hook", "repo:push", "repo:refs_changed", "ping", "pull_request", "pr:opened"):
        assert told(host, name, content) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://git.example.com/Shop/apps.git", "git@git.example.com:shop/apps"),
        ("https://git.example.com:8443/shop/apps/", "ssh://git@git.example.com:2222/shop/apps.git"),
        ("git@ssh.dev.azure.com:v3/Shop/Team/apps", "https://shop@dev.azure.com/Shop/Team/_git/apps"),
    ],
)
def test_spellings_of_one_repository(one: str, other: str) -> None:
    assert identity(one) == identity(other) != ""


def test_other_repositories_differ() -> None:
    assert identity("https://a/x/y") != identity("https://b/x/y")
    assert identity("https://a/x/y") != identity("https://a/x/y-old")
    assert identity("no address") == ""
