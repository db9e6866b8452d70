from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hub.render.chart import ChartSource, UnstableRender, ValuesLayer, render_chart
from hub.render.content import packed
from hub.render.helmbinary import BinaryHelm
from hub.render.helmsdk import SdkHelm
from hub.render.pipeline import RenderRequest, render
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.render.content import Content
    from hub.render.programs import Programs

SDK = SdkHelm()
MONITORING = "monitoring.coreos.com/v1"


def source(folder: Path, *layers: ValuesLayer, **options: Any) -> ChartSource:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return ChartSource("repo", str(folder), packed(files), "web", "shop", layers=layers, **options)


def of(value: dict[str, Any]) -> ValuesLayer:
    return ValuesLayer("values", value=value)


def by_name(found: list[tuple[str, Manifest]]) -> dict[str, Manifest]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for _, one in found}


CASES: list[tuple[list[ValuesLayer], dict[str, Any]]] = [
    ([], {}),
    ([of({"replicas": 7, "labels": {"tier": "front", "n": "1"}})], {"kube_version": "1.29.3"}),
    ([of({"drop": {"me": None}, "ports": []})], {"api_versions": (MONITORING,)}),
    ([of({"cache": {"enabled": False}, "tags": {"second": True}})], {"skip_crds": True}),
    ([of({"limit": 12345678, "ratio": 0.1, "text": "{{ .Values.image.tag }}", "global": {"a": 1}})], {}),
    ([of({"never": True, "token": "y", "image": {"tag": "0x10"}})], {"kube_version": "v1.31.0"}),
]


@pytest.mark.parametrize(("layers", "options"), CASES)
def test_the_sdk_and_the_program_give_equal_objects(
    charts: Path, programs: Programs, layers: list[ValuesLayer], options: dict[str, Any]
) -> None:
    one = source(charts / "features", *layers, **options)
    by_sdk, by_program = render_chart(one, SDK), render_chart(one, BinaryHelm(programs))
    assert by_sdk == by_program
    assert json.dumps(by_sdk) == json.dumps(by_program), "in an equal order, too"


def test_capabilities_are_the_clusters(charts: Path) -> None:
    one = source(charts / "features", kube_version="1.29.3", api_versions=(MONITORING,))
    data = by_name(render_chart(one, SDK))["ConfigMap/web-config"]["data"]
    assert (data["kube"], data["minor"], data["monitors"]) == ("v1.29.3", "29", "true")


def test_later_layers_win_and_null_removes_a_default(charts: Path) -> None:
    layers = (
        ValuesLayer("values-eu.yaml", text="replicas: 3\ndrop: {me: file}\n"),
        of({"replicas": 4}),
        ValuesLayer("cluster", value={"drop": {"me": None}}),
        ValuesLayer(
            "parameters",
            parameters=(
                {"name": "ports[1]", "value": "8443"},
                {"name": "image.tag", "value": "2", "forceString": True},
            ),
        ),
    )
    found = by_name(render_chart(source(charts / "features", *layers), SDK))
    deployment = found["Deployment/web-features"]["spec"]
    container = deployment["template"]["spec"]["containers"][0]
    assert deployment["replicas"] == 4
    assert container["image"].endswith(":2")
    assert json.loads(found["ConfigMap/web-config"]["data"]["drop"]) == {"keep": "yes please"}


def test_hooks_stay_annotations_and_tests_are_left_out(charts: Path) -> None:
    found = by_name(render_chart(source(charts / "features"), SDK))
    assert found["Job/web-migrate"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "Pod/web-ping" not in found
    assert "CustomResourceDefinition/widgets.example.com" in found


def test_disabled_dependencies_come_back_when_enabled(charts: Path) -> None:
    """A chart once rendered is not the chart for the next cluster."""
    off = of({"cache": {"enabled": False}})
    for layer, expected in ((off, False), (of({}), True), (off, False)):
        found = by_name(render_chart(source(charts / "features", layer), SDK))
        assert ("ConfigMap/web-cache" in found) is expected


def test_templates_see_only_their_chart_and_no_cluster(charts: Path) -> None:
    data = by_name(render_chart(source(charts / "features"), SDK))["ConfigMap/web-config"]["data"]
    assert data["file"] == "a note"
    assert (data["outside"], data["absolute"], data["lookup"], data["host"]) == ("", "", "{}", "")


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("templates/x.yaml", '{{ fail "no such size" }}', r"templates/x.yaml: line 1: .*no such size"),
        ("templates/x.yaml", "{{ .Values.a.b.c }}", r"templates/x.yaml: line 1: .*nil pointer"),
        ("templates/x.yaml", "a: [\n", r"templates/x.yaml: line 2: .*once rendered"),
        ("templates/x.yaml", "{{ include }}", r"x.yaml"),
        ("values.yaml", "replicas: many\n", "replicas"),
        ("Chart.yaml", "name: x\n", "validation"),
        (
            "Chart.yaml",
            "apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: gone, version: '1'}]\n",
            r"dependency 'gone' is not in charts/",
        ),
    ],
)
def test_errors_name_the_template_and_the_line(charts: Path, path: str, text: str, message: str) -> None:
    one = source(charts / "features")
    bad = ChartSource("repo", f"{path}{text}", {**one.files, path: text}, "web", "shop")
    with pytest.raises(ManifestError, match=message):
        render_chart(bad, SDK)


def test_equal_inputs_give_equal_bytes_in_another_process(charts: Path) -> None:
    one = source(charts / "features", of({"replicas": 3}))
    program = (
        "import json, sys\n"
        "from hub.render.chart import ChartSource, render_chart\n"
        "from hub.render.helmsdk import SdkHelm\n"
        "print(json.dumps(render_chart(ChartSource.from_wire(json.load(sys.stdin)), SdkHelm())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(one.to_wire()),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == json.dumps(render_chart(one, SDK))


@pytest.mark.parametrize(
    "call", ["randAlphaNum 8", "genPrivateKey `ed25519` | sha256sum", "uuidv4", "now.UnixNano"]
)
def test_what_a_chart_makes_up_is_told(charts: Path, call: str) -> None:
    one = source(charts / "features")
    secret = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: r}\ndata: {v: {{ %s | quote }}}\n"
    text = "{{ if not .Values.v }}" + secret % call + "{{ end }}"
    random = ChartSource("repo", call, {**one.files, "templates/r.yaml": text}, "web", "shop")
    with pytest.raises(UnstableRender, match=r"templates/r.yaml: each rendering gives another ConfigMap r"):
        render(RenderRequest((random,)))
    still = ChartSource("repo", call, random.files, "web", "shop", layers=(of({"v": "set"}),))
    assert render(RenderRequest((still,))).objects


def test_a_chart_that_is_kept_renders_as_a_new_one(tmp_path: Path) -> None:
    files: Content = {
        "Chart.yaml": "apiVersion: v2\nname: kept\nversion: 1.0.0\n",
        "values.yaml": "a: {b: 1, c: 2}\nlist: [1, 2]\n",
        "crds/widget.yaml": "apiVersion: x/v1\nkind: Widget\nmetadata: {name: w}\n",
        "templates/c.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n"
            '  all: {{ .Values | toJson | quote }}\n  set: {{ set .Values.a "b" 9 | toJson | quote }}\n'
        ),
    }
    kept = SdkHelm()
    for value in ({"a": {"b": None}}, {"a": {"c": 5}}, {}, {"list": []}, {"a": {"b": None}}):
        one = ChartSource("w", "one", files, "web", "shop", (ValuesLayer("values", value=value),))
        assert render_chart(one, kept) == render_chart(one, SdkHelm())
        assert len(render_chart(one, kept)) == 2
