"""What the controller says to an ApplicationSet that somebody is about to write.

It is expanded as a plan would, in a confined worker, over what is known already: no host is asked, and no repository
that was not fetched a moment ago. Where that is not enough, or takes too long, the set is let in, and its plan tells.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.api.application import ApplicationSpec
from hub.core.admission import new_cycles
from hub.core.children import InvalidSet, validate_set
from hub.core.model import AppNode
from hub.core.template import template_problem
from hub.operator.objects import key_of
from hub.render.expansion import expand_set
from hub.sources.errors import RepositoryUnreachable
from hub.sources.port import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from hub.core.expansion import Child
    from hub.core.graph import AppGraph
    from hub.operator.context import HubContext
    from hub.sources.port import RepoListing, Source
    from hub.sources.signing import Trusted

log = logging.getLogger(__name__)
SECONDS = 4.0
"""Less than the API server waits."""
MAX_CHANGED = 2000
"""Children whose edges are looked at while everybody waits: a larger set's cycles are told by its plan."""


async def set_refusal(hub: HubContext, graph: AppGraph, obj: Manifest) -> str:
    """Why this set may not be: a field that there is not, or the cycle that it would close; empty where it may."""
    key = key_of(obj)
    try:
        validate_set(obj["spec"], set_key=key)
    except InvalidSet as error:
        return f"{error.reason}: {error}"
    problem = template_problem(obj["spec"])
    if problem:
        return f"InvalidSet: set {key}: {problem}"
    children = await _children(hub, obj)
    if children is None:
        return ""
    nodes = [_node(child, key, graph) for child in children]
    gone = graph.of_set(key) - {node.key for node in nodes}
    if len(nodes) + len(gone) > MAX_CHANGED:
        return ""
    path = new_cycles(graph, nodes, gone)
    return f"DependencyCycle: {path}" if path else ""


async def _children(hub: HubContext, obj: Manifest) -> Sequence[Child] | None:
    """Those that it would have; None where that cannot be told at once."""
    metadata = obj["metadata"]
    source = _Known(hub.source, asyncio.get_running_loop().time() - hub.settings.poll_interval)
    try:
        async with asyncio.timeout(SECONDS):
            expansion = await expand_set(
                metadata["namespace"],
                metadata["name"],
                obj["spec"],
                fleet=hub.fleet(),
                source=source,
                runner=hub.pool,
            )
    except (AxletreeError, TimeoutError) as error:
        log.debug("set %s is not looked at before it is written: %s", key_of(obj), error)
        return None
    return expansion.children


def _node(child: Child, owner: str, graph: AppGraph) -> AppNode:
    """A child as the graph would have it."""
    metadata = child.manifest["metadata"]
    spec = ApplicationSpec.model_validate(child.manifest["spec"])
    key = f"{metadata['namespace']}/{child.name}"
    known = graph.get(key)
    return AppNode(
        key=key,
        cluster=spec.cluster,
        labels=metadata.get("labels") or {},
        owner=owner,
        part_of=known.part_of if known is not None else None,
        depends_on=spec.edges(),
        inputs=tuple(spec.inputs),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """A source that says what it knows since a moment, and asks nobody; satisfies `hub.sources.port.Source`."""

    source: Source
    since: float

    def seen_by(self, namespace: str) -> _Known:
        return _Known(self.source.seen_by(namespace), self.since)

    def reader(self, repo_url: str) -> str:
        return self.source.reader(repo_url)

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:  # noqa: ARG002 - the port's
        self._check(repo_url)
        return await self.source.resolve(repo_url, revision)

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        return await self.source.tree_id(repo_url, commit, path)

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        return await self.source.listing(repo_url, commit)

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        return await self.source.files(repo_url, commit, path, limit_bytes=limit_bytes)

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        return await self.source.read(repo_url, commit, paths)

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        await self.source.verify(repo_url, commit, keys, revision=revision)

    def known_at(self, repo_url: str) -> float | None:
        return self.source.known_at(repo_url)

    async def close(self) -> None:
        """Whoever made the source ends it."""

    def _check(self, repo_url: str) -> None:
        at = self.source.known_at(repo_url)
        if at is None or at <= self.since:
            raise RepositoryUnreachable(f"{repo_url}: nothing is known of it at this moment")
