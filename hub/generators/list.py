"""`list`: its elements as they are, in their order, then those of `elementsYaml`.

`elementsYaml` is YAML text of a list, or one template that gives a list: a later child of a matrix makes its
elements from what an earlier one read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.kube.yaml import YamlError, load_value
from hub.core.expansion import GeneratorError
from hub.generators.context import Context, GeneratorSpec, check_keys, entries, within_limit

if TYPE_CHECKING:
    from hub.core.params import Params


def generate(spec: GeneratorSpec, context: Context) -> list[Params]:  # noqa: ARG001 - every generator's signature
    """One parameter set an element."""
    check_keys(spec, ("elements", "elementsYaml"), path="list")
    found = _maps(spec.get("elements"), path="list.elements")
    found += _maps(_parsed(spec.get("elementsYaml")), path="list.elementsYaml")
    within_limit(len(found), path="list")
    return found


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return load_value(value, source="list.elementsYaml")
    except YamlError as error:
        raise GeneratorError(error.problem, path="list.elementsYaml", line=error.line or None) from error


def _maps(value: Any, *, path: str) -> list[Params]:
    found: list[Params] = []
    for index, element in enumerate(entries(value, path=path)):
        if not isinstance(element, dict):
            raise GeneratorError("a map is expected", path=f"{path}[{index}]")
        found.append(dict(element))
    return found
