"""`helm`, `kustomize`, `sops` and a `registry`, built from their Go modules once and kept beside the control planes.

Tests need them, for they compare with them; a hub needs neither of the first two where `kubectl` is there, `sops`
only for files that are encrypted, and the registry never. `python -m hub.fleet.tools [sops] [registry]` builds them;
nothing else does.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from agent.kube.yaml import YamlError, load_value
from hub.fleet.build import Progress, Report, cache_root, print_progress
from hub.fleet.command import run
from hub.fleet.errors import BuildError
from hub.fleet.golang import ensure_toolchain, patiently
from hub.fleet.lock import locked
from hub.render.programs import Programs

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.fleet.golang import Toolchain

SOURCE = Path(__file__).parent / "toolset"
SOPS_SOURCE = Path(__file__).parent / "sopstool"
"""Apart: it brings the clients of every cloud along, which nobody else should have to build."""
REGISTRY_SOURCE = Path(__file__).parent / "registrytool"
HELM, KUSTOMIZE, KUBECTL, SOPS, REGISTRY = "helm", "kustomize", "kubectl", "sops", "registry"
_NAMES = {SOURCE: f"{HELM} and {KUSTOMIZE}", SOPS_SOURCE: SOPS, REGISTRY_SOURCE: REGISTRY}
_PLUGINS = "AXLETREE_PLUGINS"
_SECONDS = 1800
_TICK = 1.0


class InvalidPlugins(TerminalError):
    """The administrator's file of plugins does not read."""

    reason = "InvalidPlugins"


def built(source: Path = SOURCE) -> Path:
    """The folder of the programs of one `go.mod`, whether or not they are built yet."""
    digest = hashlib.sha256(platform.machine().encode())
    for name in ("go.mod", "go.sum"):
        digest.update((source / name).read_bytes())
    return cache_root() / "tools" / digest.hexdigest()[:16]


def find_programs() -> Programs:
    """What there is to render with: $AXLETREE_KUSTOMIZE, what was built here, then what is on PATH.

    `helm` is used only where $AXLETREE_HELM names it: the SDK gives the same, a hundred times faster. Plugins are
    those of the file that $AXLETREE_PLUGINS names. Raises `InvalidPlugins`.
    """
    helm = os.environ.get("AXLETREE_HELM", "")
    if helm == HELM:
        helm = _program(HELM)
    sops = os.environ.get("AXLETREE_SOPS") or _program(SOPS, SOPS_SOURCE)
    return Programs(kustomize=_kustomize(), helm=helm, sops=sops, plugins=_plugins())


def _plugins() -> dict[str, tuple[str, ...]]:
    """A map of names to commands, in YAML: `cue: [/usr/local/bin/cue, export]`."""
    path = os.environ.get(_PLUGINS)
    if not path:
        return {}
    try:
        found = load_value(Path(path).read_text(encoding="utf-8"), source=path)
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise InvalidPlugins(f"{_PLUGINS}: {path}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidPlugins(f"{_PLUGINS}: {path}: it must be a map of names to commands")
    for name, command in found.items():
        texts = isinstance(command, list) and bool(command) and all(isinstance(one, str) for one in command)
        if not texts or not command[0].startswith("/"):
            raise InvalidPlugins(
                f"{_PLUGINS}: {path}: {name}: a command is a list of texts, its program's path first"
            )
    return {str(name): tuple(command) for name, command in found.items()}


async def ensure_tools(progress: Report = print_progress, *, source: Path = SOURCE, names: str = "") -> Path:
    """The folder with `helm` and `kustomize`, built if need be, which takes minutes. Raises `BuildError`.

    With `SOPS_SOURCE` it is the one with `sops`, with `REGISTRY_SOURCE` the one with `registry`, with
    another folder of a `go.mod` what its tools are: `names`.
    """
    names = names or _NAMES[source]
    target = built(source)
    if target.exists():
        return target
    started = time.monotonic()

    def tell(stage: str, *, finished: bool = False) -> None:
        progress(Progress(stage, 0, 0, time.monotonic() - started, finished=finished))

    async with locked(
        target.with_suffix(".lock"), waiting=lambda: tell("waiting for another build of tools")
    ):
        if not target.exists():
            toolchain = await ensure_toolchain(cache_root() / "go", progress=tell)
            ticking = asyncio.create_task(_tick(tell, f"building {names} (once, minutes)"))
            try:
                await _build(toolchain, source, target)
            finally:
                ticking.cancel()
            tell(f"built {names}", finished=True)
    return target


async def _tick(tell: Callable[[str], None], said: str) -> None:
    while True:
        tell(said)
        await asyncio.sleep(_TICK)


async def _build(toolchain: Toolchain, source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    settings = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
    }
    environment = [f"{name}={value}" for name, value in settings.items()]

    async def go(*arguments: str) -> None:
        command = ("/usr/bin/env", "-C", str(source), *environment, str(toolchain.go))
        code, output = await run(*command, *arguments, seconds=_SECONDS)
        if code != 0:
            raise BuildError(
                f"`go {arguments[0]}` failed with {code} in {source}:\n{output}\n"
                "Next: the modules come from the Go module proxy, so check the network and `go env GOPROXY`, and\n"
                "run the same command again: what is built already is kept."
            )

    await patiently(lambda: go("list", "-deps", "tool"))  # which fetches all modules that the build needs
    await go("build", "-trimpath", "-ldflags", "-s -w", "-o", f"{fresh}/", "tool")
    fresh.rename(target)


def _kustomize() -> tuple[str, ...]:
    """`kustomize build`, else `kubectl kustomize`, also the kubectl that was built with the control planes."""
    if own := os.environ.get("AXLETREE_KUSTOMIZE"):
        return own, "build"
    if found := _program(KUSTOMIZE):
        return found, "build"
    beside = sorted(
        (cache_root() / "controlplane").glob(f"*/{KUBECTL}"), key=lambda path: path.stat().st_mtime
    )
    kubectl = str(beside[-1]) if beside else shutil.which(KUBECTL)
    return (kubectl, "kustomize") if kubectl else ()


def _program(name: str, source: Path = SOURCE) -> str:
    path = built(source) / name
    return str(path) if path.exists() else shutil.which(name) or ""


def main() -> None:
    """Build those that are named, the folder of a Go module among them; else helm and kustomize."""
    known = {SOPS: SOPS_SOURCE, REGISTRY: REGISTRY_SOURCE}
    sources = [known.get(name) or Path(name).resolve() for name in sys.argv[1:]] or [SOURCE]
    for source in sources:
        sys.stdout.write(
            f"{asyncio.run(ensure_tools(source=source, names=_NAMES.get(source, source.name)))}\n"
        )


if __name__ == "__main__":
    main()
