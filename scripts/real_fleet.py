#!/usr/bin/env python3
"""The same charts and overlays as `real_input.py`, deployed on a local fleet, with the state that each comes to.

    axle up --clusters 1; scripts/real_fleet.py [--from DIR] [--offline] [--only TEXT] [--seconds N]

Each becomes an Application of its own on the first spoke of the fleet that `axle up` started, from a repository that
the fleet serves. Exit code 1 says that one of them has no state that tells a person where it stands: Healthy, or why
not.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_input import NAMED, Item, checkout, items_in

from agent.contract.errors import ApiError
from hub.api.registry import APPLICATION, PROJECT
from hub.fleet import install, sample
from hub.fleet.home import home
from hub.fleet.local import LocalFleet, client_of

if TYPE_CHECKING:
    from agent.kube.client import RestClient

NAMESPACE, ACCOUNT = "real", "real-deployer"
_FIELDS = "real-input"
_LOOK = 2.0
_NOT_FOUND = 404


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="folder", type=Path, help="where clones are: DIR/OWNER+NAME")
    parser.add_argument("--offline", action="store_true", help="clone nothing")
    parser.add_argument("--only", default="", help="folders whose repository or path holds this text")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long each may take")
    arguments = parser.parse_args()
    fleet = LocalFleet(home())
    spokes = [name for name in fleet.names() if name != "hub"]
    kubeconfig = fleet.kubeconfig(spokes[0]) if spokes else None
    if kubeconfig is None:
        print("skipped: no local fleet is there; start one with `axle up`")
        return 0
    async with client_of(kubeconfig) as spoke:
        await install.install_spoke(spoke, service_accounts=(ACCOUNT,))
    counts: Counter[str] = Counter()
    async with fleet.hub_client() as hub:
        await _project(hub, spokes[0])
        for name in NAMED:
            items = await _published(name, fleet, arguments)
            if not items:
                print(f"skipped    {name}")
            for item in items:
                word, detail = await _deployed(hub, item, fleet, cluster=spokes[0], seconds=arguments.seconds)
                counts[word] += 1
                print(
                    f"{word:10} {item.repository}/{item.path} ({item.kind}) {' '.join(detail.split())[:200]}"
                )
    print(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if counts["silent"] else 0


async def _published(name: str, fleet: LocalFleet, arguments: argparse.Namespace) -> list[Item]:
    """The repository's files as a repository of the fleet, and what is in it."""
    bare = fleet.root / "git" / f"{name.replace('/', '-')}.git"
    top = Path(tempfile.mkdtemp(prefix="axletree-real-")) / "files"
    if not await asyncio.to_thread(checkout, name, top, arguments):
        return []
    items = [one for one in items_in(name, top) if arguments.only in f"{one.repository}/{one.path}"]
    if items and not bare.exists():
        who = ("-c", "user.name=axletree", "-c", "user.email=axletree@localhost")
        await sample.git("init", "--quiet", "--initial-branch=main", str(top))
        await sample.git("-C", str(top), "add", "--all", "--force")
        await sample.git("-C", str(top), *who, "commit", "--quiet", "--message", "As it was found")
        await sample.git("clone", "--quiet", "--bare", str(top), str(bare))
    shutil.rmtree(top.parent, ignore_errors=True)
    return items


async def _project(hub: RestClient, cluster: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await hub.apply(f"/api/v1/namespaces/{NAMESPACE}", namespace, field_manager=_FIELDS, force=True)
    project = PROJECT.manifest("project", namespace=NAMESPACE)
    project["spec"] = {
        "sourceRepos": ["**"],
        "destinations": [{"clusters": [cluster], "namespaces": ["*"]}],
        "clusterResources": [{"group": "*", "kind": "*"}],
        "serviceAccount": ACCOUNT,
    }
    await hub.apply(PROJECT.path(NAMESPACE, "project"), project, field_manager=_FIELDS, force=True)


async def _deployed(
    hub: RestClient, item: Item, fleet: LocalFleet, *, cluster: str, seconds: float
) -> tuple[str, str]:
    """One Application, until it is Healthy or time is up, and then taken away again."""
    slug = "".join(char if char.isalnum() else "-" for char in f"{item.repository}-{item.path}".lower())[
        -50:
    ].strip("-")
    app = APPLICATION.manifest(slug, namespace=NAMESPACE)
    url = f"{fleet.services.git_url}/{item.repository.replace('/', '-')}.git"
    app["spec"] = {
        "cluster": cluster,
        "namespace": f"real-{slug}"[:60].strip("-"),
        "sources": [{"repoURL": url, "revision": "main", "path": item.path}],
        "sync": {"createNamespace": True, "retry": {"limit": 2}},
    }
    path = APPLICATION.path(NAMESPACE, slug)
    await hub.apply(path, app, field_manager=_FIELDS, force=True)
    found = await _settled(hub, path, seconds)
    await hub.delete(path)
    await _gone(hub, path, seconds)
    status: dict[str, Any] = found.get("status") or {}
    sync, health = status.get("sync") or {}, status.get("health") or {}
    if sync.get("state") == "Synced" and health.get("state") == "Healthy":
        return "Healthy", f"{sum((health.get('counts') or {}).values())} objects"
    said = [str(part.get("message") or "") for part in (sync, health, *(status.get("blockedBy") or ()))]
    detail = next((one for one in said if one), "")
    return (str(health.get("state") or sync.get("state") or "Blocked") if detail else "silent"), detail


async def _settled(hub: RestClient, path: str, seconds: float) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await hub.get(path)
        status = found.get("status") or {}
        sync, health = (status.get("sync") or {}).get("state"), (status.get("health") or {}).get("state")
        if (sync, health) == ("Synced", "Healthy") or sync == "Failed":
            return found
        if asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(_LOOK)


async def _gone(hub: RestClient, path: str, seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        try:
            await hub.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return
            raise
        await asyncio.sleep(_LOOK)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
