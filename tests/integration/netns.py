"""A site of its own: a network namespace with a way to its own API server, and one to the hub whose link can go down.

What is sent over a link that is down is lost without a word: no reset, no refusal, and connections stay open on both
sides. No proxy in userspace does that, since its kernel acknowledges what it takes.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LACKING = "" if os.geteuid() == 0 and shutil.which("ip") else "network namespaces need root and iproute2's ip"


@dataclass(frozen=True, slots=True)
class Site:
    """`lan` and `wan` are the addresses on our side of its two links, for servers to listen on."""

    name: str
    lan: str
    wan: str

    @property
    def inside(self) -> tuple[str, ...]:
        """Put before a command, it runs in there."""
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    async def part(self) -> None:
        """Take the link to the hub down."""
        await _ip("link", "set", f"{self.name}w", "down")

    async def heal(self) -> None:
        await _ip("link", "set", f"{self.name}w", "up")


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """Make one with both links up; it is gone afterwards, with whatever happened."""
    name = f"ax{secrets.token_hex(3)}"
    net, part = 64 + secrets.randbelow(190), 2 * secrets.randbelow(128)  # others make theirs at the same time
    made = Site(name, lan=f"10.{net}.{part}.1", wan=f"10.{net}.{part + 1}.1")
    await _ip("netns", "add", name)
    try:
        await _ip("-n", name, "link", "set", "lo", "up")
        for end, address in (("l", made.lan), ("w", made.wan)):
            ours, theirs = f"{name}{end}", f"{name}{end}i"
            await _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            await _ip("address", "add", f"{address}/30", "dev", ours)
            await _ip("link", "set", ours, "up")
            await _ip("-n", name, "address", "add", f"{address.removesuffix('1')}2/30", "dev", theirs)
            await _ip("-n", name, "link", "set", theirs, "up")
        yield made
    finally:
        for end in "lw":
            # a pair ends with either side, at once; with its namespace alone only some time later
            await _ip("link", "del", f"{name}{end}", check=False)
        await _ip("netns", "del", name)


async def _ip(*words: str, check: bool = True) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    if check and process.returncode:
        raise OSError(f"ip {' '.join(words)}: {told.decode().strip()}")
