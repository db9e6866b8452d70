"""Asking agents: a question to each app's, until each is answered, and then taken back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from hub.cli.connect import NOT_FOUND
from hub.cli.kinds import APPS, key_of
from hub.cli.names import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.reach import Body, Reach


async def ask(
    hub: Reach,
    act: str,
    apps: Sequence[Manifest],
    question: Callable[[Manifest], Body],
    *,
    undo: Body,
    seconds: float,
    over: Callable[[Manifest, str], bool],
) -> list[tuple[Manifest, str]]:
    """Give the apps (of one namespace) as they are once each is `over`, or when the time is; with their requests.

    An app that is deleted meanwhile is left out.
    """
    asked: dict[str, str] = {}
    (namespace,) = {obj["metadata"]["namespace"] for obj in apps}
    try:
        for obj in apps:
            done = await hub.act(act, Found(APPS, obj), question(obj))
            asked[key_of(obj)] = done.request if done is not None else ""
        async with hub.following(APPS.path(namespace)) as followed:

            def now() -> Mapping[str, Manifest]:
                return {key_of(obj): obj for obj in followed.objects() if key_of(obj) in asked}

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not all(over(obj, asked[key]) for key, obj in now().items()):
                        await followed.change()
            return [(obj, asked[key]) for key, obj in sorted(now().items())]
    finally:
        for obj in apps:
            if key_of(obj) in asked:
                await _take_back(hub, act, Found(APPS, obj), undo)


async def _take_back(hub: Reach, act: str, one: Found, undo: Body) -> None:
    """An app that is deleted by now is not asked anything."""
    from hub.web.problems import WebError  # noqa: PLC0415 - models, which commands over Kubernetes do not need

    try:
        await hub.act(act, one, undo)
    except (ApiError, WebError) as error:
        if error.status != NOT_FOUND:
            raise
