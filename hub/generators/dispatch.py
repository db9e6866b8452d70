"""One generator of a set, whichever kind: its templates, its kind, its `values`, its `selector`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.kube.selectors import SelectorError, parse_selector
from hub.core.expansion import GeneratorError, TemplateError
from hub.core.params import Params, ParamsConflict, flatten, merge_params, params_text, with_itself
from hub.core.templating import TemplateFailure
from hub.generators import clusters, external, git, matrix, merge
from hub.generators import list as listed
from hub.generators.context import Context, Generate, GeneratorSpec, check_keys

LEAVES: Mapping[str, Generate] = {
    "list": listed.generate,
    "clusters": clusters.generate,
    "git": git.generate,
    "scmProvider": external.scm_provider,
    "pullRequest": external.pull_request,
    "plugin": external.plugin,
    "clusterDecisionResource": external.cluster_decision,
}
COMBINED = {"matrix": matrix.generate, "merge": merge.generate}
"""Those that are made of others."""
KINDS = (*LEAVES, *COMBINED)
_MAX_DEPTH = 8


def generate(generator: GeneratorSpec, context: Context, *, depth: int = 0) -> list[Params]:
    """The parameter sets of one generator, in its order. Raises `ExpansionError`."""
    check_keys(generator, (*KINDS, "selector", *(() if depth else ("template",))), path="")
    kinds = [kind for kind in KINDS if generator.get(kind) is not None]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise GeneratorError(f"exactly one of {', '.join(KINDS)} is needed, not {found}")
    kind = kinds[0]
    if depth > _MAX_DEPTH:
        raise GeneratorError(f"generators are nested more than {_MAX_DEPTH} deep")
    rows = _rows(kind, generator[kind], context, depth=depth)
    return _filtered(rows, _rendered(generator.get("selector"), context, path="selector"))


def _rows(kind: str, spec: Any, context: Context, *, depth: int) -> list[Params]:
    if not isinstance(spec, Mapping):
        raise GeneratorError(f"a map is expected, not {type(spec).__name__}", path=kind)
    own = {key: value for key, value in spec.items() if key != "values"}
    if kind in COMBINED:
        rows = COMBINED[kind](own, context, child=lambda one, inner: generate(one, inner, depth=depth + 1))
    else:
        own = _rendered(own, context, path=kind)
        rows = LEAVES[kind](own, context)
    values = spec.get("values")
    if values:
        rows = [_with_values(row, values, context, path=f"{kind}.values") for row in rows]
    return clusters.flat(rows) if kind == "clusters" and own.get("flatList") else rows


def _with_values(row: Params, values: Any, context: Context, *, path: str) -> Params:
    """`values` are templates over the parameters so far and the row's own."""
    try:
        known = with_itself(merge_params(context.params, row))
        rendered = render_value(values, known, context, path=path)
        return merge_params(row, {"values": rendered})
    except ParamsConflict as error:
        raise GeneratorError(
            f"{error.key} has two different values", path=path, params=params_text(row)
        ) from error


def _rendered(value: Any, context: Context, *, path: str) -> Any:
    """A generator's own fields, rendered where it stands behind others in a matrix."""
    return render_value(value, with_itself(context.params), context, path=path) if context.params else value


def render_value(value: Any, params: Params, context: Context, *, path: str) -> Any:
    """Every string in the value rendered, each by itself; the keys of maps are no templates."""
    if isinstance(value, str):
        try:
            return context.engine.value(value, params)
        except TemplateFailure as error:
            raise TemplateError(str(error), path=path, line=error.line, params=params_text(params)) from error
    if isinstance(value, dict):
        return {
            key: render_value(inner, params, context, path=f"{path}.{key}" if path else str(key))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [render_value(one, params, context, path=f"{path}[{at}]") for at, one in enumerate(value)]
    return value


def _filtered(rows: list[Params], selector: Any) -> list[Params]:
    if selector is None:
        return rows
    try:
        wanted = parse_selector(selector, any_text=True)
    except SelectorError as error:
        raise GeneratorError(str(error), path="selector") from error
    return [row for row in rows if wanted.matches(flatten(row))]
