"""`axle orphans`: apps that an agent holds and the hub does not know. They run on until a person decides."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.errors import ApiError, AxletreeError
from hub.cli import api
from hub.cli.connect import KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, CLUSTERS, PROJECTS, field, key_of, short, why
from hub.cli.names import Found, parse, resolve
from hub.cli.output import Format, FormatOption, err, out, print_table, print_value
from hub.cli.reach import MANAGER, NoRoute, OverKubernetes, reaching
from hub.cli.verdict import seconds_of
from hub.web.acts import waiting_target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.cli.reach import Reach, Reads

_TRIES, _CONFLICT = 5, 409
app = typer.Typer()
orphans_app = typer.Typer(no_args_is_help=True, help="Apps on a cluster that the hub does not know.")
app.add_typer(orphans_app, name="orphans")

ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster's name.")]
AppArgument = Annotated[str, typer.Argument(metavar="APP", help="NAMESPACE/NAME, as `list` shows it.")]
TimeoutOption = Annotated[str, typer.Option(help="How long to wait for the agent.")]


class NoSuchOrphan(AxletreeError):
    reason = "NoSuchOrphan"


class NotAnOrphan(AxletreeError):
    """The hub has an Application of that name there: it is bound, not purged."""

    reason = "NotAnOrphan"


class NothingToBind(AxletreeError):
    """There is no Application that the orphan could be bound to."""

    reason = "NothingToBind"


class AccountUnknown(AxletreeError):
    """Nothing says as whom the objects are to be deleted, and the agent's own rights are never used."""

    reason = "AccountUnknown"


@orphans_app.callback()
def orphans() -> None:
    """Apps on a cluster that the hub does not know."""


@orphans_app.command("list")
def list_(
    cluster: Annotated[str, typer.Argument(metavar="[CLUSTER]", help="Only there.")] = "",
    *,
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """What agents hold and nobody assigns to them, by their own inventories. It runs on, and nothing deletes it."""

    async def work() -> list[Manifest]:
        async with reaching(kubeconfig) as hub:
            if cluster:
                return [(await resolve(hub, parse(cluster, kinds=(CLUSTERS,)))).obj]
            return sorted((await hub.list(CLUSTERS.path())).items, key=key_of)

    found = [(key_of(obj), orphan) for obj in run(work) for orphan in orphans_of(obj)]
    if fmt is Format.NAME:
        for _, orphan in found:
            out.print(orphan["app"])
    elif fmt is Format.TABLE and not found:
        err.print("axle: no agent holds an app that this hub does not know")
    elif fmt is Format.TABLE:
        rows = [
            (
                name,
                orphan["app"],
                orphan.get("hub") or "this one",
                str(orphan.get("objects", 0)),
                ",".join(orphan.get("namespaces") or ()) or "-",
                "Purging" if orphan.get("going") else "Orphaned",
                short(orphan.get("message", "")),
            )
            for name, orphan in found
        ]
        print_table(("CLUSTER", "APP", "HUB", "OBJECTS", "NAMESPACES", "STATE", "MESSAGE"), rows)
    else:
        print_value([{"cluster": name, **orphan} for name, orphan in found], fmt)


@orphans_app.command()
def adopt(
    cluster: ClusterArgument,
    app_: AppArgument,
    *,
    timeout: TimeoutOption = "2m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Bind an orphan to the Application of its name: what it has becomes that one's, nothing is made anew.

    The Application has to be there, from Git or by hand; if its mode is Manual, this lets it go. Exit code 1: the
    orphan is not bound in time.
    """
    with plainly():
        seconds = seconds_of(timeout)

    async def work() -> str:
        async with reaching(kubeconfig) as hub:
            orphan = await _orphan(hub, cluster, app_)
            namespace, _, name = app_.partition("/")
            listing = await hub.list(APPS.path(namespace), field_selector=f"metadata.name={name}")
            mine = [obj for obj in listing.items if field(obj, "spec", "cluster") == cluster]
            if not mine:
                raise NothingToBind(
                    f"there is no Application {app_} on cluster {cluster}: make it again, from Git or by hand"
                )
            if waiting_target(mine[0]):
                await hub.act("sync", Found(APPS, mine[0]))
            if await _gone(hub, cluster, app_, seconds=seconds):
                return ""
            obj = await hub.get(Found(APPS, mine[0]).path)
            return why(obj) or f"{orphan['app']} is still an orphan"

    problem = run(work)
    if problem:
        complain(f"{app_} is not bound after {timeout}: {problem}")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"{app_} on {cluster} is bound again")


@orphans_app.command()
def purge(
    cluster: ClusterArgument,
    app_: AppArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    service_account: Annotated[
        str,
        typer.Option(
            help="As whom, if the agent cannot know. Default: the account of the namespace's Project."
        ),
    ] = "",
    of_hub: Annotated[
        str,
        typer.Option("--of-hub", metavar="HASH", help="What a former hub left there, as `list` shows it."),
    ] = "",
    timeout: TimeoutOption = "5m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Delete what an orphan has on its cluster. The decision is recorded on the Cluster, and shown there.

    Exit code 1: not done in time; it goes on.
    """
    with plainly():
        seconds = seconds_of(timeout)

    async def look() -> Manifest:
        async with _deciding(kubeconfig) as client:
            orphan = await _orphan(client, cluster, app_, hub=of_hub)
            if of_hub:
                return orphan
            namespace, _, name = app_.partition("/")
            listing = await client.list(APPS.path(namespace), field_selector=f"metadata.name={name}")
            if any(field(obj, "spec", "cluster") == cluster for obj in listing.items):
                raise NotAnOrphan(
                    f"the hub has {app_} on {cluster}: delete that instead, or `axle orphans adopt`"
                )
            return orphan

    orphan = run(look)
    if not yes:
        for ref in orphan.get("refs") or ():
            err.print(f"  {ref}")
        count = orphan.get("objects", 0)
        typer.confirm(f"Delete {app_} with {count} objects from {cluster}?", abort=True, err=True)

    async def work() -> bool:
        async with _deciding(kubeconfig) as client:
            account = service_account or await _account(client, app_)
            if of_hub and not account:
                raise AccountUnknown(
                    f"no Project of this hub says as whom {app_} was deployed: --service-account NAME"
                )
            await _decide(client, cluster, app_, hub=of_hub, account=account)
            return await _gone(OverKubernetes(client), cluster, app_, hub=of_hub, seconds=seconds)

    if not run(work):
        complain(f"{app_} is not gone from {cluster} after {timeout}: `axle orphans list {cluster}`")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"{app_} is gone from {cluster}")


def orphans_of(cluster: Manifest) -> list[dict[str, Any]]:
    """As its agent says."""
    return list(field(cluster, "status", "orphans") or ())


@contextlib.asynccontextmanager
async def _deciding(kubeconfig: Path | None) -> AsyncIterator[RestClient]:
    """What deletes is written by whoever may write Clusters; it is never another hub than the one that is read."""
    if kubeconfig is None and api.is_named():
        raise NoRoute("the API purges nothing: name the hub's kubeconfig with --kubeconfig")
    async with connected(kubeconfig) as client:
        yield client


async def _orphan(client: Reads, cluster: str, app_: str, *, hub: str = "") -> dict[str, Any]:
    found = await resolve(client, parse(cluster, kinds=(CLUSTERS,)))
    for orphan in orphans_of(found.obj):
        if _is(orphan, app_, hub):
            return orphan
    known = ", ".join(
        orphan["app"] + (f" --of-hub {orphan['hub']}" if orphan.get("hub") else "")
        for orphan in orphans_of(found.obj)
    )
    raise NoSuchOrphan(f"the agent of {cluster} holds no such orphan {app_}; it holds {known or 'none'}")


def _is(orphan: Mapping[str, Any], app_: str, hub: str) -> bool:
    return bool(orphan["app"] == app_ and (orphan.get("hub") or "") == hub)


async def _account(client: Reads, app_: str) -> str:
    """Whom the Project of the app's namespace deploys as; empty where there is none."""
    namespace = app_.partition("/")[0]
    listing = await client.list(PROJECTS.path(namespace), field_selector="metadata.name=project")
    return next((str(field(obj, "spec", "serviceAccount")) for obj in listing.items), "")


async def _decide(client: RestClient, cluster: str, app_: str, *, hub: str, account: str) -> None:
    """Record it, at the version that was read: two people may decide at once."""
    decided = {
        "app": app_,
        "decidedAt": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    decided |= {"serviceAccount": account} if account else {}
    decided |= {"hub": hub} if hub else {}
    for left in reversed(range(_TRIES)):
        found = await resolve(client, parse(cluster, kinds=(CLUSTERS,)))
        there = field(found.obj, "spec", "purges") or []
        if any(_is(each, app_, hub) for each in there):
            return
        version = found.obj["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"purges": [*there, decided]}}
        try:
            await client.merge_patch(found.path, patch, field_manager=MANAGER)
        except ApiError as error:
            if error.status != _CONFLICT or not left:
                raise  # else somebody wrote in between, its status for instance
        else:
            return


async def _gone(reach: Reach, cluster: str, app_: str, *, seconds: float, hub: str = "") -> bool:
    """Whether the agent has it as an orphan no longer, in time."""
    async with reach.following(CLUSTERS.path(), name=cluster) as followed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(_is(each, app_, hub) for obj in followed.objects() for each in orphans_of(obj)):
                    await followed.change()
                return True
        return False
