"""Which object of a bundle a person means by `deployment/web`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import ObjectRef

_NAMESPACED = 3
_NEAR = 5


class NoSuchObject(AxletreeError):
    """A name that no object of the bundle has, or several have."""

    reason = "NoSuchObject"


def named(text: str, refs: Iterable[ObjectRef]) -> ObjectRef:
    """The one object that `KIND[.GROUP]/[NAMESPACE/]NAME` means; kinds in any case, also in the plural.

    Raises `NoSuchObject` with the names that are near, or with those that are all meant.
    """
    known = sorted(refs)
    kind, *rest = text.split("/")
    if not kind or len(rest) not in {1, _NAMESPACED - 1} or not all(rest):
        raise NoSuchObject(f"{text[:100]!r} names no object: write KIND/NAME, such as deployment/web")
    found = [
        ref
        for ref in known
        if ref.name == rest[-1] and rest[:-1] in ([], [ref.namespace]) and _is_of(ref, kind.lower())
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchObject(
            f"{text} may be any of {', '.join(map(str, found[:_NEAR]))}: say KIND.GROUP/NAMESPACE/NAME"
        )
    raise NoSuchObject(f"the bundle has no {text[:100]}{_near(text, known)}")


def _is_of(ref: ObjectRef, word: str) -> bool:
    kind, dot, group = word.partition(".")
    own = ref.kind.lower()
    return kind in {own, f"{own}s", f"{own}es"} and (not dot or group == ref.group)


def _near(text: str, known: list[ObjectRef]) -> str:
    """The names that a person may have meant; of the same kind where none is alike."""
    words = {f"{ref.kind.lower()}/{ref.name}": ref for ref in known}
    kind, _, rest = text.lower().partition("/")
    plain = f"{kind.partition('.')[0]}/{rest.rpartition('/')[2]}"
    from difflib import get_close_matches  # noqa: PLC0415 - only for a name that is not there

    alike = get_close_matches(plain, words, n=_NEAR, cutoff=0.6)
    if alike:
        return f"; near it: {', '.join(alike)}"
    same = [word for word, ref in words.items() if _is_of(ref, kind)] or list(words)
    more = ", ..." if len(same) > _NEAR else ""
    return f"; it has {', '.join(same[:_NEAR])}{more}" if same else ", nor any other"
