"""Every label, annotation, finalizer, field manager and derived name, in one place.

Several agents may share one cluster (a hub of hubs, a benchmark): what an agent writes carries the hub id and
the cluster's name, so that neither takes the other's.
"""

from __future__ import annotations

import base64
import hashlib

GROUP = "axletree.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

HUB_NAMESPACE = "axletree-system"
"""The hub's own namespace: Assignments, identity, join tokens, the root Application."""
AGENT_NAMESPACE = "axletree-agent"
"""On a spoke: the agent's state, inventories, and the ServiceAccounts that it impersonates."""
HUB_CLUSTER = "hub"
"""The hub as its own spoke; generators leave it out unless they select it by name or label."""

# Labels of KEP-3659 (ApplySet): https://kep.k8s.io/3659
APPLYSET_PART_OF = "applyset.kubernetes.io/part-of"
APPLYSET_ID = "applyset.kubernetes.io/id"
APPLYSET_TOOLING = "applyset.kubernetes.io/tooling"
APPLYSET_GROUP_KINDS = "applyset.kubernetes.io/contains-group-kinds"

# On hub objects
LABEL_SET = f"{GROUP}/application-set"
"""On a child: the name of its ApplicationSet (same namespace). Not an ownerReference: see I1."""
LABEL_CLUSTER = f"{GROUP}/cluster"
"""On an Application: its cluster, so that `kubectl get -l` and edges can select by it."""
LABEL_CREDENTIALS = f"{GROUP}/credentials"
LABEL_VALUES = f"{GROUP}/values"
"""On ConfigMaps and Secrets of the hub that charts may take values from."""
"""On a Secret of the hub: `git` - its url, username, password are used for that URL prefix."""
LABEL_JOIN_TOKEN = f"{GROUP}/join-token"
ANNOTATION_REFRESH = f"{GROUP}/refresh"
"""A person or webhook asks for a fetch now; the value is a nonce. On sets and Applications."""
ANNOTATION_SYNC = f"{GROUP}/sync"
"""A person lets an Application of mode Manual go: the digest of the target that is meant."""
ANNOTATION_FORCE_RELEASE = f"{GROUP}/force-release"
"""On an Application: `<digest>/<release>/<who>`: let it go to exactly that target once, as that release of its own,
whatever edges, waves and windows say."""
ANNOTATION_APPROVE = f"{GROUP}/approve"
"""`deletions/<plan>` on a set, `deletion` on an Application, as `axle approve` writes it."""
ANNOTATION_APPROVE_WAVE = f"{GROUP}/approve-wave"
"""On a set: `<wave>/<plan>`, and `/<failures>` of a halted one, as `axle approve --wave` writes it; by commas."""
ANNOTATION_PIN = f"{GROUP}/pin"
"""On an Application: `<digest>/<target>/<by>`: run this release of its history while the plan wants that target."""
ANNOTATION_PAUSED = f"{GROUP}/paused"
"""`true` on a set, an Application or a Cluster: nothing is let go there. What runs is kept as it is."""
ANNOTATION_ADOPT = f"{GROUP}/adopt"
"""On an Application: `plan/<request>` or `take/<digest>/<request>`, as `axle adopt` writes it."""
ANNOTATION_SYNC_OBJECT = f"{GROUP}/sync-object"
"""On an Application: `<digest>/<request>/<object>`: apply that object of that release again, as `axle sync --object`
writes it."""
ANNOTATION_FORCE_REMOVE = f"{GROUP}/force-remove"
"""On a Cluster that is being removed: do not wait for an agent that will never answer. What runs there stays."""
ANNOTATION_KEEP = f"{GROUP}/keep"
"""On a spoke's object, live or desired: left alone and unlabelled when it would be deleted."""
FINALIZER = f"{GROUP}/cleanup"
"""On Applications, ApplicationSets and Clusters: the record of what runs outlives `kubectl delete`."""

# On spoke objects of the agent
LABEL_HUB = f"{GROUP}/hub"
LABEL_AGENT_CLUSTER = f"{GROUP}/agent-cluster"
LABEL_STATE = f"{GROUP}/state"
ANNOTATION_APP = f"{GROUP}/app"

MANAGER_CONTROLLER = "axletree-controller"
MANAGER_GATEWAY = "axletree-gateway"


def short_hash(text: str, length: int = 10) -> str:
    """A lowercase hex prefix of sha256: stable parts of derived names."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def agent_manager(hub_id: str, cluster: str) -> str:
    """The agent's field manager. Managers are limited to 128 bytes; names may be longer."""
    return f"axletree-{short_hash(hub_id, 8)}-{short_hash(cluster, 8)}"


def inventory_name(hub_id: str, cluster: str, app: str) -> str:
    """The inventory Secret of one app (`namespace/name` on the hub), the ApplySet's parent object."""
    return f"axletree-inv-{short_hash(f'{hub_id}|{cluster}|{app}', 20)}"


def applyset_id(hub_id: str, cluster: str, app: str) -> str:
    """The value of the part-of label, as KEP-3659 forms it from the parent object.

    `applyset-<base64url(sha256(name.namespace.kind.group))>-v1`, without padding.
    """
    parent = f"{inventory_name(hub_id, cluster, app)}.{AGENT_NAMESPACE}.Secret."
    digest = base64.urlsafe_b64encode(hashlib.sha256(parent.encode()).digest()).decode().rstrip("=")
    return f"applyset-{digest}-v1"
