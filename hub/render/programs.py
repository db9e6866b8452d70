"""Running one program inside a worker's scratch folder: bounded output, no input, an empty environment."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hub.render.confine import confine, system_paths
from hub.render.content import unpacked
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hub.render.content import Content

MAX_OUTPUT = 48 * 1024 * 1024
MAX_ERRORS = 16 * 1024
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that a worker may run, as absolute paths; empty for one that is not there."""

    kustomize: tuple[str, ...] = ()
    """`(kustomize, build)`, or `(kubectl, kustomize)`."""
    helm: str = ""
    sops: str = ""
    plugins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands that the hub's administrator registered, by name."""
    scratch: str = ""
    """Where a worker may write; empty for the system's own folder for such things."""

    def to_wire(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_wire(text: str) -> Programs:
        found = json.loads(text)
        found["kustomize"] = tuple(found["kustomize"])
        found["plugins"] = {name: tuple(command) for name, command in found["plugins"].items()}
        return Programs(**found)

    def read(self) -> list[str]:
        """Paths that a worker must be able to read, or it could not run them."""
        commands = [self.kustomize[:1], (self.helm, self.sops), *self.plugins.values()]
        return [path for command in commands for path in command if path.startswith("/")]


@contextmanager
def folder(files: Content, *, scratch: str) -> Iterator[Path]:
    """A new folder with these files, removed at the end. Paths are checked again: they decide where it writes."""
    top = Path(tempfile.mkdtemp(prefix="render-", dir=scratch or None))
    try:
        for path, content in files.items():
            place(top, path, unpacked(content))
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)


def place(top: Path, path: str, data: bytes) -> None:
    """Write one file below the folder. There are no links in it, since only this writes there."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts:
        raise ManifestError("a path may not climb", file=path, reason="PathRefused")
    target = top.joinpath(*pure.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def output_of(
    command: Sequence[str],
    *,
    cwd: Path,
    where: str,
    reason: str,
    environment: Mapping[str, str] | None = None,
    alone: Sequence[str] | None = None,
) -> str:
    """What the program prints. Raises `ManifestError` with its last words where it fails or prints too much.

    `alone`: it runs what users wrote, and may leave processes behind. Then it sees its own folder and these paths, and
    no other folder that the worker has or will have.
    """
    env = {"HOME": str(cwd), "PATH": "", "TMPDIR": str(cwd), "TZ": "UTC", "GOMEMLIMIT": "300MiB"}
    env |= environment or {}
    with subprocess.Popen(  # noqa: S603 - the hub's own choice of program, and arguments that it made
        list(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a worker has one thread of its own, and this calls the kernel alone
        preexec_fn=None if alone is None else partial(_confine, [*system_paths(), *alone], str(cwd)),  # noqa: PLW1509
    ) as process:
        try:
            printed, said = _read(process)
        except BaseException:
            process.kill()
            raise
    errors = said.decode(errors="replace").replace(f"{cwd}{os.sep}", "")
    if len(printed) > MAX_OUTPUT:
        raise ManifestError(f"it prints more than {MAX_OUTPUT} bytes", where=where, reason=reason)
    if process.returncode != 0:
        text = " ".join(errors.split())[:2000] or f"it ended with status {process.returncode}"
        raise ManifestError(text, where=where, reason=reason)
    try:
        return printed.decode()
    except UnicodeDecodeError as error:
        raise ManifestError("its output is not UTF-8 text", where=where, reason=reason) from error


def _confine(read: list[str], folder: str) -> None:
    confine(read=read, write=[folder])


def _read(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Both streams to their ends, of errors the first part; a program that prints too much is ended."""
    assert process.stdout is not None  # noqa: S101 - pipes were asked for
    assert process.stderr is not None  # noqa: S101
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                data = os.read(stream.fileno(), _CHUNK)
                if not data:
                    selector.unregister(stream)
                elif stream is process.stderr:
                    kept[stream] += data[: MAX_ERRORS - len(kept[stream])]
                else:
                    kept[stream] += data
                    if len(kept[stream]) > MAX_OUTPUT:
                        process.kill()
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])
