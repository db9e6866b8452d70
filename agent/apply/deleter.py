"""Deleting what an app has no more of, by its inventory: with its release, after it, or with the whole app."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agent.apply.plan import to_prune
from agent.apply.prepare import NAMESPACE
from agent.apply.result import MOVED, Action, ApplyResult, ChangeEntry
from agent.apply.round import Round, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from agent.apply.accounts import Accounts
    from agent.apply.inventory import Inventory
    from agent.apply.memories import Memories
    from agent.apply.namespaces import Namespaces
    from agent.apply.prune import Pruner
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import ObjectRef

Save: TypeAlias = "Callable[[Inventory], Awaitable[None]]"


class Deleter:
    """What leaves the inventory leaves the memories with it."""

    def __init__(
        self, pruner: Pruner, *, accounts: Accounts, namespaces: Namespaces, memories: Memories
    ) -> None:
        self._pruner = pruner
        self._accounts = accounts
        self._namespaces = namespaces
        self._memories = memories

    async def delete(
        self,
        inventory: Inventory,
        policy: ApplyPolicy,
        *,
        save: Save,
        deadline: float,
        elsewhere: AbstractSet[ObjectRef] = frozenset(),
        wanted: AbstractSet[ObjectRef] = frozenset(),
        decided: bool = True,
    ) -> ApplyResult:
        """Delete all of the inventory but what is `wanted`. Of a whole app: until the result's inventory is empty.

        `decided`: a person has it deleted, with its namespaces and definitions; else those wait for a yes.
        Raises `ServiceAccountMissing` before any write.
        """
        impersonate = await self._accounts.user(policy)
        round_ = Round(policy, inventory, unknown, impersonate, deadline, frozenset())
        after, pending = await self.prune(
            round_, inventory, wanted=wanted, elsewhere=elsewhere, decided=decided
        )
        if after != inventory:
            await save(after)
        ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        return ApplyResult(tuple(round_.entries), after, ok=ok, pending=tuple(sorted(pending)))

    async def prune(
        self,
        round_: Round,
        inventory: Inventory,
        *,
        wanted: AbstractSet[ObjectRef],
        elsewhere: AbstractSet[ObjectRef],
        decided: bool = False,
    ) -> tuple[Inventory, set[ObjectRef]]:
        """One pass of a round: gives the inventory after it, and what is not gone yet."""
        candidates, moved = to_prune(inventory.entries.keys(), wanted=wanted, elsewhere=elsewhere)
        round_.entries.extend(
            ChangeEntry(ref, Action.SKIPPED, MOVED, "another app wants it") for ref in sorted(moved)
        )
        if not candidates:
            return inventory.without(moved), set()
        applied = {entry.uid for entry in round_.entries}
        applied |= {inventory.entries[ref].uid for ref in wanted & inventory.entries.keys()}
        pruned = await self._pruner.prune(
            [inventory.entries[ref] for ref in sorted(candidates)],
            impersonate=round_.impersonate,
            deadline=round_.deadline,
            applied_uids=frozenset(applied - {""}),
            decided=decided,
        )
        for ref in pruned.gone:
            self._memories.forget(ref)
        self._namespaces.forget(ref.name for ref in pruned.gone if ref.group_kind == NAMESPACE)
        round_.entries.extend(pruned.entries)
        return inventory.without(moved | pruned.gone), pruned.pending
