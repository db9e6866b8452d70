"""Which clusters a selector, a cluster set or a generator means. Pure, and light: workers import it.

The hub is a spoke of itself, called `hub`, and in nothing by accident: it is selected by its name, or by a
selector that asks for its label, `axletree.dev/hub: "true"` (`matchLabels`, or `In` or `Exists` in
`matchExpressions`). An empty selector, and one that happens to match its other labels, leave it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.names import GROUP, HUB_CLUSTER
from agent.kube.selectors import Operator, Selector, parse_selector

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HUB_LABEL = f"{GROUP}/hub"
"""On the hub's own Cluster, with the value `true`."""
ANNOTATION_SERVER = f"{GROUP}/server"
"""On a Cluster: the address by which Argo CD knew it. Sets that came from there may go by it."""
ANNOTATION_PROJECT = f"{GROUP}/argocd-project"
"""On a Cluster: the project to which Argo CD bound it."""
_ASKING = frozenset({Operator.IN, Operator.EXISTS})


def selects(selector: Selector, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a selector over clusters means this one."""
    if name == HUB_CLUSTER:
        asks = any(one.key == HUB_LABEL and one.operator in _ASKING for one in selector.requirements)
        return asks and selector.matches({HUB_LABEL: "true", **labels})
    return selector.matches(labels)


def set_contains(
    selector: Mapping[str, Any] | None, names: Collection[str], *, name: str, labels: Mapping[str, str]
) -> bool:
    """Whether a ClusterSet of this raw `selector` (None selects nothing) and these `names` has the cluster.

    Raises `SelectorError` for a selector that the API server would refuse.
    """
    if name in names:
        return True
    return selector is not None and selects(parse_selector(selector), name, labels)
