"""One app's round on a cluster: check, record, apply stage by stage, prune, record. Reads top to bottom.

The inventory is saved before the first write, with everything that may exist afterwards, and again once it is
known what does: killed at any instruction, the agent never has an object that no inventory names. A round
that adds and removes nothing saves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeAlias

from agent.apply.definitions import wait_established
from agent.apply.errors import DuplicateObject, NamespaceOnClusterScoped, ServiceAccountMissing
from agent.apply.failures import NAMESPACE_MISSING
from agent.apply.inventory import Entry
from agent.apply.options import options_of
from agent.apply.order import Stage, stages
from agent.apply.plan import Unseen, to_prune
from agent.apply.prepare import CRD, JOB, NAMESPACE, Desired, declared_scopes, identity, prepare
from agent.apply.prune import Pruner
from agent.apply.result import Action, ApplyResult, ChangeEntry, Drift
from agent.apply.round import Gate, Round, View, blocked_entry, failed_entry, not_healthy
from agent.apply.waves import steps
from agent.apply.writer import Writer
from agent.contract.errors import ApiError, AxletreeError
from agent.contract.manifest import GroupKind, ObjectRef
from agent.contract.names import AGENT_NAMESPACE
from agent.health.batch import job_complete

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from agent.apply.fields import FieldSet
    from agent.apply.inventory import Inventory
    from agent.apply.plan import Live
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

Save: TypeAlias = "Callable[[Inventory], Awaitable[None]]"

_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409
_PATIENCE = 10.0
"""Seconds for which the kinds of a CRD that was just established may still be unknown to the API server."""


def unknown(_: ObjectRef) -> Live:
    """The view of someone who watches nothing."""
    return Unseen.UNKNOWN


class Applier:
    """Applies one app's bundles and remembers what it left behind. One round at a time: callers queue by app.

    `view(ref)` gives the live object as a watch has it, `Unseen.ABSENT` if a synced watch has none, and
    `Unseen.UNKNOWN` where nobody watches. Watched objects need their managedFields, at least our own entry
    (`agent.apply.fields.trim`). `deadline` is in the running loop's time. `namespaces` are those that were seen to
    exist, shared by the appliers of one cluster; a wrong one costs a request, no more.
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
    ) -> None:
        self._client = client
        self._mapper = mapper
        self._applyset = applyset
        self._app = app
        self._manager = manager
        self._agent_namespace = agent_namespace
        self._slots = asyncio.Semaphore(concurrency)
        self._writer = Writer(client, mapper, manager=manager)
        self._pruner = Pruner(client, mapper, manager=manager, applyset=applyset, concurrency=concurrency)
        self._namespaces: set[str] = set() if namespaces is None else namespaces
        self._ahead: tuple[str, asyncio.Task[None]] | None = None

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
        gate: Gate | None = None,
    ) -> ApplyResult:
        """Make live what the bundle says. `elsewhere`: objects that other apps here want, never pruned.

        `gate` judges objects: with it, a step of the bundle begins when all of those before it are Healthy, and what
        it waits for is the result's `waiting`; without it, steps are an order and nothing is waited for.
        Raises `ObjectInvalid`, `NamespaceOnClusterScoped`, `DuplicateObject`, `DependsOnCycle` or
        `ServiceAccountMissing` before any write; what `save` raises passes through. All else is in the result.
        """
        if not objects and inventory.entries and not policy.allow_empty:
            return ApplyResult((), inventory, ok=True, held="EmptyBundle")
        desired, unresolved = await self._prepare(objects, policy)
        ordered = steps(desired)
        round_ = Round(
            policy=policy,
            inventory=inventory.union(Entry(item.ref, item.version) for item in desired),
            view=view,
            impersonate=await self._identity(policy.service_account),
            deadline=deadline,
            defined=frozenset(declared_scopes(objects)),
            entries=unresolved,
        )
        saved = inventory
        if round_.inventory is not inventory:
            await save(round_.inventory)
            saved = round_.inventory
        if policy.create_namespace:
            await self._own_namespace(round_, desired)
        waiting = await self._steps(round_, ordered, gate)
        after = round_.inventory.updated(self._applied(round_, desired))
        ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        pending: set[ObjectRef] = set()
        if ok and policy.prune and not waiting:
            wanted = {item.ref for item in desired}
            after, pending = await self._prune(round_, after, wanted=wanted, elsewhere=elsewhere)
            ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        if after != saved:
            await save(after)
        return ApplyResult(
            tuple(round_.entries), after, ok=ok, pending=tuple(sorted(pending)), waiting=waiting
        )

    async def delete_all(
        self,
        inventory: Inventory,
        policy: ApplyPolicy,
        *,
        save: Save,
        deadline: float,
        elsewhere: AbstractSet[ObjectRef] = frozenset(),
    ) -> ApplyResult:
        """Take the app away. Done when the result's inventory is empty; until then, call again.

        Raises `ServiceAccountMissing` before any write.
        """
        impersonate = await self._identity(policy.service_account)
        round_ = Round(policy, inventory, unknown, impersonate, deadline, frozenset())
        after, pending = await self._prune(round_, inventory, wanted=frozenset(), elsewhere=elsewhere)
        if after != inventory:
            await save(after)
        ok = not any(entry.action is Action.FAILED for entry in round_.entries)
        return ApplyResult(tuple(round_.entries), after, ok=ok, pending=tuple(sorted(pending)))

    async def check(
        self,
        objects: Sequence[Manifest],
        policy: ApplyPolicy,
        *,
        inventory: Inventory,
        deadline: float,
        view: View = unknown,
    ) -> tuple[Drift, ...]:
        """What differs from the bundle, without a write: for apps whose drift is only told.

        Raises `TransientError` or `ApiError` where the API server cannot say.
        """
        desired, _ = await self._prepare(objects, policy)
        impersonate = await self._identity(policy.service_account)

        async def one(item: Desired) -> Drift | None:
            async with self._slots:
                entry = inventory.entries.get(item.ref)
                return await self._writer.check(
                    item, live=view(item.ref), entry=entry, impersonate=impersonate
                )

        async with asyncio.timeout_at(deadline):
            found = await asyncio.gather(*(one(item) for item in desired))
        return tuple(drift for drift in found if drift is not None)

    def fields_of(self, ref: ObjectRef) -> FieldSet | None:
        """What the bundle sets in one of its objects, whoever owns it by now; None if that is not known."""
        return self._writer.fields_of(ref)

    def share(self, ref: ObjectRef, live: Manifest) -> None:
        """Have one field set in memory instead of two equal ones."""
        self._writer.share(ref, live)

    def observe(self, inventory: Inventory, live: Manifest, ref: ObjectRef) -> Inventory:
        """Record what only a watch sees in time: a Job that completes, before its TTL takes it away.

        Gives the same inventory where there is nothing new; else the caller saves it.
        """
        digest = self._writer.digest_of(ref)
        if ref.group_kind != JOB or not digest or not job_complete(live):
            return inventory
        return inventory.completed(ref, digest)

    async def _prepare(
        self, objects: Sequence[Manifest], policy: ApplyPolicy
    ) -> tuple[list[Desired], list[ChangeEntry]]:
        """Scope and stamp every object before anything is written; kinds that nobody knows fail alone."""
        refs = [identity(obj) for obj in objects]
        scopes = await self._scopes(objects)
        desired: dict[ObjectRef, Desired] = {}
        unresolved: list[ChangeEntry] = []
        for obj, ref in zip(objects, refs, strict=True):
            namespaced = scopes[obj["apiVersion"], ref.kind]
            if isinstance(namespaced, AxletreeError):
                unresolved.append(failed_entry(ref, namespaced))
                continue
            if ref.namespace and not namespaced:
                raise NamespaceOnClusterScoped(
                    f"{ref.group_kind} {ref.name} is cluster-scoped: its namespace {ref.namespace!r} must go"
                )
            if namespaced and not ref.namespace:
                scoped = ObjectRef(ref.group, ref.kind, policy.namespace, ref.name)
            else:
                scoped = ref
            if scoped in desired:
                raise DuplicateObject(f"{scoped} is in the bundle twice")
            options = options_of(obj, scoped, policy)
            desired[scoped] = prepare(
                obj, ref=scoped, applyset=self._applyset, app=self._app, options=options
            )
        return list(desired.values()), unresolved

    async def _scopes(self, objects: Sequence[Manifest]) -> dict[tuple[str, str], bool | AxletreeError]:
        """(apiVersion, kind) -> namespaced, or why nobody can say. The bundle's own CRDs come first."""
        declared = declared_scopes(objects)
        kinds = dict.fromkeys((obj["apiVersion"], obj["kind"]) for obj in objects)

        async def one(api_version: str, kind: str) -> bool | AxletreeError:
            own = declared.get(GroupKind(api_version.rpartition("/")[0], kind))
            if own is not None:
                return own
            try:
                return (await self._mapper.resource(api_version, kind)).namespaced
            except AxletreeError as error:
                return error

        found = await asyncio.gather(*(one(*key) for key in kinds))
        return dict(zip(kinds, found, strict=True))

    def look_ahead(self, policy: ApplyPolicy) -> asyncio.Task[None] | None:
        """Begin to ask for the round's ServiceAccount: the answer comes while the round does something else.

        The next `apply`, `check` or `delete_all` takes it; for another account, or without this, it asks itself.
        """
        name = policy.service_account
        if name is None:
            return None
        task = asyncio.create_task(self._exists(name), name=f"ServiceAccount {name}")
        self._ahead = name, task
        return task

    async def _identity(self, service_account: str | None) -> str | None:
        """The user to write as. The API server would let one impersonate an account that does not exist."""
        ahead, self._ahead = self._ahead, None
        if service_account is None:
            return None
        if ahead is not None and ahead[0] == service_account:
            await ahead[1]
        else:
            await self._exists(service_account)
        return f"system:serviceaccount:{self._agent_namespace}:{service_account}"

    async def identity(self, policy: ApplyPolicy) -> str | None:
        """The user to write as beside a round. Raises `ServiceAccountMissing`."""
        if policy.service_account is None:
            return None
        await self._exists(policy.service_account)
        return f"system:serviceaccount:{self._agent_namespace}:{policy.service_account}"

    async def own_namespace(self, policy: ApplyPolicy) -> None:
        """Make the app's namespace before its first round, where the agent is to make it."""
        if policy.create_namespace and policy.namespace not in self._namespaces:
            await self._ensure_namespace(policy.namespace)
            self._namespaces.add(policy.namespace)

    async def _exists(self, service_account: str) -> None:
        path = f"/api/v1/namespaces/{self._agent_namespace}/serviceaccounts/{service_account}"
        try:
            await self._client.get(path)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            raise ServiceAccountMissing(
                f"ServiceAccount {self._agent_namespace}/{service_account} does not exist on this cluster"
            ) from error

    async def _own_namespace(self, round_: Round, desired: Sequence[Desired]) -> None:
        """Make the app's namespace, with the agent's own rights. It is nobody's member and is never pruned."""
        name = round_.policy.namespace
        ref = ObjectRef("", "Namespace", "", name)
        settled = name in self._namespaces or name in round_.no_namespace
        if settled or any(item.ref == ref for item in desired):
            return
        if desired and any(e.uid and ref.namespace == name for ref, e in round_.inventory.entries.items()):
            self._namespaces.add(name)  # it held something of ours; if it went, the apply will say so
            return
        try:
            await self._ensure_namespace(name)
        except AxletreeError as error:
            round_.entries.append(failed_entry(ref, error))
            round_.no_namespace[name] = "it could not be made"
        else:
            self._namespaces.add(name)

    async def _ensure_namespace(self, name: str) -> None:
        """Make it where it is missing, with one request in most cases."""
        body: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await self._client.create("/api/v1/namespaces", body, field_manager=self._manager)
        except ApiError as error:
            if error.status == _CONFLICT:
                return
            if error.status == _FORBIDDEN:  # who may not make any may still have been given this one
                with contextlib.suppress(ApiError):
                    await self._client.get(f"/api/v1/namespaces/{name}")
                    return
            raise

    async def _steps(self, round_: Round, ordered: Sequence[Sequence[Desired]], gate: Gate | None) -> str:
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
                self._namespaces.discard(policy.namespace)
                await self._own_namespace(round_, ())
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

    async def _prune(
        self,
        round_: Round,
        inventory: Inventory,
        *,
        wanted: AbstractSet[ObjectRef],
        elsewhere: AbstractSet[ObjectRef],
    ) -> tuple[Inventory, set[ObjectRef]]:
        candidates, moved = to_prune(inventory.entries.keys(), wanted=wanted, elsewhere=elsewhere)
        round_.entries.extend(
            ChangeEntry(ref, Action.SKIPPED, "Moved", "another app wants it") for ref in sorted(moved)
        )
        if not candidates:
            return inventory.without(moved), set()
        pruned = await self._pruner.prune(
            [inventory.entries[ref] for ref in sorted(candidates)],
            impersonate=round_.impersonate,
            deadline=round_.deadline,
            applied_uids=frozenset(entry.uid for entry in round_.entries if entry.uid),
        )
        for ref in pruned.gone:
            self._writer.forget(ref)
        self._namespaces -= {ref.name for ref in pruned.gone if ref.group_kind == NAMESPACE}
        round_.entries.extend(pruned.entries)
        return inventory.without(moved | pruned.gone), pruned.pending

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
            yield Entry(change.ref, item.version, change.uid, done)
