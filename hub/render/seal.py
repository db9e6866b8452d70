"""Secret values on their way out of a worker: sealed to the cluster that they are for. Workers run it.

What stands for them in the digest comes along, so that the hub can name the bundle without seeing them.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from agent.contract.secrets import map_secret, mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest

_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Sealing:
    """For whom, and with which key for the digest, 32 bytes each. `key` names the rendering: workers remember by it."""

    recipient: bytes
    mask_key: bytes
    key: str

    def to_wire(self) -> dict[str, str]:
        return {
            "recipient": base64.b64encode(self.recipient).decode(),
            "mask_key": base64.b64encode(self.mask_key).decode(),
            "key": self.key,
        }

    @staticmethod
    def from_wire(data: Mapping[str, str]) -> Sealing:
        return Sealing(base64.b64decode(data["recipient"]), base64.b64decode(data["mask_key"]), data["key"])


@dataclass(frozen=True, slots=True)
class SealedResult:
    """Objects whose secret values are sealed, and the masks of these values in the order of the objects."""

    objects: tuple[Manifest, ...]
    masks: tuple[str, ...] = ()


class Remembered:
    """The last few renderings with secrets in them: the next cluster's differs in its sealing alone."""

    def __init__(self) -> None:
        self._objects: OrderedDict[str, Sequence[Manifest]] = OrderedDict()

    def get(self, key: str) -> Sequence[Manifest] | None:
        return self._objects.get(key)

    def put(self, key: str, objects: Sequence[Manifest]) -> None:
        self._objects[key] = objects
        if len(self._objects) > _REMEMBERED:
            self._objects.popitem(last=False)


def sealed(objects: Sequence[Manifest], sealing: Sealing) -> SealedResult:
    """The objects as they may leave the worker."""
    masks: list[str] = []

    def change(value: Any) -> str:
        from agent.contract.sealing import seal  # noqa: PLC0415 - 10 MB that only secrets need

        masks.append(mask(value, key=sealing.mask_key))
        return seal(canonical_json(value), recipient=sealing.recipient)

    return SealedResult(tuple(map_secret(one, change) for one in objects), tuple(masks))
