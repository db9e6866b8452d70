"""A hub onto an API server, from what a folder in Git renders to: each step may be repeated, and none deletes.

What is applied carries the field manager of the hub's own agent: what the root Application hands over is handed over
whole, and a field that leaves Git later leaves the object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent.apply.order import stages
from agent.contract.errors import ApiError, TransientError
from agent.contract.manifest import GroupKind, group_of
from agent.contract.names import (
    AGENT_NAMESPACE,
    ANNOTATION_APP,
    API_VERSION,
    APPLYSET_PART_OF,
    GROUP,
    HUB_CLUSTER,
    HUB_NAMESPACE,
    LABEL_AGENT_CLUSTER,
    LABEL_STATE,
    agent_manager,
    short_hash,
)
from agent.kube.discovery import RestMapper
from hub.fleet.backup import forget_decisions
from hub.fleet.install import MANAGER, apply_all, install_crds, namespace_object
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity, Recovery
from hub.gateway.tokens import create_token
from hub.install.agent import JOIN_SECRET
from hub.install.seed import AGENT, HUB, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.install.seed import Seed

LEASE = "axletree-controller"
ANNOTATION_HOME = f"{GROUP}/installed-on"
"""On the identity: the uid of the cluster that it was made or recovered on. Elsewhere it is a restored one."""
TOKEN_LIFE = timedelta(hours=24)
_NOT_FOUND = 404
_POLL = 0.5
_SKEW = timedelta(minutes=1)
"""By which clocks may differ."""
_UNKNOWN_BACKUP = timedelta(days=1)
_KINDS = "CustomResourceDefinition"


class NotTakenOver(TransientError):
    """In the time that was given, no hub began to lead, or its agent or root did not get there."""

    reason = "NotTakenOver"


@dataclass(frozen=True, slots=True)
class Installed:
    """Which hub it is, and whether its identity came from somewhere else."""

    identity: HubIdentity
    recovered: bool


async def prepare(client: RestClient, secrets: Sequence[Manifest]) -> None:
    """The hub's namespace, and credentials that its sources need."""
    await apply_all(client, [namespace_object(HUB_NAMESPACE)])
    await apply_all(client, secrets, manager=MANAGER, namespace=HUB_NAMESPACE)


async def settle_identity(client: RestClient) -> Installed:
    """Make the hub's identity, or find the one that was restored, which is raised by an epoch on a new cluster.

    Agents ignore whatever is not newer than what they hold: a hub that begins to count again needs a new epoch.
    Raises `IdentityInvalid`.
    """
    held = await _found(client, paths.secret(SECRET_NAME))
    if held is None:
        return Installed(await HubIdentity.load_or_create(client, now=datetime.now(UTC)), recovered=False)
    identity = HubIdentity.from_secret(held)
    if await _is_at_home(client, held):
        return Installed(identity, recovered=False)
    now = datetime.now(UTC)
    backup = identity.recovery.backup if identity.recovery else now - _UNKNOWN_BACKUP
    identity = identity.recovered(Recovery(at=now, backup=backup))
    await client.replace(paths.secret(SECRET_NAME), identity.to_secret() | {"metadata": held["metadata"]})
    return Installed(identity, recovered=True)


async def _is_at_home(client: RestClient, secret: Manifest) -> bool:
    """Whether this identity has been this cluster's all along: a hub has led here, or none ever released anything."""
    known = (secret["metadata"].get("annotations") or {}).get(ANNOTATION_HOME)
    if known and known != await _home(client):
        return False
    if await _found(client, paths.lease(LEASE)) is not None:
        return True
    # Restored after its namespace was deleted, with Lease and Assignments; or a first try that got no further.
    return bool(known) and not await _released(client)


async def _released(client: RestClient) -> bool:
    """Whether any Application here was ever let go."""
    found = await _found(client, f"/apis/{API_VERSION}/applications") or {}
    statuses = (app.get("status") or {} for app in found.get("items") or ())
    return any((status.get("sync") or {}).get("released") for status in statuses)


async def at_home(client: RestClient, installed: Installed) -> None:
    """What was decided elsewhere is taken back, and then the identity belongs to this cluster.

    In this order: what is cut off in between raises the epoch once more, which harms nobody.
    """
    if installed.recovered:
        await forget_decisions(client)
    note = {"metadata": {"annotations": {ANNOTATION_HOME: await _home(client)}}}
    await client.merge_patch(paths.secret(SECRET_NAME), note)


async def install_definitions(client: RestClient, objects: Sequence[Manifest], *, hub_id: str) -> None:
    """The definitions among the hub's objects, until they are served."""
    crds = await _marked(client, [each for each in objects if each["kind"] == _KINDS], namespace="")
    await install_crds(client, crds, manager=agent_manager(hub_id, HUB_CLUSTER))


async def install_app(client: RestClient, objects: Sequence[Manifest], *, hub_id: str, namespace: str) -> int:
    """Apply what an Application renders to, in the order in which an agent would; how many objects."""
    rest = [each for each in objects if each["kind"] != _KINDS]
    grouped = stages(rest, kind=lambda obj: GroupKind(group_of(obj["apiVersion"]), obj["kind"]))
    manager = agent_manager(hub_id, HUB_CLUSTER)
    for _, some in grouped:
        marked = await _marked(client, some, namespace=namespace)
        await apply_all(client, marked, manager=manager, namespace=namespace)
    return len(rest)


async def hand_over(client: RestClient, seed: Seed, root: Manifest, *, hub_id: str) -> None:
    """The hub as its own spoke, and the root Application, which applies all the rest and this as well."""
    manager = agent_manager(hub_id, HUB_CLUSTER)
    own = await _marked(client, [seed.project, seed.cluster], namespace=HUB_NAMESPACE)
    await apply_all(client, own, manager=manager)
    await apply_all(client, [root])


async def let_join(client: RestClient, identity: HubIdentity) -> bool:
    """Give the hub's own agent a token, unless it has joined this hub from here; whether it got one."""
    await apply_all(client, [namespace_object(AGENT_NAMESPACE)])
    selector = f"{LABEL_AGENT_CLUSTER}={short_hash(HUB_CLUSTER)},{LABEL_STATE}=identity"
    found = await client.list(f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets", label_selector=selector)
    if any(_joined(secret, identity.hub_id) for secret in found.items):
        return False
    token = await create_token(
        client,
        identity,
        cluster=HUB_CLUSTER,
        ttl=TOKEN_LIFE,
        now=datetime.now(UTC),
        auto_accept=True,
    )
    data = {"token": token, "ca.crt": identity.ca_pem}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": JOIN_SECRET, "namespace": AGENT_NAMESPACE},
        "type": "Opaque",
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }
    await apply_all(client, [secret])
    return True


async def taken_over(
    client: RestClient, *, seconds: float, recovered: bool, note: Callable[[str], None]
) -> None:
    """Wait until a hub leads, its agent is connected and the root is in place. Raises `NotTakenOver`.

    What a backup brought along says that all of this was so elsewhere: then the agent must have been heard since.
    """
    left = ""
    since = datetime.now(UTC) - _SKEW if recovered else None
    try:
        async with asyncio.timeout(seconds):
            while left := await _left(client, since):
                note(left)
                await asyncio.sleep(_POLL * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
    except TimeoutError as error:
        raise NotTakenOver(
            f"after {seconds:.0f} s it is still {left or 'not answering'}; the same command goes on from here"
        ) from error


async def _marked(client: RestClient, objects: Sequence[Manifest], *, namespace: str) -> list[Manifest]:
    """The objects with the marks of membership that the agent has put on those that are there already.

    They are the same manager's: left out, they would be taken off.
    """
    mapper = RestMapper(client)
    marked = []
    for obj in objects:
        metadata = obj["metadata"]
        resource = await mapper.resource(obj["apiVersion"], obj["kind"])
        live = await _found(client, resource.path(metadata.get("namespace") or namespace, metadata["name"]))
        there = (live or {}).get("metadata") or {}
        more = {
            part: {**(metadata.get(part) or {}), mark: there[part][mark]}
            for part, mark in (("labels", APPLYSET_PART_OF), ("annotations", ANNOTATION_APP))
            if mark in (there.get(part) or {})
        }
        marked.append({**obj, "metadata": {**metadata, **more}})
    return marked


async def _left(client: RestClient, since: datetime | None) -> str:
    """What is still waited for; empty when nothing is."""
    now = datetime.now(UTC)
    lease = ((await _found(client, paths.lease(LEASE))) or {}).get("spec") or {}
    renewed = lease.get("renewTime")
    if not lease.get("holderIdentity") or not renewed:
        return f"waiting for a hub that leads: {await _deployment(client, HUB_NAMESPACE, HUB)}"
    if datetime.fromisoformat(renewed) + timedelta(seconds=int(lease["leaseDurationSeconds"])) < now:
        return f"waiting for a hub that leads: {await _deployment(client, HUB_NAMESPACE, HUB)}"
    cluster = (await _found(client, paths.cluster(HUB_CLUSTER))) or {}
    known = cluster.get("status") or {}
    seen = str(known.get("lastSeen") or "")
    heard = since is None or (bool(seen) and datetime.fromisoformat(seen) > since)
    if not known.get("fingerprint") or not heard:
        return f"waiting for the hub's own agent: {await _deployment(client, AGENT_NAMESPACE, AGENT)}"
    for name in (ROOT, HUB, AGENT):
        app = (await _found(client, paths.application(f"{HUB_NAMESPACE}/{name}"))) or {}
        status: dict[str, Any] = app.get("status") or {}
        sync = status.get("sync") or {}
        if sync.get("state") != "Synced" or sync.get("released") != sync.get("target"):
            said = sync.get("message") or next(
                (each["message"] for each in status.get("blockedBy") or ()), ""
            )
            return f"waiting for the Application {name}: {sync.get('state', 'Unknown')} {said}".rstrip()
    return ""


async def _deployment(client: RestClient, namespace: str, name: str) -> str:
    found = await _found(client, f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if found is None:
        return f"there is no Deployment {namespace}/{name}"
    wanted, ready = found["spec"].get("replicas", 1), (found.get("status") or {}).get("readyReplicas", 0)
    return f"Deployment {namespace}/{name} has {ready} of {wanted} Pods ready"


def _joined(secret: Manifest, hub_id: str) -> bool:
    """Whether an agent's identity is of this hub: one of another hub's joins anew, with a token."""
    try:
        held = json.loads(base64.b64decode(secret["data"]["identity.json"]))
        return bool(held["certificate"]) and held["hub_id"] == hub_id
    except (KeyError, ValueError, TypeError):
        return False


async def _found(client: RestClient, path: str) -> Manifest | None:
    try:
        return await client.get(path)
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return None


async def _home(client: RestClient) -> str:
    """Which cluster this is."""
    return str((await client.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"])
