"""The SDK and the program give the same for charts of every shape, and refuse the same."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from hub.render.chart import ChartSource, UnstableRender, ValuesLayer, check_stable, render_chart
from hub.render.content import packed
from hub.render.helmbinary import BinaryHelm
from hub.render.helmsdk import SdkHelm
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from hub.render.programs import Programs

SDK = SdkHelm()
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {x: %s}\n"
CRD = (
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n"
    "spec: {group: example.com}\n"
)
RANDOM = MAP % ("r", "{{ randAlphaNum 8 | quote }}")
TPL = MAP % ("t", "{{ tpl .Values.p . | quote }}")
DEP = {
    "Chart.yaml": "apiVersion: v2\nname: dep\nversion: 1.0.0\n",
    "templates/d.yaml": MAP
    % ("{{ .Release.Name }}-d-{{ .Chart.Name }}", '{{ .Values.v | default "none" | quote }}'),
    "crds/w.yaml": CRD,
    "values.yaml": "v: 1\nexports: {data: {e: 7}}\n",
}
NEEDS = "dependencies: [{name: dep, version: 1.0.0%s}]\n"


def tgz(files: dict[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"dep/{path}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return raw.getvalue()


def chart(head: str = "", dep: dict[str, str] | None = None, **files: str) -> dict[str, bytes]:
    """`dep` is packed below `charts/`; names of templates are written without their folder and ending."""
    made = {
        "Chart.yaml": f"apiVersion: v2\nname: top\nversion: 1.0.0\n{head}",
        "values.yaml": files.pop("values", ""),
    }
    made |= {f"templates/{name}.yaml": text for name, text in files.items()}
    found = {path: text.encode() for path, text in made.items()}
    return found | ({"charts/dep-1.0.0.tgz": tgz(dep)} if dep is not None else {})


def source(name: str, files: dict[str, bytes], values: dict[str, Any], **more: Any) -> ChartSource:
    return ChartSource(
        "repo", name, packed(files), "rel", "ns", (ValuesLayer("values", value=values),), **more
    )


ALIASED = (
    "dependencies:\n- {name: dep, version: 1.0.0, alias: one, import-values: [data]}\n"
    "- {name: dep, version: 1.0.0, alias: two}\n"
)
OLD = {
    "Chart.yaml": b"apiVersion: v1\nname: top\nversion: 1.0.0\n",
    "requirements.yaml": b"dependencies: [{name: dep, version: 1.0.0, repository: ''}]\n",
    "charts/dep-1.0.0.tgz": tgz(DEP),
}
SAYS = '"%v %v %s %s" .Release.Revision .Release.IsInstall .Release.Service .Template.Name'
EQUAL: dict[str, tuple[dict[str, bytes], dict[str, Any], int]] = {
    "a dependency that is off brings no CRD": (
        chart(NEEDS % ", condition: dep.enabled", DEP, a=MAP % ("a", "b")),
        {"dep": {"enabled": False}},
        1,
    ),
    "nor one that a tag turns off": (
        chart(NEEDS % ", tags: [x]", DEP, a=MAP % ("a", "b")),
        {"tags": {"x": False}},
        1,
    ),
    "one that is on does": (chart(NEEDS % ", tags: [x]", DEP), {"tags": {"x": True}}, 2),
    "one chart twice, its values imported": (
        chart(ALIASED, DEP, i=MAP % ("i", "{{ .Values.e | quote }}")),
        {"one": {"v": 5}, "two": {"v": None}},
        4,
    ),
    "an old chart's requirements": (OLD, {}, 2),
    "a Kubernetes that is asked for": (
        chart('kubeVersion: ">= 1.20.0-0 < 2.0.0"\n', a=MAP % ("a", "b")),
        {},
        1,
    ),
    "a Kubernetes of a cloud's own version": (
        chart('kubeVersion: ">=1.19.0-0,<1.99"\n', a=MAP % ("a", "b")),
        {},
        1,
    ),
    "texts that keep their newlines": (
        chart(
            a="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |+\n    one\n\n    two\n---\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  x: >+2\n    one\n\n--- \n\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  x: |\n    one\n\n  y: |1+ # why\n    one",
            b="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\ndata:\n  x: |-\n    one\n\n",
        ),
        {},
        4,
    ),
    "a character that stands for what is none, and is one": (
        chart(a=MAP % ("a", '"\ufffd {{ .Values.v }} \\\\ufffd"')),
        {"v": "\ufffd"},
        1,
    ),
    "numbers": (
        chart(
            a=MAP % ("a", '{{ printf "%v %v %v %v" .Values.a .Values.b .Values.c .Values.d | quote }}'),
            values="a: 1000000\nb: 1.0\n",
        ),
        {"c": 12345678901, "d": 1.5},
        1,
    ),
    "what a release says of itself": (chart(a=MAP % ("a", f"{{{{ printf {SAYS} | quote }}}}")), {}, 1),
    "a document that begins on the line of its dashes": (
        chart(
            a=MAP % ("a", "b")
            + "\n---\n\n{{- if true -}}\n\n# why\n"
            + MAP % ("c", "{{ `---d` }}")
            + "\n{{ end }}"
        ),
        {},
        2,
    ),
    "a dependency in a folder of another name": (
        chart(NEEDS % "", a=MAP % ("a", "b"))
        | {f"charts/elsewhere/{path}": text.encode() for path, text in DEP.items()},
        {},
        3,
    ),
    "files that are no manifests": (chart(**{"sub/NOTES": "", "a": MAP % ("a", "b")}), {}, 1),
}


@pytest.mark.parametrize("name", EQUAL)
def test_both_back_ends_give_the_same(programs: Programs, name: str) -> None:
    files, values, count = EQUAL[name]
    one = source(name, files, values, kube_version="1.30.1-gke.100")
    found = render_chart(one, SDK)
    assert found == render_chart(one, BinaryHelm(programs))
    assert len(found) == count


REFUSED = {
    "UTF-8": chart() | {"templates/a.yaml": (MAP % ("a", "b")).encode() + b"  y: \xe9\n"},
    "(?i)utf-8": chart(a=MAP % ("a", '"{{ .Files.Get `f` }}"')) | {"f": b"\x89PNG\xff"},
    "library charts are not installable": chart("type: library\n"),
    "chart requires kubeVersion": chart('kubeVersion: ">=1.99"\n', a=MAP % ("a", "b")),
    # named like the beginning of one that is there
    "dependency 'dep' is not in charts": chart(
        "dependencies: [{name: dep, version: 1.0.0}]\n", a=MAP % ("a", "b")
    )
    | {
        "charts/dep-cluster-1.0.0.tgz": tgz(
            DEP | {"Chart.yaml": DEP["Chart.yaml"].replace("dep", "dep-cluster")}
        )
    },
    "dependency 'dep' is not in charts/": chart(
        "dependencies: [{name: dep, version: 1.0.0}]\n", a=MAP % ("a", "b")
    )
    | {"charts/dep/Chart.yaml": b"apiVersion: v2\nname: other\nversion: 1.0.0\n"},
    "need it": chart(a=MAP % ("a", '{{ required "need it" .Values.z }}')),
    "got number, want string": chart(
        NEEDS % "", DEP | {"values.schema.json": '{"properties": {"v": {"type": "string"}}}'}
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_both_back_ends_refuse_the_same(programs: Programs, message: str) -> None:
    for backend in (SDK, BinaryHelm(programs)):
        with pytest.raises(ManifestError, match=message):
            render_chart(source(message, REFUSED[message], {}), backend)


def test_the_clusters_version_is_the_one_that_counts() -> None:
    """Also of a chart that is kept loaded for another cluster."""
    files = chart('kubeVersion: "1.25 - 1.30 || ^1.33"\n', a=MAP % ("a", "b"))
    for version, fits in (("1.27.3", True), ("1.31.0", False), ("v1.34.1", True), ("1.24.9", False)):
        one = source("versions", files, {}, kube_version=version)
        if fits:
            assert len(render_chart(one, SDK)) == 1
        else:
            with pytest.raises(ManifestError, match="kubeVersion"):
                render_chart(one, SDK)


MANY = f"m: {{{', '.join(f'k{at}: 1' for at in range(30))}}}\n"
UNSTABLE: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "in an archive within the chart": (chart(NEEDS % "", DEP | {"templates/r.yaml": RANDOM}), {}),
    "in values that are read as a template": (chart(t=TPL, values="p: '{{ randAlphaNum 5 }}'\n"), {}),
    "in values that somebody gives": (chart(t=TPL, values="p: ''\n"), {"p": "{{ uuidv4 }}"}),
    "the order of a map's keys": (
        chart(
            k=MAP % ("k", '{{ keys .Values.m | join "," | quote }}'),
            values=MANY,
        ),
        {},
    ),
    "the order of two keys": (
        chart(k=MAP % ("k", "{{ range keys .Values.m }}{{ . }}{{ end }}"), values="m: {a: 1, b: 2}\n"),
        {},
    ),
    "the order of two values": (
        chart(k=MAP % ("k", '{{ .Values.m | values | join "," | quote }}'), values="m: {a: 1, b: 2}\n"),
        {},
    ),
    "today": (chart(k=MAP % ("k", '{{ now | date "2006-01-02" | quote }}')), {}),
    "this month, in a value that is read as a template": (
        chart(t=TPL, values="p: ''\n"),
        {"p": '{{ date "2006-01" (now) }}'},
    ),
}


@pytest.mark.parametrize("where", UNSTABLE)
def test_what_a_chart_makes_up_is_told_wherever_it_says_so(where: str) -> None:
    one = source(where, *UNSTABLE[where])
    found = render_chart(one, SDK)
    with pytest.raises(UnstableRender):
        check_stable(one, SDK, found)


WORDS = (
    '{{/* now */}}{{ $now := "now" }}{{ if .Values.now }}{{ now }}{{ end }}'
    '{{ keys .Values.m | has "a" | ternary $now "keys" }}{{ keys (dict "a" 1) | first }}'
)


def test_what_only_looks_random_is_stable() -> None:
    files = chart(
        w=MAP % ("w", WORDS),
        k=MAP % ("k", '{{ keys .Values.m | sortAlpha | join "," | quote }}'),
        t=TPL,
        values="m: {a: 1, b: 1, c: 1}\n# or randAlphaNum\np: '{{ .Release.Name }}'\n",
    )
    one = source("stable", files, {})
    check_stable(one, SDK, render_chart(one, SDK))
