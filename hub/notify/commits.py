"""Commit statuses on GitHub, GitLab and Gitea: beside each commit, whether it is deployed.

As their documents say: GitHub `POST /repos/{owner}/{repo}/statuses/{sha}`, Gitea the same below `/api/v1`, GitLab
`POST /projects/{id}/statuses/{sha}` below `/api/v4`, which refuses a step from a state to itself with 400.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.api.notification import Trigger
from hub.notify.errors import SinkRefused
from hub.notify.post import post
from hub.sources.errors import RepositoryRefused
from hub.sources.urls import DEFAULT_PORTS, RepoUrl

if TYPE_CHECKING:
    import aiohttp

    from hub.notify.message import Message
    from hub.notify.post import Target

_STATES = {
    Trigger.PROGRESSING: "pending",
    Trigger.DEPLOYED: "success",
    Trigger.DEGRADED: "failure",
    Trigger.RECOVERED: "success",
}
_GITLAB = {"pending": "running", "success": "success", "failure": "failed"}
_DESCRIPTION = 140
_BAD_REQUEST = 400


class CommitStatuses:
    """Tells one host of the commits that are its own; others are none of its business.

    `host` is the name in repositories' addresses where that is not the API's.
    """

    def __init__(
        self, session: aiohttp.ClientSession, target: Target, *, dialect: str, context: str, host: str = ""
    ) -> None:
        self._session = session
        self._target = target
        self._dialect = dialect
        self._context = context
        self._host = (host or _host_of(target)).lower()

    async def send(self, message: Message) -> None:
        """One status a commit. Raises what `post` raises; a commit that is not there is let go."""
        state = _STATES.get(message.trigger)
        if state is None or message.topic not in ("health", "deployment"):
            return
        for repository, commit in dict.fromkeys(message.commits):
            path = self._path(repository)
            if path:
                await self._tell(path, commit, state, message)

    def _path(self, repository: str) -> str:
        """`owner/name` of a repository on this host; empty for one elsewhere."""
        try:
            url = RepoUrl.parse(repository)
        except RepositoryRefused:
            return ""
        named = {url.host, f"{url.host}:{url.port}"}
        return url.path.strip("/").removesuffix(".git") if self._host in named else ""

    async def _tell(self, path: str, commit: str, state: str, message: Message) -> None:
        context = f"{self._context}/{message.namespace}/{message.name}"
        description = message.title if state == "failure" else f"{message.trigger}: {message.kind}"
        if state == "failure" and message.message:
            description = message.message
        said: dict[str, Any] = {"description": description[:_DESCRIPTION]}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token, accept = self._target.token, frozenset[int]()
        if self._dialect == "gitlab":
            url = self._target.below(f"api/v4/projects/{quote(path, safe='')}/statuses/{commit}")
            said |= {"state": _GITLAB[state], "name": context}
            headers["PRIVATE-TOKEN"] = token
            accept = frozenset({_BAD_REQUEST})
        else:
            prefix = "api/v1/" if self._dialect == "gitea" else ""
            url = self._target.below(f"{prefix}repos/{quote(path)}/statuses/{commit}")
            said |= {"state": state, "context": context}
            headers["Authorization"] = f"token {token}" if self._dialect == "gitea" else f"Bearer {token}"
            if self._dialect == "github":
                headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        body = json.dumps(said).encode()
        status, answer = await post(
            self._session, url, body=body, headers=headers, ca=self._target.ca, accept=accept
        )
        if status == _BAD_REQUEST and b"Cannot transition status" not in answer:
            raise SinkRefused(f"{url.host} answers {status}")


def _host_of(target: Target) -> str:
    url = target.url
    if url.host == "api.github.com":
        return "github.com"
    port = url.port
    plain = port is None or port == DEFAULT_PORTS.get(url.scheme)
    return str(url.host) if plain else f"{url.host}:{port}"
