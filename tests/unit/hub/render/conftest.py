"""The programs that rendering is compared with, and charts and repositories to render."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.fleet.tools import ensure_tools
from hub.render.programs import Programs


@pytest.fixture(scope="session")
def programs() -> Programs:
    """`helm` and `kustomize`; built by `scripts/test`, here only where that did not run."""
    folder = asyncio.run(ensure_tools())
    return Programs(kustomize=(str(folder / "kustomize"), "build"), helm=str(folder / "helm"))


@pytest.fixture(scope="session")
def charts() -> Path:
    return Path(__file__).parent / "charts"
