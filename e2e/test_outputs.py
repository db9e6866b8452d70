"""What the database's cluster alone knows gets to the backends on every cluster, with no commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.order import releases
from e2e.rig import PRIMARY, PROD
from e2e.words import SERVICES, one, only, status

if TYPE_CHECKING:
    from e2e.conftest import Deployed
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
PRODUCER = f"shop/database-{PRIMARY}"
BACKENDS = {f"shop/backend-{cluster}" for cluster in PROD}


async def test_a_service_that_moves_is_followed_on_another_cluster_and_git_says_what_it_said(
    rig: Rig, deployed: Deployed
) -> None:
    head = await rig.checkout.head()
    first = rig.address()
    for cluster in PROD:
        assert rig.primary(cluster) == first, "the backends were told where the database is"
        taken = only(status(rig.app(f"shop/backend-{cluster}"), "inputs"))
        assert taken["from"] == [PRODUCER]
    mark = len(rig.hub.log)
    try:
        await rig.spokes[PRIMARY].client.delete(one(SERVICES, "shop-database/database"))

        def followed() -> None:
            address = rig.address()
            assert address != first
            output = only(status(rig.app(PRODUCER), "outputs"))
            assert "{host}:{port}".format(**output["value"]) == address
            for cluster in PROD:
                assert rig.primary(cluster) == address
                rig.live(f"shop/backend-{cluster}")

        await rig.hub.eventually(followed)
        assert {key for key, _ in releases(rig.hub.log[mark:])} == BACKENDS, "nobody else is released"
        assert len(releases(rig.hub.log[mark:])) == len(BACKENDS), "each is released once"
    finally:
        for key in BACKENDS:  # the same commit, with another address: that is what is green from here on
            deployed.digests[key] = rig.digests[key] = status(rig.app(key), "sync", "target")
    assert await rig.checkout.head() == head
    await rig.hub.eventually(lambda: rig.healthy("shop/shop"))
