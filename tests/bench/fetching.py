"""Git alone: a large repository, from nothing to the first files, and then one commit."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

from hub.fleet.githttp import GitServer
from hub.sources.git import GitSource
from tests.bench.marks import BenchFailed, clock
from tests.bench.rows import GIT_COMMIT, GIT_FIRST, GIT_MOVED, Sample

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from tests.bench.options import Options
    from tests.bench.rows import Row

ROWS: tuple[Row, ...] = (GIT_FIRST, GIT_MOVED, GIT_COMMIT)
FILES, FOLDERS = 10_000, 100
COMMITS = 1000
BLOB = 1024 * 1024
_MB = 1024 * 1024
_WHO = b"committer b <b@example.com> %d +0000\n"


async def run(options: Options) -> dict[str, list[Sample]]:
    """A new mirror each time; the commits come one after the other."""
    root = options.root / "fetching"
    served = root / "served"
    served.mkdir(parents=True)
    bare = served / "large.git"
    await asyncio.to_thread(_history, bare)
    server = GitServer(served)
    await server.start()
    samples: dict[str, list[Sample]] = {row.id: [] for row in ROWS}
    try:
        for turn in range(options.repeats):
            await _once(root / f"mirrors-{turn}", bare, server.url_of("large.git"), samples)
    finally:
        await server.stop()
    return samples


async def _once(cache: Path, bare: Path, url: str, samples: dict[str, list[Sample]]) -> None:
    source = GitSource(cache, credentials=lambda _: None)
    try:
        start = clock()
        commit = await source.resolve(url, "main")
        await source.listing(url, commit)
        files = await source.files(url, commit, "d7")
        samples[GIT_FIRST.id].append(Sample(clock() - start))
        if len(files) != FILES // FOLDERS + 1:
            raise BenchFailed(f"{len(files)} files in a folder of {FILES // FOLDERS}, and the large one")
        moved = await asyncio.to_thread(_packed, cache)
        samples[GIT_MOVED.id].append(Sample(moved))
        for number in range(5):
            await asyncio.to_thread(_commit, bare, number)
            start = clock()
            commit = await source.resolve(url, "main", fresh=True)
            changed = await source.files(url, commit, "d8")
            samples[GIT_COMMIT.id].append(Sample((clock() - start) * 1000))
            if changed["changed"] != str(number).encode():
                raise BenchFailed("the commit is not what was read")
    finally:
        await source.close()


def _packed(cache: Path) -> float:
    return sum(path.stat().st_size for path in cache.rglob("*.pack")) / _MB


def _history(bare: Path) -> None:
    """10,000 small files, and a thousand commits of a large file each, of what no compression makes smaller."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    loading = subprocess.Popen(
        ["git", "-C", str(bare), "-c", "core.compression=0", "fast-import", "--quiet"], stdin=subprocess.PIPE
    )
    out = loading.stdin
    if out is None:
        raise BenchFailed("git fast-import takes no input")
    out.write(b"commit refs/heads/main\n" + _WHO % 1 + b"data 5\nfirst\n")
    for number in range(FILES):
        _file(out, f"d{number % FOLDERS}/f{number}", f"file {number}\n".encode() * 8)
    for number in range(COMMITS):
        out.write(b"commit refs/heads/main\n" + _WHO % (number + 2) + b"data 4\nmore\n")
        _file(out, f"d{number % FOLDERS}/large", os.urandom(BLOB))
    out.close()
    if loading.wait() != 0:
        raise BenchFailed("git fast-import failed")


def _commit(bare: Path, number: int) -> None:
    loading = subprocess.Popen(["git", "-C", str(bare), "fast-import", "--quiet"], stdin=subprocess.PIPE)
    out = loading.stdin
    if out is None:
        raise BenchFailed("git fast-import takes no input")
    out.write(
        b"commit refs/heads/main\n" + _WHO % (number + 10_000) + b"data 3\none\nfrom refs/heads/main^0\n"
    )
    _file(out, "d8/changed", str(number).encode())
    out.close()
    if loading.wait() != 0:
        raise BenchFailed("git fast-import failed")


def _file(out: IO[bytes], name: str, content: bytes) -> None:
    out.write(f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n")
