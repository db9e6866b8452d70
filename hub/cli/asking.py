"""Asking agents: a question on each app, until each is answered, and then taken back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from hub.cli.act import annotate
from hub.cli.kinds import APPS, key_of
from hub.cli.names import Found
from hub.cli.reach import MANAGER
from hub.cli.watching import following

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient


async def ask(
    client: RestClient,
    apps: Sequence[Manifest],
    annotation: str,
    word: Callable[[Manifest], str],
    *,
    seconds: float,
    over: Callable[[Manifest], bool],
) -> list[Manifest]:
    """Give the apps (of one namespace) as they are once each is `over`, or when the time is.

    An app that is deleted meanwhile is left out.
    """
    for obj in apps:
        await annotate(client, Found(APPS, obj).path, {annotation: word(obj)})
    keys = {key_of(obj) for obj in apps}
    (namespace,) = {obj["metadata"]["namespace"] for obj in apps}
    try:
        async with following(client, APPS.path(namespace)) as followed:

            def found() -> list[Manifest]:
                by_key = {key_of(obj): obj for obj in followed.objects()}
                return [by_key[key] for key in sorted(keys & by_key.keys())]

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not all(map(over, found())):
                        await followed.change()
            return found()
    finally:
        for obj in apps:
            patch: dict[str, Any] = {"metadata": {"annotations": {annotation: None}}}
            await client.merge_patch(Found(APPS, obj).path, patch, field_manager=MANAGER)
