from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.kube.config import load_kubeconfig
from tests.integration.apply.rig import App, CountingClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hub.fleet.controlplane import ControlPlane


@pytest.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[CountingClient]:
    async with CountingClient(
        load_kubeconfig(api_server.kubeconfig_path), user_agent="axletree-test"
    ) as client:
        yield client


@pytest.fixture
def make_app(client: CountingClient, namespace: str) -> Callable[[str], App]:
    return lambda name: App(client, namespace, f"{namespace}/{name}")


@pytest.fixture
def app(make_app: Callable[[str], App]) -> App:
    return make_app("web")
