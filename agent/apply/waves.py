"""Steps inside a bundle, asked for by annotation: pure.

A step begins when everything of the earlier ones is Healthy. Waves come as numbers (ours, Argo CD's), or as what an
object depends on (cli-utils); both together make one order, in which what is depended on comes first.

https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/
https://github.com/kubernetes-sigs/cli-utils/blob/master/README.md#apply-sort-ordering
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from agent.apply.errors import DependsOnCycle, ObjectInvalid
from agent.contract.manifest import ObjectRef
from agent.contract.names import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.apply.prepare import Desired
    from agent.contract.manifest import Manifest

WAVE = (f"{GROUP}/wave", "argocd.argoproj.io/sync-wave")
DEPENDS_ON = "config.kubernetes.io/depends-on"
_MAX_WAVE = 2**31
_SCOPED, _NAMESPACED = 3, 5


def steps(items: Sequence[Desired]) -> list[list[Desired]]:
    """The items in the steps in which they are applied; one step where nobody asks for more.

    Raises `ObjectInvalid` for an annotation that does not read or names what is not there, `DependsOnCycle`.
    """
    needs = {item.ref: depends_on(item.manifest, item.ref) for item in items}
    wave = {item.ref: wave_of(item.manifest, item.ref) for item in items}
    if not any(needs.values()) and len(set(wave.values())) <= 1:
        return [list(items)]
    for ref, found in needs.items():
        unknown = next((each for each in found if each not in needs), None)
        if unknown is not None:
            raise ObjectInvalid(f"{ref} depends on {unknown}, which is not in the bundle")
    place = _places(wave, needs)
    by_place: dict[tuple[int, int], list[Desired]] = {}
    for item in items:
        by_place.setdefault(place[item.ref], []).append(item)
    return [by_place[each] for each in sorted(by_place)]


def _places(
    wave: Mapping[ObjectRef, int], needs: Mapping[ObjectRef, Sequence[ObjectRef]]
) -> dict[ObjectRef, tuple[int, int]]:
    """(wave, level) of each object: after everything that it depends on, and in its wave if that lets it."""
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        path = " -> ".join(str(ref) for ref in reversed(error.args[1]))
        raise DependsOnCycle(f"objects depend on each other: {path}") from error
    place: dict[ObjectRef, tuple[int, int]] = {}
    for ref in order:
        after = max((place[each] for each in needs[ref]), default=None)
        own = (wave[ref], 0)
        place[ref] = own if after is None else max(own, (after[0], after[1] + 1))
    return place


def wave_of(obj: Manifest, ref: ObjectRef, *, keys: Iterable[str] = WAVE) -> int:
    """The number of its wave, 0 without one. Raises `ObjectInvalid`."""
    for key in keys:
        text = annotations_of(obj).get(key)
        if text is None:
            continue
        try:
            number = int(str(text))
        except ValueError as error:
            raise ObjectInvalid(f"{ref}: {key} is {str(text)[:40]!r}, not a whole number") from error
        if abs(number) > _MAX_WAVE:
            raise ObjectInvalid(f"{ref}: {key} is out of range")
        return number
    return 0


def depends_on(obj: Manifest, ref: ObjectRef) -> tuple[ObjectRef, ...]:
    """`group/namespaces/NS/Kind/name` or `group/Kind/name`, separated by commas. Raises `ObjectInvalid`."""
    text = annotations_of(obj).get(DEPENDS_ON)
    if not text:
        return ()
    found = []
    for each in str(text).split(","):
        parts = each.strip().split("/")
        if len(parts) == _NAMESPACED and parts[1] == "namespaces":
            found.append(ObjectRef(parts[0], parts[3], parts[2], parts[4]))
        elif len(parts) == _SCOPED:
            found.append(ObjectRef(parts[0], parts[1], "", parts[2]))
        else:
            raise ObjectInvalid(f"{ref}: {DEPENDS_ON} has {each.strip()[:80]!r}, which names no object")
    return tuple(found)


def annotations_of(obj: Manifest) -> Mapping[str, object]:
    found = (obj.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}
