"""Rendered children against the API's models, in the hub: the template's schema is loose, theirs is not.

An unknown field is an error here, with the nearest right one: a misspelt `dependsOn` must not mean "no
order".
"""

from __future__ import annotations

import json
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hub.api.application import ApplicationSpec
from hub.api.applicationset import ApplicationSetSpec
from hub.core.expansion import (
    Child,
    ClusterFacts,
    ClusterSetFacts,
    ExpandRequest,
    ExpansionError,
    InvalidChild,
)
from hub.core.insert import InputMisused, check_places
from hub.core.params import nearest
from hub.core.readiness import ConditionInvalid, check_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hub.core.model import Fleet

_MAX_PROBLEMS = 3


class InvalidSet(ExpansionError):
    """A set's spec that the API server would refuse; without one (the CLI) it is refused here."""

    reason = "InvalidSet"


def expand_request(namespace: str, name: str, spec: Mapping[str, Any], fleet: Fleet) -> ExpandRequest:
    """The request for one set: the fleet as generators see it, in a defined order."""
    return ExpandRequest(
        namespace=namespace,
        name=name,
        spec=spec,
        clusters=tuple(
            ClusterFacts(
                name=one.name,
                labels=one.labels,
                annotations=one.annotations,
                values=one.values,
                eligible=one.accepted and not one.removing,
                leaving=one.removing,
            )
            for _, one in sorted(fleet.clusters.items())
        ),
        cluster_sets=tuple(
            ClusterSetFacts(
                name=one.name,
                selector=None if one.selector is None else one.selector.to_json(),
                clusters=one.clusters,
            )
            for _, one in sorted(fleet.cluster_sets.items())
        ),
    )


def validate_children(children: Sequence[Child], *, set_key: str) -> tuple[ApplicationSpec, ...]:
    """Each child's spec as its model, in order. Raises `InvalidChild`, which names the field."""
    return tuple(_validated(child, set_key) for child in children)


def validate_set(spec: Mapping[str, Any], *, set_key: str) -> ApplicationSetSpec:
    """A set's raw spec as its model, unknown fields refused. Raises `InvalidSet`."""
    try:
        return ApplicationSetSpec.model_validate(spec, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        detail = "; ".join(problems(error, ApplicationSetSpec, at="spec"))
        raise InvalidSet(detail, set_key=set_key) from error


def problems(error: ValidationError, model: type[BaseModel], *, at: str) -> Iterator[str]:
    """The first few problems as `spec.sources[0].pth: unknown field; did you mean "path"?`."""
    for one in error.errors(include_url=False)[:_MAX_PROBLEMS]:
        place = one["loc"]
        where = at + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
        if one["type"] == "extra_forbidden":
            yield f"{where}: unknown field{nearest(str(place[-1]), _fields_at(model, place[:-1]))}"
        else:
            said = one["msg"].removeprefix("Value error, ")
            yield f"{where}: {said[0].lower()}{said[1:]}{_meant(one['type'], one['input'])}"


def _meant(kind: str, given: object) -> str:
    """YAML's booleans have many names; who wrote one of them mostly meant the word."""
    if kind != "string_type" or not isinstance(given, bool):
        return ""
    words = "y, yes, on, true" if given else "n, no, off, false"
    return f": YAML reads {words} as {str(given).lower()}; quote it"


def _validated(child: Child, set_key: str) -> ApplicationSpec:
    try:
        # as JSON and strict: what the API server would refuse (a text for a boolean) is refused here
        text = json.dumps(child.manifest["spec"])
        spec = ApplicationSpec.model_validate_json(
            text, strict=True, extra="forbid", by_alias=True, by_name=False
        )
        check_places(child.manifest["spec"])
        check_ready(each.ready for each in spec.depends_on)
    except ValidationError as error:
        raise _invalid(child, set_key, "; ".join(problems(error, ApplicationSpec, at="spec"))) from error
    except (InputMisused, ConditionInvalid) as error:
        raise _invalid(child, set_key, str(error)) from error
    return spec


def _invalid(child: Child, set_key: str, detail: str) -> InvalidChild:
    return InvalidChild(
        f'child "{child.name}": {detail}', set_key=set_key, generator=child.generator, params=child.params
    )


def _fields_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The names of the fields of the model at a place within another."""
    at: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int) or at is None:
            continue
        at = next((_model_of(one.annotation) for name, one in _fields(at) if name == part), None)
    return [] if at is None else [name for name, _ in _fields(at)]


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(one.alias or name, one) for name, one in model.model_fields.items()]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType, Annotated):
        return next((found for one in get_args(annotation) if (found := _model_of(one))), None)
    return None


def field_names(model: type[BaseModel]) -> list[str]:
    """What its fields are called in YAML."""
    return [name for name, _ in _fields(model)]


def model_at(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a field's value, or of the entries of its list; None where that is no model."""
    return next((_model_of(one.annotation) for each, one in _fields(model) if each == name), None)
