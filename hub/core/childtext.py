"""Fields of a rendered child that are text, whatever a template gave: `revision: "{{ version }}"` of 1.2 is "1.2".

A template that is one expression gives its typed value, which is right for what may be of any type (values) and
wrong for what can only be text. Helm values are the other way round: as YAML text, as Argo CD writes them, they
become the map that they mean.
"""

from __future__ import annotations

from typing import Any

from agent.kube.yaml import YamlError, load_value
from hub.core.expansion import InvalidChild
from hub.core.insert import refers
from hub.core.params import scalar_text

_ANY = "*"
_TEXTS: tuple[tuple[str, ...], ...] = (
    *(("sources", _ANY, name) for name in ("repoURL", "revision", "digest", "path", "chart", "ref")),
    ("sources", _ANY, "helm", "releaseName"),
    ("sources", _ANY, "helm", "valueFiles", _ANY),
    ("sources", _ANY, "helm", "parameters", _ANY, "name"),
    ("sources", _ANY, "helm", "parameters", _ANY, "value"),
    *(("sources", _ANY, "kustomize", name) for name in ("namePrefix", "nameSuffix", "namespace")),
    ("sources", _ANY, "kustomize", "images", _ANY),
    ("sources", _ANY, "kustomize", "commonLabels", _ANY),
    ("sources", _ANY, "kustomize", "commonAnnotations", _ANY),
    ("common", "labels", _ANY),
    ("common", "annotations", _ANY),
)


def with_texts(spec: dict[str, Any]) -> dict[str, Any]:
    """The rendered spec, changed in place. Raises `InvalidChild` for Helm values that do not read."""
    for path in _TEXTS:
        _coerce(spec, path)
    sources = spec.get("sources")
    for at, source in enumerate(sources if isinstance(sources, list) else []):
        helm = source.get("helm") if isinstance(source, dict) else None
        if isinstance(helm, dict) and isinstance(helm.get("values"), str) and not refers(helm["values"]):
            where = f"spec.sources[{at}].helm.values"
            try:
                helm["values"] = load_value(helm["values"], source=where) or {}
            except YamlError as error:
                raise InvalidChild(error.problem, path=where, line=error.line or None) from error
    return spec


def _coerce(value: Any, path: tuple[str, ...]) -> None:
    key, rest = path[0], path[1:]
    if key == _ANY:
        places = (
            list(range(len(value)))
            if isinstance(value, list)
            else list(value)
            if isinstance(value, dict)
            else []
        )
    else:
        places = [key] if isinstance(value, dict) and key in value else []
    for place in places:
        if rest:
            _coerce(value[place], rest)
        elif isinstance(value[place], bool | int | float):
            value[place] = scalar_text(value[place])
