"""What agents answer to requests of people: of apps it goes to their Application, orphans to their Cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import API_VERSION, MANAGER_GATEWAY
from hub.gateway import paths
from hub.gateway.writer import LatestWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.wire import ReportBatch
    from agent.kube.client import RestClient
    from hub.gateway.assignments import View

MANAGERS = {"adoption": f"{MANAGER_GATEWAY}-adoptions", "objectSync": f"{MANAGER_GATEWAY}-object-syncs"}
"""A field manager for each field of the status: an apply leaves out what it does not say."""


@dataclass(slots=True)
class Requested:
    """Takes what a batch says of either; written behind the answer, the latest alone."""

    adoptions: LatestWriter[dict[str, Any]]
    object_syncs: LatestWriter[dict[str, Any]]
    orphans: LatestWriter[list[dict[str, Any]]]
    had: Callable[[str], bool]
    """Whether a cluster's status names orphans: when it has none any more, that is written, too."""

    def take(self, cluster: str, batch: ReportBatch, *, view: View | None, at: datetime) -> None:
        """Only answers to what the cluster's Assignment asks. What finds no room comes again with the next batch."""
        moment = at.isoformat().replace("+00:00", "Z")
        for asked, writer, reports in (
            (view.adoptions if view else {}, self.adoptions, batch.adoptions),
            (view.object_syncs if view else {}, self.object_syncs, batch.object_syncs),
        ):
            for report in reports or ():
                if asked.get(report.app) != report.request or not writer.room(1):
                    continue
                said = report.wire()
                content = json.dumps(said, sort_keys=True).encode()
                writer.submit(
                    report.app, said | {"at": moment}, content=content, source=batch.boot, order=batch.count
                )
        if batch.orphan_details is None:
            return  # it says nothing of them, not that there are none
        # An agent that has no document yet takes all that it holds for orphans: the hub knows better.
        known = view.apps if view is not None else frozenset()
        found = [
            each.wire() for each in batch.orphan_details if each.going or each.hub or each.app not in known
        ]
        if (found or self.had(cluster)) and self.orphans.room(1):
            content = json.dumps(found, sort_keys=True).encode()
            self.orphans.submit(cluster, found, content=content, source=batch.boot, order=batch.count)

    def doubt(self, cluster: str, view: View | None) -> None:
        """Another gateway may have written something else meanwhile: what comes next is written whatever it says."""
        self.orphans.doubt(cluster)
        for app in view.adoptions if view else ():
            self.adoptions.doubt(app)
        for app in view.object_syncs if view else ():
            self.object_syncs.doubt(app)

    def forget(self, cluster: str) -> None:
        self.orphans.forget(cluster)

    async def close(self) -> None:
        await self.adoptions.close()
        await self.object_syncs.close()
        await self.orphans.close()


def requested(client: RestClient, *, clock: Callable[[], float], had: Callable[[str], bool]) -> Requested:
    """With writers of `Application.status.adoption`, `.objectSync` and `Cluster.status.orphans`."""

    def answers(field: str) -> LatestWriter[dict[str, Any]]:
        async def write(key: str, said: dict[str, Any]) -> None:
            namespace, _, name = key.partition("/")
            await client.apply(
                paths.application(key),
                {
                    "apiVersion": API_VERSION,
                    "kind": "Application",
                    "metadata": {"name": name, "namespace": namespace},
                    "status": {field: said},
                },
                field_manager=MANAGERS[field],
                force=True,
                subresource="status",
            )

        return LatestWriter(write, clock=clock)

    async def orphans(cluster: str, found: list[dict[str, Any]]) -> None:
        await client.merge_patch(
            paths.cluster(cluster),
            {"status": {"orphans": found}},
            field_manager=MANAGER_GATEWAY,
            subresource="status",
        )

    return Requested(answers("adoption"), answers("objectSync"), LatestWriter(orphans, clock=clock), had)
