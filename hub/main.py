"""The hub process: gateway and controller in one, or each alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from agent.contract.errors import AxletreeError
from agent.kube.config import in_cluster, load_kubeconfig
from hub.hub import Hub
from hub.operator.settings import HubSettings, Role
from hub.telemetry.logs import FORMATS, setup

_NEW_OBJECTS = 5_000
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="axle-hub", description="The Axletree hub.")
    parser.add_argument("--kubeconfig", type=Path, help="the hub's API server; in a Pod, its ServiceAccount")
    parser.add_argument("--data-dir", type=Path, required=True, help="caches: Git mirrors and bundles")
    parser.add_argument("--host", default="127.0.0.1", help="where the gateway listens")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument(
        "--public-host",
        action="append",
        default=[],
        help="a name or address of the gateway; the API server asks for admission at the first",
    )
    parser.add_argument(
        "--role", choices=list(Role), default=Role.ALL, help="gateway: answer agents only, and never lead"
    )
    parser.add_argument(
        "--gateway-name", default="axletree-gateway", help="unique among hub processes, kept over restarts"
    )
    parser.add_argument(
        "--api-port", type=int, help="where programs reach the API (/api/v1); without it there is none"
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        help="where Prometheus asks for /metrics, over plain HTTP; without it nowhere",
    )
    parser.add_argument(
        "--database",
        default=os.environ.get("AXLETREE_DATABASE", ""),
        help="postgresql://... for the history; also as AXLETREE_DATABASE; SQLite in the data folder without one",
    )
    parser.add_argument(
        "--bundles",
        default=os.environ.get("AXLETREE_BUNDLES", ""),
        help="where processes share bundles: postgresql://..., s3://bucket/prefix, file:///folder; also as "
        "AXLETREE_BUNDLES; the data folder without one",
    )
    parser.add_argument("--poll-interval", type=float, default=180.0, help="seconds between fetches of Git")
    parser.add_argument("--stale-after", type=float, default=60.0, help="seconds of silence until Stale")
    parser.add_argument(
        "--lease-seconds", type=float, default=15.0, help="until another process leads after one that crashed"
    )
    parser.add_argument(
        "--no-events",
        action="store_true",
        help="write no Kubernetes Events on applications, sets and clusters",
    )
    parser.add_argument(
        "--otlp-endpoint",
        default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        help="where traces go, http://collector:4318; needs the extra otel; also as OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    parser.add_argument("--log-format", default="json", choices=FORMATS)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args(argv)


def settings_of(args: argparse.Namespace) -> HubSettings:
    listening = [] if args.host in _EVERYWHERE else [args.host]
    return HubSettings(
        data_dir=args.data_dir,
        host=args.host,
        port=args.port,
        public_hosts=tuple(dict.fromkeys([*args.public_host, *listening, "127.0.0.1", "localhost"])),
        role=Role(args.role),
        gateway=args.gateway_name,
        database=args.database,
        api_port=args.api_port,
        metrics_port=args.metrics_port,
        kube_events=not args.no_events,
        otlp_endpoint=args.otlp_endpoint,
        bundles=args.bundles,
        poll_interval=args.poll_interval,
        stale_after=args.stale_after,
        lease_seconds=args.lease_seconds,
        identity=f"{socket.gethostname()}-{os.getpid()}",
    )


async def serve(args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    config = load_kubeconfig(args.kubeconfig) if args.kubeconfig else in_cluster()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hub = Hub(config, settings_of(args))
    running = asyncio.ensure_future(hub.run())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    else:
        running.result()


def _collect_rarely() -> None:
    """What is imported stays, and most of what comes is freed by counting.

    With Python's own thresholds a commit for thirty children meets thirty looks for cycles, and now and then one
    through all that there is, of 0.15 s, in which no agent is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)


def main() -> int:
    """Exit code 0 after a signal, 1 where the hub could not go on (its supervisor starts it anew)."""
    args = arguments()
    setup(level=args.log_level, form=args.log_format)
    _collect_rarely()
    try:
        uvloop.run(serve(args))
    except AxletreeError as error:
        logging.getLogger("hub").error("%s: %s", error.reason, error)  # noqa: TRY400 - a known failure
        return 1
    except BaseExceptionGroup:
        logging.getLogger("hub").exception("the hub stops")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
