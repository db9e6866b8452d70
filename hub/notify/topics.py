"""What is to be told next, from how something stands and what was told last. Pure.

Each topic of an object is told by itself, and remembers one word for each sink: empty where all is well, else what is
open. A restart that finds the word again tells nothing twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from hub.api.notification import Trigger
from hub.notify.standing import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.notify.standing import Standing


class Topic(StrEnum):
    HEALTH = "health"
    DRIFT = "drift"
    HELD = "held"
    APPROVAL = "approval"
    DEPLOYMENT = "deployment"
    SILENCE = "silence"


class Step(NamedTuple):
    """From what was told to what is so. No `trigger`: there is nothing to tell, only to remember."""

    topic: Topic
    word: str
    trigger: Trigger | None
    message: str = ""


def steps(standing: Standing, told: Mapping[Topic, str]) -> Iterator[Step]:
    """Each topic in which the object stands otherwise than was told."""
    for step in (_health(standing, told.get(Topic.HEALTH, "")), *_problems(standing, told)):
        if step is not None:
            yield step
    step = _deployment(standing, told.get(Topic.DEPLOYMENT, ""))
    if step is not None:
        yield step


def _health(standing: Standing, told: str) -> Step | None:
    if standing.verdict is Verdict.BAD:
        word = f"bad {standing.token}"
        # without a target there is no other release that could be bad in its turn
        known = told == word or (told and not standing.token)
        return None if known else Step(Topic.HEALTH, word, Trigger.DEGRADED, standing.message)
    if standing.verdict is Verdict.WELL and told:
        return Step(Topic.HEALTH, "", Trigger.RECOVERED, "it is Healthy again")
    return None


def _problems(standing: Standing, told: Mapping[Topic, str]) -> Iterator[Step]:
    table = (
        (Topic.DRIFT, standing.drift, Trigger.DRIFTED, "it no longer differs"),
        (Topic.HELD, standing.held, Trigger.HELD, "nothing is held any more"),
        (Topic.APPROVAL, standing.approval, Trigger.APPROVAL, ""),
        (Topic.SILENCE, standing.silent, Trigger.STALE, "its agent is heard again"),
    )
    for topic, now, trigger, over in table:
        known = told.get(topic, "")
        if now is None:
            continue
        if now and not known:
            yield Step(topic, "open", trigger, now)
        elif known and not now:
            yield Step(topic, "", Trigger.RECOVERED if over else None, over)


def _deployment(standing: Standing, told: str) -> Step | None:
    if not standing.token:
        return None
    if standing.verdict is Verdict.WELL:
        word = f"deployed {standing.token}"
        return None if told == word else Step(Topic.DEPLOYMENT, word, Trigger.DEPLOYED, "it is Healthy")
    words = (f"progressing {standing.token}", f"deployed {standing.token}")
    if told in words:
        return None
    return Step(Topic.DEPLOYMENT, words[0], Trigger.PROGRESSING, standing.message)
