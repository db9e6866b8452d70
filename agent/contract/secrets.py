"""Where an object holds secret values, and what stands for one in a digest. Light: render workers import it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest

SECRET_FIELDS = ("data", "stringData")


def is_secret(obj: Manifest) -> bool:
    """Whether it is of the kind whose values are sealed."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def map_secret(obj: Manifest, change: Callable[[Any], Any]) -> Manifest:
    """The object with every value of a Secret's data passed through `change`; other kinds as they are."""
    if not is_secret(obj):
        return obj
    changed = dict(obj)
    for field in SECRET_FIELDS:
        values = obj.get(field)
        if isinstance(values, dict):
            changed[field] = {name: change(value) for name, value in values.items()}
    return changed


def mask(value: Any, *, key: bytes) -> str:
    """What stands for a secret value in a digest; without the key (32 bytes) nobody can try guesses."""
    return "hmac:" + hmac.new(key, canonical_json(value), "sha256").hexdigest()
