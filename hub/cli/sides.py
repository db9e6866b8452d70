"""The two sides that a plan compares: files as they lie or as they were, and what a hub has."""

from __future__ import annotations

import asyncio
import os
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.contract.bundle import decode
from agent.contract.errors import AxletreeError
from agent.contract.names import ANNOTATION_PAUSED, API_VERSION, APPLYSET_PART_OF
from agent.contract.sealing import new_keypair
from hub.api.application import ApplicationSpec
from hub.api.applicationset import ApplicationSetSpec
from hub.api.project import ProjectSpec
from hub.cli.files import InvalidFile, checked
from hub.cli.limits import RepeatedRunner
from hub.core.children import validate_set
from hub.core.claims import clashes
from hub.core.expansion import DuplicateName
from hub.core.ignore import kept
from hub.core.insert import with_known
from hub.core.preview import Side
from hub.fleet.tools import find_programs
from hub.operator import views
from hub.operator.policy import apply_policy
from hub.render.expansion import expand_set
from hub.render.pool import WorkerPool
from hub.render.renderer import Renderer
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.files import Document
    from hub.cli.snapshot import Snapshot
    from hub.core.model import AppKey, Fleet
    from hub.hosts.ask import Asker
    from hub.sources.port import Source

_AT_ONCE = 16
_WORKERS = 2
"""Processes that render: what a commit brings may be anybody's."""
_ANY = ProjectSpec.model_validate(
    {
        "sourceRepos": ["**"],
        "generatorHosts": ["**"],
        "destinations": [{"clusters": ["*"], "namespaces": ["*"]}],
        "clusterResources": [{"group": "*", "kind": "*"}],
        "serviceAccount": "anyone",
    }
)
"""A Project that allows everything."""


@dataclass(slots=True)
class Kitchen:
    """Renders Applications for a look: bundles go to a folder that is thrown away, secrets to a key of its own."""

    folder: Path
    fleet: Fleet
    inputs: Mapping[AppKey, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """What Applications on the hub were rendered with: a look takes the same."""
    runner: RepeatedRunner = field(init=False, default_factory=RepeatedRunner)
    _store: DiskStore = field(init=False)
    _index: RenderIndex = field(init=False)
    _private: bytes = field(init=False)
    _public: bytes = field(init=False)
    _digest_key: bytes = field(init=False)
    _decoded: dict[str, Sequence[Manifest]] = field(init=False, default_factory=dict)
    """By blob: children that hold the same, on either side, share it."""

    _specs: dict[AppKey, tuple[Manifest, ApplicationSpec]] = field(init=False, default_factory=dict)
    """As they read last: both sides share what no generator changed."""

    def __post_init__(self) -> None:
        self._store = DiskStore(self.folder / "bundles")
        self._index = RenderIndex(self.folder / "index.sqlite")
        self._private, self._public = new_keypair()
        self._digest_key = os.urandom(32)

    def close(self) -> None:
        self._index.close()

    def serving(self, fleet: Fleet) -> Kitchen:
        """For another fleet: what neither it nor a commit changes is not rendered again."""
        other = copy(self)
        other.fleet = fleet
        return other

    async def render(
        self, apps: Mapping[AppKey, Manifest], source: Source
    ) -> tuple[dict[AppKey, Sequence[Manifest]], dict[AppKey, str]]:
        """What each renders to, and the problems of those that do not. A repository that is not there is one."""
        slots = asyncio.Semaphore(_AT_ONCE)
        objects: dict[AppKey, Sequence[Manifest]] = {}
        problems: dict[AppKey, str] = {}
        async with WorkerPool(size=_WORKERS, programs=find_programs()) as pool:
            renderer = Renderer(
                source=source,
                pool=pool,
                store=self._store,
                index=self._index,
                digest_key=self._digest_key,
            )

            async def one(key: AppKey, obj: Manifest) -> None:
                async with slots:
                    try:
                        objects[key] = await self._objects(key, obj, renderer, source)
                    except AxletreeError as error:
                        problems[key] = f"{error.reason}: {error}"

            await asyncio.gather(*(one(key, obj) for key, obj in sorted(apps.items())))
        return objects, problems

    async def _objects(
        self, key: AppKey, obj: Manifest, renderer: Renderer, source: Source
    ) -> Sequence[Manifest]:
        spec = self._spec(key, obj)
        namespace = key.partition("/")[0]
        project, reading = self.fleet.projects.get(namespace), source.seen_by(namespace)
        cluster = self.fleet.clusters.get(spec.cluster)
        if cluster is None:
            raise InvalidFile(f"there is no Cluster {spec.cluster}")
        rendered = await renderer.render(
            key,
            spec,
            cluster=cluster,
            commits={origin: await reading.resolve(*origin) for origin in spec.origins()},
            policy=apply_policy(
                spec, project=project or ProjectSpec(trusted=True), cluster=cluster, fleet=self.fleet
            ),
            project=project,
            fleet=self.fleet,
            sealing_key=self._public,
        )
        found = self._decoded.get(rendered.blob)
        if found is None:
            data = self._store.get(rendered.blob) or b""
            found = decode(data, blob=rendered.blob, private_key=self._private).objects
            self._decoded[rendered.blob] = found
        return found

    def _spec(self, key: AppKey, obj: Manifest) -> ApplicationSpec:
        raw = obj["spec"]
        known = self._specs.get(key)
        if known is not None and known[0] is raw:
            return known[1]
        spec = ApplicationSpec.model_validate(with_known(raw, self.inputs.get(key, ())))
        self._specs[key] = raw, spec
        return spec


async def side_of_files(
    documents: Sequence[Document],
    *,
    kitchen: Kitchen,
    source: Source,
    asker: Asker,
    live: Mapping[AppKey, Manifest] | None = None,
    alone: bool = False,
) -> Side:
    """The sets among the documents expanded, with the Applications beside them, all rendered.

    `live` children keep what their set's `ignoreDifferences` leaves to others. `alone`: two that ask for one name are
    told, as a hub would refuse one of them. Raises `InvalidFile`, and the errors of expansion.
    """
    apps: dict[AppKey, Manifest] = {}
    sets: dict[str, ApplicationSetSpec] = {}
    wanted: dict[str, list[AppKey]] = {}
    for document in documents:
        if document.kind == "Application":
            checked(ApplicationSpec, document)
            apps[document.key] = {
                **document.obj,
                "metadata": {**document.obj["metadata"], "namespace": document.namespace},
            }
        elif document.kind == "ApplicationSet":
            sets[document.key] = validate_set(document.spec, set_key=document.key)
            expansion = await expand_set(
                document.namespace,
                document.name,
                document.spec,
                fleet=kitchen.fleet,
                source=source,
                runner=kitchen.runner,
                asker=asker,
            )
            children = {f"{document.namespace}/{child.name}": child.manifest for child in expansion.children}
            rules = sets[document.key].ignore_differences
            apps |= {key: kept(each, (live or {}).get(key), rules) for key, each in children.items()}
            if document.key in wanted and alone:
                raise InvalidFile(f"{document.source}: ApplicationSet {document.key} is there twice")
            wanted[document.key] = list(children)
    owners = {document.key: "" for document in documents if document.kind == "Application"}
    for key, clash in clashes(wanted, owners).items() if alone else ():
        raise InvalidFile(f"set {key}: {DuplicateName.reason}: {clash}")
    objects, problems = await kitchen.render(apps, source)
    paused = {each.key for each in documents if _is_paused(each.obj)}
    return Side(apps, sets, objects, problems, paused=frozenset(paused))


async def side_of_hub(
    hub: Snapshot, like: Side, *, kitchen: Kitchen, sources: Mapping[str, Source], now: datetime
) -> Side:
    """What the hub has of the sets and Applications that `like` speaks of, rendered as it was released.

    `sources` are by commit. What is of a commit that is not there is compared by its spec alone.
    """
    namespaces = {key.partition("/")[0] for key in (*like.apps, *like.sets)}
    meant = {key for key, obj in hub.sets.items() if key in like.sets or _of_a_root(obj, namespaces)}
    apps = {
        key: _plain(obj)
        for key, obj in hub.apps.items()
        if (views.owner_of(obj) or key) in meant
        or (views.owner_of(obj) is None and (key in like.apps or _of_a_root(obj, namespaces)))
    }
    objects: dict[AppKey, Sequence[Manifest]] = {}
    for commit, source in sources.items():
        there = {
            key: obj
            for key, obj in apps.items()
            if ((hub.apps[key].get("status") or {}).get("sync") or {}).get("revision") == commit
        }
        found, _ = await kitchen.render(there, source)
        objects |= found
    return Side(
        apps,
        {key: ApplicationSetSpec.model_validate(hub.sets[key]["spec"]) for key in meant},
        objects,
        plans={key: (hub.sets[key].get("status") or {}).get("plan") or {} for key in meant},
        paused=hub.paused,
        breaker=hub.breaker(now),
    )


def with_projects(fleet: Fleet, namespaces: set[str]) -> Fleet:
    """Where no file speaks of Projects at all, nothing is held for want of one."""
    if fleet.projects:
        return fleet
    return replace(fleet, projects=dict.fromkeys(namespaces, _ANY))


def _is_paused(obj: Manifest) -> bool:
    return (obj["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true"


def _of_a_root(obj: Manifest, namespaces: set[str]) -> bool:
    metadata = obj["metadata"]
    return metadata["namespace"] in namespaces and APPLYSET_PART_OF in (metadata.get("labels") or {})


def _plain(obj: Manifest) -> Manifest:
    """As an expansion makes it: without what the API server and agents add, but a decision that it goes."""
    metadata = obj["metadata"]
    labels = {
        key: value for key, value in (metadata.get("labels") or {}).items() if not key.startswith("applyset.")
    }
    head = {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels}
    if metadata.get("annotations"):
        head["annotations"] = metadata["annotations"]
    deletion = (obj.get("status") or {}).get("deletion")
    status = {"status": {"deletion": deletion}} if deletion else {}
    return {"apiVersion": API_VERSION, "kind": "Application", "metadata": head, "spec": obj["spec"], **status}
