from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.contract.errors import ApiError
from agent.kube.response import Listing
from hub.cli.away import is_away, warn_if_away
from hub.cli.liveness import CONTROLLER


class Leases:
    """An API server of which nothing but Leases is asked."""

    def __init__(self, renewed: datetime | None, *, allowed: bool = True) -> None:
        self.renewed = renewed
        self.allowed = allowed

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        del path, label_selector, field_selector
        if not self.allowed:
            raise ApiError("leases are forbidden", status=403, api_reason="Forbidden")
        spec = {"holderIdentity": "hub-1", "leaseDurationSeconds": 15}
        found = [
            {"metadata": {"name": CONTROLLER}, "spec": spec | {"renewTime": moment.isoformat()}}
            for moment in [self.renewed]
            if moment is not None
        ]
        return Listing(items=found, resource_version="1")

    async def get(self, path: str) -> dict[str, Any]:
        raise NotImplementedError(path)


@pytest.mark.parametrize(("seconds", "away"), [(1, False), (600, True)])
async def test_a_lease_that_nobody_renews_is_a_hub_that_is_away(
    seconds: int, *, away: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    leases = Leases(datetime.now(UTC) - timedelta(seconds=seconds))
    assert await is_away(leases) is away
    await warn_if_away(leases)
    assert ("the hub is not running" in capsys.readouterr().err) is away


async def test_who_may_not_ask_is_told_nothing() -> None:
    assert await is_away(Leases(None))
    assert not await is_away(Leases(None, allowed=False))
