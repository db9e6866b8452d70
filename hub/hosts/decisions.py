"""`clusterDecisionResource`: clusters that another controller chose, as in Open Cluster Management.

A ConfigMap says what to read: `apiVersion`, `kind` (or the plural), `statusListKey` (`clusters` by default) and
`matchKey`, the key of a decision that names the cluster. A kind that is not there, and an object without a
status, are errors: they are no decision for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.kube.selectors import SelectorError
from hub.core.expansion import GeneratorError
from hub.generators.external import MATCH_KEY
from hub.hosts.errors import HostMisconfigured, HostUnreachable
from hub.hosts.plugin import config_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.core.params import Params
    from hub.hosts.objects import Objects


async def ask(objects: Objects, namespace: str, spec: Mapping[str, Any]) -> list[Params]:
    """The decisions, each with the cluster's name under `MATCH_KEY`."""
    name, selector = spec.get("name") or "", spec.get("labelSelector")
    if bool(name) == bool(selector):
        raise GeneratorError(
            "exactly one of name and labelSelector is needed", path="clusterDecisionResource"
        )
    config = await config_data(objects, namespace, spec["configMapRef"])
    api_version, kind = config.get("apiVersion", ""), config.get("kind", "")
    match = config.get("matchKey", "")
    if "/" not in api_version or not kind.isalnum() or not match or ".." in api_version:
        raise HostMisconfigured(
            f"ConfigMap {namespace}/{spec['configMapRef']} needs apiVersion, kind and matchKey"
        )
    try:
        found = await objects.decisions(
            namespace, kind, api_version=api_version, selector=selector, name=name
        )
    except SelectorError as error:
        raise GeneratorError(str(error), path="clusterDecisionResource.labelSelector") from error
    if not found:
        raise HostUnreachable(f"there is no {kind} in {namespace} that is meant")
    key = config.get("statusListKey") or "clusters"
    rows: list[Params] = []
    for obj in found:
        decided = (obj.get("status") or {}).get(key)
        if not isinstance(decided, list):
            raise HostUnreachable(f"{kind} {namespace}/{obj['metadata']['name']} has no status.{key} yet")
        if not all(isinstance(one, dict) and match in one for one in decided):
            raise HostMisconfigured(
                f"{kind} {namespace}/{obj['metadata']['name']}: an entry of status.{key} has no {match}, the matchKey"
            )
        rows += [{**one, MATCH_KEY: str(one[match])} for one in decided if one[match]]
    return rows
