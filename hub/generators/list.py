"""`list`: its elements as they are, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.expansion import GeneratorError
from hub.generators.context import Context, GeneratorSpec, check_keys, entries

if TYPE_CHECKING:
    from hub.core.params import Params


def generate(spec: GeneratorSpec, context: Context) -> list[Params]:  # noqa: ARG001 - every generator's signature
    """One parameter set an element."""
    check_keys(spec, ("elements",), path="list")
    found: list[Params] = []
    for index, element in enumerate(entries(spec.get("elements"), path="list.elements")):
        if not isinstance(element, dict):
            raise GeneratorError("a map is expected", path=f"list.elements[{index}]")
        found.append(dict(element))
    return found
