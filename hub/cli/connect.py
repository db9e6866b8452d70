"""How a command reaches the hub: which kubeconfig, one client, one way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from agent.contract.errors import ApiError, AxletreeError
from agent.kube.client import ApiUnreachable, RestClient
from agent.kube.config import load_kubeconfig
from hub.cli.failure import EXIT_ERROR, plainly
from hub.fleet.home import home, kubeconfig_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")

NOT_FOUND = 404
FORBIDDEN = 403

KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        envvar="AXLETREE_KUBECONFIG",
        help="The hub's kubeconfig. Default: the local fleet's, else $KUBECONFIG, else ~/.kube/config.",
    ),
]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", help="Only this namespace. Default: any.", show_default=False)
]


class NoHub(AxletreeError):
    reason = "NoHub"


class NotInstalled(AxletreeError):
    reason = "NotInstalled"


def hub_kubeconfig(given: Path | None) -> Path:
    """What was named, else the local fleet's hub, else $KUBECONFIG or ~/.kube/config."""
    if given is not None:
        return given
    local = kubeconfig_of(home())
    if local is not None:
        return local
    default = Path((os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)[0]).expanduser()
    if default.exists():
        return default
    raise NoHub("no hub to talk to: start one with `axle up`, or name its kubeconfig with --kubeconfig")


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncIterator[RestClient]:
    """A client of the hub's API server. What its failures mean for a person is said here, once."""
    path = hub_kubeconfig(kubeconfig)
    async with RestClient(load_kubeconfig(path), user_agent="axle") as client:
        try:
            yield client
        except ApiUnreachable as error:
            raise NoHub(f"the hub's API server does not answer (kubeconfig {path}): {error}") from error
        except ApiError as error:
            if error.status == NOT_FOUND and not error.api_reason:
                raise NotInstalled(f"this API server has no Axletree (kubeconfig {path})") from error
            raise


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command; turn what failed into one line and an exit code."""

    async def main() -> T:
        return await work()

    with plainly():
        return asyncio.run(main())
    raise typer.Exit(EXIT_ERROR)  # pragma: no cover - for the type checker: `plainly` always raises
