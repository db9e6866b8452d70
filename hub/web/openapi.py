"""The OpenAPI 3.1 document, made from the routes and their models: `python -m hub.web.openapi` writes it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from hub.web.policy import PREFIX, ROUTES, Access

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hub.web.policy import Route

WHERE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
_REF = "#/components/schemas/{model}"
_STREAMS = {"events": "text/event-stream", "openapi": "application/json"}


def document() -> dict[str, Any]:
    """The whole document, the same each time."""
    models: list[type[BaseModel]] = [
        each for route in ROUTES for each in (route.query, route.answer, route.body) if each is not None
    ]
    pairs = [(each, "validation") for each in dict.fromkeys(models)]
    refs, found = models_json_schema(pairs, ref_template=_REF)  # type: ignore[arg-type]
    schemas = found.get("$defs", {})
    queries = {route.query.__name__ for route in ROUTES}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    kept = {name: schema for name, schema in sorted(schemas.items()) if name not in queries}
    kept["Problem"] = _problem()
    _ = refs
    return {
        "openapi": "3.1.0",
        "info": {"title": "Axletree", "version": "v1", "description": "Read, wait for, and steer a fleet."},
        "paths": paths,
        "components": {
            "schemas": kept,
            "securitySchemes": {
                "kubernetes": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that the hub's API server takes; rights are its RBAC's.",
                }
            },
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    wanted = schemas.get(route.query.__name__, {}).get("properties", {})
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in wanted.items()
    ]
    required = set(schemas.get(route.query.__name__, {}).get("required", ()))
    for each in parameters:
        each["required"] = each["required"] or each["name"] in required
    if route.act:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 128},
            }
        )
    content = _STREAMS.get(route.name, "application/json")
    schema = {} if route.answer is None else {"schema": {"$ref": _REF.format(model=route.answer.__name__)}}
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _policy(route),
        "parameters": parameters,
        "responses": {
            "200": {"description": "It is so.", "content": {content: schema}},
            "default": {
                "description": "A problem; `reason` is stable.",
                "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}},
            },
        },
    }
    if route.body is not None:
        ref = {"$ref": _REF.format(model=route.body.__name__)}
        made["requestBody"] = {"required": False, "content": {"application/json": {"schema": ref}}}
    if route.access is not Access.PUBLIC:
        made["security"] = [{"kubernetes": []}]
    return made


def _policy(route: Route) -> str:
    if route.access is Access.PUBLIC:
        return "For everybody."
    right = f"Needs the verb `{route.verb}` on `{route.resource}.axletree.dev`"
    match route.access:
        case Access.NAMED:
            return f"{right} in that namespace."
        case Access.VISIBLE:
            return f"{right}; tells of the namespaces in which the caller has it."
        case _:
            return f"{right} in the whole cluster."


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "Problem details, RFC 9457.",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "reason": text,
        },
    }


def text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    WHERE.write_text(text())
    sys.stdout.write(f"{WHERE}\n")
