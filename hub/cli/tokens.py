"""`axle token`: what lets an agent join, once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import ApiError, AxletreeError
from hub.cli.connect import NOT_FOUND, KubeconfigOption, NoHub, connected, run
from hub.cli.failure import plainly
from hub.cli.output import err
from hub.cli.verdict import InvalidDuration, seconds_of
from hub.core.labels import is_label_key, is_label_value
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity
from hub.gateway.tokens import create_token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.kube.client import RestClient

_CLUSTER_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?")

app = typer.Typer()
token_app = typer.Typer(no_args_is_help=True, help="Join tokens.")
app.add_typer(token_app, name="token")

TtlOption = Annotated[str, typer.Option("--ttl", help="How long it may be used: 30m, 1h, 24h.")]
AutoAcceptOption = Annotated[bool, typer.Option("--auto-accept", help="Accept the cluster when it joins.")]
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Set on the Cluster; repeat.")
]
AllowLabelOption = Annotated[
    list[str] | None,
    typer.Option("--allow-label", metavar="KEY", help="A label that the spoke may set itself; repeat."),
]


class InvalidLabel(AxletreeError):
    reason = "InvalidLabel"


class InvalidClusterName(AxletreeError):
    reason = "InvalidClusterName"


class InvalidToken(AxletreeError):
    """A token that is for nobody, or for a name and labels at once."""

    reason = "InvalidToken"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token as it is asked for, checked."""

    cluster: str
    life: timedelta
    labels: dict[str, str]
    match: dict[str, str]
    auto_accept: bool
    allow: tuple[str, ...]

    @classmethod
    def of(
        cls,
        cluster: str,
        *,
        ttl: str,
        labels: Sequence[str] | None = None,
        match: Sequence[str] | None = None,
        auto_accept: bool = False,
        allow: Sequence[str] | None = None,
    ) -> Wanted:
        """Raise what a person has to correct."""
        life = timedelta(seconds=seconds_of(ttl))
        if cluster and not _CLUSTER_NAME.fullmatch(cluster):
            raise InvalidClusterName(
                f"{cluster!a}: at most 63 of a-z, 0-9, - and ., with a letter or digit at both ends"
            )
        if bool(cluster) == bool(match):
            raise InvalidToken("name the cluster that may join, or by --match the labels of those that may")
        if life <= timedelta():
            raise InvalidDuration(f"--ttl {ttl}: nobody could use that token")
        return cls(cluster, life, pairs(labels or ()), pairs(match or ()), auto_accept, tuple(allow or ()))

    async def make(self, kubeconfig: Path | None) -> str:
        """The token's text."""
        async with connected(kubeconfig) as client:
            return await create_token(
                client,
                await hub_identity(client),
                cluster=self.cluster,
                ttl=self.life,
                now=datetime.now(UTC),
                labels=self.labels,
                auto_accept=self.auto_accept,
                allow_labels=self.allow,
                match=self.match,
            )


@token_app.callback()
def token() -> None:
    """Join tokens."""


@token_app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="[CLUSTER]", help="A cluster's name.")] = "",
    *,
    ttl: TtlOption = "1h",
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--match",
            metavar="KEY=VALUE",
            help="Instead of a name: labels of whichever cluster comes first; repeat.",
        ),
    ] = None,
    auto_accept: AutoAcceptOption = False,
    label: LabelOption = None,
    allow_label: AllowLabelOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Make a one-time token that lets an agent join as CLUSTER. It is printed once; the hub keeps a hash."""
    with plainly():
        wanted = Wanted.of(
            name, ttl=ttl, labels=label, match=match, auto_accept=auto_accept, allow=allow_label
        )
    text = run(lambda: wanted.make(kubeconfig))
    who = f"as {name}" if name else f"a cluster with {', '.join(match or ())}"
    err.print(f"axle: this token lets one agent join {who} within {ttl}; keep it secret", style="dim")
    print(text)


async def hub_identity(client: RestClient) -> HubIdentity:
    """The hub's own; a token for a hub that never ran would be for no hub."""
    try:
        return HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        raise NoHub("no hub has run on this API server yet: start it first") from error


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`s as labels. Raises `InvalidLabel`."""
    labels = {}
    for pair in texts:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InvalidLabel(f"{pair!r} is no label: say KEY=VALUE")
        if not (is_label_key(key) and is_label_value(value)):
            raise InvalidLabel(f"{pair!r} is nothing that Kubernetes takes as a label")
        labels[key] = value
    return labels
