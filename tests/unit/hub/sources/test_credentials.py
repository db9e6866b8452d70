from __future__ import annotations

import base64
from typing import Any

import pytest

from agent.contract.names import HUB_NAMESPACE
from hub.sources.credentials import LABEL, Credentials, GitCredentials
from hub.sources.grants import Grants


def secret(
    name: str, *, namespace: str = "ns", labels: dict[str, str] | None = None, **data: str
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {LABEL: "git"} if labels is None else labels,
        },
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
    found = KNOWN.granted("ns").match(url)
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
    credentials = found.granted("ns").match("https://h/x/y")
    assert credentials is not None
    assert credentials.header() == "Bearer abc"
    assert credentials.scrub("Authorization: Bearer abc") == "Authorization: Bearer ***"
    assert GitCredentials.of([secret("b", url="https://h/x", bearerToken="a\nHost: evil")]).problems


@pytest.mark.parametrize(("key", "hosts"), [("sshPrivateKey", "knownHosts"), ("identity", "known_hosts")])
def test_a_key_comes_with_the_hosts_that_it_is_for(key: str, hosts: str) -> None:
    found = GitCredentials.of(
        [secret("s", **{"url": "ssh://git@h", key: "KEY-1\nKEY-2", hosts: "h ssh-ed25519 A"})]
    )
    credentials = found.granted("ns").match("git@h:team/apps")
    assert credentials is not None
    assert (credentials.private_key, credentials.known_hosts) == ("KEY-1\nKEY-2\n", "h ssh-ed25519 A\n")
    assert "KEY" not in repr(credentials)
    assert credentials.scrub("bad KEY-2") == "bad ***"
    assert found.granted("ns").match("https://h/team/apps") is None


def test_s6_a_key_without_known_hosts_is_unusable() -> None:
    found = GitCredentials.of([secret("s", url="ssh://git@h", sshPrivateKey="KEY")])
    assert found.granted("ns").match("git@h:team/apps") is None
    assert len(found.problems) == 1


WHOSE = GitCredentials.of(
    [
        secret("all", namespace=HUB_NAMESPACE, url="https://git.example.com", password="p-all"),
        secret(
            "some",
            namespace=HUB_NAMESPACE,
            url="https://git.example.com/shop",
            password="p-some",
            project="shop, web",
        ),
        secret("z-own", namespace="web", url="https://git.example.com/shop/apps", password="p-web"),
        secret("a-all", namespace=HUB_NAMESPACE, url="https://git.example.com/shop/apps", password="p-apps"),
        secret(
            "reach", namespace="evil", url="https://git.example.com/shop/apps/x", password="p", project="shop"
        ),
    ]
)


@pytest.mark.parametrize(
    ("namespace", "path", "password"),
    [
        ("shop", "shop/a", "p-some"),
        ("web", "shop/a", "p-some"),
        ("evil", "shop/a", "p-all"),
        ("", "shop/a", "p-all"),
        (HUB_NAMESPACE, "shop/a", "p-all"),
        ("shop", "shop/apps", "p-apps"),
        ("web", "shop/apps", "p-web"),
        ("shop", "shop/apps/x", "p-apps"),
        ("evil", "shop/apps/x", "p-apps"),
        ("web", "shop/apps/x", "p-web"),
    ],
)
def test_s6_a_secret_serves_those_whom_it_lies_with_or_names(
    namespace: str, path: str, password: str
) -> None:
    found = WHOSE.granted(namespace).match(f"https://git.example.com/{path}")
    assert found is not None
    assert found.password == password


def test_what_is_fetched_is_kept_by_project_or_by_secret_of_the_hub() -> None:
    def owner(namespace: str, path: str) -> str:
        found = WHOSE.granted(namespace).match(f"https://git.example.com/{path}")
        return found.owner if found is not None else ""

    assert owner("web", "shop/apps") == "web"
    assert owner("web", "shop/a") == owner("shop", "shop/a") == f"{HUB_NAMESPACE}/some"
    assert owner("", "x/y") == f"{HUB_NAMESPACE}/all"


def test_s6_a_project_that_is_empty_or_none_is_not_everybody() -> None:
    found = GitCredentials.of(
        [
            secret(f"s{number}", namespace=HUB_NAMESPACE, url="https://h/x", password="p", project=project)
            for number, project in enumerate(("", " ", "shop,", "*", "Shop"))
        ]
    )
    assert found.entries == ()
    assert len(found.problems) == 5


def test_whoever_gives_a_file_may_use_what_is_in_it() -> None:
    found = GitCredentials.of([secret("s", namespace="", url="https://h/x", password="p")])
    assert found.granted("any").match("https://h/x") is not None


def test_secrets_are_read_again_when_one_changes(caplog: pytest.LogCaptureFixture) -> None:
    secrets = [secret("s", url="https://h/x", password="p"), secret("bad", url="https://h/y")]
    grants = Grants(lambda: secrets)
    assert grants.match("https://h/x") is None
    found = grants.of("ns")
    assert found.particular
    assert found is grants.of("ns")
    assert not grants.of("web").particular
    secrets[0] = secret("s", namespace=HUB_NAMESPACE, url="https://h/x", password="p")
    assert grants.match("https://h/x") is None
    grants.changed()
    assert grants.match("https://h/x") is not None
    assert not grants.of("ns").particular
    assert [one.getMessage() for one in caplog.records] == [
        "Secret ns/bad: incomplete or not base64 text: it is not used"
    ]
