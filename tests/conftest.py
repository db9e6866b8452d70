"""Fixtures that all tests share: real API servers, started once a session and only where a test asks."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import fcntl
import functools
import gc
import itertools
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.internal.observability  # noqa: F401 - see below
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from hub.fleet.build import Printer, ensure_binary
from hub.fleet.controlplane import ControlPlane
from tests.effort import FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The line with hypothesis: pytest would load that at the end of a run, and CPython 3.11 takes two parses at once, one
# of them in a thread that still ends, for a recursion that went wrong. A collection in the midst of one does the same:
# what it ends may run code of its own. So they happen one by one, and nothing is collected meanwhile.


def _parse_alone(parse: Callable[..., Any]) -> Callable[..., Any]:
    one_by_one = threading.RLock()

    @functools.wraps(parse)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with one_by_one:
            collects = gc.isenabled()
            gc.disable()
            try:
                return parse(*args, **kwargs)
            finally:
                if collects:
                    gc.enable()

    return alone


if sys.version_info < (3, 12):
    ast.parse = _parse_alone(ast.parse)

# How long an example takes says how busy the machine is, not whether the code is right. And the suite says the same of
# the same code each time, or nobody would believe what it says: a soak is what looks elsewhere at each run.
settings.register_profile(
    "suite",
    max_examples=100 * FACTOR,
    derandomize=FACTOR == 1,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

_NUMBERS = itertools.count()
_PREFIX = "axletree-test-"
_OWNER = "owner.lock"


def pytest_configure() -> None:
    """Let `timeout` and CI end a run as Ctrl-C does, so that fixtures stop their API servers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class ByFile(LoadScopeScheduling):
    """Where two processes share the suite, a file stays with one, and so do all tests of the one whole fleet."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("e2e/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests need before the first starts: no test's timeout has to allow for that."""
    wanted = any("controlplane_binary" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():  # minutes: people must see that it goes on
            asyncio.run(ensure_binary(Printer(sys.stderr)))


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """What a test, or a command that it runs in this process, leaves behind: the next one of a worker never meets it.

    A log handler holds the stream of the test that it was made in, which is closed by then.
    """
    root, folder, environment = logging.getLogger(), Path.cwd(), dict(os.environ)
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.disable(disabled)
    os.chdir(folder)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})


@pytest.fixture(scope="session")
def controlplane_binary() -> Path:
    """The control planes' program; the first use on a machine builds it, which takes minutes."""
    return asyncio.run(ensure_binary())


@pytest.fixture(scope="session")
def api_server(controlplane_binary: Path) -> Iterator[ControlPlane]:
    """An API server with garbage collection and no workloads: `.kubeconfig_path`, `.url`."""
    yield from _running("api-server", controlplane_binary, workloads=False)


@pytest.fixture(scope="session")
def workload_cluster(controlplane_binary: Path) -> Iterator[ControlPlane]:
    """A cluster on which Deployments become Available and Jobs complete: `.kubeconfig_path`, `.url`."""
    yield from _running("workload", controlplane_binary, workloads=True)


@pytest.fixture(scope="module")
def own_server(controlplane_binary: Path) -> Iterator[ControlPlane]:
    """An API server that no other module's tests write to, for what looks at all of it."""
    yield from _running("own", controlplane_binary, workloads=False)


@pytest.fixture
def namespace() -> str:
    """The name of a namespace that no other test uses; the test makes it. Suffixes give more."""
    return f"test-{os.getpid()}-{next(_NUMBERS)}"


def _running(name: str, binary: Path, *, workloads: bool) -> Iterator[ControlPlane]:
    _sweep()
    # Not pytest's tmp_path: it keeps the folders of three sessions, and etcd's are large.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as text:
        folder, lock = Path(text), Path(text) / f"{_OWNER}.new"
        with lock.open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)  # for as long as this session lives
            lock.rename(folder / _OWNER)  # not before: the other process sweeps what nobody holds
            plane = ControlPlane(name, folder / name, binary, workloads=workloads)
            asyncio.run(plane.start())
            try:
                yield plane
            finally:
                asyncio.run(plane.stop())


def _sweep() -> None:
    """End what sessions left that were killed before they could: their lock is free."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), lock.open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for run in lock.parent.glob("*/run"):
                plane = ControlPlane(run.parent.name, run.parent, Path(), workloads=True)
                asyncio.run(plane.stop())
            shutil.rmtree(lock.parent, ignore_errors=True)
