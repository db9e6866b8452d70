"""The control planes' programs: built from source once per version, kept outside the checkout.

The cache's key is the content of everything that decides the result, so that an old checkout, a new one and
the tests each find their own binary, and an unchanged one is never built twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from hub.fleet.errors import BuildError, UnsupportedPlatformError
from hub.fleet.golang import PAUSES, Toolchain, ensure_toolchain, patiently
from hub.fleet.lock import locked

SOURCE = Path(__file__).parent / "controlplane"
KUBERNETES_VERSION = "v1.36.3"
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
# go names a program after its import path.
_RENAMED = {"server": "etcd"}
# The one path that callers need: it becomes the part that its first argument names.
_DISPATCHER = """#!/bin/sh
part=${1:?usage: controlplane PART [FLAGS]}
shift
exec "${0%/*}/$part" "$@"
"""
_OUTPUT_KEPT = 30
_TICK = 1.0
_QUIET = 30.0
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is; told at each step, and each second between them.

    `total` is 0 where it is not known yet; `elapsed` is in seconds.
    """

    stage: str
    done: int
    total: int
    elapsed: float
    finished: bool = False


Report = Callable[[Progress], None]


def cache_root() -> Path:
    """Where builds are kept: $AXLETREE_CACHE, or the user's cache folder."""
    if own := os.environ.get("AXLETREE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "axletree"


def content_key(files: dict[str, bytes], *, go_version: str, machine: str) -> str:
    """Name a build in the cache: short, and different whenever the result might be."""
    digest = hashlib.sha256()
    for part in (go_version, machine, KUBERNETES_VERSION, _DISPATCHER):
        digest.update(f"{len(part)}:{part}".encode())
    for name in sorted(files):
        digest.update(f"{len(name)}:{name}{len(files[name])}:".encode() + files[name])
    return digest.hexdigest()[:16]


class Printer:
    """The plain display: a line that is written over on a terminal; elsewhere one a stage and half minute."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = Progress("", 0, 0, 0)

    def __call__(self, progress: Progress) -> None:
        count = f" {progress.done}/{progress.total}" if progress.total else ""
        text = f"{progress.stage}{count} ({progress.elapsed:.0f} s)"
        if self._out.isatty():
            end = "\n" if progress.finished else ""
            self._out.write(f"\r\x1b[K{text}{end}")
        elif progress.stage != self._last.stage or progress.elapsed - self._last.elapsed >= _QUIET:
            self._out.write(f"{text}\n")
        else:
            return
        self._last = progress
        self._out.flush()


_printer = Printer(sys.stderr)


def print_progress(progress: Progress) -> None:
    """Show how far it is on the standard error."""
    _printer(progress)


async def ensure_binary(progress: Report = print_progress) -> Path:
    """Return the path of `controlplane`, which runs a PART with FLAGS; builds all parts if need be (minutes).

    Two callers at once build once: the second waits. Raises `BuildError` with what to do next.
    """
    if sys.platform != "linux":
        raise UnsupportedPlatformError(
            "local control planes as processes need Linux; with Docker, use `axle up --provider kind`"
        )
    root = cache_root() / "controlplane"
    toolchain = await ensure_toolchain(
        cache_root() / "go", progress=lambda stage: progress(Progress(stage, 0, 0, 0))
    )
    sources = {name: (SOURCE / name).read_bytes() for name in ("go.mod", "go.sum")}
    key = content_key(sources, go_version=toolchain.version, machine=platform.machine())
    binary = root / key / "controlplane"
    if binary.exists():
        return binary
    started = time.monotonic()

    def waiting() -> None:
        stage = "waiting for another process that builds the control plane"
        progress(Progress(stage, 0, 0, time.monotonic() - started))

    async with locked(root / f"{key}.lock", waiting=waiting):
        if not binary.exists():
            await _build(toolchain, binary, started, progress)
    return binary


async def _build(
    toolchain: Toolchain,
    binary: Path,
    started: float,
    progress: Report,
    *,
    pauses: Sequence[float] = PAUSES,
) -> None:
    now = Progress("fetching the control plane's modules", 0, 0, 0)

    def report(**changes: Any) -> None:
        nonlocal now
        now = replace(now, elapsed=time.monotonic() - started, **changes)
        progress(now)

    async def tick() -> None:
        while True:
            report()
            await asyncio.sleep(_TICK)

    fresh = binary.parent.with_name(f"{binary.parent.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    ticking = asyncio.create_task(tick())
    try:
        packages = await patiently(lambda: _fetched(toolchain), pauses=pauses)
        report(stage=f"building Kubernetes {KUBERNETES_VERSION} (once, minutes)", total=packages)
        command = ("build", "-v", "-trimpath", "-ldflags", _ldflags(), "-o", f"{fresh}/", "tool")
        async with _go(toolchain, *command) as lines:
            async for _ in lines:
                report(done=min(now.done + 1, packages))
    finally:
        ticking.cancel()
    for built, name in _RENAMED.items():
        (fresh / built).rename(fresh / name)
    (fresh / binary.name).write_text(_DISPATCHER)
    (fresh / binary.name).chmod(0o755)
    fresh.rename(binary.parent)
    report(stage="built the control plane", done=packages, finished=True)


async def _fetched(toolchain: Toolchain) -> int:
    """Have all modules here; how many packages are in them that are needed."""
    packages = 0
    async with _go(toolchain, "list", "-deps", "tool") as lines:
        async for line in lines:
            packages += not line.startswith("go: ")  # that is a module being fetched
    return packages


def _ldflags() -> str:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    sets = (f"-X {package}.{name}={value}" for package in _VERSION_PACKAGES for name, value in values.items())
    return " ".join(["-s", "-w", *sets])


@asynccontextmanager
async def _go(toolchain: Toolchain, *arguments: str) -> AsyncIterator[AsyncIterator[str]]:
    """Run go in the source folder and give its output's lines; raise with the last of them if it fails."""
    process = await asyncio.create_subprocess_exec(
        str(toolchain.go),
        *arguments,
        cwd=SOURCE,
        env={
            **os.environ,
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-buildvcs=false",
            "CGO_ENABLED": "0",
            "GOWORK": "off",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_LIMIT,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    kept: list[str] = []

    async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            kept.append(line)
            del kept[:-_OUTPUT_KEPT]
            yield line

    try:
        yield lines(process.stdout)
        code = await process.wait()
    except BaseException:
        # go passes SIGTERM on to its compilers, SIGKILL would leave them.
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    if code != 0:
        output = "\n".join(kept)
        raise BuildError(
            f"`go {arguments[0]}` failed with {code} in {SOURCE}:\n{output}\n"
            "Next: the modules come from the Go module proxy, so check the network and `go env GOPROXY`\n"
            "(HTTPS_PROXY is honoured), check that 6 GB of disk and 2 GB of memory are free, and run the\n"
            "same command again: what is built already is kept."
        )


def main() -> None:
    """Build them now, so that nothing with a limit on its time has to."""
    sys.stdout.write(f"{asyncio.run(ensure_binary()).parent}\n")


if __name__ == "__main__":
    main()
