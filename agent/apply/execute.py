"""One app's round on a cluster: check, record, apply stage by stage, prune, record. Reads top to bottom.

The inventory is saved before the first write, with everything that may exist afterwards, and again once it is
known what does: killed at any instruction, the agent never has an object that no inventory names. A round
that adds and removes nothing saves nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.apply.accounts import Accounts
from agent.apply.deleter import Deleter, Save
from agent.apply.inventory import Entry
from agent.apply.namespaces import Namespaces
from agent.apply.prepare import JOB, Desired, declared_scopes
from agent.apply.prune import Pruner
from agent.apply.result import Action, ApplyResult, ChangeEntry, Drift
from agent.apply.round import Gate, Round, View, unknown
from agent.apply.scoping import prepared
from agent.apply.stager import Stager
from agent.apply.waves import steps
from agent.apply.writer import Writer
from agent.contract.errors import TransientError
from agent.contract.names import AGENT_NAMESPACE
from agent.health.batch import job_complete
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from agent.apply.fields import FieldSet
    from agent.apply.inventory import Inventory
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper


class Applier:
    """Applies one app's bundles and remembers what it left behind. One round at a time: callers queue by app.

    `view(ref)` gives the live object as a watch has it, `Unseen.ABSENT` if a synced watch has none, and
    `Unseen.UNKNOWN` where nobody watches. Watched objects need their managedFields, at least our own entry
    (`agent.apply.fields.trim`). `deadline` is in the running loop's time. `namespaces` are those that were seen to
    exist, shared by the appliers of one cluster; a wrong one costs a request, no more. So are `asked`, their questions
    for accounts.
    """

    def __init__(
        self,
        client: RestClient,
        mapper: RestMapper,
        *,
        manager: str,
        applyset: str,
        app: str,
        agent_namespace: str = AGENT_NAMESPACE,
        concurrency: int = 16,
        namespaces: set[str] | None = None,
        asked: dict[str, asyncio.Task[None]] | None = None,
    ) -> None:
        self._mapper = mapper
        self._applyset = applyset
        self._app = app
        self._slots = asyncio.Semaphore(concurrency)
        self._writer = Writer(client, mapper, manager=manager)
        self.accounts = Accounts(client, namespace=agent_namespace, asked=asked)
        self.namespaces = Namespaces(
            client, manager=manager, known=set() if namespaces is None else namespaces
        )
        self._deleter = Deleter(
            Pruner(client, mapper, manager=manager, applyset=applyset, concurrency=concurrency),
            accounts=self.accounts,
            namespaces=self.namespaces,
            memories=self._writer.memories,
        )
        self.delete_all = self._deleter.delete
        self._stager = Stager(client, mapper, self._writer, self.namespaces, self._slots)

    async def apply(
        self,
        objects: Sequence[Manifest],
        policy: ApplyPolicy,
        *,
        inventory: Inventory,
        save: Save,
        deadline: float,
        view: View = unknown,
        elsewhere: AbstractSet[ObjectRef] = frozenset(),
        taken: Mapping[ObjectRef, str] | None = None,
        moving: AbstractSet[ObjectRef] = frozenset(),
        gate: Gate | None = None,
        only: ObjectRef | None = None,
    ) -> ApplyResult:
        """Make live what the bundle says. `elsewhere`: objects that other apps here want, never pruned.

        `taken`: objects that other apps own, and which; those of `moving` are let go of, for the rest the round fails.

        `gate` judges objects: with it, a step of the bundle begins when all of those before it are Healthy, and what
        it waits for is the result's `waiting`; without it, steps are an order and nothing is waited for.

        `only` this object of the bundle: nothing else is written, and nothing pruned.
        Raises `ObjectInvalid`, `NamespaceOnClusterScoped`, `DuplicateObject`, `DependsOnCycle` or
        `ServiceAccountMissing` before any write; what `save` raises passes through. All else is in the result.
        """
        if not objects and inventory.entries and not policy.allow_empty:
            return ApplyResult((), inventory, ok=True, held="EmptyBundle")
        desired, unresolved = await self._prepared(objects, policy)
        if only is not None:
            desired = [item for item in desired if _means(only, item.ref)]
            unresolved = [entry for entry in unresolved if _means(only, entry.ref)]
        ordered = steps(desired)
        taken = taken or {}
        round_ = Round(
            policy=policy,
            inventory=inventory.union(
                Entry(item.ref, item.version) for item in desired if item.ref not in taken
            ),
            view=view,
            impersonate=await self.accounts.user(policy),
            deadline=deadline,
            defined=frozenset(declared_scopes(objects)),
            entries=unresolved,
            taken=taken,
            moving=moving,
        )
        saved = inventory
        if round_.inventory is not inventory:
            await save(round_.inventory)
            saved = round_.inventory
        await self._stager.own_namespace(round_, desired)
        waiting = await self._stager.run(round_, ordered, gate)
        after = round_.inventory.updated(self._applied(round_, desired))
        ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        pending: set[ObjectRef] = set()
        if ok and policy.prune and not waiting and only is None:
            wanted = {item.ref for item in desired}
            after, pending = await self._deleter.prune(round_, after, wanted=wanted, elsewhere=elsewhere)
            ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        if after != saved:
            await save(after)
        return ApplyResult(
            tuple(round_.entries), after, ok=ok, pending=tuple(sorted(pending)), waiting=waiting
        )

    async def finish_pruning(
        self,
        objects: Sequence[Manifest],
        policy: ApplyPolicy,
        *,
        inventory: Inventory,
        save: Save,
        deadline: float,
        elsewhere: AbstractSet[ObjectRef] = frozenset(),
    ) -> ApplyResult:
        """Delete what these objects, which were applied in full, left out; nothing else is written.

        Nothing at all happens while it cannot be said what all of them are. Raises as `apply`.
        """
        desired, unresolved = await self._prepared(objects, policy)
        if unresolved:
            left = inventory.entries.keys() - {item.ref for item in desired}
            return ApplyResult(tuple(unresolved), inventory, ok=False, pending=tuple(sorted(left)))
        wanted = frozenset(item.ref for item in desired)
        return await self._deleter.delete(
            inventory,
            policy,
            save=save,
            deadline=deadline,
            elsewhere=elsewhere,
            wanted=wanted,
            decided=False,
        )

    async def check(
        self,
        objects: Sequence[Manifest],
        policy: ApplyPolicy,
        *,
        inventory: Inventory,
        deadline: float,
        view: View = unknown,
        taken: Mapping[ObjectRef, str] | None = None,
    ) -> tuple[Drift, ...]:
        """What differs from the bundle, without a write: for apps whose drift is only told. Not what is `taken`.

        Raises `TransientError` or `ApiError` where the API server cannot say.
        """
        desired, unresolved = await self._prepared(objects, policy)
        silent = next((each for each in unresolved if each.reason != NoMatch.reason), None)
        if silent is not None:  # of what nobody can say, nothing is told
            raise TransientError(
                f"{silent.ref}: {silent.message}", reason=silent.reason, retry_after=silent.retry_after
            )
        impersonate = await self.accounts.user(policy)

        async def one(item: Desired) -> Drift | None:
            async with self._slots:
                entry = inventory.entries.get(item.ref)
                return await self._writer.check(
                    item, live=view(item.ref), entry=entry, impersonate=impersonate
                )

        try:
            async with asyncio.timeout_at(deadline):
                found = await asyncio.gather(
                    *(one(item) for item in desired if item.ref not in (taken or {}))
                )
        except TimeoutError as error:
            raise TransientError("the round's time was over", reason="DeadlineExceeded") from error
        gone = tuple(Drift(each.ref, missing=True) for each in unresolved)
        return (*gone, *(drift for drift in found if drift is not None))

    def fields_of(self, ref: ObjectRef) -> FieldSet | None:
        """What the bundle sets in one of its objects, whoever owns it by now; None if that is not known."""
        return self._writer.memories.fields_of(ref)

    def print_of(self, ref: ObjectRef, live: Manifest) -> str | None:
        """The fingerprint of that very state, where it is known from its apply; None where it has to be made."""
        return self._writer.memories.print_of(ref, live)

    def share(self, ref: ObjectRef, live: Manifest) -> None:
        """Have one field set in memory instead of two equal ones."""
        self._writer.memories.share(ref, live)

    def observe(self, inventory: Inventory, live: Manifest, ref: ObjectRef) -> Inventory:
        """Record what only a watch sees in time: a Job that completes, before its TTL takes it away.

        Gives the same inventory where there is nothing new; else the caller saves it.
        """
        digest = self._writer.memories.digest_of(ref)
        if ref.group_kind != JOB or not digest or not job_complete(live):
            return inventory
        return inventory.completed(ref, digest)

    async def _prepared(
        self, objects: Sequence[Manifest], policy: ApplyPolicy
    ) -> tuple[list[Desired], list[ChangeEntry]]:
        return await prepared(self._mapper, objects, policy, applyset=self._applyset, app=self._app)

    def _applied(self, round_: Round, desired: Iterable[Desired]) -> Iterable[Entry]:
        """The inventory's entries after the round, for what is known to exist."""
        by_ref = {item.ref: item for item in desired}
        for change in round_.entries:
            item = by_ref.get(change.ref)
            if item is None or not change.uid or change.action in {Action.FAILED, Action.SKIPPED}:
                continue
            before = round_.inventory.entries.get(change.ref)
            done = before.done if before is not None and before.done == item.digest else ""
            if change.ref.group_kind == JOB and change.live is not None and job_complete(change.live):
                done = item.digest
            stayed = self._writer.memories.residue_kept(change.ref)
            yield Entry(change.ref, item.version, change.uid, done, stayed)


def _means(only: ObjectRef, ref: ObjectRef) -> bool:
    """Whether it is the same object; where one of both does not know its namespace yet, that does not count."""
    spaces = {only.namespace, ref.namespace}
    return (only.group_kind, only.name) == (ref.group_kind, ref.name) and len(spaces - {""}) < 2  # noqa: PLR2004
