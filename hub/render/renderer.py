"""From an Application and its commits to a stored bundle, doing each piece of work once.

The render key is made of what decides the result: the Git tree of each path read, the options, the policy,
and the variables where templates are on. A key seen before costs no rendering, this week or after a restart;
equal keys at the same time are one rendering; content without secrets is one blob for all clusters. Secret
values are sealed to one cluster's key, differently each time: their blob is found again by (digest, cluster,
key).
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.bundle import Bundle, digest_of, encode
from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.errors import TerminalError
from hub.core.expansion import revision_key
from hub.render.checks import ObjectSummary, check_objects, has_secrets, project_violations, summary_of
from hub.render.flight import Flights
from hub.render.plain import ManifestError, PlainSource, RenderRequest, selected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.bundle import ApplyPolicy, StoredBundle
    from hub.api.application import ApplicationSpec
    from hub.api.application import Source as SourceSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterView, Fleet
    from hub.render.runner import Runner
    from hub.sources.port import Source
    from hub.store.port import BundleStore

_FORMAT = 1
"""Part of every render key: raise it when equal input comes to mean other output."""
_IN_THREAD = 128 * 1024
"""From this many characters on, packing a bundle would hold the event loop up for milliseconds."""
_SUMMARIES = 20_000


class ProjectViolation(TerminalError):
    """The app breaks rules of its project; the message lists the first few."""

    reason = "Project"


class Index(Protocol):
    """What is kept of renders: see `hub.store.index`."""

    def get(self, key: str) -> tuple[str, str] | None: ...

    def put(self, key: str, digest: str, blob: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an app's cluster should hold: which content, where it is stored, and what it was made from."""

    digest: str
    blob: str
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Commits by `<repoURL>@<revision>`."""
    objects_count: int = 0
    summary: ObjectSummary = field(default_factory=ObjectSummary)


@dataclass(frozen=True, slots=True)
class _Made:
    """One rendering. `bundle` is there where secrets are inside, for each cluster to be sealed on its own."""

    digest: str
    blob: str = ""
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """One app to render, with what decides the result."""

    spec: ApplicationSpec
    commits: Mapping[tuple[str, str], str]
    trees: list[str]
    policy: ApplyPolicy
    variables: dict[str, Any]


class Renderer:
    """Renders what changed. `digest_key` is the hub's, 32 bytes."""

    def __init__(
        self, *, source: Source, pool: Runner, store: BundleStore, index: Index, digest_key: bytes
    ) -> None:
        self._source = source
        self._pool = pool
        self._store = store
        self._index = index
        self._digest_key = digest_key
        self._identity = sha256_hex(b"render-key:" + digest_key)
        self._renders: Flights[_Made] = Flights()
        self._files: Flights[PlainSource] = Flights(keep=64)
        self._trees: Flights[str] = Flights()
        self._summaries: OrderedDict[str, ObjectSummary] = OrderedDict()

    async def render(
        self,
        app_key: str,
        spec: ApplicationSpec,
        *,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        policy: ApplyPolicy,
        sealing_key: bytes,
        project: ProjectSpec | None = None,
        fleet: Fleet | None = None,
    ) -> Rendered:
        """The bundle of one app on one cluster, stored.

        `commits` holds the commit of each source by (repoURL, revision); `sealing_key` is the cluster's
        X25519 key, 32 bytes. With a `project` (and the `fleet`, where it names cluster sets) its rules are
        checked, before anything is read and again over the objects. Raises `ManifestError`,
        `ProjectViolation`, `RenderFailed`, and the errors of `hub.sources`.
        """
        namespace = app_key.partition("/")[0]
        rules = _Rules(project, namespace, spec, cluster, fleet)
        rules.check(None)
        trees = await asyncio.gather(*(self._tree(one, commits) for one in spec.sources))
        job = _Job(spec, commits, trees, policy, _variables(app_key, spec, cluster))
        key = self._key(job)
        made = self._known(key, cluster, sealing_key)
        if made is None:
            made = await self._renders.run(key, lambda: self._make(key, job))
        blob = made.blob or await self._sealed(made, cluster, sealing_key)
        summary = self._summary(made.digest, blob)
        rules.check(summary)
        revisions = {
            revision_key(one.repo_url, one.revision): commits[one.repo_url, one.revision]
            for one in spec.sources
        }
        return Rendered(made.digest, blob, revisions, summary.count, summary)

    def _key(self, job: _Job) -> str:
        templated = any(one.jinja.enabled for one in job.spec.sources)
        parts = {
            "format": _FORMAT,
            "identity": self._identity,
            "sources": [
                {
                    "tree": tree,
                    "path": one.path,
                    "directory": one.directory.to_json(),
                    "jinja": one.jinja.values if one.jinja.enabled else None,
                }
                for one, tree in zip(job.spec.sources, job.trees, strict=True)
            ],
            "policy": job.policy.wire(),
            "variables": job.variables if templated else None,
        }
        return sha256_hex(canonical_json(parts))

    def _known(self, key: str, cluster: ClusterView, sealing_key: bytes) -> _Made | None:
        """What the index and the store still have of it."""
        found = self._index.get(key)
        if found is None:
            return None
        digest, blob = found
        if not blob:  # secrets inside: one blob a cluster
            sealed = self._index.get(self._sealed_key(digest, cluster, sealing_key))
            blob = sealed[1] if sealed else ""
        return _Made(digest, blob) if blob and self._store.has(blob) else None

    async def _make(self, key: str, job: _Job) -> _Made:
        pairs = zip(job.spec.sources, job.trees, strict=True)
        sources = await asyncio.gather(*(self._read(one, tree, job.commits) for one, tree in pairs))
        result = await self._pool.render(RenderRequest(tuple(sources), job.variables))
        where = ", ".join(dict.fromkeys(one.where for one in sources))
        check_objects(result.objects, namespace=job.policy.namespace, where=where)
        bundle = Bundle(policy=job.policy, objects=list(result.objects))
        if has_secrets(result.objects):
            digest = digest_of(bundle, key=self._digest_key)
            self._index.put(key, digest, "")
            return _Made(digest, bundle=bundle)
        size = sum(len(text) for one in sources for text in one.files.values())
        stored = await self._encode(bundle, b"", large=size > _IN_THREAD)
        self._store.put(stored)
        self._index.put(key, stored.digest, stored.blob)
        return _Made(stored.digest, stored.blob)

    async def _encode(self, bundle: Bundle, recipient: bytes, *, large: bool) -> StoredBundle:
        if large:
            return await asyncio.to_thread(encode, bundle, digest_key=self._digest_key, recipient=recipient)
        return encode(bundle, digest_key=self._digest_key, recipient=recipient)

    async def _sealed(self, made: _Made, cluster: ClusterView, sealing_key: bytes) -> str:
        """The blob for this cluster: the one it had for an equal digest, or a new one."""
        key = self._sealed_key(made.digest, cluster, sealing_key)
        found = self._index.get(key)
        if found is not None and self._store.has(found[1]):
            return found[1]
        assert made.bundle is not None  # noqa: S101 - without one there is a blob
        stored = await self._encode(made.bundle, sealing_key, large=len(made.bundle.objects) > 100)  # noqa: PLR2004
        self._store.put(stored)
        self._index.put(key, stored.digest, stored.blob)
        return stored.blob

    def _sealed_key(self, digest: str, cluster: ClusterView, sealing_key: bytes) -> str:
        return sha256_hex(canonical_json(["sealed", digest, cluster.name, sha256_hex(sealing_key)]))

    async def _tree(self, spec: SourceSpec, commits: Mapping[tuple[str, str], str]) -> str:
        commit = commits[spec.repo_url, spec.revision]

        async def ask() -> str:
            tree = await self._source.tree_id(spec.repo_url, commit, spec.path)
            if tree is None:
                raise ManifestError("nothing is there", where=_where(spec, commit), reason="PathNotFound")
            return tree

        return await self._trees.run(f"{spec.repo_url} {commit} {spec.path}", ask)

    async def _read(self, spec: SourceSpec, tree: str, commits: Mapping[tuple[str, str], str]) -> PlainSource:
        """The source's files, read once for the many clusters that they are rendered for."""
        commit = commits[spec.repo_url, spec.revision]

        async def read() -> PlainSource:
            files = await self._source.files(spec.repo_url, commit, spec.path)
            where = _where(spec, commit)
            options = spec.directory
            texts = selected(
                files,
                where=where,
                recurse=options.recurse,
                include=options.include,
                exclude=options.exclude,
            )
            return PlainSource(where, texts, jinja=spec.jinja.enabled, values=spec.jinja.values)

        options = canonical_json(spec.to_json()).decode()
        return await self._files.run(f"{tree} {commit} {options}", read)

    def _summary(self, digest: str, blob: str) -> ObjectSummary:
        found = self._summaries.get(digest)
        if found is None:
            data = self._store.get(blob)
            objects = json.loads(gzip.decompress(data))["objects"] if data else []
            found = self._summaries[digest] = summary_of(objects)
            if len(self._summaries) > _SUMMARIES:
                self._summaries.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class _Rules:
    """The project's rules over one app, if there is a project."""

    project: ProjectSpec | None
    namespace: str
    spec: ApplicationSpec
    cluster: ClusterView
    fleet: Fleet | None

    def check(self, summary: ObjectSummary | None) -> None:
        if self.project is None:
            return
        found = project_violations(
            self.namespace, self.project, self.spec, cluster=self.cluster, fleet=self.fleet, summary=summary
        )
        if found:
            raise ProjectViolation("; ".join(found[:5]))


def _variables(app_key: str, spec: ApplicationSpec, cluster: ClusterView) -> dict[str, Any]:
    """What manifests' templates see. `app.namespace` is where it goes, `app.project` its hub namespace."""
    project, _, name = app_key.partition("/")
    return {
        "cluster": {
            "name": cluster.name,
            "labels": dict(cluster.labels),
            "values": dict(cluster.values),
        },
        "app": {"name": name, "namespace": spec.namespace, "project": project},
    }


def _where(spec: SourceSpec, commit: str) -> str:
    return f"{spec.repo_url}@{commit[:12]}:{spec.path}"
