"""A hub as a process of its own, with periods that a test can wait for: `-m tests.integration.hub_process JSON`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path

import uvloop

from agent.kube.config import load_kubeconfig
from hub.hub import Hub
from hub.operator.settings import HubSettings, Role


async def serve(kubeconfig: Path, settings: HubSettings) -> None:
    """Run it, and again where it ended: a supervisor is a part of every installation."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    stopping = asyncio.ensure_future(stopped.wait())
    while not stopped.is_set():
        running = asyncio.ensure_future(Hub(load_kubeconfig(kubeconfig), settings).run())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await running
        except Exception:
            logging.getLogger("supervisor").exception("the hub ended")
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvloop.run(
        serve(
            Path(told.pop("kubeconfig")),
            HubSettings(data_dir=Path(told.pop("data_dir")), role=Role(told.pop("role", Role.ALL)), **told),
        )
    )
