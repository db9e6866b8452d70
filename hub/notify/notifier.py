"""Looks at what changed, decides what is to be told, and hands it to each sink's outbox.

A change only marks a key: what an event says is read from the cache when its turn comes. Nothing here is ever waited
for by a plan, a release or a report.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from agent.contract.errors import AxletreeError
from hub.core.plan import parse_duration
from hub.core.sinks import is_sink
from hub.notify.message import MAX_TEXT, MAX_TITLE, message_of
from hub.notify.outbox import Letter, Outbox, Slot
from hub.notify.sinks import Sinks
from hub.notify.standing import Verdict, standing_of
from hub.notify.subjects import Subject, Subjects, scope_of
from hub.notify.topics import Topic, steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.contract.manifest import Manifest
    from hub.api.notification import Trigger
    from hub.notify.ledger import Ledger
    from hub.notify.message import Message
    from hub.notify.rules import Rule
    from hub.notify.standing import Standing
    from hub.notify.topics import Step
    from hub.operator.caches import Caches
    from hub.telemetry.meters import Meters

log = logging.getLogger(__name__)
BATCH = 200
_WAITS = frozenset({Topic.HEALTH, Topic.SILENCE})
"""What has to hold for a while: everything else has been waited for by whoever decided it."""


class _Due(NamedTuple):
    word: str
    when: float


class Notifier:
    """One term's. `words(template, fields)` renders a user's template, within limits."""

    def __init__(
        self,
        caches: Caches,
        ledger: Ledger,
        *,
        meters: Meters,
        source: str,
        words: Callable[[str, dict[str, object]], Awaitable[str]],
        clock: Callable[[], float],
    ) -> None:
        self._caches = caches
        self._subjects = Subjects(caches)
        self._ledger = ledger
        self._meters = meters
        self._source = source
        self._words = words
        self._clock = clock
        self._sinks: Sinks | None = None
        self._told: dict[Slot, str] = {}
        self._due: dict[Slot, _Due] = {}
        self._heap: list[tuple[float, int, Slot]] = []
        self._count = itertools.count()
        self._slots: dict[Subject, set[Slot]] = {}
        self._dirty: dict[Subject, bool] = {}
        """What is to be looked at, and whether for a new rule, sink or term alone: what is well by then is no news."""
        self._outboxes: dict[str, Outbox] = {}
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Messages that no sink has taken yet."""
        return sum(each.waiting for each in self._outboxes.values())

    async def run(self) -> None:
        """Until cancelled; begins with all that is there, on whole caches.

        What happens while the database is not there yet is news all the same: it is heard from the first moment on.
        """
        caches = self._caches
        await caches.wait_synced()
        self._subjects.subscribe(self._mark)
        caches.credentials.subscribe(self._sink_changed)
        self._mark_all()
        for slot, word in (await self._ledger.load()).items():
            self._remember(slot, word)
        try:
            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
                self._sinks = Sinks(caches.credentials.get, session, source=self._source)
                tasks.create_task(self._ledger.run(), name="ledger")
                await self._serve(tasks)
        finally:
            await self._ledger.close()  # what was sent in the last moment is known to the next one, too

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            while self._dirty:
                for subject in list(self._dirty)[:BATCH]:
                    quiet = self._dirty.pop(subject)
                    try:
                        self._look(subject, quiet=quiet)
                    except Exception:
                        who = {subject.kind.lower(): subject.key}
                        log.exception("notifications of %s are left out", subject.key, extra=who)
                await asyncio.sleep(0)
            self._post(tasks)
            pause = max(0.0, self._heap[0][0] - self._clock()) if self._heap else None
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue
            self._wake.clear()

    # -- events

    def _sink_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        if any(obj is not None and is_sink(obj) for obj in (old, new)):
            self._mark_all()

    def _mark_all(self) -> None:
        for subject in self._subjects.all():
            self._mark(subject, quiet=True)
        for subject in self._slots:
            self._mark(subject, quiet=True)  # what is gone since is forgotten

    def _mark(self, subject: Subject, *, quiet: bool = False) -> None:
        self._dirty[subject] = quiet and self._dirty.get(subject, True)
        self._wake.set()

    # -- what is to be told

    def _rules(self, obj: Manifest) -> list[Rule]:
        """Those whose sink is there, and may be used by it; what names others says so in its status."""
        found = []
        for rule in self._subjects.rules(obj):
            sink = self._sinks.get(rule.sink) if self._sinks is not None else None
            if sink is not None and sink.allows(scope_of(obj)):
                found.append(rule)
        return found

    def _look(self, subject: Subject, *, quiet: bool) -> None:
        obj = self._subjects.get(subject)
        if obj is None:
            self._forget(subject)
            return
        rules = self._rules(obj)
        if not rules:
            return
        standing = standing_of(obj)
        for rule in rules:
            found = {step.topic: step for step in self._steps(subject, rule, standing)}
            for topic in Topic:
                slot = Slot(*subject, rule.sink, topic)
                step = found.get(topic)
                if step is None:
                    self._due.pop(slot, None)
                else:
                    self._want(slot, step, rule, standing, quiet=quiet)

    def _steps(self, subject: Subject, rule: Rule, standing: Standing) -> list[Step]:
        told = {topic: self._told.get(Slot(*subject, rule.sink, topic), "") for topic in Topic}
        return list(steps(standing, told))

    def _want(self, slot: Slot, step: Step, rule: Rule, standing: Standing, *, quiet: bool) -> None:
        known_before = quiet and slot.topic is Topic.DEPLOYMENT and standing.verdict is Verdict.WELL
        if (
            step.trigger is None
            or not self._asked(rule, step.trigger)
            or (known_before and slot not in self._told)
        ):
            self._due.pop(slot, None)
            self._remember(slot, step.word)
            if self._ledger.kept(slot):
                self._ledger.keep(slot, step.word)
            return
        due = self._due.get(slot)
        if due is not None and due.word == step.word:
            return
        waits = 0.0
        if slot.topic in _WAITS:
            waits = parse_duration(rule.after).total_seconds()
        when = self._clock() + waits
        self._due[slot] = _Due(step.word, when)
        heapq.heappush(self._heap, (when, next(self._count), slot))

    def _asked(self, rule: Rule, trigger: Trigger) -> bool:
        if rule.when:
            return trigger in rule.when
        sink = self._sinks.get(rule.sink) if self._sinks is not None else None
        return sink is not None and trigger in sink.defaults

    def _post(self, tasks: asyncio.TaskGroup) -> None:
        """Hand over what has held for long enough."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            when, _, slot = heapq.heappop(self._heap)
            due = self._due.get(slot)
            if due is None or due.when != when:
                continue  # it is over, or something else since
            del self._due[slot]
            letter = self._letter(slot, due.word)
            if letter is None:
                continue
            outbox = self._outboxes.get(slot.sink)
            if outbox is None:
                outbox = Outbox(slot.sink, send=self._send, done=self._done, meters=self._meters)
                self._outboxes[slot.sink] = outbox
                tasks.create_task(outbox.run(), name=f"sink-{slot.sink}")
            if outbox.put(letter):
                self._remember(slot, due.word)

    def _letter(self, slot: Slot, word: str) -> Letter | None:
        obj = self._subjects.get(Subject(slot.kind, slot.key))
        if obj is None:
            return None
        standing = standing_of(obj)
        rule = next((each for each in self._rules(obj) if each.sink == slot.sink), None)
        if rule is None:
            return None
        found = self._steps(Subject(slot.kind, slot.key), rule, standing)
        step = next((each for each in found if each.topic is slot.topic and each.word == word), None)
        if step is None or step.trigger is None:
            return None
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        message = message_of(obj, standing, step, trigger=step.trigger, at=at)
        return Letter(slot, message, word, self._told.get(slot, ""), rule.template)

    # -- sending

    async def _send(self, letter: Letter) -> None:
        if self._sinks is None:
            return
        sender = self._sinks.sender(letter.slot.sink)
        message = letter.message
        if letter.template:
            message = await self._worded(message, letter.template)
        await sender.send(message)

    async def _worded(self, message: Message, template: str) -> Message:
        """The message in its author's words; with its own, and the reason, where those do not render."""
        try:
            text = await self._words(template, message.fields())
        except AxletreeError as error:
            return replace(message, text=f"{message.text}\n(its template fails: {error})"[:MAX_TEXT])
        first, _, rest = text.strip().partition("\n")
        return replace(
            message, title=first[:MAX_TITLE] or message.title, text=(rest.strip() or first)[:MAX_TEXT]
        )

    def _done(self, letter: Letter) -> None:
        if self._slots.get(Subject(letter.slot.kind, letter.slot.key)) is not None or not letter.word:
            self._ledger.keep(letter.slot, letter.word)

    # -- memory

    def _remember(self, slot: Slot, word: str) -> None:
        owner = Subject(slot.kind, slot.key)
        if word:
            self._told[slot] = word
            self._slots.setdefault(owner, set()).add(slot)
        else:
            self._told.pop(slot, None)
            self._slots.get(owner, set()).discard(slot)

    def _forget(self, subject: Subject) -> None:
        """It is gone: what was told of it means nothing any more."""
        for slot in self._slots.pop(subject, set()):
            self._told.pop(slot, None)
            if self._ledger.kept(slot):
                self._ledger.keep(slot, "")
        for sink, outbox in self._outboxes.items():
            for topic in Topic:
                outbox.forget(Slot(*subject, sink, topic))
        for slot in [slot for slot in self._due if Subject(slot.kind, slot.key) == subject]:
            del self._due[slot]
