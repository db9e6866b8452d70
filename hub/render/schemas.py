"""Custom objects against the schemas that their own bundle brings for them. Workers run it.

What a bundle's CRDs say of its objects is known before anything is sent, so that a wrong field is told here and not
by each cluster. Of other kinds only the spoke knows the schema: its API server checks them strictly. Defaults count as
given, and null as absent, as there: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.contract.manifest import group_of, ref_of
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.contract.manifest import Manifest

_CRD = "CustomResourceDefinition"
_PLAIN = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_EVERYWHERE = ("apiVersion", "kind", "metadata")
_MASK = "it"
_MAX_PROBLEM = 300


class SchemaMismatch(ManifestError):
    """An object that its own CRD, in the same bundle, would refuse."""

    reason = "SchemaMismatch"


def check_schemas(objects: Iterable[Manifest], *, where: str) -> None:
    """Raise `SchemaMismatch` for the first object that a CRD among them refuses. No value is told."""
    found = list(objects)
    known = {key: schema for one in found if one.get("kind") == _CRD for key, schema in _schemas(one)}
    if not known:
        return
    for one in found:
        schema = known.get((str(one.get("apiVersion")), str(one.get("kind"))))
        if schema is None:
            continue
        problem = _problem(json.dumps(schema, sort_keys=True), one)
        if problem:
            raise SchemaMismatch(f"{ref_of(one)}: {problem}", where=where)


def _schemas(crd: Manifest) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """((apiVersion, kind), schema) of each version."""
    spec = crd.get("spec")
    if group_of(str(crd.get("apiVersion"))) != "apiextensions.k8s.io" or not isinstance(spec, dict):
        return
    names, versions = spec.get("names"), spec.get("versions")
    if not isinstance(names, dict) or not isinstance(versions, list) or spec.get("preserveUnknownFields"):
        return
    for version in versions:
        outer = version.get("schema") if isinstance(version, dict) else None
        schema = outer.get("openAPIV3Schema") if isinstance(outer, dict) else None
        if isinstance(schema, dict):
            yield (f"{spec.get('group')}/{version.get('name')}", str(names.get("kind"))), schema


def _problem(schema: str, manifest: Manifest) -> str:
    validator = _validator(schema)
    error = (
        next(iter(validator.iter_errors(_without_nulls(manifest))), None) if validator is not None else None
    )
    if error is None:
        return ""
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    return f"{at or 'it'}: {error.message[:_MAX_PROBLEM]}"


@lru_cache(maxsize=64)
def _validator(text: str) -> Any:
    """Compiled; None for a schema that does not read, which the API server will say."""
    import jsonschema_rs  # noqa: PLC0415 - only for bundles that bring a kind and its objects

    try:
        return jsonschema_rs.Draft4Validator(
            _as_json_schema(json.loads(text), resource=True),
            validate_formats=False,
            mask=_MASK,
            pattern_options=jsonschema_rs.RegexOptions(),
            offline=True,
        )
    except ValueError:
        return None


def _as_json_schema(node: Any, *, resource: bool = False, closed: bool = True) -> Any:
    """A structural schema as JSON Schema. Inside `anyOf` and its like nothing is closed: the fields stand outside."""
    if not isinstance(node, dict):
        return {}
    found: dict[str, Any] = {key: node[key] for key in _PLAIN if key in node}
    if "enum" in node:
        found["enum"] = node["enum"]
    either = bool(node.get("x-kubernetes-int-or-string"))
    if either:
        found["type"] = ["integer", "string"]
    elif "type" in node:
        found["type"] = node["type"]
    for key in ("allOf", "anyOf", "oneOf"):
        if isinstance(node.get(key), list) and not (either and key != "allOf"):
            found[key] = [_as_json_schema(one, closed=False) for one in node[key]]
    if "not" in node:
        found["not"] = _as_json_schema(node["not"], closed=False)
    if "items" in node:
        found["items"] = _as_json_schema(node["items"], closed=closed)
    return found | _fields(node, resource=resource, closed=closed)


def _fields(node: dict[str, Any], *, resource: bool, closed: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = node.get("properties")
    fields = given if isinstance(given, dict) else {}
    properties = {name: _as_json_schema(one, closed=closed) for name, one in fields.items()}
    if resource or node.get("x-kubernetes-embedded-resource"):
        properties |= {name: {} for name in _EVERYWHERE}
    if properties:
        found["properties"] = properties
    required = [
        name
        for name in node.get("required") or ()
        if not (isinstance(fields.get(name), dict) and "default" in fields[name])
    ]
    if required:
        found["required"] = required
    more = node.get("additionalProperties")
    if isinstance(more, dict):
        found["additionalProperties"] = _as_json_schema(more, closed=closed)
    elif closed and fields and more is not True and not node.get("x-kubernetes-preserve-unknown-fields"):
        found["additionalProperties"] = False
    return found


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_nulls(one) for key, one in value.items() if one is not None}
        case list():
            return [_without_nulls(one) for one in value]
        case _:
            return value
