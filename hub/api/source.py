"""Where an Application's manifests come from, and what is done to them before they are a bundle."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from hub.api.model import (
    REPO_URL,
    ApiModel,
    Glob,
    LabelKey,
    LabelValue,
    Name,
    Namespace,
    RelativePath,
    RepoURL,
    Revision,
    Text,
    Values,
)

RepoPath = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^/\x00-\x1f\\][^\x00-\x1f\\]*$")
]
"""Relative to the source's own path, or `$ref/path`. It may climb with `..`, never out of the repository."""
Word = Annotated[str, StringConstraints(max_length=253)]
Version = Annotated[str, StringConstraints(max_length=64, pattern=r"^(v?[0-9][0-9A-Za-z.+-]*)?$")]


Digest = Annotated[str, StringConstraints(max_length=71, pattern=r"^(sha256:[0-9a-f]{64})?$")]


def referred(revision: str, digest: str) -> str:
    """`1.2.3@sha256:...`; the digest alone where no revision is named."""
    if not digest:
        return revision
    return digest if revision in ("", "HEAD") else f"{revision}@{digest}"


class DirectorySource(ApiModel):
    """Plain YAML and JSON files."""

    recurse: bool = False
    include: Glob | None = None
    exclude: Glob | None = None


class JinjaSource(ApiModel):
    """Jinja2 templates (sandboxed, strict) over `cluster`, `app` and `values`: files named `*.yaml.j2`, or all."""

    enabled: bool = False
    """Every file is a template, whatever its name."""
    values: Values = Field(default_factory=dict)


class HelmParameter(ApiModel):
    """One value by its dotted name, as `helm --set`; with `forceString` as `--set-string`."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    value: Text = ""
    force_string: bool = False


class ValuesKind(StrEnum):
    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - the kind's name


class ValuesFrom(ApiModel):
    """Values from a ConfigMap or Secret beside the Application on the hub, labelled `axletree.dev/values: "true"`."""

    kind: ValuesKind
    name: Name
    values_key: Annotated[str, StringConstraints(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = (
        "values.yaml"
    )
    """The key whose text is a values file; with `targetPath`, a single value."""
    target_path: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Where in the values the text is put, as by `helm --set-string`."""
    optional: bool = False
    """It may be missing."""


class HelmSource(ApiModel):
    """A chart's options.

    Later ones win: `valueFiles`, `valuesFrom`, `values`, `clusterValues`, `valuesObject`, `parameters`.
    """

    release_name: Word = ""
    """The Application's name where it is empty."""
    value_files: list[RepoPath] = Field(default_factory=list, max_length=64)
    """Relative to the chart, or `$ref/path` in the source of that `ref`; later files win."""
    ignore_missing_value_files: bool = False
    values_from: list[ValuesFrom] = Field(default_factory=list, max_length=32)
    values: Annotated[Values | str, Field(json_schema_extra={"x-any": True})] = Field(default_factory=dict)
    """A map, or its text as YAML."""
    cluster_values: Word = ""
    """A dotted key of the Cluster's `spec.values` whose map is given to the chart."""
    values_object: Values = Field(default_factory=dict)
    parameters: list[HelmParameter] = Field(default_factory=list, max_length=256)
    skip_crds: bool = Field(default=False, alias="skipCRDs")
    kube_version: Version = ""
    """Instead of what the spoke reports."""
    api_versions: list[Word] = Field(default_factory=list, max_length=512)
    """In addition to Helm's own list, as `helm template --api-versions`."""


class KustomizeReplicas(ApiModel):
    name: Name
    count: Annotated[int, Field(ge=0, le=1000000)]


class PatchTarget(ApiModel):
    """Which objects a patch is for; as Kustomize has it, names are anchored regular expressions."""

    group: Word = ""
    version: Word = ""
    kind: Word = ""
    name: Word = ""
    namespace: Word = ""
    label_selector: Text = ""
    annotation_selector: Text = ""


class Patch(ApiModel):
    """A strategic merge patch or a JSON 6902 patch, as YAML text."""

    patch: Annotated[str, StringConstraints(min_length=1, max_length=65536)]
    target: PatchTarget | None = None
    """May be left out where the patch is an object with kind and name."""


class KustomizeSource(ApiModel):
    """What is set on top of a kustomization, as with `kustomize edit`."""

    name_prefix: Word = ""
    name_suffix: Word = ""
    namespace: Namespace | None = None
    images: list[Text] = Field(default_factory=list, max_length=256)
    """`name=new:tag`, `name:tag` or `name@digest`."""
    replicas: list[KustomizeReplicas] = Field(default_factory=list, max_length=256)
    common_labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    """On the objects and their pod templates, not in selectors."""
    common_annotations: dict[LabelKey, Text] = Field(default_factory=dict, max_length=64)
    components: list[RepoPath] = Field(default_factory=list, max_length=64)
    """Relative to the source's path."""
    patches: list[Patch] = Field(default_factory=list, max_length=64)


class JsonnetVariable(ApiModel):
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    value: Text = ""
    code: bool = False
    """The value is Jsonnet rather than text."""


class JsonnetSource(ApiModel):
    """Every `*.jsonnet` of the folder itself is evaluated; each gives an object, or lists of objects."""

    tlas: list[JsonnetVariable] = Field(default_factory=list, max_length=64)
    """Top-level arguments."""
    ext_vars: list[JsonnetVariable] = Field(default_factory=list, max_length=64)
    libs: list[RepoPath] = Field(default_factory=list, max_length=16)
    """Folders of the same repository, relative to the source's path, in which imports are looked for."""


class PluginSource(ApiModel):
    """A command that the hub's administrator registered by this name. It prints the objects."""

    name: Name
    parameters: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")], Text] = (
        Field(default_factory=dict, max_length=64)
    )


SourceURL = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=rf"^({REPO_URL}|oci://[^\s/@{{]+(/\S*)?)$")
]
"""As `RepoURL`, or `oci://` and a registry's path."""


class Source(ApiModel):
    """One place to read from, and one tool: the one that is named, else the one whose files are there.

    `Chart.yaml` means Helm, `kustomization.yaml` Kustomize, `*.jsonnet` with no YAML or JSON beside it Jsonnet;
    anything else is plain files.
    """

    repo_url: SourceURL = Field(alias="repoURL")
    """A Git repository; with `chart`, a Helm repository (https, or `oci://`); `oci://` alone, an artifact."""
    revision: Revision = "HEAD"
    """A branch, tag or commit, or a range of versions: of a repository's tags, of a chart's versions.

    Charts and artifacts are pinned by `@sha256:...` behind it, or by that alone.
    """
    digest: Digest = ""
    """`sha256:...` of a chart's archive, or of the manifest in a registry: nothing else is taken, whatever `revision`
    comes to name."""
    path: RelativePath = "."
    chart: Word = ""
    """The name of a chart in a Helm repository; then `path` is not used."""
    ref: Word = ""
    """A name by which other sources' `valueFiles` read this one. Without `path` it renders nothing itself."""
    directory: DirectorySource = Field(default_factory=DirectorySource)
    jinja: JinjaSource = Field(default_factory=JinjaSource)
    helm: HelmSource | None = None
    kustomize: KustomizeSource | None = None
    jsonnet: JsonnetSource | None = None
    plugin: PluginSource | None = None

    @model_validator(mode="after")
    def _one_tool(self) -> Self:
        named = [
            tool for tool in ("helm", "kustomize", "jsonnet", "plugin") if getattr(self, tool) is not None
        ]
        named += ["jinja"] if self.jinja.enabled else []
        if len(named) > 1:
            raise ValueError(f"one tool a source: {' and '.join(named)} are named")
        return self

    @model_validator(mode="after")
    def _pinned_once(self) -> Self:
        if self.digest and not self.chart and not self.repo_url.startswith("oci://"):
            raise ValueError("digest is for charts and artifacts: a Git repository is pinned by revision")
        if self.digest and "sha256:" in self.revision:
            raise ValueError("a digest in revision, or in digest")
        return self

    @property
    def address(self) -> str:
        """What a source is asked for: the repository, or the chart within one."""
        return f"{self.repo_url.rstrip('/')}#{self.chart}" if self.chart else self.repo_url

    @property
    def reference(self) -> str:
        """The revision that a source is asked for, the digest behind it."""
        return referred(self.revision, self.digest)


class Overlay(ApiModel):
    """A kustomization over all that the sources gave, which it finds as the resource `rendered.yaml`."""

    repo_url: RepoURL = Field(alias="repoURL")
    revision: Revision = "HEAD"
    path: RelativePath = "."

    @property
    def address(self) -> str:
        return self.repo_url

    @property
    def reference(self) -> str:
        return self.revision


class Common(ApiModel):
    """What every object gets, last of all."""

    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    annotations: dict[LabelKey, Text] = Field(default_factory=dict, max_length=64)
    namespace: Namespace | None = None
    """On every namespaced object, whatever it says itself. Without it, those that say none go to the app's."""
