"""Who may have a child's name: two sets of one namespace can ask for the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hub.core.model import AppKey


@dataclass(frozen=True, slots=True)
class Clash:
    """A name that is another's already. `owner` is a set's key, empty for a hand-written Application."""

    app: AppKey
    owner: str

    def __str__(self) -> str:
        whose = f"a child of set {self.owner}" if self.owner else "a hand-written Application"
        return f"{self.app} is {whose} already: names are unique in a namespace"


def clashes(wanted: Mapping[str, Collection[AppKey]], owners: Mapping[AppKey, str]) -> dict[str, Clash]:
    """The sets that may not be planned, each with its first clash.

    What exists stays whose it is, also where that set would sort later: taking a child over would prune what it
    runs. Of sets that are both new to a name, the first by key has it; a set with a clash has none of its names.
    """
    found: dict[str, Clash] = {}
    taken: dict[AppKey, str] = {}
    for key in sorted(wanted):
        for app in sorted(wanted[key]):
            owner = owners.get(app, taken.get(app, key))
            if owner != key:
                found[key] = Clash(app, owner)
                break
        else:
            taken |= dict.fromkeys(wanted[key], key)
    return found
