"""A set's children: generators x template. Pure: what must be read from Git is asked for, never read here.

Every string of the template is a template by itself; map keys are not. A string that is one expression gives
its typed value, except in names, labels and annotations, which are text. Children are in the order of the
generators and of what each gives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.contract.names import API_VERSION, HUB_CLUSTER, LABEL_CLUSTER, LABEL_SET, short_hash
from agent.kube.yaml import YamlError, load_value
from hub.core.childtext import with_texts
from hub.core.clustersets import ANNOTATION_SERVER
from hub.core.expansion import (
    MAX_CHILDREN,
    Child,
    DuplicateName,
    ExpandRequest,
    Expansion,
    ExpansionError,
    InvalidChild,
    TemplateError,
    TooManyChildren,
    UnknownCluster,
    revision_key,
)
from hub.core.insert import marks
from hub.core.labels import is_label_key, is_label_value
from hub.core.needs import Needs
from hub.core.params import MAX_NAME, Params, nearest, overlay, params_text, scalar_text, with_itself
from hub.core.patch import PatchError, strategic_merge
from hub.core.sight import origin_of, sight_of
from hub.core.templating import TemplateEngine, TemplateFailure
from hub.generators.context import Context, Wanted
from hub.generators.dispatch import generate, render_value
from hub.importers.application import IN_CLUSTER, IN_CLUSTER_SERVER
from hub.importers.patch import converted, is_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_SEVERAL = ""
"""Instead of a cluster's name: which one is meant is not ours to guess."""
_METADATA = ("name", "namespace", "labels", "annotations")
_MAX_LABEL = 63


def expand(request: ExpandRequest, *, engine: TemplateEngine | None = None) -> Expansion | Needs:
    """All children, or what is missing to know them. Raises `ExpansionError`, located in the set.

    `engine` keeps compiled templates between calls; the result does not depend on it.
    """
    context = Context(
        engine=engine or TemplateEngine(),
        clusters=tuple(sorted(request.clusters, key=lambda cluster: cluster.name)),
        cluster_sets={one.name: one for one in request.cluster_sets},
        listings=request.listings,
        contents=request.contents,
        external=request.external,
    )
    generators = request.spec.get("generators") or []
    sets: list[tuple[int, Params]] = []
    for index, generator in enumerate(generators):
        try:
            sets.extend((index, params) for params in generate(generator, context))
        except ExpansionError as error:
            raise error.located(set_key=request.set_key, generator=index) from error
        if len(sets) > MAX_CHILDREN:
            raise TooManyChildren(
                f"{len(sets)} children are more than the {MAX_CHILDREN} that a set may have;"
                " select less, or split the set",
                set_key=request.set_key,
                generator=index,
            )
    if context.wanted.listings or context.wanted.files or context.wanted.external:
        return _needs(context.wanted)
    children = _children(request, sets, context)
    revisions = {revision_key(*key): commit for key, commit in sorted(context.wanted.used.items())}
    return Expansion(children, revisions, context.wanted.largest)


def label_value(name: str) -> str:
    """A name as a label's value: itself, or where it is too long its start and a hash."""
    return name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 11].rstrip('-.')}-{short_hash(name)}"


def _needs(wanted: Wanted) -> Needs:
    return Needs(tuple(sorted(wanted.listings)), tuple(sorted(wanted.files)), tuple(sorted(wanted.external)))


def _children(request: ExpandRequest, sets: list[tuple[int, Params]], context: Context) -> tuple[Child, ...]:
    templates = _templates(request)
    names = _cluster_names(request)
    sights = [sight_of(one) for one in request.spec.get("generators") or []]
    found: dict[str, Child] = {}
    for index, params in sets:
        try:
            manifest = _manifest(request, templates[index], params, context, names=names)
            origin = origin_of(sights[index], params)
            child = Child(manifest["metadata"]["name"], manifest, params_text(params), index, origin)
            if child.name in found:
                other = found[child.name].params
                raise DuplicateName(f'two children are called "{child.name}"; the other has params {other}')
        except ExpansionError as error:
            raise error.located(
                set_key=request.set_key, generator=index, params=params_text(params)
            ) from error
        found[child.name] = child
    return tuple(found.values())


def _cluster_names(request: ExpandRequest) -> dict[str, str]:
    """What a child may call its cluster: its name, or the address by which Argo CD knew it.

    One that is being removed is none any more: a child that names it would be made again for as long as it is there.
    Whose an address is, only all clusters can tell.
    """
    staying = [one for one in request.clusters if not one.leaving]
    names = {one.name: one.name for one in staying}
    if request.part:
        return names
    addresses: dict[str, str] = {}
    for one in staying:
        address = one.annotations.get(ANNOTATION_SERVER)
        if address is not None:
            addresses[address] = _SEVERAL if address in addresses else one.name
    if HUB_CLUSTER in names:
        addresses = {IN_CLUSTER: HUB_CLUSTER, IN_CLUSTER_SERVER: HUB_CLUSTER, **addresses}
    return {**addresses, **names}


def _templates(request: ExpandRequest) -> list[dict[str, Any]]:
    """The template of each generator: the set's, with the generator's own over it."""
    base = request.spec.get("template")
    if not isinstance(base, dict):
        raise InvalidChild("the set has no template", set_key=request.set_key)
    return [overlay(base, one.get("template") or {}) for one in request.spec.get("generators") or []]


def _manifest(
    request: ExpandRequest,
    template: dict[str, Any],
    params: Params,
    context: Context,
    *,
    names: Mapping[str, str],
) -> Manifest:
    params = with_itself(params)
    _known(template, ("metadata", "spec"), path="template")
    metadata = template.get("metadata") or {}
    spec = template.get("spec") or {}
    with_marks = params | {"inputs": marks(spec["inputs"])} if spec.get("inputs") else params
    body = {
        "metadata": _text_values(metadata, params, context),
        "spec": render_value(spec, with_marks, context, path="spec"),
    }
    body = _patched(body, _patch(request, with_marks, context))
    metadata = body.get("metadata") or {}
    _known(body, ("metadata", "spec", "apiVersion", "kind"), path="templatePatch")
    _known(metadata, _METADATA, path="metadata")
    if metadata.get("namespace", request.namespace) != request.namespace:
        raise InvalidChild("a child is in its set's own namespace", path="metadata.namespace")
    if (body.get("apiVersion", API_VERSION), body.get("kind", "Application")) != (API_VERSION, "Application"):
        raise InvalidChild(f"a child is an Application of {API_VERSION}", path="templatePatch")
    name = _name(metadata.get("name"))
    spec = with_texts(_on_cluster(body.get("spec"), names))
    if request.spec.get("patches"):
        spec["setPatches"] = render_value(request.spec["patches"], with_marks, context, path="patches")
    labels = {**_labels(_texts(metadata, "labels")), LABEL_SET: label_value(request.name)}
    labels[LABEL_CLUSTER] = label_value(spec["cluster"])
    head: Manifest = {"name": name, "namespace": request.namespace, "labels": labels}
    annotations = _texts(metadata, "annotations")
    if annotations:
        head["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": "Application", "metadata": head, "spec": spec}


def _text_values(metadata: Any, params: Params, context: Context) -> dict[str, Any]:
    rendered = render_value(metadata, params, context, path="metadata")
    return rendered if isinstance(rendered, dict) else {}


def _texts(metadata: Mapping[str, Any], key: str) -> dict[str, str]:
    value = metadata.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidChild("a map of texts is expected", path=f"metadata.{key}")
    for name, one in value.items():
        if isinstance(one, dict | list):
            raise InvalidChild("text is expected", path=f"metadata.{key}.{name}")
    return {name: scalar_text(one) for name, one in value.items()}


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not is_label_key(key):
            raise InvalidChild(f'"{key[:80]}" is no key of a label', path="metadata.labels")
        if not is_label_value(value):
            raise InvalidChild(f'"{value[:80]}" is no value of a label', path=f"metadata.labels.{key}")
    return labels


def _name(value: Any) -> str:
    name = scalar_text(value) if not isinstance(value, dict | list) else ""
    if len(name) > MAX_NAME or not _DNS_SUBDOMAIN.fullmatch(name):
        raise InvalidChild(
            f'"{name[:80]}" is no name: lowercase letters, digits, "-" and ".", at most {MAX_NAME}'
            " (the filters normalize and slugify make one)",
            path="metadata.name",
        )
    return name


def _patch(request: ExpandRequest, params: Params, context: Context) -> dict[str, Any]:
    text = request.spec.get("templatePatch")
    if not text:
        return {}
    try:
        patch = load_value(context.engine.text(text, params), source="templatePatch")
    except TemplateFailure as error:
        raise TemplateError(str(error), path="templatePatch", line=error.line) from error
    except YamlError as error:
        raise TemplateError(error.problem, path="templatePatch", line=error.line or None) from error
    if patch is None:
        return {}
    if not isinstance(patch, dict):
        raise InvalidChild("it renders to no map", path="templatePatch")
    return patch


def _patched(body: Manifest, patch: dict[str, Any]) -> Manifest:
    if is_foreign(patch):
        patch, lost = converted(patch, body)
        if lost:
            raise InvalidChild(f"it has no equal: {'; '.join(lost)}", path="templatePatch")
    try:
        merged: Manifest = strategic_merge(body, patch)
    except PatchError as error:
        raise InvalidChild(str(error), path=f"templatePatch.{error.path}".strip(".")) from error
    return merged


def _known(value: Any, known: tuple[str, ...], *, path: str) -> None:
    if not isinstance(value, dict):
        raise InvalidChild("a map is expected", path=path)
    for key in value:
        if key not in known:
            raise InvalidChild(f'unknown field "{key}"{nearest(str(key), known)}', path=path)


def _on_cluster(spec: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """The spec, its cluster by name. Raises `InvalidChild` or `UnknownCluster`."""
    if not isinstance(spec, dict):
        raise InvalidChild("a map is expected", path="spec")
    cluster = spec.get("cluster")
    if not isinstance(cluster, str) or not cluster:
        raise InvalidChild("the name of a cluster is expected", path="spec.cluster")
    if cluster not in names:
        raise UnknownCluster(f'there is no cluster "{cluster}"{nearest(cluster, names)}', path="spec.cluster")
    if names[cluster] == _SEVERAL:
        raise UnknownCluster(f"several clusters have the address {cluster}", path="spec.cluster")
    return spec if names[cluster] == cluster else {**spec, "cluster": names[cluster]}


__all__ = ["Expansion", "expand", "label_value"]
