"""`axle agent`: run one here, or print and apply what makes one run on a spoke."""

from __future__ import annotations

import re
import ssl
import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.canonical import sha256_hex
from agent.contract.errors import ApiError, TerminalError
from agent.contract.token import JoinToken
from hub.cli.failure import EXIT_ERROR, plainly
from hub.cli.output import Format as AnyFormat
from hub.cli.output import err, out, print_value
from hub.install.agent import AgentInstall, agent_objects
from hub.install.rights import Account, Extra, everywhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest

app = typer.Typer()
agent_app = typer.Typer(no_args_is_help=True, help="Install and run agents.")
app.add_typer(agent_app, name="agent")

_NAME = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_CLUSTER = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?")
_PROJECT = re.compile(
    rf"(?P<name>{_NAME})(?::(?P<role>[A-Za-z0-9:._-]+))?(?:=(?P<namespaces>{_NAME}(?:,{_NAME})*))?"
)
_READ = re.compile(r"(?:(?P<group>\*|[a-z0-9.-]*)/)?(?P<resource>\*|[a-z0-9]+)")
_HUB = re.compile(r"https://[^/?#@\s]+/?")
_PROXY = re.compile(r"(?:https?://[^/?#\s]+/?)?")
# Its own parser says what it takes, --help included.
_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


class InstallInvalid(TerminalError):
    """An option of `axle agent install` that no agent could be installed with."""

    reason = "InstallInvalid"


class Printed(StrEnum):
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


@agent_app.callback()
def agent() -> None:
    """Install and run agents."""


@agent_app.command("run", context_settings=_THROUGH)
def run_agent(ctx: typer.Context) -> None:
    """Run one agent or, with --config repeated, many, until SIGTERM."""
    from agent import main as program  # noqa: PLC0415 - for this command alone

    if not ctx.args:
        err.print("axle: name at least one --config FILE")
        raise typer.Exit(EXIT_ERROR)
    raise typer.Exit(program.main(["run", *ctx.args]))


@agent_app.command()
def install(
    *,
    hub: Annotated[str, typer.Option("--hub", metavar="URL", help="The hub's address for agents.")],
    cluster: Annotated[
        str, typer.Option(metavar="NAME", help="The cluster's name on the hub. Default: the token's.")
    ] = "",
    token: Annotated[str, typer.Option(help="A join token, of `axle token create`.")] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file with the token; - for standard input.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="The hub's CA; must be the one that the token names.")
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(
            "--project",
            metavar="ACCOUNT[:ROLE][=NAMESPACE,...]",
            help="A ServiceAccount that a Project names, and where it may deploy; repeat.",
        ),
    ] = None,
    read: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP/RESOURCES", help="A further kind that apps have, by its plural; repeat."),
    ] = None,
    create_namespaces: Annotated[
        bool, typer.Option("--create-namespaces", help="Let it make namespaces, for createNamespace.")
    ] = False,
    image: Annotated[str, typer.Option(help="The agent's image.")] = "",
    https_proxy: Annotated[str, typer.Option(help="The proxy to reach the hub by.")] = "",
    no_proxy: Annotated[str, typer.Option(help="Hosts that are reached without it.")] = "",
    fmt: Annotated[Printed, typer.Option("--output", "-o", help="How to print.")] = Printed.YAML,
    apply: Annotated[bool, typer.Option("--apply", help="Apply to the spoke instead of printing.")] = False,
    kubeconfig: Annotated[Path | None, typer.Option(help="The spoke's, for --apply.")] = None,
    context: Annotated[str, typer.Option(help="Of that kubeconfig; its current one by default.")] = "",
) -> None:
    """Print what makes an agent run on a spoke, with the least rights that do, or apply it there."""
    with plainly():
        text, ca, named = _trust(token, token_file, ca_file)
        wanted = AgentInstall(
            cluster=_checked(_CLUSTER, cluster or named, "--cluster: say the cluster's name on the hub"),
            hub_url=_checked(_HUB, hub, "--hub: say https://HOST[:PORT]").rstrip("/"),
            image=image or f"axletree-agent:{metadata.version('axletree')}",
            token=text,
            ca=ca,
            accounts=tuple(map(_account, project or ())),
            reads=tuple(map(_extra, read or ())),
            create_namespaces=create_namespaces,
            https_proxy=_checked(_PROXY, https_proxy, "--https-proxy: say http://HOST:PORT"),
            no_proxy=no_proxy,
        )
        if len({account.name for account in wanted.accounts}) < len(wanted.accounts):
            raise InstallInvalid("--project: each account once, with all of its namespaces")
        if apply and kubeconfig is None:
            raise InstallInvalid("--apply: name the spoke's kubeconfig, so that no other cluster is meant")
    if everywhere(wanted.accounts):
        err.print(
            "axle: an account without namespaces may deploy to, and have read, all of them", style="dim"
        )
    if not text:
        err.print(
            "axle: without --token-file, only an agent that joined from there before comes back", style="dim"
        )
    objects = agent_objects(wanted)
    if apply and kubeconfig is not None:
        _apply(objects, kubeconfig, context)
    else:
        _print(objects, fmt)


def _apply(objects: Sequence[Manifest], kubeconfig: Path, context: str) -> None:
    from agent.kube.client import RestClient  # noqa: PLC0415 - printing needs no network code
    from agent.kube.config import load_kubeconfig  # noqa: PLC0415
    from hub.cli.connect import run  # noqa: PLC0415
    from hub.fleet.install import apply_all  # noqa: PLC0415

    async def work() -> None:
        config = load_kubeconfig(kubeconfig, context=context or None)
        async with RestClient(config, user_agent="axle") as client:
            try:
                await apply_all(client, objects)
            except ApiError as error:
                if "cannot change roleRef" not in str(error):
                    raise
                raise InstallInvalid(
                    f"{error}: an account has another role there; delete that binding, and run this again"
                ) from error

    run(work)
    out.print(f"applied {len(objects)} objects; the agent joins when its Pod runs")


def _print(objects: Sequence[Manifest], fmt: Printed) -> None:
    if fmt is Printed.NAME:
        for obj in objects:
            out.print("/".join([obj["kind"].lower(), obj["metadata"]["name"]]))
    elif fmt is Printed.JSON:
        print_value({"apiVersion": "v1", "kind": "List", "items": list(objects)}, AnyFormat.JSON)
    else:
        from agent.kube import yaml  # noqa: PLC0415 - 40 ms that only this format needs

        sys.stdout.write(yaml.dump_all(list(objects)))


def _trust(token: str, token_file: Path | None, ca_file: Path | None) -> tuple[str, str, str]:
    """Token and CA as they go to the spoke, seen to belong together, and the cluster that the token is for."""
    if token and token_file:
        raise InstallInvalid("give --token or --token-file, not both")
    if token_file is not None:
        token = sys.stdin.read() if str(token_file) == "-" else _text(token_file)
    read = JoinToken.parse(token) if token else None
    cluster = read.cluster if read is not None else ""
    if ca_file is None:
        return token.strip(), "", cluster
    ca = _text(ca_file).strip() + "\n"
    try:
        fingerprint = sha256_hex(ssl.PEM_cert_to_DER_cert(ca.strip()))
    except ValueError as error:
        raise InstallInvalid(f"{ca_file} is not one certificate in PEM") from error
    if read is not None and read.ca != fingerprint:
        raise InstallInvalid(f"{ca_file} is not the CA of the hub that the token is for")
    return token.strip(), ca, cluster


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallInvalid(f"{path} cannot be read: {error}") from error


def _account(text: str) -> Account:
    found = _PROJECT.fullmatch(text)
    if found is None:
        raise InstallInvalid(
            f"--project {text!a}: say ACCOUNT, ACCOUNT=NAMESPACE,... or ACCOUNT:ROLE=NAMESPACE"
        )
    namespaces = tuple(dict.fromkeys((found["namespaces"] or "").split(","))) if found["namespaces"] else ()
    return Account(found["name"], namespaces, found["role"] or "edit")


def _extra(text: str) -> Extra:
    found = _READ.fullmatch(text)
    if found is None:
        raise InstallInvalid(f"--read {text!a}: say GROUP/RESOURCES, such as cert-manager.io/certificates")
    return Extra(found["group"] or "", (found["resource"],))


def _checked(pattern: re.Pattern[str], text: str, problem: str) -> str:
    if pattern.fullmatch(text) is None:
        raise InstallInvalid(f"{text!a}: {problem}")
    return text
