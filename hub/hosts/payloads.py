"""The bodies of webhooks, host by host: which repository, which branches and tags. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.hosts.events import Event, addresses, entries, names, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEADS, _TAGS = "refs/heads/", "refs/tags/"


def github(name: str, body: Any) -> Event | None:
    """`push`, `create`, `delete`, `pull_request`, `repository`; a `ping` says nothing."""
    found = _like_github("github", body)
    if name == "push":
        return _pushed(found, [text(body, "ref")])
    if name in {"create", "delete"}:
        prefix = _TAGS if text(body, "ref_type") == "tag" else _HEADS
        return _pushed(found, [prefix + text(body, "ref")])
    return _other(found) if name in {"pull_request", "repository"} else None


def gitea(name: str, body: Any) -> Event | None:
    """As GitHub, in more words."""
    found = _like_github("gitea", body)
    if name == "push":
        return _pushed(found, [text(body, "ref")])
    if name in {"create", "delete"}:
        prefix = _TAGS if text(body, "ref_type") == "tag" else _HEADS
        ref = text(body, "ref")
        return _pushed(found, [ref if ref.startswith("refs/") else prefix + ref])
    return _other(found) if name.startswith("pull_request") or name == "repository" else None


def gitlab(name: str, body: Any) -> Event | None:
    project: Mapping[str, Any] = body.get("project") or {} if isinstance(body, dict) else {}
    path = text(project, "path_with_namespace")
    number = project.get("id") if isinstance(project, dict) else None
    found = Event(
        "gitlab",
        addresses(text(project, "git_http_url"), text(project, "git_ssh_url"), text(project, "web_url")),
        names(path, str(number) if isinstance(number, int) else ""),
    )
    if name in {"Push Hook", "Tag Push Hook"}:
        return _pushed(found, [text(body, "ref")])
    return _other(found) if name == "Merge Request Hook" else None


def bitbucket(name: str, body: Any) -> Event | None:
    """Bitbucket Cloud: a push names what was and what is, either may be null."""
    repository = body.get("repository") if isinstance(body, dict) else None
    path = text(repository, "full_name")
    urls = [text(repository, "links", "html", "href")]
    if path:
        urls += [f"https://bitbucket.org/{path}"]
    found = Event("bitbucket", addresses(*urls), names(path))
    if name == "repo:push":
        sides = [side for change in entries(body, "push", "changes") for side in _sides(change)]
        return _pushed(
            found,
            [(_TAGS if text(one, "type") == "tag" else _HEADS) + text(one, "name") for one in sides],
        )
    return _other(found) if name.startswith(("pullrequest:", "repo:")) else None


def bitbucket_server(name: str, body: Any) -> Event | None:
    """Bitbucket Server and Data Center: addresses to clone from are in it only in newer ones."""
    if not isinstance(body, dict):
        return None
    repository = body.get("repository") or _target(body)
    project, slug = text(repository, "project", "key"), text(repository, "slug")
    urls = [text(one, "href") for one in entries(repository, "links", "clone")]
    for page in [text(one, "href") for one in entries(repository, "links", "self")]:
        base = page.partition("/projects/")[0]
        if project and slug and base != page:
            urls += [f"{base}/scm/{project}/{slug}", f"{base}/{project}/{slug}"]
    found = Event("bitbucket-server", addresses(*urls), names(f"{project}/{slug}"))
    if name == "repo:refs_changed":
        return _pushed(found, [text(change, "ref", "id") for change in entries(body, "changes")])
    return _other(found) if name.startswith(("pr:", "repo:")) else None


def azure_devops(name: str, body: Any) -> Event | None:  # noqa: ARG001 - its name is in the body
    """Service hooks: `git.push` and `git.pullrequest.*`."""
    kind = text(body, "eventType")
    resource = body.get("resource") if isinstance(body, dict) else None
    repository = resource.get("repository") if isinstance(resource, dict) else None
    url = text(repository, "remoteUrl")
    found = Event("azure-devops", addresses(url), names(_azure_path(url)))
    if kind == "git.push":
        return _pushed(found, [text(one, "name") for one in entries(resource, "refUpdates")])
    return _other(found) if kind.startswith("git.") else None


def _like_github(host: str, body: Any) -> Event:
    repository = body.get("repository") if isinstance(body, dict) else None
    keys = ("clone_url", "ssh_url", "html_url", "git_url")
    return Event(
        host,
        addresses(*(text(repository, key) for key in keys)),
        names(text(repository, "full_name")),
    )


def _pushed(found: Event, refs: Iterable[str]) -> Event | None:
    """Without a repository it says nothing; without a readable ref it says that any may have moved."""
    if not found.repositories:
        return None
    known = [ref for ref in refs if ref.startswith((_HEADS, _TAGS))]
    return Event(found.host, found.repositories, found.names, frozenset(known))


def _other(found: Event) -> Event | None:
    if not found.repositories and not found.names:
        return None
    return Event(found.host, found.repositories, found.names, pushed=False)


def _sides(change: Any) -> list[Any]:
    """What a change leads from and to, without what is null."""
    sides = [change.get(key) for key in ("old", "new")] if isinstance(change, dict) else []
    return [side for side in sides if side]


def _target(body: Mapping[str, Any]) -> Any:
    """The repository that a request is to be merged into."""
    request = body.get("pullRequest")
    target = request.get("toRef") if isinstance(request, dict) else None
    return target.get("repository") if isinstance(target, dict) else None


def _azure_path(url: str) -> str:
    """`organization/project/repository` from an address to clone from."""
    for one in addresses(url):
        host, *parts = one.split("/")
        if "_git" not in parts:
            continue
        at = parts.index("_git")
        before, after = parts[:at], parts[at + 1 :]
        if host.endswith(".visualstudio.com"):
            before = [host.partition(".")[0], *(part for part in before if part != "defaultcollection")]
        if len(before) == 1 and after:  # a project's own repository may leave its name out
            before = [*before, after[0]]
        return "/".join([*before[:2], *after[:1]])
    return ""
