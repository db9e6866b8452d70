"""Assignments as agents read them, and who waits for a change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.names import HUB_NAMESPACE
from agent.contract.wire import AssignmentDocument
from hub.gateway.errors import AssignmentUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from agent.kube.reflector import Reflector
    from hub.gateway.identity import HubIdentity

log = logging.getLogger(__name__)

_ETAG_HASH = 16


@dataclass(frozen=True, slots=True)
class View:
    """One cluster's Assignment: the exact bytes that are served, and what its agent may do by it."""

    epoch: int
    seq: int
    etag: str
    """`<epoch>.<seq>-<hash>`, unquoted. With the hash, a hub that went back in time is seen as a change."""
    body: bytes = field(repr=False)
    """To be signed when it is served: most agents of a hub that starts hold it already."""
    apps: frozenset[str]
    """Assigned ones and tombstones: what the agent may report on."""
    blobs: frozenset[str]
    """What it may fetch."""
    adoptions: dict[str, str] = field(default_factory=dict)
    """App -> the request that the agent is to answer."""
    object_syncs: dict[str, str] = field(default_factory=dict)
    """The same of single objects."""


def view_of(cluster: str, assignment: Manifest, *, identity: HubIdentity) -> View:
    """Serialise. Raises `AssignmentUnreadable`: a document that is not whole is not served."""
    try:
        document = AssignmentDocument.model_validate(
            {**assignment["spec"], "hubId": identity.hub_id, "cluster": cluster}
        )
    except (ValidationError, KeyError, TypeError) as error:
        who = {"cluster": cluster}
        log.error("the Assignment of %s does not read: %s", cluster, error, extra=who)  # noqa: TRY400 - no traceback
        raise AssignmentUnreadable("the assignment does not read on the hub") from error
    body = canonical_json(document.wire())
    return View(
        epoch=document.epoch,
        seq=document.seq,
        etag=f"{document.epoch}.{document.seq}-{sha256_hex(body)[:_ETAG_HASH]}",
        body=body,
        apps=frozenset(app.app for app in document.apps)
        | frozenset(gone.app for gone in document.tombstones),
        blobs=frozenset(app.blob for app in document.apps)
        | frozenset(asked.blob for asked in document.adoptions),
        adoptions={each.app: each.request for each in document.adoptions},
        object_syncs={each.app: each.request for each in document.object_syncs},
    )


class Board:
    """One view a cluster, made when first asked for after a change and kept until the next one."""

    def __init__(self, reflector: Reflector, identity: Callable[[], HubIdentity]) -> None:
        self._reflector = reflector
        self._identity = identity
        self._views: dict[str, tuple[Manifest, View]] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._dropped: list[Callable[[str, frozenset[str]], None]] = []
        self._resend: list[Callable[[str], None]] = []
        reflector.subscribe(self._changed)

    def on_dropped(self, callback: Callable[[str, frozenset[str]], None]) -> None:
        """Call back with (cluster, apps) when apps are no longer part of a cluster's Assignment."""
        self._dropped.append(callback)

    def on_resend(self, callback: Callable[[str], None]) -> None:
        """Call back with a cluster of which the hub lost what was observed."""
        self._resend.append(callback)

    def view(self, cluster: str) -> View | None:
        """Give the current view; None where there is no Assignment. Raises `AssignmentUnreadable`."""
        assignment = self._reflector.items.get((HUB_NAMESPACE, cluster))
        if assignment is None:
            return None
        cached = self._views.get(cluster)
        if cached is not None and cached[0] is assignment:
            return cached[1]
        view = view_of(cluster, assignment, identity=self._identity())
        self._views[cluster] = (assignment, view)
        if cached is not None:
            self._tell_dropped(cluster, cached[1].apps - view.apps)
        return view

    async def wait(self, cluster: str, timeout: float) -> None:  # noqa: ASYNC109 - a poll's own limit
        """Until the cluster's Assignment (or its admission) changed, or for so many seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(cluster, set())
        waiting.add(future)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await future
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(cluster) is waiting:
                del self._waiting[cluster]

    def wake(self, cluster: str) -> None:
        """Let everyone who waits for this cluster look again."""
        for future in self._waiting.pop(cluster, ()):
            if not future.done():
                future.set_result(None)

    def wake_all(self) -> None:
        for cluster in list(self._waiting):
            self.wake(cluster)

    def _changed(self, old: Manifest | None, new: Manifest | None) -> None:
        changed = new or old
        if changed is None:
            return
        cluster = changed["metadata"]["name"]
        if new is None:
            cached = self._views.pop(cluster, None)
            if cached is not None:
                self._tell_dropped(cluster, cached[1].apps)
        elif old is not None and _asked(new) != _asked(old):
            for callback in self._resend:
                callback(cluster)
        self.wake(cluster)

    def _tell_dropped(self, cluster: str, apps: frozenset[str]) -> None:
        if apps:
            for callback in self._dropped:
                callback(cluster, apps)


def _asked(assignment: Manifest) -> int:
    """How often everything was asked for again."""
    return int((assignment.get("spec") or {}).get("resend") or 0)
