"""`matrix`: the product of any number of generators, nested as deep as one likes.

The order is that of the generators: the first varies slowest. Each later one is itself a template over the
parameters of those before it. Sets that give one key two values are an error, never a silent choice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hub.core.expansion import ExpansionError, GeneratorError
from hub.core.params import Params, ParamsConflict, merge_params, params_text
from hub.core.templating import is_template
from hub.generators.context import Context, Generate, GeneratorSpec, check_keys, entries, within_limit


def generate(spec: GeneratorSpec, context: Context, *, child: Generate) -> list[Params]:
    """The product. `child` runs one inner generator."""
    check_keys(spec, ("generators",), path="matrix")
    generators = entries(spec.get("generators"), path="matrix.generators")
    if not generators:
        raise GeneratorError("at least one generator is needed", path="matrix.generators")
    rows: list[Params] = [{}]
    for index, generator in enumerate(generators):
        at = f"matrix.generators[{index}]"
        rows = _product(rows, generator, context, at=at, child=child)
        context.wanted.largest = max(context.wanted.largest, len(rows))
    return rows


def _product(
    rows: list[Params], generator: GeneratorSpec, context: Context, *, at: str, child: Generate
) -> list[Params]:
    same: list[Params] | None = None
    found: list[Params] = []
    for before in rows:
        try:
            if same is None:
                inner = replace(context, params=merge_params(context.params, before))
                added = child(generator, inner)
                if not _depends(generator):
                    same = added  # no template inside: the same for every row
            else:
                added = same
        except ParamsConflict as error:
            raise _two_values(error, before, at=at) from error
        except ExpansionError as error:
            raise error.located(path=at, params=params_text(before) if before else "") from error
        within_limit(len(found) + len(added), path=at, detail=f"{len(rows)} x {len(added)} or so")
        try:
            found.extend(merge_params(before, row) for row in added)
        except ParamsConflict as error:
            raise _two_values(error, before, at=at) from error
    return found


def _two_values(error: ParamsConflict, before: Params, *, at: str) -> GeneratorError:
    return GeneratorError(f"{error.key} has two different values", path=at, params=params_text(before))


def _depends(value: Any) -> bool:
    """Whether anything in a generator is a template."""
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, dict):
        return any(_depends(one) for one in value.values())
    return isinstance(value, list) and any(_depends(one) for one in value)
