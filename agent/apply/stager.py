"""A round's objects in their order: step by step, stage by stage, all of a stage at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.apply.definitions import wait_established
from agent.apply.failures import NAMESPACE_MISSING
from agent.apply.namespaces import namespace_ref
from agent.apply.order import Stage, stages
from agent.apply.prepare import CRD, declared_scopes
from agent.apply.result import Action, ChangeEntry
from agent.apply.round import blocked_entry, failed_entry, not_healthy
from agent.contract.errors import AxletreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.apply.namespaces import Namespaces
    from agent.apply.prepare import Desired
    from agent.apply.round import Gate, Round
    from agent.apply.writer import Writer
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_PATIENCE = 10.0
"""Seconds for which the kinds of a CRD that was just established may still be unknown to the API server."""


class Stager:
    """Leaves an entry in the round for each object."""

    def __init__(
        self,
        client: RestClient,
        mapper: RestMapper,
        writer: Writer,
        namespaces: Namespaces,
        slots: asyncio.Semaphore,
    ) -> None:
        self._client, self._mapper = client, mapper
        self._writer, self._namespaces, self._slots = writer, namespaces, slots

    async def own_namespace(self, round_: Round, desired: Sequence[Desired]) -> None:
        """Have the app's namespace where the agent makes it; what goes there is skipped where that fails."""
        name = round_.policy.namespace
        if not round_.policy.create_namespace or name in round_.no_namespace:
            return
        try:
            await self._namespaces.for_round(round_.policy, desired, round_.inventory)
        except AxletreeError as error:
            round_.entries.append(failed_entry(namespace_ref(name), error))
            round_.no_namespace[name] = "it could not be made"

    async def run(self, round_: Round, ordered: Sequence[Sequence[Desired]], gate: Gate | None) -> str:
        """Apply step by step; gives what the next one waits for."""
        for number, step in enumerate(ordered):
            for stage, items in stages(step, kind=lambda item: item.ref.group_kind):
                await self._stage(round_, stage, items)
            later = [item for each in ordered[number + 1 :] for item in each]
            held = not_healthy(round_, {item.ref for item in step}, gate) if gate and later else ""
            if held:
                round_.entries.extend(
                    ChangeEntry(item.ref, Action.SKIPPED, "WaveWaiting", f"waits for {held}")
                    for item in later
                )
                return held
        return ""

    async def _stage(self, round_: Round, stage: Stage, items: Sequence[Desired]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(round_, item)) for item in items]
        for item, task in zip(items, tasks, strict=True):
            entry = task.result()
            round_.entries.append(entry)
            if entry.action is not Action.FAILED:
                continue
            if stage is Stage.NAMESPACES:
                round_.no_namespace[item.ref.name] = entry.reason
            elif stage is Stage.DEFINITIONS:
                for kind in declared_scopes([item.manifest]):
                    round_.no_definition[kind] = entry.reason

    async def _one(self, round_: Round, item: Desired) -> ChangeEntry:
        blocked = blocked_entry(round_, item.ref)
        if blocked is not None:
            return blocked
        async with self._slots:
            entry = await self._settle(round_, item)
            policy = round_.policy
            if (
                entry.reason == NAMESPACE_MISSING
                and policy.create_namespace
                and item.ref.namespace == policy.namespace
            ):
                # Somebody deleted the namespace that we had made.
                self._namespaces.forget([policy.namespace])
                await self.own_namespace(round_, ())
                entry = blocked_entry(round_, item.ref) or await self._settle(round_, item)
            if item.ref.group_kind == CRD:
                entry = await wait_established(self._client, self._mapper, entry, deadline=round_.deadline)
            return entry

    async def _settle(self, round_: Round, item: Desired) -> ChangeEntry:
        return await self._writer.settle(
            item,
            live=round_.view(item.ref),
            entry=round_.inventory.entries.get(item.ref),
            impersonate=round_.impersonate,
            deadline=round_.deadline,
            patience=_PATIENCE if item.ref.group_kind in round_.defined else 0.0,
        )
