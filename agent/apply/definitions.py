"""Waiting for a CRD to be served, so that its resources can follow in the same round."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.apply.failures import explain
from agent.apply.result import Action
from agent.contract.errors import AxletreeError
from agent.contract.health import HealthState
from agent.health import evaluate

if TYPE_CHECKING:
    from agent.apply.result import ChangeEntry
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_LIMIT = 30.0
_POLL = (0.02, 0.5)


async def wait_established(
    client: RestClient, mapper: RestMapper, entry: ChangeEntry, *, deadline: float
) -> ChangeEntry:
    """The entry with the established CRD, or failed: at once for taken names, else when time is over.

    Afterwards the mapper asks again for that group, if the CRD was written at all.
    """
    if entry.action is Action.FAILED or entry.live is None:
        return entry
    live = entry.live
    if entry.action is not Action.UNCHANGED:
        mapper.forget(live["spec"]["group"])
    give_up = min(deadline, asyncio.get_running_loop().time() + _LIMIT)
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{entry.ref.name}"
    pause, longest = _POLL
    while True:
        health = evaluate(live)
        if health.state is HealthState.HEALTHY:
            mapper.forget(live["spec"]["group"]) if live is not entry.live else None
            return _with(entry, live)
        if health.state is HealthState.DEGRADED:
            return _failed(entry, live, reason="NamesNotAccepted", message=health.message)
        if asyncio.get_running_loop().time() >= give_up:
            return replace(
                _failed(entry, live, reason="NotEstablished", message=health.message), transient=True
            )
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        pause = min(longest, pause * 2)
        try:
            live = await client.get(path)
        except AxletreeError as error:
            failure = explain(error, entry.ref)
            failed = _failed(entry, live, reason=failure.reason, message=failure.message)
            return replace(failed, transient=failure.transient, retry_after=failure.retry_after)


def _with(entry: ChangeEntry, live: Manifest) -> ChangeEntry:
    return replace(entry, live=live, resource_version=live["metadata"]["resourceVersion"])


def _failed(entry: ChangeEntry, live: Manifest, *, reason: str, message: str) -> ChangeEntry:
    return replace(_with(entry, live), action=Action.FAILED, reason=reason, message=message)
