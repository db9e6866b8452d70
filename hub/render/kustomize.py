"""Kustomizations: a tree of files and what is set on top of it. Workers run it, through the program.

The tree holds what the hub found by following the kustomizations' own references, and nothing else; the
program runs with no network, may start nothing, and has Helm and plugins off.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.kube.yaml import dump_all
from hub.render.plain import ManifestError, parsed
from hub.render.programs import folder, output_of
from hub.render.similar import load_similar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.render.content import Content
    from hub.render.programs import Programs

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
RENDERED = "rendered.yaml"
"""The resource by which an overlay finds what the sources gave."""
_TOP, _REPO = "axletree-top", "repo"


@dataclass(frozen=True, slots=True)
class KustomizeTree:
    """Files by path within the repository, the folder to build, and what is set on top (`kustomize` of a source)."""

    where: str
    files: Content
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    """Folders that it builds on, furthest first: the layers, where somebody asks for them."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "tool": "kustomize",
            "where": self.where,
            "files": self.files,
            "path": self.path,
            "options": self.options,
            "steps": self.steps,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> KustomizeTree:
        fields = {key: value for key, value in data.items() if key != "tool"}
        fields["steps"] = tuple(data["steps"])
        return KustomizeTree(**fields)


def build(
    tree: KustomizeTree,
    programs: Programs,
    *,
    path: str | None = None,
    options: bool = True,
    over: Sequence[Manifest] | None = None,
) -> list[Manifest]:
    """The objects of the tree. `path` builds a folder below it instead; `over` is what an overlay finds.

    Raises `ManifestError`.
    """
    at = tree.path if path is None else path
    files = {f"{_REPO}/{name}": content for name, content in tree.files.items()}
    start = posixpath.join(_REPO, at) if at else _REPO
    if over is not None:
        files[f"{start}/{RENDERED}"] = dump_all(list(over))
    if options and (top := _top(tree, f"../{start}")):
        files[f"{_TOP}/{NAMES[0]}"] = json.dumps(top)
        start = _TOP
    return _run(files, start, programs, where=tree.where)


def patched(
    objects: Sequence[Manifest], patches: Sequence[Mapping[str, Any]], programs: Programs, *, where: str
) -> list[Manifest]:
    """The objects with patches applied, by the same program, so that they mean the same."""
    top = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [RENDERED],
        "patches": [_patch(one) for one in patches],
    }
    files: Content = {f"{_TOP}/{RENDERED}": dump_all(list(objects)), f"{_TOP}/{NAMES[0]}": json.dumps(top)}
    return _run(files, _TOP, programs, where=where)


def _run(files: Content, start: str, programs: Programs, *, where: str) -> list[Manifest]:
    if not programs.kustomize:
        raise ManifestError(
            "there is no kustomize here, nor kubectl: install one, or run `python -m hub.fleet.tools`",
            where=where,
            reason="ToolMissing",
        )
    with folder(files, scratch=programs.scratch) as top:
        text = output_of([*programs.kustomize, start], cwd=top, where=where, reason="KustomizeFailed")
    return parsed(text, where=where, file="kustomize build", rendered=True, load=load_similar)


def _top(tree: KustomizeTree, base: str) -> dict[str, Any]:
    """A kustomization that holds the tree's options; empty where there are none."""
    options = tree.options
    found: dict[str, Any] = {
        key: options[key] for key in ("namePrefix", "nameSuffix", "namespace") if options.get(key)
    }
    if options.get("images"):
        found["images"] = [_image(text, tree.where) for text in options["images"]]
    if options.get("replicas"):
        found["replicas"] = options["replicas"]
    if options.get("commonLabels"):
        pairs = options["commonLabels"]
        found["labels"] = [{"pairs": pairs, "includeSelectors": False, "includeTemplates": True}]
    if options.get("commonAnnotations"):
        found["commonAnnotations"] = options["commonAnnotations"]
    if options.get("components"):
        found["components"] = [posixpath.normpath(posixpath.join(base, one)) for one in options["components"]]
    if options.get("patches"):
        found["patches"] = [_patch(one) for one in options["patches"]]
    if not found:
        return {}
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [base]}
    return {**head, **found}


def _patch(patch: Mapping[str, Any]) -> dict[str, Any]:
    target = {key: value for key, value in (patch.get("target") or {}).items() if value}
    return {"patch": patch["patch"], "target": target} if target else {"patch": patch["patch"]}


def _image(text: str, where: str) -> dict[str, str]:
    """`name=new:tag`, `name=new@digest`, `name:tag` or `name@digest`, as `kustomize edit set image` reads it."""
    name, equals, new = text.partition("=")
    subject = new if equals else name
    at, _, digest = subject.partition("@")
    head, slash, last = at.rpartition("/")
    last, colon, tag = last.partition(":")
    image = f"{head}{slash}{last}"
    found = {"name": name if equals else image}
    if equals and image and image != "*":
        found["newName"] = image
    if colon and tag != "*":
        found["newTag"] = tag
    if digest:
        found["digest"] = digest
    if not found["name"] or len(found) == 1:
        raise ManifestError(f"image {text!r}: write name=new:tag, name:tag or name@digest", where=where)
    return found
