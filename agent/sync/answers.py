"""What an agent answers to requests of its assignment, until each answer has arrived. Nothing is asked here.

A batch has room for few answers: those that were told least often come first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from agent.contract.adoption import MAX_REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Named(Protocol):
    """A request, or an answer to one."""

    @property
    def app(self) -> str: ...

    @property
    def request(self) -> str: ...


Asked = TypeVar("Asked", bound=Named)
Said = TypeVar("Said", bound=Named)


@dataclass(slots=True)
class Answers(Generic[Asked, Said]):
    """One request an app, and the newest answer to it."""

    announce: Callable[[], None]
    """Have the hub told soon."""
    requests: dict[str, Asked] = field(default_factory=dict)
    given: dict[str, Said] = field(default_factory=dict)
    _told: Counter[str] = field(default_factory=Counter)
    """How often each answer has arrived."""

    @property
    def reports(self) -> list[Said]:
        """As many as a batch may have."""
        keys = sorted(self.given, key=lambda key: (self._told[key], key))
        return [self.given[key] for key in keys[:MAX_REPORTS]]

    def delivered(self, said: Iterable[Said]) -> None:
        """A batch has arrived; where answers are left that no batch had room for, the next one is soon."""
        for each in said:
            self._told[each.app] += self.given.get(each.app) == each
        if any(not self._told[key] for key in self.given):
            self.announce()

    def follow(self, requests: Iterable[Asked]) -> None:
        """What is asked now. Answers to what is not asked any more are forgotten."""
        self.requests = {each.app: each for each in requests}
        asked = {key: each.request for key, each in self.requests.items()}
        self.given = {key: said for key, said in self.given.items() if asked.get(key) == said.request}
        self._told = Counter({key: self._told[key] for key in self.given})

    def give(self, request: Asked, answer: Said) -> None:
        """Tell it, unless it says nothing new, or nobody asks any more."""
        if answer != self.given.get(request.app) and self.requests.get(request.app) == request:
            self.given[request.app] = answer
            self._told[request.app] = 0
            self.announce()
