"""What the controller says to an Application that somebody is about to write, and how API servers come to ask."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TransientError
from agent.contract.names import GROUP, LABEL_SET, MANAGER_CONTROLLER, VERSION
from hub.core.admission import new_cycle
from hub.core.model import AppNode
from hub.operator import views
from hub.operator.objects import key_of

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.core.graph import AppGraph

log = logging.getLogger(__name__)
NAME = "axletree-applications"
PATH = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{NAME}"
TIMEOUT_SECONDS = 2
SET_TIMEOUT_SECONDS = 5
"""Its templates are rendered."""
_HAS_RULES = "has(object.spec.healthRules)"
"""Most Projects bring none: they are written without a question."""


def refusal(graph: AppGraph, obj: Manifest) -> str:
    """Why this Application may not be: the cycle that it would close, with its path; empty where it may."""
    try:
        spec = views.application_spec(obj)
    except ValueError:
        return ""  # the schema's to say
    node = AppNode(
        key=key_of(obj),
        cluster=spec.cluster,
        labels=obj["metadata"].get("labels") or {},
        owner=views.owner_of(obj),
        depends_on=spec.edges(),
        inputs=tuple(spec.inputs),
    )
    path = new_cycle(graph, node)
    return f"DependencyCycle: {path}" if path else ""


async def register(client: RestClient, *, url: str, key: str, ca_pem: str) -> None:
    """Have the API server ask about what people write. Without the right to, what is wrong is told afterwards.

    Hand-written Applications and sets may close a cycle, and sets have fields that there are not; they and Projects may
    have health rules that do not read.

    Children are left out: there may be thousands in a second, and their plan has seen them all. Where nobody
    answers, the object is let in (`failurePolicy: Ignore`): a dead hub must not be in anyone's way.
    """
    common: dict[str, Any] = {
        "clientConfig": {
            "url": f"{url}/admission/v1/{key}",
            "caBundle": base64.b64encode(ca_pem.encode()).decode(),
        },
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
        "admissionReviewVersions": ["v1"],
    }
    by_hand = {"matchExpressions": [{"key": LABEL_SET, "operator": "DoesNotExist"}]}
    webhooks = [
        {
            **common,
            "name": f"applications.{GROUP}",
            "rules": _rules("applications"),
            "objectSelector": by_hand,
        },
        {
            **common,
            "name": f"applicationsets.{GROUP}",
            "rules": _rules("applicationsets"),
            "timeoutSeconds": SET_TIMEOUT_SECONDS,
        },
        {
            **common,
            "name": f"rules.{GROUP}",
            "rules": _rules("projects"),
            "matchConditions": [{"name": "has-health-rules", "expression": _HAS_RULES}],
        },
    ]
    manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": webhooks,
    }
    try:
        await client.apply(PATH, manifest, field_manager=MANAGER_CONTROLLER, force=True)
    except (ApiError, TransientError) as error:
        log.warning("cycles are not refused before they are written: %s", error)


def _rules(*resources: str) -> list[dict[str, Any]]:
    return [
        {
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "resources": list(resources),
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
    ]
