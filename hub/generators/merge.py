"""`merge`: the first generator's parameter sets, each with what the later ones say of the same one over it.

"The same" is where all `mergeKeys` have equal values; a key may be dotted (`values.region`). Maps merge, and
the last generator wins. The order is the first generator's. `mode` says which sets there are:

* `Left` (the default, and what Argo CD does): those of the first generator.
* `Inner`: those that every generator has.
* `Outer`: all; what the first does not have comes after it, in the order in which it is met.

A set without one of the keys, or two sets of one generator with the same keys, is an error: which of them was
meant is not ours to guess.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from hub.core.expansion import ExpansionError, GeneratorError
from hub.core.params import MISSING, Params, lookup, overlay, params_text
from hub.generators.context import Context, Generate, GeneratorSpec, check_keys, entries, within_limit

MODES = ("Left", "Inner", "Outer")
_Keyed: TypeAlias = dict[str, Params]


def generate(spec: GeneratorSpec, context: Context, *, child: Generate) -> list[Params]:
    """The joined sets. `child` runs one inner generator."""
    check_keys(spec, ("generators", "mergeKeys", "mode"), path="merge")
    keys = _merge_keys(spec)
    mode = spec.get("mode") or MODES[0]
    if mode not in MODES:
        raise GeneratorError(f"one of {', '.join(MODES)} is expected", path="merge.mode")
    generators = entries(spec.get("generators"), path="merge.generators")
    if len(generators) < 2:  # noqa: PLR2004 - a merge of one is a mistake
        raise GeneratorError("at least two generators are needed", path="merge.generators")
    merged: _Keyed | None = None
    for index, generator in enumerate(generators):
        at = f"merge.generators[{index}]"
        try:
            found = _keyed(child(generator, context), keys)
        except ExpansionError as error:
            raise error.located(path=at) from error
        merged = found if merged is None else _joined(merged, found, mode)
        within_limit(len(merged), path=at)
    return list((merged or {}).values())


def _merge_keys(spec: GeneratorSpec) -> list[str]:
    keys = entries(spec.get("mergeKeys"), path="merge.mergeKeys")
    if not keys or not all(isinstance(key, str) and key for key in keys):
        raise GeneratorError("at least one key is needed, as text", path="merge.mergeKeys")
    return keys


def _keyed(rows: list[Params], keys: list[str]) -> _Keyed:
    found: _Keyed = {}
    for row in rows:
        values = {key: lookup(row, key) for key in keys}
        for key, value in values.items():
            if value is MISSING:
                raise GeneratorError(f'a parameter set has no "{key}"', params=params_text(row))
        identity = _identity(values)
        if identity in found:
            raise GeneratorError(
                f"two parameter sets have the same {identity}; mergeKeys must tell them apart",
                params=params_text(row),
            )
        found[identity] = row
    return found


def _identity(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def _joined(base: _Keyed, later: _Keyed, mode: str) -> _Keyed:
    joined = {
        identity: overlay(row, later[identity]) if identity in later else row
        for identity, row in base.items()
        if mode != "Inner" or identity in later
    }
    if mode == "Outer":
        joined |= {identity: row for identity, row in later.items() if identity not in base}
    return joined
