"""What a person means by `web`, `shop/web` or `appset/shop/web`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from agent.contract.names import LABEL_SET
from hub.cli.kinds import APPS, SETS, Resource, field, key_of, nearest, resource_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.reach import Reads

_MAX_PARTS = 3
_SHOWN = 3


class NoSuchObject(AxletreeError):
    reason = "NotFound"


class AmbiguousName(AxletreeError):
    reason = "AmbiguousName"


class InvalidReference(AxletreeError):
    reason = "InvalidReference"


@dataclass(frozen=True, slots=True)
class Reference:
    """A name, its namespace where it was said (else empty: any), and the kinds that it may be of."""

    kinds: tuple[Resource, ...]
    namespace: str
    name: str
    cluster: str = ""
    """Where it was said, as `backend@eu1` is."""

    def __str__(self) -> str:
        name = f"{self.name}@{self.cluster}" if self.cluster else self.name
        return f"{self.namespace}/{name}" if self.namespace else name

    @property
    def names(self) -> tuple[str, ...]:
        """What the object may be called: a child has its cluster behind its name, mostly."""
        return (f"{self.name}-{self.cluster}", self.name) if self.cluster else (self.name,)

    def means(self, obj: Manifest) -> bool:
        """Whether an object of one of the names is on the cluster that was said."""
        return not self.cluster or bool(field(obj, "spec", "cluster") == self.cluster)


@dataclass(frozen=True, slots=True)
class Found:
    kind: Resource
    obj: Manifest

    @property
    def path(self) -> str:
        metadata = self.obj["metadata"]
        return self.kind.path(metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind.title} {key_of(self.obj)}"


def parse(text: str, *, namespace: str = "", kinds: tuple[Resource, ...] = (APPS, SETS)) -> Reference:
    """Read `name`, `ns/name`, `app/name`, `appset/ns/name`, `ns/app@cluster`. `namespace` is the `-n` option's.

    `app/web` is an Application, and `shop/web` one in a namespace: a namespace that is called like a kind has
    to be named with -n. Raises `InvalidReference`.
    """
    parts = [part for part in text.split("/") if part]
    if not parts or len(parts) > _MAX_PARTS:
        raise InvalidReference(f"{text!r} is no name: say NAME, NAMESPACE/NAME or appset/NAMESPACE/NAME")
    if len(parts) > 1 and (kind := resource_of(parts[0])) is not None:
        if kind not in kinds:
            raise InvalidReference(f"{text!r}: {kind.title}s are not meant here")
        kinds, parts = (kind,), parts[1:]
    if len(parts) == _MAX_PARTS:
        raise InvalidReference(f"{text!r}: {parts[0]!r} is no kind{nearest(parts[0], ['app', 'appset'])}")
    name, at, cluster = parts[-1].partition("@")
    if at:
        if APPS not in kinds or not name or not cluster:
            raise InvalidReference(f"{text!r} is no name: APP@CLUSTER is an Application")
        kinds = (APPS,)
    if len(parts) == 1:
        return Reference(kinds, namespace, name, cluster)
    if namespace not in {"", parts[0]}:
        raise InvalidReference(f"{text!r} is not in namespace {namespace}")
    return Reference(kinds, parts[0], name, cluster)


async def candidates(client: Reads, reference: Reference, *, label_selector: str = "") -> list[Found]:
    """Every object that is meant: the API server looks, also over all namespaces."""
    found = []
    for kind in reference.kinds:
        path = kind.path(reference.namespace)
        for name in reference.names:
            selector = f"metadata.name={name}"
            listing = await client.list(path, label_selector=label_selector, field_selector=selector)
            found += [Found(kind, obj) for obj in listing.items]
    return [each for each in found if reference.means(each.obj)]


def one_of(reference: Reference, found: Sequence[Found]) -> Found | None:
    """The one that is meant, or None. Raises `AmbiguousName` with the candidates."""
    if len(found) > 1:
        several = len({each.kind.kind for each in found}) > 1
        names = [
            f"{each.kind.words[1]}/{key_of(each.obj)}" if several else key_of(each.obj) for each in found
        ]
        raise AmbiguousName(f"{reference} may be any of: {', '.join(sorted(names))}")
    return found[0] if found else None


async def resolve(client: Reads, reference: Reference) -> Found:
    """The object. Raises `NoSuchObject` with the nearest names, or `AmbiguousName`."""
    found = one_of(reference, await candidates(client, reference))
    if found is None:
        raise await missing(client, reference)
    return found


async def apps_of(client: Reads, found: Found) -> list[Manifest]:
    """The Application that was named, or the children of the set, by name."""
    if found.kind is APPS:
        return [found.obj]
    metadata = found.obj["metadata"]
    path = APPS.path(metadata["namespace"])
    children = await client.list(path, label_selector=f"{LABEL_SET}={metadata['name']}")
    return sorted(children.items, key=key_of)


async def _children_named(client: Reads, reference: Reference) -> str:
    """Where the set was named and not one of its apps: which there are."""
    sets = await candidates(client, Reference((SETS,), reference.namespace, reference.name))
    names = [key_of(obj) for each in sets for obj in await apps_of(client, each)]
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{sets[0]} has {', '.join(names[:_SHOWN])}{more}"


async def missing(client: Reads, reference: Reference) -> NoSuchObject:
    """Why there is nothing, with what may have been meant."""
    known: dict[str, str] = {}
    for kind in reference.kinds:
        for obj in (await client.list(kind.path())).items:
            known.setdefault(obj["metadata"]["name"], key_of(obj))
            known[key_of(obj)] = key_of(obj)
    what = " or ".join(kind.title for kind in reference.kinds)
    if reference.kinds == (APPS,):
        of_set = await _children_named(client, reference)
        if of_set:
            return NoSuchObject(f"there is no {what} {reference}; {of_set}")
    hint = nearest(str(reference), known) or nearest(reference.name, known)
    return NoSuchObject(f"there is no {what} {reference}{hint}")
