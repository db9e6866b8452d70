"""Plain manifests: files of a repository's folder to objects. Pure, and light: workers import it.

Files ending in `.yaml`, `.yml` and `.json` are read, in the order of their paths; those of folders below only
where `recurse` says so. `include` and `exclude` are globs over the path relative to the source's
(`hub.core.globs`). Files that end in `.j2` behind that, and with `jinja` on all of them, are templates over `cluster`,
`app` and `values` first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.apply.hooks import named
from agent.contract.errors import TerminalError
from agent.kube.yaml import YamlError, load_all
from hub.core.globs import GlobError, glob_matches
from hub.core.params import params_text
from hub.core.templating import TemplateEngine, TemplateFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.contract.manifest import Manifest

SUFFIXES = (".yaml", ".yml", ".json")
TEMPLATE = ".j2"


class ManifestError(TerminalError):
    """Manifests that cannot be made: names the repository's path, the file, the line where known.

    `layer` is the step that failed, `params` what it was given.
    """

    reason = "InvalidManifest"

    def __init__(
        self,
        detail: str,
        *,
        where: str = "",
        file: str = "",
        line: int | None = None,
        params: str = "",
        layer: str = "",
        reason: str | None = None,
    ) -> None:
        self.detail = detail
        self.where = where
        self.file = file
        self.line = line
        self.params = params
        self.layer = layer
        place = [part for part in (where, file, f"line {line}" if line else "") if part]
        text = ": ".join([*place, detail])
        more = [
            part
            for part in (f"layer: {layer}" if layer else "", f"params: {params}" if params else "")
            if part
        ]
        super().__init__(f"{text} ({'; '.join(more)})" if more else text, reason=reason)

    def but(self, **changes: Any) -> ManifestError:
        """The same with other words."""
        words = {**self.to_wire(), **changes}
        return type(self)(words.pop("detail"), **words)

    def to_wire(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "detail": self.detail,
            "where": self.where,
            "file": self.file,
            "line": self.line,
            "params": self.params,
            "layer": self.layer,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> ManifestError:
        return ManifestError(
            data["detail"],
            where=data["where"],
            file=data["file"],
            line=data["line"],
            params=data["params"],
            layer=data["layer"],
            reason=data["reason"],
        )


@dataclass(frozen=True, slots=True)
class PlainSource:
    """One source's files as texts by relative path, and how to read them."""

    where: str
    """Repository, revision and path, for errors."""
    files: Mapping[str, str]
    jinja: bool = False
    """All files are templates; without, only those that say so by their names."""
    values: Mapping[str, Any] = field(default_factory=dict)

    def is_template(self, path: str) -> bool:
        return self.jinja or path.endswith(TEMPLATE)

    @property
    def templated(self) -> bool:
        return self.jinja or any(map(self.is_template, self.files))

    def to_wire(self) -> dict[str, Any]:
        """As JSON; each kind of source says in `tool` which it is."""
        return {
            "tool": "plain",
            "where": self.where,
            "files": self.files,
            "jinja": self.jinja,
            "values": self.values,
        }


def objects_of(source: PlainSource, variables: Mapping[str, Any], engine: TemplateEngine) -> list[Manifest]:
    """The source's objects, in the order of its files. Raises `ManifestError`."""
    seen = {**variables, "values": source.values}
    return [one for path in sorted(source.files) for one in _file(source, path, seen, engine)]


def selected(
    files: Mapping[str, bytes], *, where: str, recurse: bool, include: str | None, exclude: str | None
) -> dict[str, str]:
    """The manifest files among a folder's, as text. Raises `ManifestError` for one that is no UTF-8."""
    found: dict[str, str] = {}
    for path in sorted(files):
        if not path.removesuffix(TEMPLATE).endswith(SUFFIXES) or ("/" in path and not recurse):
            continue
        try:
            if (include and not glob_matches(include, path)) or (exclude and glob_matches(exclude, path)):
                continue
            found[path] = files[path].decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ManifestError("it is not UTF-8 text", where=where, file=path) from error
        except GlobError as error:
            raise ManifestError(str(error), where=where) from error
    return found


def _file(
    source: PlainSource, path: str, variables: Mapping[str, Any], engine: TemplateEngine
) -> list[Manifest]:
    text = source.files[path]
    template = source.is_template(path)
    if template:
        try:
            text = engine.text(text, variables)
        except TemplateFailure as error:
            raise ManifestError(
                str(error),
                where=source.where,
                file=path,
                line=error.line,
                params=params_text(variables),
                reason=TemplateFailure.reason,
            ) from error
    return parsed(text, where=source.where, file=path, rendered=template)


def parsed(
    text: str, *, where: str, file: str, rendered: bool, load: Callable[..., list[Manifest]] = load_all
) -> list[Manifest]:
    """The objects of one file's text, each known to be one. `rendered`: lines are not those of the file.

    `load` reads the text, as `agent.kube.yaml.load_all` does.
    """
    try:
        objects = load(text, source=file)
    except YamlError as error:
        after = " (once rendered)" if rendered else ""
        raise ManifestError(error.problem + after, where=where, file=file, line=error.line or None) from error
    objects = [named(manifest) for manifest in objects]
    for index, manifest in enumerate(objects):
        problem = _problem(manifest)
        if problem:
            raise ManifestError(f"object {index + 1}: {problem}", where=where, file=file)
    return objects


def _problem(manifest: Manifest) -> str:
    """What keeps a map from being a Kubernetes object; empty where nothing does."""
    for key in ("apiVersion", "kind"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            return f"{key} is missing (exclude files that are no manifests)"
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and metadata.get("generateName") and not name:
        return f"{manifest['kind']}: generateName would make a new object at every apply; name it, or make it a hook"
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        return f"{manifest['kind']}: metadata.name is missing"
    wrong = _wrong_text(metadata)
    return f"{manifest['kind']} {name}: {wrong}" if wrong else ""


def _wrong_text(metadata: Mapping[str, Any]) -> str:
    """Metadata that must be text and is not: a number without quotes, mostly."""
    if not isinstance(metadata.get("namespace", ""), str | None):
        return "metadata.namespace is not text; quote it"
    for key in ("labels", "annotations"):
        texts = metadata.get(key) or {}
        if not isinstance(texts, dict):
            return f"metadata.{key} is no map"
        for name, value in texts.items():
            if not isinstance(value, str):
                return f"metadata.{key}.{name} is not text; quote it"
    return ""
