from __future__ import annotations

import pytest

from hub.sources.errors import PathRefused, RepositoryRefused, RevisionRefused
from hub.sources.urls import RepoUrl, checked_path, checked_revision, redacted


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("https://Git.Example.com/shop/apps", "https://git.example.com/shop/apps"),
        ("https://git.example.com:443/shop/apps.git/", "https://git.example.com/shop/apps.git"),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        (
            "https://dev.azure.com/org/My%20Project/_git/repo",
            "https://dev.azure.com/org/My%20Project/_git/repo",
        ),
        ("ssh://git@git.example.com:2222/shop/apps", "ssh://git@git.example.com:2222/shop/apps"),
        ("git@github.com:shop/apps.git", "ssh://git@github.com/shop/apps.git"),
    ],
)
def test_an_address_has_one_spelling(text: str, spelled: str) -> None:
    assert str(RepoUrl.parse(text)) == spelled
    assert str(RepoUrl.parse(spelled)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:///etc",
        "/srv/repo",
        "./repo",
        "../repo",
        "ext::sh -c id",
        "ext://sh -c id",
        "fd::3",
        "git://host/x",
        "ftp://host/x",
        "-uhttps://host/x",
        "--upload-pack=touch /tmp/x",
        "ssh://-oProxyCommand=id/x",
        "ssh://-oProxyCommand=id@host/x",
        "-oProxyCommand=id@host:x",
        "git@-oProxyCommand=id:x",
        "git@host:-x",
        "https://host/-x",
        "https://host/a/../b",
        "https://host/a/%2e%2e/b",
        "https://host/a%2fb",
        "https://host/a/./b",
        "https://host//a",
        "https://host/a\n",
        "https://host/a\nb",
        "https://host/a b",
        "https://host/a?x=1",
        "https://host/a#x",
        "https://host/",
        "https://host:99999/a",
        "https://host\\@evil/a",
        "https://user@host/a",
        "https://user:hunter2@host/a",
        "ssh://user:hunter2@host/a",
        "https://$HOME/a",
        "https://host/${HOME}",
        "https://host/" + "a" * 2000,
    ],
)
def test_s6_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(RepositoryRefused) as caught:
        RepoUrl.parse(text)
    assert caught.value.reason == "RepositoryRefused"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:hunter2@host/a b",
        "https:/me:hunter2@host/a",
        "me:hunter2@host",
        "https://host/a?token=hunter2",
        "https://me:hunt\ner2@host/x",
        "https://me:p@hunter2@host/x",
    ],
)
def test_s6_no_credential_survives_redaction(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert "er2" not in redacted(text)
    assert "\n" not in redacted(text)


@pytest.mark.parametrize(
    "name", ["main", "feature/x-1", "v1.2.3", "refs/heads/main", "a@b", "1.x", "x" * 255]
)
def test_revisions(name: str) -> None:
    assert checked_revision(name) == name


def test_no_revision_is_head() -> None:
    assert checked_revision("") == checked_revision("HEAD") == "HEAD"


@pytest.mark.parametrize(
    "name",
    [
        "-x",
        "--upload-pack=id",
        "main^{commit}",
        "main~1",
        "main:file",
        "@",
        "@{-1}",
        "main@{1}",
        "a..b",
        "/a",
        "a/",
        "a//b",
        "a/.b",
        ".a",
        "a.",
        "a.lock",
        "a b",
        "a\nb",
        "main\n",
        "a*",
        "a?",
        "x" * 256,
    ],
)
def test_s6_other_revisions_are_refused(name: str) -> None:
    with pytest.raises(RevisionRefused):
        checked_revision(name)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", ""),
        (".", ""),
        ("./a/", "a"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        ("..a/b..", "..a/b.."),
        ("-x", "-x"),
    ],
)
def test_paths(path: str, clean: str) -> None:
    assert checked_path(path) == clean


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "..", "a/../../b", "a/..", "a\0b", "a\nb", "a\\..\\b", "x" * 5000]
)
def test_s6_other_paths_are_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        checked_path(path)
