"""A set's template before anything is rendered: its keys are no templates, so a misspelt one is known at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.api.application import ApplicationSpec
from hub.core.children import field_names, model_at
from hub.core.params import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

_TOP = ("metadata", "spec")
_MAX_PROBLEMS = 3


def template_problem(spec: Mapping[str, Any]) -> str:
    """The first few unknown fields in the templates of a set, each with the nearest right one; empty for none."""
    found: list[str] = []
    for path, template in _templates(spec):
        wrong = [str(key) for key in template if key not in _TOP]
        found += [f"{path}.{key}: unknown field{nearest(key, list(_TOP))}" for key in wrong]
        found += _unknown(template.get("spec"), ApplicationSpec, f"{path}.spec")
    return "; ".join(found[:_MAX_PROBLEMS])


def _templates(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The set's own, and those of its generators that go over it."""
    if isinstance(spec.get("template"), dict):
        yield "spec.template", spec["template"]
    for index, generator in enumerate(spec.get("generators") or ()):
        over = generator.get("template") if isinstance(generator, dict) else None
        if isinstance(over, dict):
            yield f"spec.generators[{index}].template", over


def _unknown(value: Any, model: type[BaseModel], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    names = field_names(model)
    for key, inner in value.items():
        if key not in names:
            yield f"{path}.{key}: unknown field{nearest(str(key), names)}"
            continue
        below = model_at(model, key)
        if below is None:
            continue
        if isinstance(inner, list):
            for index, each in enumerate(inner):
                yield from _unknown(each, below, f"{path}.{key}[{index}]")
        else:
            yield from _unknown(inner, below, f"{path}.{key}")
