"""What each child should run: render it, within its project's rules.

What did not change is not rendered (the renderer's key is the Git tree id of each path read, plus parameters),
and an equal digest is no new target.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, AxletreeError, TerminalError
from hub.core.inputplaces import InputMisplaced, check_same, places, replaced, said, suspects
from hub.core.inputs import Bound, declared
from hub.core.insert import check_places, with_inputs
from hub.core.pins import pin_of
from hub.operator import views
from hub.operator.commits import Commits
from hub.operator.objects import key_of
from hub.operator.policy import apply_policy
from hub.operator.sourcing import allowed, check_all_signed, resolved_of
from hub.operator.state import Target
from hub.telemetry.logs import about

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.contract.manifest import Manifest
    from hub.api.project import ProjectSpec
    from hub.core.model import Fleet
    from hub.operator.context import HubContext
    from hub.render.renderer import Rendered

    Render = Callable[..., Awaitable[Rendered]]


@dataclass(slots=True)
class TargetSet:
    """The outcome of one pass over some children."""

    targets: dict[str, Target] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the revisions that each child was made from."""
    changed: bool = False
    """Whether any child's digest differs from its last target."""

    @property
    def touched(self) -> Sequence[str]:
        return tuple(self.targets)


class Targets:
    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._harmless: dict[str, tuple[object, ...]] = {}
        """By app: the last rendering whose inputs were found where they may be."""

    async def compute(self, keys: Sequence[str], fleet: Fleet, commits: Commits, *, plan: int) -> TargetSet:
        """Render what changed. `plan` is the number that a new target gets; an equal digest keeps its own."""
        result = TargetSet()
        answers = await asyncio.gather(*(self._one(key, fleet, commits, plan) for key in keys))
        for key, target, revisions in answers:
            if target is None:
                continue
            current = self._hub.state.targets.get(key)
            same = current is not None and (current.digest, current.blob) == (target.digest, target.blob)
            if current is not None and same:
                # A commit that changes nothing for a child writes nothing to it: not even the commit's name.
                kept = current.revision if current.digest else target.revision
                result.targets[key] = replace(target, plan=current.plan, revision=kept)
            else:
                result.targets[key] = target
                result.changed = True
            result.revisions |= revisions
            result.reads[key] = tuple(revisions)
        return result

    def adopt(self, targets: TargetSet) -> None:
        """From here on these are the targets that releases go to."""
        self._hub.state.targets |= targets.targets

    async def bind(self, key: str, values: Bound, fleet: Fleet) -> None:
        """Make the target of an app with inputs, at its plan's own commits; nothing else is rendered.

        Raises what rendering raises.
        """
        obj = self._hub.caches.applications.get(key)
        current = self._hub.state.targets.get(key)
        if obj is None:
            return
        owner = views.owner_of(obj)
        state = self._hub.state.set(owner) if owner else self._hub.state.app(key)
        commits = Commits(self._hub.source, fresh=False)
        commits.pin(state.revisions)
        digest, blob, revision = await self._render(key, obj, fleet, commits, {}, values=values)
        plan = current.plan if current is not None else 1
        self._hub.state.targets[key] = _pinned(
            obj, Target(plan=plan, digest=digest, blob=blob, revision=revision)
        )

    def fail(self, key: str, error: Exception, *, permanent: bool) -> None:
        """There is no target with these values, and why."""
        current = self._hub.state.targets.get(key)
        plan = current.plan if current is not None else 1
        reason = error.reason if isinstance(error, AxletreeError) else "Invalid"
        self._hub.state.targets[key] = Target(plan=plan, problem=f"{reason}: {error}", permanent=permanent)

    async def _one(
        self, key: str, fleet: Fleet, commits: Commits, plan: int
    ) -> tuple[str, Target | None, dict[str, str]]:
        obj = self._hub.caches.applications.get(key)
        if obj is None:
            return key, None, {}
        owner, cluster = views.owner_of(obj) or "", str(obj["spec"].get("cluster", ""))
        with about(application=key, applicationset=owner, cluster=cluster):
            return await self._target(key, obj, fleet, commits, plan)

    async def _target(
        self, key: str, obj: Manifest, fleet: Fleet, commits: Commits, plan: int
    ) -> tuple[str, Target | None, dict[str, str]]:
        revisions: dict[str, str] = {}
        current = self._hub.state.targets.get(key)
        bound = self._bound(key, obj)
        try:
            target = await self._render(key, obj, fleet, commits, revisions, values=bound)
        except (AxletreeError, ValueError) as error:
            if isinstance(error, ApiError):
                raise
            if not isinstance(error, TerminalError | ValueError) and current is not None and current.digest:
                return key, current, revisions  # a source that is away changes nothing
            reason = error.reason if isinstance(error, AxletreeError) else "Invalid"
            permanent = isinstance(error, TerminalError | ValueError)
            return key, Target(plan=plan, problem=f"{reason}: {error}", permanent=permanent), revisions
        found = _pinned(obj, Target(plan=plan, digest=target[0], blob=target[1], revision=target[2]))
        same = current is not None and bool(found.digest) and current.digest == found.digest
        if bound is not None and not found.pinned and not same:
            # It changes, so it is bound to what its producers give once they are where this plan wants them.
            found = Target(plan=plan, revision=found.revision, unbound=True)
        return key, found, revisions

    def _bound(self, key: str, obj: Manifest) -> Bound | None:
        """What an app with inputs was rendered with last; None for an app without."""
        if not obj["spec"].get("inputs"):
            return None
        known = self._hub.state.bound.get(key)
        if known is None:
            known = Bound.from_json((obj.get("status") or {}).get("inputs") or ())
            self._hub.state.bound[key] = known
        return known

    async def _render(
        self,
        key: str,
        obj: Manifest,
        fleet: Fleet,
        commits: Commits,
        revisions: dict[str, str],
        *,
        values: Bound | None,
    ) -> tuple[str, str, str]:
        spec = views.application_spec(obj)
        cluster, project = allowed(key, spec, fleet)
        commits = commits.seen_by(key.partition("/")[0])
        resolved = await resolved_of(spec, commits, revisions)
        first = spec.sources[0]
        check_places(obj["spec"])
        if values is not None:
            if declared(spec.inputs) != values.declared:
                return "", "", resolved[first.address, first.reference]
            spec = views.application_spec({"spec": with_inputs(obj["spec"], values.values)})
        sealing_key = base64.b64decode(self._hub.caches.clusters.view()[cluster.name]["status"]["sealingKey"])
        await check_all_signed(commits, project, resolved)
        render = partial(
            self._hub.renderer.render,
            key,
            cluster=cluster,
            commits=resolved,
            policy=apply_policy(spec, project=project, cluster=cluster, fleet=fleet),
            project=project,
            fleet=fleet,
            sealing_key=sealing_key,
            relays=values.relays if values is not None else {},
        )
        rendered = await render(spec, version=_version(obj) if values is None else "")
        if values is not None and values.values:
            await self._check_places(obj, values, project, render, rendered)
        return rendered.digest, rendered.blob, resolved[first.address, first.reference]

    async def _check_places(
        self, obj: Manifest, values: Bound, project: ProjectSpec, render: Render, rendered: Rendered
    ) -> None:
        """What came from a spoke decides about no namespace, RBAC or image host. Raises `InputMisplaced`."""
        key, asked = key_of(obj), (rendered.digest, values.text, tuple(project.input_places))
        if self._harmless.get(key) != asked:
            await self._compare(obj, values, project, render, rendered)
            self._harmless[key] = asked

    async def _compare(
        self, obj: Manifest, values: Bound, project: ProjectSpec, render: Render, rendered: Rendered
    ) -> None:
        found = places(await self._hub.renderer.objects(rendered), project.input_places)
        words = suspects(values.values, found)
        if not words:
            return
        others = {name: replaced(value, words) for name, value in values.values.items()}
        try:
            again = await render(views.application_spec({"spec": with_inputs(obj["spec"], others)}))
        except TerminalError as error:
            raise InputMisplaced(said(list(found))) from error
        check_same(found, places(await self._hub.renderer.objects(again), project.input_places))


def _version(obj: Manifest) -> str:
    """What stands for the spec: it changes with it."""
    metadata = obj["metadata"]
    generation = metadata.get("generation")
    return f"{metadata.get('uid')}/{generation}" if generation is not None else ""


def _pinned(obj: Manifest, target: Target) -> Target:
    """The target, or the earlier release that it is held at."""
    pin = pin_of(obj, target.digest)
    if pin is None:
        return target
    return replace(
        target,
        digest=pin.digest,
        blob=pin.blob,
        revision=pin.revision,
        pinned=pin.by,
        rendered=target.digest,
    )
