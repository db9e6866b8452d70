"""The spec of an Argo CD Application as ours.

Only what is there is converted, so that a patch of one is converted by the same rules; `DEFAULTS` are what Argo
CD means by what is not there. Texts may be templates, in Jinja2 already.
https://argo-cd.readthedocs.io/en/stable/operator-manual/application.yaml
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.names import HUB_CLUSTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.importers.notes import Notes

IN_CLUSTER = "in-cluster"
IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
DEFAULTS: Mapping[str, Any] = {"sync": {"mode": "Manual", "prune": False, "drift": {"mode": "Alert"}}}

_SOURCE = {"repoURL": "repoURL", "targetRevision": "revision", "path": "path", "chart": "chart", "ref": "ref"}
_HELM = {
    **{
        name: name
        for name in (
            "releaseName",
            "valueFiles",
            "ignoreMissingValueFiles",
            "values",
            "valuesObject",
            "parameters",
            "kubeVersion",
            "apiVersions",
        )
    },
    "skipCrds": "skipCRDs",
}
_KUSTOMIZE = {
    name: name
    for name in (
        "namePrefix",
        "nameSuffix",
        "namespace",
        "images",
        "replicas",
        "commonLabels",
        "commonAnnotations",
        "components",
        "patches",
    )
}
_DIRECTORY = {name: name for name in ("recurse", "include", "exclude")}
_JSONNET = {name: name for name in ("tlas", "extVars")}
_ALWAYS = {
    "ServerSideApply=true": "everything is applied server-side",
    "PruneLast=true": "pruning comes after every apply has succeeded",
    "ApplyOutOfSyncOnly=true": "only what differs is written",
    "SkipDryRunOnMissingResource=true": "custom resources wait for their definitions",
    "RespectIgnoreDifferences=true": "what is ignored is never written back",
    "CreateNamespace=false": "",
    "Validate=true": "",
    "Replace=false": "",
    "Prune=true": "",
}
"""Sync options that say what is so anyway."""
_OPTIONS = {"Replace=true": "Replace", "Force=true": "Recreate"}
_RULE = ("group", "kind", "name", "namespace", "jsonPointers")
_JQ = re.compile(
    r"""
    (?P<field>\.[A-Za-z_]\w*)\??
  | \.?\["(?P<key>[^"\\']+)"\]\??
  | \.?\[(?P<index>\d+)\]\??
  | \.?\[\]\??\s*\|\s*select\(\s*\.(?P<name>\w+)\s*==\s*"(?P<value>[^"\\]*)"\s*\)\s*(?:\|\s*(?=\.)|$)
  | \.?\[\]\??
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Clusters:
    """How destinations become names of clusters."""

    servers: Mapping[str, str] = field(default_factory=dict)
    """Names by address."""
    names: frozenset[str] = frozenset()
    from_generator: str = ""
    """What the set's generators call the cluster at `{{ server }}`, as a template."""

    def name(self, destination: Mapping[str, Any]) -> str | None:
        """The cluster's name; an address stays where nobody knows its name."""
        name, server = destination.get("name"), destination.get("server")
        if name:
            return HUB_CLUSTER if name == IN_CLUSTER and name not in self.names else str(name)
        if not server:
            return None
        if server in self.servers:
            return self.servers[server]
        if self.from_generator and server == "{{ server }}":
            return self.from_generator
        return HUB_CLUSTER if server == IN_CLUSTER_SERVER else str(server)


def application_spec(spec: Mapping[str, Any], notes: Notes, clusters: Clusters) -> dict[str, Any]:
    """What the spec says, without defaults. Nothing that it says is dropped without a note."""
    found: dict[str, Any] = {}
    destination = spec.get("destination") or {}
    cluster = clusters.name(destination)
    if cluster:
        found["cluster"] = cluster
    if destination.get("namespace"):
        found["namespace"] = destination["namespace"]
    if spec.get("source"):
        found["sources"] = [source(spec["source"], notes, path="spec.source")]
    if spec.get("sources"):
        found["sources"] = [
            source(one, notes, path=f"spec.sources[{at}]") for at, one in enumerate(spec["sources"])
        ]
    if "syncPolicy" in spec:
        found["sync"] = _sync(spec["syncPolicy"] or {}, notes)
    if spec.get("ignoreDifferences"):
        ignored = [
            rule for at, one in enumerate(spec["ignoreDifferences"]) for rule in _ignored(one, notes, at)
        ]
        found["sync"] = {**found.get("sync", {}), **({"ignoreDifferences": ignored} if ignored else {})}
    known = ("destination", "source", "sources", "syncPolicy", "ignoreDifferences", "project")
    notes.lost_keys(spec, known, "spec")
    return found


def source(value: Mapping[str, Any], notes: Notes, *, path: str) -> dict[str, Any]:
    """One source: where it is read from, and its tool's options."""
    found = _renamed(value, _SOURCE)
    address = str(found.get("repoURL", ""))
    if value.get("chart") and address and "://" not in address and "{{" not in address:
        found["repoURL"] = f"oci://{address}"
    if value.get("helm"):
        found["helm"] = _helm(value["helm"], notes, path=f"{path}.helm")
    if value.get("kustomize"):
        found["kustomize"] = _kustomize(value["kustomize"], notes, path=f"{path}.kustomize")
    if value.get("directory"):
        found["directory"] = _renamed(value["directory"], _DIRECTORY)
        notes.lost_keys(value["directory"], (*_DIRECTORY, "jsonnet"), f"{path}.directory")
        if value["directory"].get("jsonnet"):
            found["jsonnet"] = _jsonnet(value["directory"], notes, path=f"{path}.directory")
            found.pop("directory")
    if value.get("plugin"):
        found["plugin"] = _plugin(value["plugin"], notes, path=f"{path}.plugin")
    notes.lost_keys(value, (*_SOURCE, "helm", "kustomize", "directory", "plugin", "name"), path)
    return found


def _jsonnet(directory: Mapping[str, Any], notes: Notes, *, path: str) -> dict[str, Any]:
    """Ours is a tool of its own: it evaluates the folder's Jsonnet files, and nothing beside them."""
    value = directory["jsonnet"]
    notes.differs(
        f"{path}.jsonnet", "only the Jsonnet files of the folder itself are read, no YAML beside them"
    )
    for key in directory.keys() & {"recurse", "include", "exclude"}:
        notes.lost(f"{path}.{key}")
    if value.get("libs"):
        notes.lost(f"{path}.jsonnet.libs", "there they are relative to the repository, here to the path")
    notes.lost_keys(value, (*_JSONNET, "libs"), f"{path}.jsonnet")
    return _renamed(value, _JSONNET)


def _plugin(value: Mapping[str, Any], notes: Notes, *, path: str) -> dict[str, Any]:
    """A command that the administrator registers: environment and parameters alike are its parameters."""
    name = str(value.get("name") or "")
    notes.differs(path, f"a plugin called {name or '(none)'} has to be registered on the hub")
    found = {str(one.get("name")): one.get("value", "") for one in value.get("env") or []}
    for index, one in enumerate(value.get("parameters") or []):
        if "string" in one:
            found[str(one.get("name"))] = one["string"]
        else:
            notes.lost(f"{path}.parameters[{index}]", "only texts are parameters here")
    notes.lost_keys(value, ("name", "env", "parameters"), path)
    return {"name": name} | ({"parameters": found} if found else {})


def _helm(value: Mapping[str, Any], notes: Notes, *, path: str) -> dict[str, Any]:
    found = _renamed(value, _HELM)
    if found.get("valuesObject") and found.pop("values", None):
        notes.differs(f"{path}.values", "left out: Argo CD does not read it beside valuesObject")
    if value.get("version") not in (None, "", "v3"):
        notes.lost(f"{path}.version")
    notes.lost_keys(value, (*_HELM, "version"), path)
    return found


def _kustomize(value: Mapping[str, Any], notes: Notes, *, path: str) -> dict[str, Any]:
    found = _renamed(value, _KUSTOMIZE)
    if value.get("commonLabels") and not value.get("labelWithoutSelector"):
        notes.differs(f"{path}.commonLabels", "the labels are not added to selectors")
    notes.lost_keys(value, (*_KUSTOMIZE, "labelWithoutSelector", "labelIncludeTemplates"), path)
    return found


def _ignored(rule: Mapping[str, Any], notes: Notes, at: int) -> list[dict[str, Any]]:
    """One rule of fields that others change, or none where nothing of it has an equal."""
    path = f"spec.ignoreDifferences[{at}]"
    found = {
        key: rule[key] for key in ("group", "kind", "name", "namespace", "jsonPointers") if rule.get(key)
    }
    found.setdefault("group", "")
    if rule.get("managedFieldsManagers"):
        found["managers"] = list(rule["managedFieldsManagers"])
    paths = []
    for expression in rule.get("jqPathExpressions") or []:
        converted = json_path(str(expression))
        if converted is None:
            notes.lost(path, f"jq: {expression}")
        else:
            paths.append(converted)
    if paths:
        found["jsonPaths"] = paths
    notes.lost_keys(rule, (*_RULE, "jqPathExpressions", "managedFieldsManagers"), path)
    return [found] if found.keys() & {"jsonPointers", "jsonPaths", "managers"} else []


def json_path(expression: str) -> str | None:
    """A path of jq as JSONPath, where it is no more than a path with selections by one field."""
    at, out = 0, []
    text = expression.strip()
    while at < len(text):
        match = _JQ.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match["field"]:
            out.append(match["field"])
        elif match["key"]:
            out.append(f"['{match['key']}']")
        elif match["index"]:
            out.append(f"[{match['index']}]")
        elif match["name"]:
            out.append(f'[?(@.{match["name"]}=="{match["value"]}")]')
        else:
            out.append("[*]")
    return "".join(out) or None


def _renamed(value: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[key]: one for key, one in value.items() if key in names and one is not None}


def _sync(policy: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    path = "spec.syncPolicy"
    if "automated" in policy:
        found |= _automated(policy["automated"], notes, path=f"{path}.automated")
    retry = policy.get("retry") or {}
    if retry:
        limit = retry.get("limit", 5)
        found["retry"] = {"limit": 1000 if isinstance(limit, int) and limit < 0 else limit}
        notes.lost_keys(retry, ("limit",), f"{path}.retry")
    for option in policy.get("syncOptions") or []:
        if option == "CreateNamespace=true":
            found["createNamespace"] = True
        elif option in _OPTIONS:
            found.setdefault("options", []).append(_OPTIONS[option])
        elif option in _ALWAYS:
            if _ALWAYS[option]:
                notes.differs(f"{path}.syncOptions", f"{option} is not needed: {_ALWAYS[option]}")
        else:
            notes.lost(f"{path}.syncOptions", str(option))
    notes.lost_keys(policy, ("automated", "retry", "syncOptions"), path)
    return found


def _automated(value: Mapping[str, Any] | None, notes: Notes, *, path: str) -> dict[str, Any]:
    if value is None or value.get("enabled") is False:
        return {"mode": "Manual"}
    found: dict[str, Any] = {"mode": "Auto"}
    if value.get("prune") is not None:
        found["prune"] = value["prune"]
    if value.get("selfHeal") is not None:
        found["drift"] = {"mode": "Correct" if value["selfHeal"] else "Alert"}
    if value.get("allowEmpty") is not None:
        found["allowEmpty"] = value["allowEmpty"]
    notes.lost_keys(value, ("prune", "selfHeal", "allowEmpty", "enabled"), path)
    return found
