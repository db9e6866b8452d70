from __future__ import annotations

import base64
from typing import Any

import pytest

from hub.sources.credentials import LABEL, Credentials, GitCredentials


def secret(name: str, *, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name, "labels": {LABEL: "git"} if labels is None else labels},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


KNOWN = GitCredentials.of(
    [
        secret("host", url="https://git.example.com", password="p-host"),
        secret("shop", url="https://git.example.com/shop", username="u", password="p-shop"),
        secret("apps", url="https://git.example.com/shop/apps/", username="u", password="p-apps"),
        secret("port", url="https://git.example.com:8443/shop", username="u", password="p-port"),
        secret("other", labels={}, url="https://other.example.com/", password="p-other"),
    ]
)


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("https://git.example.com/shop/apps", "p-apps"),
        ("https://GIT.example.com/shop/apps/", "p-apps"),
        ("https://git.example.com/shop/apps/deeper", "p-apps"),
        ("https://git.example.com/shop/apps-old", "p-shop"),
        ("https://git.example.com/shop-old/apps", "p-host"),
        ("https://git.example.com:8443/shop/x", "p-port"),
        ("https://git.example.com:443/shop/x", "p-shop"),
        ("http://git.example.com/shop/apps", None),
        ("https://git.example.com:8444/shop", None),
        ("https://git.example.com.evil.org/shop", None),
        ("https://evil-git.example.com/shop", None),
        ("https://other.example.com/a", None),
        ("https://git.example.com/shop/../x", None),
        ("not an address", None),
    ],
)
def test_s6_credentials_go_to_the_longest_prefix_of_their_host_only(url: str, password: str | None) -> None:
    found = KNOWN.match(url)
    assert (found.password if found else None) == password


def test_unusable_secrets_are_named_and_not_quoted() -> None:
    found = GitCredentials.of(
        [
            secret("no-url", password="hunter2"),
            secret("no-password", url="https://h/x"),
            secret("file", url="file:///hunter2", password="hunter2"),
            {"metadata": {"name": "raw", "labels": {LABEL: "git"}}, "data": {"url": "hunter2 not base64"}},
            {"metadata": {"name": "null", "labels": {LABEL: "git"}}, "data": None},
            secret("good", url="https://h/y", password="x"),
        ]
    )
    assert [entry.name for entry in found.entries] == ["ns/good"]
    assert len(found.problems) == 5
    assert "hunter2" not in "".join(found.problems)


def test_nothing_is_printed_and_all_is_scrubbed() -> None:
    credentials = Credentials("token-user", "hunter2")
    assert "hunter2" not in repr(credentials)
    assert "token-user" not in repr(credentials)
    said = f"fatal: {credentials.header()} token-user:hunter2 refused"
    scrubbed = credentials.scrub(said)
    assert scrubbed == "fatal: Basic *** ***:*** refused"
    assert credentials.header() == "Basic " + base64.b64encode(b"token-user:hunter2").decode()


def test_a_bearer_token_goes_alone() -> None:
    found = GitCredentials.of([secret("b", url="https://h/x", bearerToken="abc")])
    credentials = found.match("https://h/x/y")
    assert credentials is not None
    assert credentials.header() == "Bearer abc"
    assert credentials.scrub("Authorization: Bearer abc") == "Authorization: Bearer ***"
    assert GitCredentials.of([secret("b", url="https://h/x", bearerToken="a\nHost: evil")]).problems


@pytest.mark.parametrize(("key", "hosts"), [("sshPrivateKey", "knownHosts"), ("identity", "known_hosts")])
def test_a_key_comes_with_the_hosts_that_it_is_for(key: str, hosts: str) -> None:
    found = GitCredentials.of(
        [secret("s", **{"url": "ssh://git@h", key: "KEY-1\nKEY-2", hosts: "h ssh-ed25519 A"})]
    )
    credentials = found.match("git@h:team/apps")
    assert credentials is not None
    assert (credentials.private_key, credentials.known_hosts) == ("KEY-1\nKEY-2\n", "h ssh-ed25519 A\n")
    assert "KEY" not in repr(credentials)
    assert credentials.scrub("bad KEY-2") == "bad ***"
    assert found.match("https://h/team/apps") is None


def test_s6_a_key_without_known_hosts_is_unusable() -> None:
    found = GitCredentials.of([secret("s", url="ssh://git@h", sshPrivateKey="KEY")])
    assert found.match("git@h:team/apps") is None
    assert len(found.problems) == 1
