"""Scope and stamp every object of a bundle before anything is written; kinds that nobody knows fail alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.apply.errors import DuplicateObject, NamespaceOnClusterScoped
from agent.apply.options import options_of
from agent.apply.prepare import Desired, declared_scopes, identity, prepare
from agent.apply.round import failed_entry
from agent.apply.shape import well_formed
from agent.contract.errors import AxletreeError
from agent.contract.manifest import GroupKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.apply.result import ChangeEntry
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.discovery import RestMapper


async def prepared(
    mapper: RestMapper, objects: Sequence[Manifest], policy: ApplyPolicy, *, applyset: str, app: str
) -> tuple[list[Desired], list[ChangeEntry]]:
    """What to apply, and what failed already.

    Raises `ObjectInvalid`, `NamespaceOnClusterScoped`, `DuplicateObject`.
    """
    well_formed(objects)
    refs = [identity(obj) for obj in objects]
    scopes = await _scopes(mapper, objects)
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
        scoped = ref._replace(namespace=policy.namespace) if namespaced and not ref.namespace else ref
        if scoped in desired:
            raise DuplicateObject(f"{scoped} is in the bundle twice")
        options = options_of(obj, scoped, policy)
        desired[scoped] = prepare(obj, ref=scoped, applyset=applyset, app=app, options=options)
    return list(desired.values()), unresolved


async def _scopes(
    mapper: RestMapper, objects: Sequence[Manifest]
) -> dict[tuple[str, str], bool | AxletreeError]:
    """(apiVersion, kind) -> namespaced, or why nobody can say. The bundle's own CRDs come first."""
    declared = declared_scopes(objects)
    kinds = dict.fromkeys((obj["apiVersion"], obj["kind"]) for obj in objects)

    async def one(api_version: str, kind: str) -> bool | AxletreeError:
        own = declared.get(GroupKind(api_version.rpartition("/")[0], kind))
        if own is not None:
            return own
        try:
            return (await mapper.resource(api_version, kind)).namespaced
        except AxletreeError as error:
            return error

    found = await asyncio.gather(*(one(*key) for key in kinds))
    return dict(zip(kinds, found, strict=True))
