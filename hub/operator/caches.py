"""The reflectors' caches that the core reads. Nothing is expanded until every one has synced.

A half-seen fleet would expand to fewer children, and fewer children look like deletions (I1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.contract.errors import TransientError
from agent.contract.names import LABEL_CREDENTIALS, LABEL_VALUES
from agent.kube.reflector import Reflector
from hub.operator import paths, views
from hub.operator.objects import Objects, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

SYNC_TIMEOUT = 120.0


def _lean(obj: Manifest) -> Manifest:
    """Without managedFields: the largest part of an object, and the hub decides nothing by it."""
    obj.get("metadata", {}).pop("managedFields", None)
    return obj


class WentBack(TransientError):
    """The hub's API server was restored from a backup: what is known here is of another time."""

    reason = "WentBack"


class Caches:
    """One reflector and one read-your-writes store a kind."""

    def __init__(self, client: RestClient) -> None:
        self.clusters = Objects()
        self.cluster_sets = Objects()
        self.projects = Objects()
        self.sets = Objects()
        self.applications = Objects()
        self.assignments = Objects()
        self.leases = Objects()
        self.credentials = Objects()
        self.values_secrets = Objects()
        self.values_config_maps = Objects()
        self._children: dict[str, set[str]] = {}
        self._on_cluster: dict[str, set[str]] = {}
        self._decided: set[str] = set()
        self.applications.subscribe(self._file_child)
        self._rewound = asyncio.Event()
        self.reflectors: dict[str, Reflector] = {}
        for name, path, objects in (
            ("clusters", paths.CLUSTERS, self.clusters),
            ("clustersets", paths.CLUSTER_SETS, self.cluster_sets),
            ("projects", paths.PROJECTS, self.projects),
            ("applicationsets", paths.APPLICATION_SETS, self.sets),
            ("applications", paths.APPLICATIONS, self.applications),
            ("assignments", paths.ASSIGNMENTS, self.assignments),
            ("leases", paths.LEASES, self.leases),
        ):
            self._reflect(client, name, path, objects.observe)
        self._reflect(
            client, "credentials", paths.SECRETS, self.credentials.observe, label_selector=LABEL_CREDENTIALS
        )
        for name, path, objects in (
            ("values-secrets", paths.SECRETS, self.values_secrets),
            ("values-configmaps", paths.CONFIG_MAPS, self.values_config_maps),
        ):
            self._reflect(client, name, path, objects.observe, label_selector=LABEL_VALUES)

    def _reflect(
        self,
        client: RestClient,
        name: str,
        path: str,
        observe: Callable[[Manifest | None, Manifest | None], None],
        *,
        label_selector: str = "",
    ) -> None:
        reflector = Reflector(
            client, path, label_selector=label_selector, transform=_lean, on_rewound=self._rewound.set
        )
        reflector.subscribe(observe)
        self.reflectors[name] = reflector

    def children_of(self, owner: str) -> dict[str, Manifest]:
        """Every Application that belongs to the set, dropped and deleted ones included, by key."""
        keys = self._children.get(owner, ())
        return {key: obj for key in keys if (obj := self.applications.get(key)) is not None}

    def count_children(self, owner: str) -> int:
        return len(self._children.get(owner, ()))

    def on_cluster(self, cluster: str) -> frozenset[str]:
        """Every Application there, by key."""
        return frozenset(self._on_cluster.get(cluster, ()))

    def decisions(self) -> list[Manifest]:
        """Every decision about a deletion, held ones too, that an Application has recorded."""
        found = (self.applications.get(key) for key in self._decided)
        return [obj["status"]["deletion"] for obj in found if obj is not None]

    def _file_child(self, old: Manifest | None, new: Manifest | None) -> None:
        for obj, file in ((old, set.discard), (new, set.add)):
            owner = views.owner_of(obj) if obj is not None else None
            if obj is not None and owner is not None:
                file(self._children.setdefault(owner, set()), key_of(obj))
            if obj is not None:
                cluster = (obj.get("spec") or {}).get("cluster", "")
                file(self._on_cluster.setdefault(cluster, set()), key_of(obj))
                if (obj.get("status") or {}).get("deletion"):
                    file(self._decided, key_of(obj))

    async def run(self) -> None:
        """Keep every cache until cancelled. Raises `WentBack`: all that was made of them is to be made anew."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._end_rewound(), name="rewound")
            for name, reflector in self.reflectors.items():
                tasks.create_task(reflector.run(), name=f"reflector-{name}")

    async def _end_rewound(self) -> None:
        await self._rewound.wait()
        raise WentBack("the hub's API server went back in time")

    async def wait_synced(self) -> None:
        for reflector in self.reflectors.values():
            await reflector.wait_synced(SYNC_TIMEOUT)
