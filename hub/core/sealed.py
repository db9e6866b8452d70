"""Sealed outputs on their way through the hub, which cannot read them: who takes them, and what is relayed. Pure."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from agent.contract.handover import MAX_HANDOVERS, key_id, relayed
from hub.core.edges import refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.api.flow import Input
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Fleet

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Relay:
    """One value for one app: as its producer's agent sealed it, and what that is bound to."""

    producer: str
    name: str
    consumer: str
    mark: str
    """Changes with the value."""
    key: str
    """Which key it is sealed to."""
    digest: str
    text: str

    @property
    def same(self) -> tuple[str, ...]:
        """Equal where the value and who may read it are: what is sealed anew is no new value."""
        return (self.producer, self.name, self.consumer, self.mark, self.key)

    def to_json(self) -> Entry:
        return {
            "producer": self.producer,
            "name": self.name,
            "consumer": self.consumer,
            "mark": self.mark,
            "key": self.key,
            "digest": self.digest,
            "text": self.text,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Relay:
        fields = ("producer", "name", "consumer", "mark", "key", "digest", "text")
        return cls(*(str(entry.get(field, "")) for field in fields))


@dataclass(frozen=True, slots=True)
class RelayedSecret:
    """An object of a bundle that the hub adds, and what stands for its values in the digest, in their order."""

    obj: Manifest
    masks: tuple[str, ...]

    @property
    def identity(self) -> Entry:
        """What decides the result, less the texts."""
        return {"name": self.obj["metadata"]["name"], "keys": sorted(self.obj["data"]), "masks": self.masks}


def key_of(public: str) -> str:
    """The id of a cluster's sealing key as base64; empty for none."""
    try:
        return key_id(base64.b64decode(public, validate=True)) if public else ""
    except ValueError:
        return ""


def relays_of(producer: str, said: Mapping[str, Any]) -> tuple[Relay, ...]:
    """What one entry of a report hands over."""
    mark, name = str(said.get("mark") or ""), str(said.get("name") or "")
    return tuple(
        Relay(
            producer=producer,
            name=name,
            consumer=str(each.get("consumer", "")),
            mark=mark,
            key=str(each.get("key", "")),
            digest=str(each.get("digest", "")),
            text=str(each.get("text", "")),
        )
        for each in (said.get("handovers") or ())[:MAX_HANDOVERS]
    )


def recipients(cluster: str, graph: AppGraph, fleet: Fleet) -> list[Entry]:
    """For the cluster's Assignment: who takes sealed outputs of its apps, at most `MAX_HANDOVERS` of each."""
    found: list[Entry] = []
    for key in sorted(graph.on_cluster(cluster)):
        node = graph.get(key)
        if node is not None and node.sealed:
            found += list(_of(node, graph, fleet))[:MAX_HANDOVERS]
    return found


def producers_of(key: AppKey, graph: AppGraph) -> Iterator[AppKey]:
    """The apps whose sealed outputs an app takes: their agents have to know when it changes."""
    node = graph.get(key)
    if node is not None and any(each.secret is not None for each in node.inputs):
        for one, edge in takes(node, graph):
            if one.secret is not None:
                yield from edge.targets


def takes(node: AppNode, graph: AppGraph) -> Iterable[tuple[Input, Any]]:
    """Its inputs, each with the edge that it is."""
    return zip(node.inputs, graph.edges_of(node.key)[len(node.depends_on) - len(node.inputs) :], strict=True)


def may_read(node: AppNode, producer: AppNode, output: str) -> bool:
    """Within a project always; beyond it as the output says (the edge itself is the Project's to allow)."""
    allowed = producer.exports[output]
    return node.namespace == producer.namespace or "*" in allowed or node.namespace in allowed


def secrets_of(inputs: Sequence[Input], relays: Mapping[str, Relay], *, key: bytes) -> list[RelayedSecret]:
    """The Secrets that sealed inputs come to. `key` (32 bytes, the hub's) is for their masks."""
    data: dict[str, dict[str, tuple[str, str]]] = {}
    for one in inputs:
        relay = relays.get(one.as_)
        if one.secret is None or relay is None:
            continue
        value = relayed(relay.producer, relay.name, digest=relay.digest, text=relay.text)
        mask = "relayed:" + hmac.new(key, canonical_json(list(relay.same[:4])), "sha256").hexdigest()
        data.setdefault(one.secret.name, {})[one.secret.key] = (value, mask)
    return [
        RelayedSecret(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "type": "Opaque",
                "data": {field: value for field, (value, _) in values.items()},
            },
            tuple(mask for _, mask in values.values()),
        )
        for name, values in sorted(data.items())
    ]


def _of(producer: AppNode, graph: AppGraph, fleet: Fleet) -> Iterator[Entry]:
    for key in sorted(graph.dependents(producer.key)):
        node = graph.get(key)
        cluster = fleet.clusters.get(node.cluster) if node is not None else None
        if node is None or node.deleting or cluster is None or not cluster.accepted:
            continue
        for one, edge in takes(node, graph):
            if (
                one.secret is not None
                and cluster.sealing_key
                and producer.key in edge.targets
                and one.output in producer.sealed
                and refused(node, edge.dependency, fleet) is None
                and may_read(node, producer, one.output)
            ):
                yield {
                    "app": producer.key,
                    "output": one.output,
                    "consumer": key,
                    "key": cluster.sealing_key,
                }
