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
import hmac
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.bundle import Bundle, pack
from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.errors import TerminalError
from agent.contract.sealing import PREFIX
from agent.contract.secrets import map_secret
from hub.core.expansion import revision_key
from hub.core.sealed import RelayedSecret, secrets_of
from hub.render.asked import Asked
from hub.render.checks import ObjectSummary, check_objects, summary_of
from hub.render.inputs import Inputs
from hub.render.rules import Rules
from hub.render.seal import Sealing
from hub.sources.directory import LOCAL
from hub.sources.flight import Flights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest
    from hub.api.application import ApplicationSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterView, Fleet
    from hub.core.sealed import Relay
    from hub.render.appinputs import AppInputs
    from hub.render.hubvalues import HubObjects
    from hub.render.pipeline import RenderRequest
    from hub.render.runner import Runner
    from hub.render.seal import SealedResult
    from hub.sources.port import Source
    from hub.store.port import BundleStore

_FORMAT = 3
"""Part of every render key: raise it when equal input comes to mean other output."""
_IN_THREAD = 100
"""From this many objects on, packing a bundle would hold the event loop up for milliseconds."""
_SUMMARIES = 20_000


class NotSealed(TerminalError):
    """A worker gave a secret value in the clear: nothing of it is stored."""

    reason = "NotSealed"


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
    """One rendering. `blob` is empty where secrets are inside: each cluster has its own."""

    digest: str
    blob: str = ""


@dataclass(frozen=True, slots=True)
class _Job:
    """One app to render, with what decides the result."""

    inputs: AppInputs
    policy: ApplyPolicy
    relayed: tuple[RelayedSecret, ...] = ()
    """Sealed inputs, which stand in its bundle beside what is rendered."""


class Renderer:
    """Renders what changed. `digest_key` is the hub's, 32 bytes; `objects` are what values may be taken from."""

    def __init__(
        self,
        *,
        source: Source,
        pool: Runner,
        store: BundleStore,
        index: Index,
        digest_key: bytes,
        objects: HubObjects | None = None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._index = index
        self._mask_key = hmac.new(digest_key, b"axletree/mask/v1", "sha256").digest()
        self._identity = sha256_hex(b"render-key:" + digest_key)
        self._renders: Flights[_Made] = Flights()
        self._inputs = Inputs(source, objects)
        self._summaries: OrderedDict[str, ObjectSummary] = OrderedDict()
        self._asked: Asked[Rendered] = Asked()

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
        version: str = "",
        relays: Mapping[str, Relay] | None = None,
    ) -> Rendered:
        """The bundle of one app on one cluster, stored.

        `commits` holds the commit of each source by (repoURL, revision); `sealing_key` is the cluster's
        X25519 key, 32 bytes. With a `project` (and the `fleet`, where it names cluster sets) its rules are
        checked, before anything is read and again over the objects. `version` stands for the spec, where it is
        known to change with it (an object's uid and generation). `relays` are its sealed inputs.
        Raises `ManifestError`, `ProjectViolation`,
        `RenderFailed`, and the errors of `hub.sources`.
        """
        namespace = app_key.partition("/")[0]
        rules = Rules(project, namespace, spec, cluster, fleet) if project is not None else None
        if rules is not None:
            rules.check(None)
        relayed = tuple(secrets_of(spec.inputs, relays, key=self._mask_key)) if relays else ()
        question = self._asked.question(
            app_key,
            (version or spec.model_dump_json(), *self._inputs.versions(namespace, spec), *map(str, relayed)),
            cluster=cluster,
            sealing_key=sealing_key,
            commits=commits,
            project=project,
        )
        known = self._asked.known(question, policy)
        if known is not None and self._store.has(known.blob):
            if rules is not None:
                rules.check(known.summary)
            return known
        inputs = await self._inputs.of(app_key, spec, cluster=cluster, commits=commits, project=project)
        job = _Job(inputs, policy, relayed)
        key = self._key(job)
        made = self._known(key, cluster, sealing_key)
        if made is None:
            to = _Recipient(cluster.name, sealing_key)
            made = await self._renders.run(key, lambda: self._make(key, job, to))
            if not made.blob:
                made = await self._for(to, key, job, made)
        blob = made.blob
        summary = self._summary(made.digest, blob)
        if rules is not None:
            rules.check(summary)
        revisions = {revision_key(*origin): commits[origin] for origin in spec.origins()}
        rendered = Rendered(made.digest, blob, revisions, summary.count, summary)
        if LOCAL not in commits.values():  # a folder changes under that name
            self._asked.keep(question, policy, rendered)
        return rendered

    async def request(
        self,
        app_key: str,
        spec: ApplicationSpec,
        *,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        project: ProjectSpec,
    ) -> RenderRequest:
        """What a worker would render, read: for who wants to know how something came to be.

        Raises `ManifestError`, and the errors of `hub.sources`.
        """
        inputs = await self._inputs.of(app_key, spec, cluster=cluster, commits=commits, project=project)
        return await inputs.request(stages=True)

    def _key(self, job: _Job) -> str:
        parts = {
            "format": _FORMAT,
            "identity": self._identity,
            "inputs": job.inputs.identity(),
            "policy": job.policy.wire(),
        }
        if job.relayed:
            parts["relayed"] = [one.identity for one in job.relayed]
        return sha256_hex(canonical_json(parts))

    def _known(self, key: str, cluster: ClusterView, sealing_key: bytes) -> _Made | None:
        """What the index and the store still have of it."""
        found = self._index.get(key)
        if found is None:
            return None
        digest, blob = found
        if not blob:  # secrets inside: one blob a cluster
            sealed = self._index.get(_sealed_key(digest, _Recipient(cluster.name, sealing_key)))
            blob = sealed[1] if sealed else ""
        return _Made(digest, blob) if blob and self._store.has(blob) else None

    async def _make(self, key: str, job: _Job, to: _Recipient) -> _Made:
        """Render it; where secrets are inside, what is stored is for this recipient alone."""
        request = await job.inputs.request()
        result = await self._pool.render_sealed(request, Sealing(to.key, self._mask_key, key))
        where = ", ".join(dict.fromkeys(one.where for one in request.sources))
        _check_sealed(result)
        objects = [*result.objects, *(one.obj for one in job.relayed)]
        masks = (*result.masks, *(mask for one in job.relayed for mask in one.masks))
        check_objects(objects, namespace=job.policy.namespace, where=where)
        bundle = Bundle.model_construct(
            policy=job.policy, objects=objects, hooks=[]
        )  # no default is looked up
        if len(bundle.objects) > _IN_THREAD:
            stored = await asyncio.to_thread(pack, bundle, masks=masks)
        else:
            stored = pack(bundle, masks=masks)
        await self._store.keep(stored)
        self._remember(stored.digest, summary_of(objects))
        if masks:
            self._index.put(_sealed_key(stored.digest, to), stored.digest, stored.blob)
            self._index.put(key, stored.digest, "")
            return _Made(stored.digest)
        self._index.put(key, stored.digest, stored.blob)
        return _Made(stored.digest, stored.blob)

    async def _for(self, to: _Recipient, key: str, job: _Job, made: _Made) -> _Made:
        """The blob for this cluster: the one it had for an equal digest, or a new one."""
        for _ in range(2):
            found = self._index.get(_sealed_key(made.digest, to))
            if found is not None and self._store.has(found[1]):
                return _Made(made.digest, found[1])
            made = await self._renders.run(f"{key} {to.name}", lambda: self._make(key, job, to))
        raise NotSealed(f"what was sealed for cluster {to.name} is gone again")

    async def objects(self, rendered: Rendered) -> list[Manifest]:
        """What a bundle holds, values of Secrets sealed; nothing for one that is not stored any more."""
        data = await self._store.fetch(rendered.blob)
        found: list[Manifest] = json.loads(gzip.decompress(data))["objects"] if data else []
        return found

    def _summary(self, digest: str, blob: str) -> ObjectSummary:
        found = self._summaries.get(digest)
        if found is None:
            data = self._store.get(blob)
            objects = json.loads(gzip.decompress(data))["objects"] if data else []
            found = summary_of(objects)
            self._remember(digest, found)
        return found

    def _remember(self, digest: str, summary: ObjectSummary) -> None:
        self._summaries[digest] = summary
        if len(self._summaries) > _SUMMARIES:
            self._summaries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Recipient:
    """A cluster and its X25519 key."""

    name: str
    key: bytes


def _sealed_key(digest: str, to: _Recipient) -> str:
    return sha256_hex(canonical_json(["sealed", digest, to.name, sha256_hex(to.key)]))


def _check_sealed(result: SealedResult) -> None:
    """Nothing is stored on a worker's word alone."""

    def check(value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith(PREFIX)):
            raise NotSealed("a worker gave a secret value in the clear")
        return value

    for one in result.objects:
        map_secret(one, check)
