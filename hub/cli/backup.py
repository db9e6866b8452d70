"""`axle hub backup`, `axle hub recover`: the hub in one file, and a hub from it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import ApiError, AxletreeError
from hub.cli.connect import NOT_FOUND, KubeconfigOption, connected, run
from hub.cli.failure import plainly
from hub.cli.output import err, out
from hub.cli.tokens import hub_identity
from hub.fleet import install
from hub.fleet.backup import Backup, BackupInvalid, OtherHub, forget_decisions, restore, take
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity, Recovery

if TYPE_CHECKING:
    from agent.kube.client import RestClient

_LEASE = "axletree-controller"
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="A file whose first line encrypts or opens the backup."),
]


class HubRuns(AxletreeError):
    """A hub is leading on this API server: under it, nothing is recovered."""

    reason = "HubRuns"


def backup(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; stdout without.", show_default=False),
    ] = None,
    passphrase_file: PassphraseOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Write all that this hub is to one file: identity, credentials, what is declared, what it knows of its spokes.

    Keep it like a root password: who has it can speak as the hub.
    """

    async def work() -> Backup:
        async with connected(kubeconfig) as client:
            await hub_identity(client)
            return await take(client, now=datetime.now(UTC))

    with plainly():
        if output is None and sys.stdout.isatty():
            raise BackupInvalid("a backup is no text, and a secret: name the file to write by -o, or a pipe")
        passphrase = _passphrase(passphrase_file)
    found = run(work)
    data = found.dump(passphrase)
    if output is None:
        sys.stdout.buffer.write(data)
        return
    with plainly():
        _write(output, data)
    err.print(f"axle: {len(found.items)} objects of the hub {found.hub_id} are in {output}", style="dim")


def recover(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A backup; without, the hub that is there is meant."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    passphrase_file: PassphraseOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Bring a hub back: from a backup on an empty API server, or one whose API server went back in time.

    Its epoch is raised, so that agents hear it again, and decisions to delete are taken back. What is there is
    neither changed nor deleted, on the hub or on any spoke. Stop the hub first.
    """
    with plainly():
        held = None
        if file is not None:
            try:
                held = Backup.load(file.read_bytes(), _passphrase(passphrase_file))
            except OSError as error:
                raise BackupInvalid(f"{file}: {error.strerror or error}") from error
    if not yes:
        what = f"the backup of {held.taken_at:%Y-%m-%d %H:%M} UTC" if held else "what is on its API server"
        typer.confirm(f"Recover the hub from {what}?", abort=True, err=True)
    epoch, made, taken = run(lambda: _recover(held, kubeconfig))
    for kind, count in sorted(made.items()):
        err.print(f"axle: {count} {kind} made", style="dim")
    err.print(f"axle: {taken} decisions to delete are taken back", style="dim")
    out.print(
        f"the hub is recovered, in epoch {epoch}. Start it; then look at: axle get clusters, axle orphans list"
    )


async def _recover(held: Backup | None, kubeconfig: Path | None) -> tuple[int, dict[str, int], int]:
    now = datetime.now(UTC)
    async with connected(kubeconfig) as client:
        await _nobody_leads(client, now)
        if held is not None:
            await install.install_hub(client)
        present = await _present(client)
        known = held.identity if held is not None else present
        if known is None:
            raise BackupInvalid("there is no identity of a hub here: recover from a backup")
        if present is not None and present.hub_id != known.hub_id:
            raise OtherHub(f"the hub {present.hub_id} is here, and the backup is of {known.hub_id}")
        # The newest keys that anyone has seen: those of the backup may have been replaced since.
        newest = max(
            (each for each in (known, present) if each is not None), key=lambda each: each.generation
        )
        epoch = max(each.epoch for each in (known, present) if each is not None)
        since = held.taken_at if held is not None else await _last_write(client, now)
        recovered = replace(newest, epoch=epoch).recovered(Recovery(at=now, backup=since))
        secret = recovered.to_secret()
        if present is None:
            await client.create(paths.SECRETS, secret)
        else:
            await client.replace(paths.secret(SECRET_NAME), secret)
        made = await restore(client, held.items) if held is not None else {}
        return recovered.epoch, made, await forget_decisions(client)


async def _present(client: RestClient) -> HubIdentity | None:
    try:
        return HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return None


async def _nobody_leads(client: RestClient, now: datetime) -> None:
    try:
        spec = (await client.get(paths.lease(_LEASE))).get("spec") or {}
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return
    renewed = spec.get("renewTime")
    if not spec.get("holderIdentity") or not renewed:
        return
    ends = datetime.fromisoformat(renewed) + timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0))
    if ends > now:
        raise HubRuns(
            f"the hub {spec['holderIdentity']} runs: stop it first, and wait {ends - now} for its Lease"
        )


async def _last_write(client: RestClient, now: datetime) -> datetime:
    """When the hub that is on this API server was last heard of, by its own Lease."""
    try:
        spec = (await client.get(paths.lease(_LEASE))).get("spec") or {}
        return datetime.fromisoformat(spec["renewTime"])
    except (ApiError, KeyError, ValueError):
        return now - timedelta(days=1)


def _passphrase(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        first = path.read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupInvalid(f"{path}: the passphrase cannot be read") from error
    if not first:
        raise BackupInvalid(f"{path}: its first line is empty")
    return first


def _write(path: Path, data: bytes) -> None:
    """For its owner alone, and whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BackupInvalid(f"{path}: {error.strerror or error}") from error
