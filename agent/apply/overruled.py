"""What admission makes of our values: applied, and live otherwise than the bundle says. Pure.

Such a value is no drift (to apply it again changes nothing) and no fight, but Git does not say what runs, and that is
told. The API server alone knows which words mean the same in a field; so only plain values of one type are compared,
and texts that could be the same quantity, time or bytes are taken for that.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.apply.diff import MAX_CHANGES, change
from agent.apply.fields import differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.apply.diff import Change
    from agent.apply.fields import FieldSet
    from agent.contract.manifest import Manifest, ObjectRef

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?"
)
_DECIMAL = {name: Decimal(1000) ** (power - 3) for power, name in enumerate("num")} | {
    name: Decimal(1000) ** (power + 1) for power, name in enumerate("kMGTPE")
}
_BINARY = {f"{name}i": Decimal(1024) ** (power + 1) for power, name in enumerate("KMGTPE")}
_FACTORS = _DECIMAL | _BINARY


def overruled(ref: ObjectRef, desired: Manifest, applied: Manifest, fields: FieldSet) -> tuple[Change, ...]:
    """Of the fields that we set, those that an apply gave another value, the first `MAX_CHANGES`."""
    return tuple(islice(_found(ref, desired, applied, fields), MAX_CHANGES))


def _found(ref: ObjectRef, desired: Manifest, applied: Manifest, fields: FieldSet) -> Iterator[Change]:
    for path, wanted, live in differing(desired, applied, fields):
        if type(wanted) is type(live) and not _same(wanted, live):
            yield change(ref, path, wanted, live)


def _same(wanted: Any, live: Any) -> bool:
    """Whether it could mean the same; anything but plain values could."""
    if isinstance(wanted, bool | int):
        return bool(wanted == live)
    if not isinstance(wanted, str):
        return True
    if "".join(wanted.split()) == "".join(live.split()):
        return True
    return any(
        left is not None and left == right
        for left, right in ((read(wanted), read(live)) for read in (_quantity, _time))
    )


def _quantity(text: str) -> Decimal | None:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    number, suffix, power = found.groups()
    return Decimal(number) * _FACTORS.get(suffix or "", Decimal(1)) * Decimal(10) ** int(power or 0)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
