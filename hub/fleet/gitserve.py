"""`python -m hub.fleet.gitserve FOLDER PORT`: the local fleet's Git server as a process."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from hub.fleet.githttp import GitServer


async def main(folder: Path, port: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    server = GitServer(folder, port=port)
    await server.start()
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
