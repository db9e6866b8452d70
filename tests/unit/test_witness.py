"""The witness of the random life sees what it is there to see."""

from __future__ import annotations

from typing import Any

from agent.kube.response import WatchEvent
from tests.integration.agent_rig import config_map
from tests.integration.witness import Forward, Order


def test_an_app_that_is_ahead_of_the_one_before_it_is_seen_also_as_that_goes_first() -> None:
    order = Order("first", "second")
    assert not order(WatchEvent("ADDED", config_map("first", v="2")))
    assert not order(WatchEvent("ADDED", config_map("second", v="2")))
    assert "I6" in order(WatchEvent("MODIFIED", config_map("second", v="3")))
    assert not order(WatchEvent("MODIFIED", config_map("first", v="3")))
    assert "I6" in order(WatchEvent("DELETED", config_map("first", v="3")))


def test_an_observation_that_goes_back_is_seen() -> None:
    forward = Forward()

    def told(**more: Any) -> str:
        observed = {"boot": "a", "count": 5, "receivedAt": "T5", "release": 2, "epoch": 1, "seq": 2} | more
        obj = {"metadata": {"name": "web"}, "status": {"observed": observed}}
        return forward(WatchEvent("MODIFIED", obj))

    assert not told()
    assert "it was received earlier" in told(receivedAt="T4")
    assert not told(boot="b", count=1, receivedAt="T6")
    assert "an ended process is heard again" in told(boot="a", count=9, receivedAt="T7")
    assert not told(boot="c", receivedAt="T8", release=1, seq=1), "a new process may know less"
    assert not told(boot="c", receivedAt="T8")
    assert "it is of an earlier release" in told(boot="c", receivedAt="T9", release=1)
    assert "it is of an earlier assignment" in told(boot="c", receivedAt="T9", release=1, seq=1)
