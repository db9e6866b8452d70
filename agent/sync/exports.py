"""An app's outputs: read from its live objects as the app itself may read them, while it is Healthy.

An object is read anew when it changed, or when another release of the app is Healthy: one request an object, as the
Project's ServiceAccount, so that nobody learns through an output what the app may not read.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from agent.contract.errors import ApiError, AxletreeError, TransientError
from agent.contract.health import HealthState, SyncState
from agent.contract.output import MAX_VALUE, OutputReport, OutputRule, SealedRule
from agent.sync.readable import MAX_PROBLEM, OutputUnreadable, readable
from agent.sync.sealing import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.contract.handover import Recipient, SealedReport
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.contract.wire import AppReport, AssignmentDocument
    from agent.health.cel import Expression
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.sync.app import App

logger = logging.getLogger(__name__)

Rule = OutputRule | SealedRule
READ_SECONDS = 10.0
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the outputs were, at which digest, and of which versions of the objects."""

    digest: str
    versions: tuple[tuple[str, str], ...]
    outputs: tuple[OutputReport, ...]
    sealed: tuple[SealedReport, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    """Who it is sealed for."""


class Exports:
    """`look` is called with whatever changed, and costs nothing for most; `run` reads until cancelled."""

    def __init__(
        self,
        client: RestClient,
        mapper: RestMapper,
        *,
        marking: Callable[[], bytes],
        on_told: Callable[[App], None],
    ) -> None:
        self._client, self._mapper, self._on_told = client, mapper, on_told
        self._marking = marking
        self._recipients: dict[str, tuple[Recipient, ...]] = {}
        self._told: dict[str, Told] = {}
        self._due: dict[str, App] = {}
        self._wake = asyncio.Event()

    def follow(self, document: AssignmentDocument, apps: Iterable[App]) -> None:
        """Who takes sealed outputs now."""
        found: dict[str, list[Recipient]] = {}
        for each in document.recipients:
            found.setdefault(each.app, []).append(each)
        before, self._recipients = self._recipients, {key: tuple(each) for key, each in found.items()}
        for app in apps:
            if before.get(app.key) != self._recipients.get(app.key):
                self.look(app)

    def look(self, app: App) -> None:
        """Have its outputs read if what is known of them is not of now."""
        rules = _rules(app)
        if not rules:
            self._told.pop(app.key, None)
            return
        if app.deleted or not app.healthy_at_target():
            return
        told = self._told.get(app.key)
        now = (app.applied, _versions(app, rules), self._recipients.get(app.key, ()))
        if told is None or (told.digest, told.versions, told.recipients) != now:
            self._due[app.key] = app
            self._wake.set()

    def completed(self, app: App, report: AppReport) -> AppReport:
        """The report with the outputs that hold at its digest, if it says that the app is well there."""
        told = self._told.get(app.key)
        well = report.health is HealthState.HEALTHY and report.sync is SyncState.SYNCED
        if told is None or not well or told.digest != report.digest or not _rules(app):
            return report
        said = {"outputs": list(told.outputs) or None, "sealed_outputs": list(told.sealed) or None}
        return report.model_copy(update=said)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            for app in due.values():
                try:
                    await self._read(app)
                except (AxletreeError, TimeoutError) as error:
                    logger.warning(
                        "%s: its outputs are read again later: %s",
                        app.key,
                        error,
                        extra={"application": app.key},
                    )
                    asyncio.get_running_loop().call_later(
                        RETRY_SECONDS * random.uniform(0.8, 1.2),  # noqa: S311 - jitter
                        self.look,
                        app,
                    )

    async def _read(self, app: App) -> None:
        """Read all of an app's outputs. Raises `TransientError` where time may help."""
        rules, digest = _rules(app), app.applied
        if digest is None or app.bundle is None or not app.healthy_at_target():
            return
        versions, recipients = _versions(app, rules), self._recipients.get(app.key, ())
        last = self._told.get(app.key)
        before = {} if last is None else {each.name: each for each in last.sealed}
        async with asyncio.timeout(READ_SECONDS):
            user = await app.applier.accounts.user(app.bundle.policy)
            objects: dict[ObjectRef, Manifest | AxletreeError] = {}
            found, hidden = [], []
            for rule in rules:
                ref = owned(app, rule)
                if ref is not None and ref not in objects:
                    objects[ref] = await self._get(app, ref, user)
                obj = None if ref is None else objects[ref]
                if isinstance(rule, OutputRule):
                    found.append(output(rule, obj))
                    continue
                said = sealed(
                    app.key,
                    rule,
                    obj,
                    recipients,
                    digest=digest,
                    marking=self._marking(),
                    before=before.get(rule.name),
                    evaluate=_evaluated,
                )
                hidden.append(said)
        self._told[app.key] = Told(digest, versions, tuple(found), tuple(hidden), recipients)
        self._on_told(app)

    async def _get(self, app: App, ref: ObjectRef, user: str | None) -> Manifest | AxletreeError:
        """The object as the app's account sees it; or why it does not, where only a person can help."""
        entry = app.inventory.entries.get(ref)
        version = entry.version if entry is not None else "v1"
        try:
            resource = await self._mapper.resource(
                f"{ref.group}/{version}" if ref.group else version, ref.kind
            )
            path = resource.path(ref.namespace, ref.name)
            return await self._client.request("GET", path, impersonate=user)
        except TransientError:
            raise
        except ApiError as error:
            if error.transient:
                raise
            return error
        except AxletreeError as error:
            return error


def exports(app: App, ref: ObjectRef) -> bool:
    """Whether an output of the app is read from this object."""
    return any(_means(app, rule, ref) for rule in _rules(app))


def owned(app: App, rule: Rule) -> ObjectRef | None:
    """The one object that a rule means, among those that the app's bundle holds."""
    found = [ref for ref in app.desired if _means(app, rule, ref)]
    return found[0] if len(found) == 1 else None


def output(rule: OutputRule, obj: Manifest | AxletreeError | None) -> OutputReport:
    """One output's value, or why there is none. Never raises."""
    try:
        return OutputReport(name=rule.name, value=_value(rule, readable(rule, obj)))
    except AxletreeError as error:
        return OutputReport(name=rule.name, problem=f"{error.reason}: {error}"[:MAX_PROBLEM])


def _value(rule: OutputRule, obj: Manifest) -> str:
    if (obj.get("apiVersion"), obj.get("kind")) == ("v1", "Secret"):
        raise OutputUnreadable("an output is never read from a Secret")
    value = _evaluated(rule.value, obj)
    if value is None:
        raise OutputUnreadable(f"{rule.value[:80]!r} gives nothing yet")
    try:
        text = canonical_json(value).decode()
    except (TypeError, ValueError) as error:
        raise OutputUnreadable(f"it gives a {type(value).__name__}, which is no JSON value") from error
    if len(text.encode()) > MAX_VALUE:
        raise OutputUnreadable(f"its value has more than {MAX_VALUE} bytes")
    return text


def _evaluated(source: str, obj: Manifest) -> Any:
    """What an expression gives. Raises `OutputUnreadable`."""
    from agent.health.cel import Undecided  # noqa: PLC0415 - most agents never need it

    try:
        return _expression(source).value(obj)
    except Undecided as error:
        raise OutputUnreadable(str(error)) from error


@lru_cache(maxsize=256)
def _expression(source: str) -> Expression:
    from agent.health.cel import Expression  # noqa: PLC0415 - most agents never need it

    return Expression(source)


def _rules(app: App) -> Sequence[Rule]:
    if app.bundle is None or app.tombstone is not None:
        return ()
    policy = app.bundle.policy
    return [*(policy.outputs or ()), *(policy.sealed_outputs or ())]


def _means(app: App, rule: Rule, ref: ObjectRef) -> bool:
    meant = rule.object
    if (ref.kind, ref.name) != (meant.kind, meant.name) or meant.group not in (None, ref.group):
        return False
    default = app.bundle.policy.namespace if app.bundle is not None else ""
    return not ref.namespace or ref.namespace == (meant.namespace or default)


def _versions(app: App, rules: Sequence[Rule]) -> tuple[tuple[str, str], ...]:
    """(uid, resourceVersion) of each output's object, as the watch has it."""
    refs = (owned(app, rule) for rule in rules)
    metadata = (app.live.get(ref, {}).get("metadata", {}) if ref is not None else {} for ref in refs)
    return tuple((str(each.get("uid", "")), str(each.get("resourceVersion", ""))) for each in metadata)
