"""What a webhook concerns: the sets and applications that read that repository, and nobody else.

Calls may come in bursts, from many repositories at once. They are kept as names until they are served, so that a
burst is one look; beyond a bound everything is looked at, as polling does.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from typing import TYPE_CHECKING, Any

from hub.hosts.events import ANNOTATION, Event, identity
from hub.sources.pins import split_name
from hub.sources.semver import is_range
from hub.sources.urls import is_commit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext
    from hub.operator.poller import Plans, Poller

log = logging.getLogger(__name__)
MAX_PENDING = 1000
SETTLE = 0.05
"""Seconds that a burst has to come together: a push of five tags is five calls."""
_REQUESTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "github": ("github", ("owner", "repo")),
    "gitlab": ("gitlab", ("project",)),
    "gitea": ("gitea", ("owner", "repo")),
    "bitbucket": ("bitbucket", ("owner", "repo")),
    "bitbucket-server": ("bitbucketServer", ("project", "repo")),
    "azure-devops": ("azuredevops", ("organization", "project", "repo")),
}
"""By the event's host: what `pullRequest` calls it, and the fields that name a repository."""
_PROVIDERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "github": ("github", ("organization",)),
    "gitlab": ("gitlab", ("group",)),
    "gitea": ("gitea", ("owner",)),
    "bitbucket": ("bitbucket", ("owner",)),
    "bitbucket-server": ("bitbucketServer", ("project",)),
    "azure-devops": ("azureDevOps", ("organization", "teamProject")),
}


class Webhooks:
    """`take` is called from the gateway; `run` serves, until cancelled."""

    def __init__(self, hub: HubContext, plans: Plans, poller: Poller) -> None:
        self._hub = hub
        self._plans = plans
        self._poller = poller
        self._pending: list[Event] = []
        self._overrun = False
        self._wake = asyncio.Event()

    def take(self, event: Event) -> None:
        """Note what is to be looked at. Never waits."""
        if len(self._pending) >= MAX_PENDING:
            self._overrun = True
        else:
            self._pending.append(event)
        self._wake.set()

    def lease_moved(self, old: Manifest | None, new: Manifest | None) -> None:
        """Take what a gateway elsewhere told since the last look at its Lease."""
        if new is None or ANNOTATION not in (new["metadata"].get("annotations") or {}):
            return
        known = {number for number, _ in _told(old)}
        for number, event in _told(new):
            if number not in known:
                self.take(event)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(SETTLE)
            self._wake.clear()
            events, self._pending = self._pending, []
            everything, self._overrun = self._overrun, False
            self._ask_generators(events)
            self._ask_unplanned(events)
            await self._poller.look(None if everything else functools.partial(_moves, events))

    def _ask_generators(self, events: list[Event]) -> None:
        """Sets whose generators asked that host about that repository: their answers are old now."""
        for key, obj in self._hub.caches.sets.view().items():
            if any(asks(obj["spec"], event) for event in events):
                if self._hub.asker is not None:
                    self._hub.asker.expire(key)
                self._plans.ask_set(key)

    def _ask_unplanned(self, events: list[Event]) -> None:
        """What could not be planned so far has no revision to compare; it may name the repository all the same."""
        pushed = frozenset(one for event in events if event.pushed for one in event.repositories)
        state = self._hub.state
        if not pushed:
            return
        for key, obj in self._hub.caches.sets.view().items():
            known = state.sets.get(key)
            if (known is None or known.problem is not None or not known.revisions) and _names(
                obj["spec"], pushed
            ):
                self._plans.ask_set(key, fresh=True)
        for key, seen in state.apps.items():
            app = None if seen.revisions else self._hub.caches.applications.get(key)
            if app is not None and _names(app["spec"], pushed):
                self._plans.ask_app(key, fresh=True)


def _told(lease: Manifest | None) -> list[tuple[str, Event]]:
    """The events on a gateway's Lease, by their ids."""
    text = ((lease or {}).get("metadata") or {}).get("annotations", {}).get(ANNOTATION, "[]")
    try:
        return [(str(one["id"]), Event.from_json(one)) for one in json.loads(text)]
    except (ValueError, KeyError, TypeError):
        log.warning("a gateway's Lease has events that do not read")
        return []


def _moves(events: list[Event], name: str) -> bool:
    """Whether `repo@revision` may mean something else after these."""
    address, revision = split_name(name)
    return any(concerns(address, revision, event) for event in events)


def concerns(address: str, revision: str, event: Event) -> bool:
    """Whether the event may have moved that revision of that repository."""
    if not event.pushed or identity(address.partition("#")[0]) not in event.repositories:
        return False
    if is_commit(revision):
        return False
    if not event.refs or revision in {"", "HEAD"} or is_range(revision):
        return True
    return bool({revision, f"refs/heads/{revision}", f"refs/tags/{revision}"} & event.refs)


def asks(spec: Manifest, event: Event) -> bool:
    """Whether a generator in the set asks that host about that repository."""
    for generator in _generators(spec.get("generators")):
        requests, provider = generator.get("pullRequest"), generator.get("scmProvider")
        if not event.pushed and _is_of(requests, _REQUESTS, event, whole=True):
            return True
        if _is_of(provider, _PROVIDERS, event, whole=False):
            return True
    return False


def _generators(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every generator at any depth."""
    if isinstance(value, list):
        for one in value:
            yield from _generators(one)
    elif isinstance(value, dict):
        yield value
        for key in ("matrix", "merge"):
            yield from _generators((value.get(key) or {}).get("generators"))


def _is_of(spec: Any, table: Mapping[str, tuple[str, tuple[str, ...]]], event: Event, *, whole: bool) -> bool:
    """Whether a generator names the event's repository (`whole`), or what that is in. A template may."""
    field, keys = table[event.host]
    named = spec.get(field) if isinstance(spec, dict) else None
    if not isinstance(named, dict):
        return False
    path = "/".join(str(named.get(key) or "") for key in keys).strip("/").lower()
    if "{{" in path:
        return True
    return any(name == path or (not whole and name.startswith(f"{path}/")) for name in event.names)


def _names(value: Any, repositories: frozenset[str]) -> bool:
    """Whether a `repoURL` anywhere in it is one of these, or a template, of which nobody knows."""
    if isinstance(value, list):
        return any(_names(one, repositories) for one in value)
    if not isinstance(value, dict):
        return False
    for key, one in value.items():
        if key == "repoURL" and isinstance(one, str) and ("{{" in one or identity(one) in repositories):
            return True
        if isinstance(one, dict | list) and _names(one, repositories):
            return True
    return False
