"""CRDs from the pydantic models: `python -m hub.api.schema` writes them, one file a kind.

What pydantic emits is JSON Schema; a CRD takes a *structural* OpenAPI schema, which has no `$ref`, no `null`
type, no `title`, and one `type` a node. No library turns one into the other. Defaults go into the schema only
where they are small scalars of `spec` that are not their type's zero: the API server then shows what will be
done, while an absent list, map or false stays absent.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from agent.contract.names import GROUP, VERSION
from hub.api.registry import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import core_schema

    from agent.contract.manifest import Manifest

PLACES = ("crds", "charts/axletree-hub/definitions")
"""For people, and for Helm, which reads nothing outside a chart."""
_HEADER = "# Generated from hub/api by `python -m hub.api.schema`; change the models instead.\n"
_WORDS = re.compile(r"\^\((?P<words>[A-Za-z]+(\|[A-Za-z]+)+)\)\$")
_COPIED = (
    "type",
    "description",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-validations",
    "x-kubernetes-map-type",
)


class _Plain(yaml.SafeDumper):
    """No anchors: what is equal in two places is written twice, as everyone expects of a CRD."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


class _Documented(GenerateJsonSchema):
    """pydantic's generator, with the docstrings under fields as descriptions: `kubectl explain` prints them.

    pydantic can do this itself (`use_attribute_docstrings`), but reads the sources at every import.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model = schema["cls"]
        for name, text in _field_docs(model).items():
            field = model.model_fields.get(name)
            if field is not None:
                result["properties"][field.alias or name].setdefault("description", text)
        return result


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for node, following in itertools.pairwise(body):
            match node, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    docs[name] = inspect.cleandoc(text).replace("\n", " ")
    return docs


def structural(schema: JsonSchemaValue, *, defaults: bool = True) -> Manifest:
    """A JSON Schema of pydantic as a structural schema. `defaults` says whether scalars keep theirs."""
    return _convert(schema, schema.get("$defs", {}), defaults=defaults)


def _convert(node: JsonSchemaValue, defs: dict[str, Any], *, defaults: bool) -> Manifest:
    node = node if node.get("x-any") else _resolve(node, defs)
    if node.get("x-hot") or node.get("x-any"):
        return _hot(node, defs)
    if "x-kubernetes-int-or-string" in node:
        return _int_or_string(node, defaults=defaults)
    result = {key: node[key] for key in _COPIED if key in node}
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    words = _WORDS.fullmatch(result.get("pattern", ""))
    if words:
        # An alternation of words is an enum: the API server's message then lists them.
        del result["pattern"]
        result["enum"] = words["words"].split("|")
    match node.get("type"):
        case "object":
            result.update(_object(node, defs, defaults=defaults))
        case "array":
            result["items"] = _convert(node["items"], defs, defaults=defaults)
            if _is_conditions(result["items"]):
                # Conditions are owned one by one, not the list as a whole.
                result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        case "integer":
            result.setdefault("format", "int64")
            result.update(_default(node, defaults=defaults))
        case "string" | "boolean" | "number":
            result.update(_default(node, defaults=defaults))
        case other:
            raise TypeError(f"no structural schema for type {other!r}: {node}")
    return result


def _hot(node: JsonSchemaValue, defs: dict[str, Any]) -> Manifest:
    """Status that is written with every change of every app: one value, replaced whole, not checked field by field.

    Only our controller writes it, from these models. With every field typed, one status write costs the API server
    6.5 ms of CPU; with these left open and owned whole, 3.5 (2 cores, Kubernetes 1.36). Conditions stay typed.
    """
    described = {"description": " ".join(node["description"].split())} if node.get("description") else {}
    if node.get("x-any"):
        return {**described, "x-kubernetes-preserve-unknown-fields": True}
    if node.get("type") == "array":
        items = _convert(node["items"], defs, defaults=False)
        if not _is_conditions(items):
            items = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return {**described, "type": "array", "x-kubernetes-list-type": "atomic", "items": items}
    return {
        **described,
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _object(node: JsonSchemaValue, defs: dict[str, Any], *, defaults: bool) -> Manifest:
    if "properties" in node:
        # Status is written by our own code, which says what it means: no defaults there.
        found: Manifest = {
            "properties": {
                name: _convert(value, defs, defaults=defaults and name != "status")
                for name, value in node["properties"].items()
            }
        }
        for name, value in node["properties"].items():
            if defaults and name != "status" and value.get("default") and isinstance(value["default"], dict):
                found["properties"][name]["default"] = value["default"]
        if node.get("required"):
            found["required"] = node["required"]
        return found
    values = node.get("additionalProperties", True)
    if node.get("patternProperties"):
        (values,) = node["patternProperties"].values()
    if node.get("x-preserve") or values is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {"additionalProperties": _convert(values, defs, defaults=False)}


def _resolve(node: JsonSchemaValue, defs: dict[str, Any]) -> JsonSchemaValue:
    """Follow `$ref` and unwrap `X | None`: an absent field is how a CRD says none. What the use says wins."""
    if "$ref" in node:
        target = defs[node["$ref"].rpartition("/")[2]]
        return _resolve({**target, **{key: value for key, value in node.items() if key != "$ref"}}, defs)
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        rest = [option for option in node["anyOf"] if option.get("type") != "null"]
        if len(rest) != 1:
            raise TypeError(f"a CRD has no unions: {node}")
        outer = {key: value for key, value in node.items() if key not in ("anyOf", "title")}
        if outer.get("default", ...) is None:
            del outer["default"]
        return _resolve({**rest[0], **outer}, defs)
    return node


def _int_or_string(node: JsonSchemaValue, *, defaults: bool) -> Manifest:
    """`3` or `20%`. Bounds of both options apply side by side: each keyword looks at its own type only."""
    result: Manifest = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }
    if "description" in node:
        result["description"] = node["description"]
    for option in node["anyOf"]:
        result.update({key: value for key, value in option.items() if key in _COPIED and key != "type"})
    return result | _default(node, defaults=defaults)


def _default(node: JsonSchemaValue, *, defaults: bool) -> Manifest:
    return {"default": node["default"]} if defaults and node.get("default") else {}


def _is_conditions(items: Manifest) -> bool:
    names = set(items.get("properties", ()))
    return {"type", "status", "lastTransitionTime"} <= names


def crd(kind: Kind) -> Manifest:
    """The CustomResourceDefinition of one kind."""
    body = kind.model.model_json_schema(by_alias=True, schema_generator=_Documented)
    schema = structural(body)
    schema["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **schema["properties"],
    }
    if kind.rules:
        schema["x-kubernetes-validations"] = [{"rule": text, "message": why} for text, why in kind.rules]
    names: Manifest = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "categories": ["axletree"],
    }
    if kind.short:
        names["shortNames"] = [kind.short]
    version: Manifest = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(kind, index) for index in range(len(kind.columns))],
        "schema": {"openAPIV3Schema": schema},
    }
    if kind.status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _column(kind: Kind, index: int) -> Manifest:
    column = kind.columns[index]
    found: Manifest = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        found["priority"] = column.priority
    return found


def crds() -> list[Manifest]:
    """All of ours, in the order in which they are installed."""
    return [crd(kind) for kind in KINDS.values()]


def files() -> dict[str, str]:
    """What `crds/` holds: file name -> text."""
    return {
        f"{manifest['metadata']['name']}.yaml": _HEADER
        + yaml.dump(manifest, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
        for manifest in crds()
    }


def write(directory: Path) -> Iterable[Path]:
    """Write `files()`, and remove the CRDs of kinds that are no more."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = files()
    for old in directory.glob(f"*.{GROUP}.yaml"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        yield path


def main() -> None:
    for place in sys.argv[1:] or PLACES:
        for path in write(Path(__file__).parents[2] / place):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
