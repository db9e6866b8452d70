"""`axle history`, `axle outputs`, `axle diff`: what an app was released to, what it exports, how it differs now."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from hub.cli.arguments import AppArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field, key_of, short
from hub.cli.names import Reference, parse, resolve
from hub.cli.output import Format, FormatOption, age, name_of, out, print_table, print_value
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest

app = typer.Typer()


@app.command()
def history(
    name: AppArgument,
    namespace: NamespaceOption = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the last releases of an app, the newest first."""
    obj = _read(name, namespace, kubeconfig)
    entries: list[dict[str, Any]] = field(obj, "status", "history") or []
    if not _printed(entries, fmt, name="digest"):
        live = field(obj, "status", "sync", "live")
        now = datetime.now(UTC)
        rows = [_release(entry, live, now) for entry in entries]
        print_table(("RELEASE", "DIGEST", "REVISION", "AGE", "LIVE", "FORCED BY"), rows)


def _printed(entries: list[dict[str, Any]], fmt: Format, *, name: str) -> bool:
    """Print them in every format that needs no columns; `name` is the field that names one. Whether that was it."""
    if fmt is Format.NAME:
        for entry in entries:
            print(entry[name])
    elif fmt is not Format.TABLE:
        print_value(entries, fmt)
    return fmt is not Format.TABLE


@app.command()
def outputs(
    name: AppArgument,
    namespace: NamespaceOption = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print what an app exports: the last good value of each output, and why there is no newer one.

    A sealed one has no value that the hub knows. Exit code 1: one of them was never there.
    """
    obj = _read(name, namespace, kubeconfig)
    entries: list[dict[str, Any]] = field(obj, "status", "outputs") or []
    if not entries and fmt is Format.TABLE:
        complain(f"{key_of(obj)} exports nothing")
    elif not _printed(entries, fmt, name="name"):
        now = datetime.now(UTC)
        print_table(
            ("OUTPUT", "VALUE", "REVISION", "AGE", "PROBLEM"), [_output(entry, now) for entry in entries]
        )
    if any(entry.get("missing") for entry in entries):
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def diff(
    name: AppArgument,
    namespace: NamespaceOption = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print where an app is not what its plan wants: not released, not applied, or changed by others since.

    What its agent saw to differ is told by paths, without values. Exit code 1: something differs.
    """
    obj = _read(name, namespace, kubeconfig)
    found = differences(obj)
    if fmt is Format.TABLE:
        for line in _lines(found):
            out.print(line)
    elif fmt is Format.NAME:
        if found:
            print(name_of(obj))
    else:
        print_value(found, fmt)
    if found:
        raise typer.Exit(EXIT_NEGATIVE)


def differences(obj: Manifest) -> dict[str, Any]:
    """What differs between an app's plan, its release, what its agent applied and what is live; {} for nothing."""
    sync = field(obj, "status", "sync") or {}
    found: dict[str, Any] = {}
    target, released, live = (sync.get(each) or "" for each in ("target", "released", "live"))
    if target != released:
        found["target"] = {"released": released, "target": target, "revision": sync.get("revision", "")}
    if released and live != released:
        found["live"] = {"live": live, "released": released}
    drift = field(obj, "status", "observed", "drift") or []
    if drift:
        found["drift"] = drift
    return found


def _lines(found: dict[str, Any]) -> list[str]:
    lines = []
    if "target" in found:
        each = found["target"]
        lines.append(
            f"not released: {_short(each['released'])} -> {_short(each['target'])}"
            + (f" (revision {each['revision'][:SHORT_ID]})" if each["revision"] else "")
        )
    if "live" in found:
        each = found["live"]
        lines.append(f"not applied: {_short(each['live'])} -> {_short(each['released'])}")
    for entry in found.get("drift", ()):
        by = f" by {entry['manager']}" if entry.get("manager") else ""
        note = " (corrected)" if entry.get("corrected") else ""
        lines.append(f"changed{by}: {entry['ref']}{note}")
        lines += [f"  {path}" for path in entry.get("paths") or ()]
    return lines


def _release(entry: dict[str, Any], live: str, now: datetime) -> tuple[str, ...]:
    return (
        str(entry["release"]),
        entry["digest"][:SHORT_ID],
        str(entry.get("revision", ""))[:SHORT_ID],
        age(entry.get("at"), now),
        "yes" if entry["digest"] == live else "",
        str(entry.get("forced", "")),
    )


def _output(entry: dict[str, Any], now: datetime) -> tuple[str, ...]:
    value = json.dumps(entry.get("value"), ensure_ascii=False)
    shown = "(sealed)" if entry.get("mark") else "" if entry.get("missing") else value
    return (
        str(entry["name"]),
        short(shown),
        str(entry.get("revision", ""))[:SHORT_ID],
        age(entry.get("at"), now),
        short(str(entry.get("problem", ""))),
    )


def _short(digest: str) -> str:
    return digest[:SHORT_ID] or "nothing"


def _read(name: str, namespace: str, kubeconfig: Path | None) -> Manifest:
    with plainly():
        reference = parse(name, namespace=namespace, kinds=(APPS,))
    return run(lambda: _get(reference, kubeconfig))


async def _get(reference: Reference, kubeconfig: Path | None) -> Manifest:
    async with reaching(kubeconfig) as client:
        return (await resolve(client, reference)).obj
