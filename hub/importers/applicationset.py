"""An ApplicationSet of Argo CD as ours.

https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hub.core.params import overlay
from hub.importers.application import DEFAULTS, Clusters, application_spec
from hub.importers.differences import ignored
from hub.importers.generators import Words, cluster_template, generator, git_params
from hub.importers.jinjatext import as_texts
from hub.importers.patch import marked
from hub.importers.rollout import rollout

if TYPE_CHECKING:
    from hub.importers.notes import Notes

_SPEC = (
    "goTemplate",
    "goTemplateOptions",
    "generators",
    "template",
    "templatePatch",
    "syncPolicy",
    "strategy",
    "ignoreApplicationDifferences",
    "preservedFields",
    "applyNestedSelectors",
)
_METADATA = ("labels", "annotations")
_FINALIZERS = ("resources-finalizer.argocd.argoproj.io", "resources-finalizer.argocd.argoproj.io/background")
_SYNC = {
    "sync": {},
    # nothing goes by itself: every deletion is Held until it is approved
    "create-update": {"deletion": {"budget": {"max": "0%", "min": 0}}},
}


def set_spec(spec: Mapping[str, Any], notes: Notes, clusters: Clusters) -> dict[str, Any]:
    """The spec of our ApplicationSet."""
    generators = spec.get("generators") or []
    go = bool(spec.get("goTemplate"))
    lenient = "missingkey=error" not in (spec.get("goTemplateOptions") or [])
    words = Words(go=go, lenient=lenient, git=git_params(generators), notes=notes)
    clusters = replace(clusters, from_generator=cluster_template(generators))

    base = spec.get("template") or {}

    def laid_over(own: Mapping[str, Any]) -> dict[str, Any]:
        return template(_completed(own, base), words, clusters)

    found: dict[str, Any] = {
        "generators": [
            generator(one, words, laid_over, path=f"spec.generators[{at}]")
            for at, one in enumerate(generators)
        ],
        "template": overlay({"metadata": {}, "spec": dict(DEFAULTS)}, template(base, words, clusters)),
    }
    if spec.get("templatePatch"):
        found["templatePatch"] = marked(words.text(spec["templatePatch"], "spec.templatePatch"))
    found |= _policy(spec.get("syncPolicy") or {}, notes)
    waves = rollout(spec.get("strategy") or {}, base, notes)
    if waves:
        found["rollout"] = waves
    ignored_fields = ignored(spec.get("ignoreApplicationDifferences") or [], notes)
    if ignored_fields:
        found["ignoreDifferences"] = ignored_fields
    notes.lost_keys(spec, _SPEC, "spec")
    return found


def template(value: Mapping[str, Any], words: Words, clusters: Clusters) -> dict[str, Any]:
    """A template, or a part of one that a generator lays over it."""
    found: dict[str, Any] = {}
    metadata = value.get("metadata") or {}
    translated = words.value(
        {key: metadata[key] for key in ("name", *_METADATA) if metadata.get(key)}, "metadata"
    )
    if translated:
        found["metadata"] = translated
    spec = words.value(dict(value.get("spec") or {}), "spec")
    for one in [spec.get("source"), *(spec.get("sources") or [])]:
        helm = (one or {}).get("helm") or {}
        if helm.get("valuesObject"):
            helm["valuesObject"] = as_texts(helm["valuesObject"])
    converted = application_spec(spec, words.notes.of(words.notes.where), clusters)
    if converted:
        found["spec"] = converted
    finalizers = [one for one in metadata.get("finalizers") or [] if one not in _FINALIZERS]
    words.notes.lost_keys(
        {**metadata, "finalizers": finalizers}, ("name", "namespace", *_METADATA), "metadata"
    )
    return found


def _completed(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A generator's own template: what is empty there says nothing, and a source is the set's but for what it says."""
    found: dict[str, Any] = _said(own)
    spec = found.get("spec") or {}
    whole = (base.get("spec") or {}).get("source")
    if spec.get("source") and whole:
        spec["source"] = overlay(whole, spec["source"])
    return found


def _said(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _said(one) for key, one in value.items() if one not in (None, "", [], {})}


def project_of(spec: Mapping[str, Any]) -> str:
    """The project that the template names, which may be a template itself; empty where it names none."""
    return str(((spec.get("template") or {}).get("spec") or {}).get("project") or "")


def _policy(policy: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if policy.get("preserveResourcesOnDeletion"):
        found = {"deletion": {"policy": "Orphan"}}
    mode = policy.get("applicationsSync") or "sync"
    if mode in _SYNC:
        found = overlay(found, _SYNC[mode])
    else:
        notes.lost("spec.syncPolicy.applicationsSync", str(mode))
    notes.lost_keys(policy, ("preserveResourcesOnDeletion", "applicationsSync"), "spec.syncPolicy")
    return found
