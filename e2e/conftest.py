"""One fleet a session: a hub and three spokes as processes, the sample deployed; each test leaves it green."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("e2e.rig", "e2e.order", "e2e.words")

from e2e.recovery import recover, restore  # noqa: E402
from e2e.rig import Rig  # noqa: E402
from e2e.view import Change, View  # noqa: E402
from e2e.words import APPS, ROOT, SETS, status  # noqa: E402
from hub.fleet import fleets, install  # noqa: E402
from hub.fleet.local import LocalFleet, Pace, spokes  # noqa: E402
from hub.fleet.names import HUB  # noqa: E402
from hub.fleet.provider import Provider  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_PREFIX = "axletree-e2e-"
_OWNER = "owner.lock"
_FIRST_SECONDS = 240.0
_TEST_SECONDS = 900
"""For one test with what comes before and after it: more than its own deadlines, whose words say what is missing."""
_PACE = Pace(heartbeat=3.0, stale_after=12.0, lease=6.0)
"""A hub that was killed is succeeded, and silence is noticed sooner than usual.

Four heartbeats must be lost for that, so that a busy machine is not silent."""
_CLOSING_SECONDS = 0.25
"""TLS connections that were cut off in the middle need a moment before their loop may end."""


@dataclass
class Deployed:
    """The fleet of this session, and how the hub saw it come to be."""

    fleet: LocalFleet
    log: list[Change] = field(default_factory=list)
    """Every change of Applications and ApplicationSets from the empty hub on; empty for a fleet found running."""
    digests: dict[str, str] = field(default_factory=dict)


def pytest_configure() -> None:
    """Let `timeout` and CI end a run as Ctrl-C does, so that the fleet is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """$AXLETREE_E2E_HOME names a running fleet to work on, and to leave running: for writing tests."""
    given = os.environ.get("AXLETREE_E2E_HOME")
    if given:
        yield asyncio.run(_adopt(LocalFleet(Path(given))))
        return
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as text:
        folder = Path(text)
        with (folder / _OWNER).open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)  # for as long as this session lives
            fleet = LocalFleet(folder / "home", pace=_PACE)
            try:
                yield asyncio.run(_deploy(fleet))
            finally:
                asyncio.run(fleet.down())


@pytest.fixture
def spent(deployed: Deployed) -> Iterator[Path]:
    """The home of a green fleet that the test itself may end: such a test is the session's last.

    A fleet that was found running is nobody's to end: there the test gets one of its own.
    """
    if "AXLETREE_E2E_HOME" not in os.environ:
        asyncio.run(_make_green(deployed))
        yield deployed.fleet.root
        return
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as text,
        (Path(text) / _OWNER).open("w") as owner,
    ):
        fcntl.flock(owner, fcntl.LOCK_EX)
        fleet = LocalFleet(Path(text) / "home")
        try:
            yield fleet.root
        finally:
            asyncio.run(fleet.down())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever ends the fleet comes last, whatever its file is called."""
    for item in items:
        if item.get_closest_marker("fleet") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))
    items.sort(key=lambda item: "spent" in getattr(item, "fixturenames", ()))


@pytest_asyncio.fixture(loop_scope="session")
async def rig(deployed: Deployed) -> AsyncIterator[Rig]:
    """The fleet, green before and after."""
    async with Rig.on(deployed.fleet, deployed.digests) as made:
        await recover(made)
        yield made
        await restore(made)


async def _deploy(fleet: LocalFleet) -> Deployed:
    """`axle up`, watched from the moment that the hub serves our kinds."""
    fleet.root.mkdir(parents=True)
    names = [HUB, *(spoke.name for spoke in spokes(3))]
    planes = await fleets.create(Provider.PROCESSES, fleet.root, names)
    await planes.start()
    async with fleet.hub_client() as client:
        await install.install_hub(client)
        async with View(client, APPS, SETS) as view:
            await fleet.up(3, note=lambda _: None, provider=Provider.PROCESSES)

            def healthy() -> None:
                root = view.get(APPS, ROOT)
                assert status(root, "health", "state") == "Healthy", f"the root: {status(root)}"

            await view.eventually(healthy, seconds=_FIRST_SECONDS)
            await view.level()
            found = Deployed(fleet, list(view.log), _digests(view))
    await asyncio.sleep(_CLOSING_SECONDS)
    return found


async def _make_green(deployed: Deployed) -> None:
    async with Rig.on(deployed.fleet, deployed.digests) as made:
        await recover(made)
    await asyncio.sleep(_CLOSING_SECONDS)


async def _adopt(fleet: LocalFleet) -> Deployed:
    async with fleet.hub_client() as client, View(client, APPS) as view:
        found = Deployed(fleet, [], _digests(view))
    await asyncio.sleep(_CLOSING_SECONDS)
    return found


def _digests(view: View) -> dict[str, str]:
    return {key: status(app, "sync", "target") for key, app in view.all(APPS).items()}


def _sweep() -> None:
    """End what sessions left that were killed before they could: their lock is free."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), lock.open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(LocalFleet(lock.parent / "home").down())
            shutil.rmtree(lock.parent, ignore_errors=True)
