from __future__ import annotations

import pytest

from hub.render.pipeline import RenderRequest, render
from hub.render.plain import ManifestError, PlainSource, selected

WHERE = "https://git.example.com/a@c0ffee:web"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def objects(files: dict[str, str], *, jinja: bool = False, **values: object) -> list[str]:
    variables = {"cluster": {"name": "eu1", "labels": {}, "values": {"n": 2}}, "app": {"name": "web"}}
    source = PlainSource(WHERE, files, jinja=jinja, values=values)
    found = render(RenderRequest((source,), variables)).objects
    return [one["metadata"]["name"] for one in found]


def test_files_in_order_documents_and_lists() -> None:
    listed = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: d}}\n"
    files = {
        "b.yaml": CONFIG % "b" + "---\n# only a comment\n---\n" + CONFIG % "c",
        "a.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}',
        "c.yaml": listed,
        "empty.yaml": "",
    }
    assert objects(files) == ["a", "b", "c", "d"]


def test_jinja_sees_cluster_app_and_values() -> None:
    text = CONFIG % "'{{ app.name }}-{{ cluster.name }}-{{ values.x }}-{{ cluster['values'].n }}'"
    assert objects({"a.yaml": text}, jinja=True, x=1) == ["web-eu1-1-2"]
    assert objects({"a.yaml": CONFIG % "'{{ app.name }}'"}) == ["{{ app.name }}"]


@pytest.mark.parametrize(
    ("text", "jinja", "message"),
    [
        ("a: [\n", False, "a.yaml: line 2: "),
        ("a: 1\na: 2\n", False, "a.yaml: line 2: "),
        ("kind: X\n", False, "object 1: apiVersion is missing"),
        ("{apiVersion: v1, kind: X}", False, "metadata.name is missing"),
        ("{apiVersion: v1, kind: X, metadata: {generateName: a-}}", False, "generateName"),
        (
            "{apiVersion: v1, kind: X, metadata: {name: a, labels: {tier: 1}}}",
            False,
            "X a: metadata.labels.tier is not",
        ),
        ("x: 1\ny: {{ values.nope }}\n", True, "a.yaml: line 2: "),
        ("{% for %}", True, "a.yaml: line 1: "),
        ("a: [ {{ 1 }}\n", True, "(once rendered)"),
        (
            "x: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"x{i}: &a{i} [{', '.join(['*a' + (str(i - 1) if i else '')] * 10)}]\n" for i in range(8)
            ),
            False,
            "aliases",
        ),
    ],
)
def test_a7_errors_name_repository_file_and_line(text: str, jinja: bool, message: str) -> None:  # noqa: FBT001
    with pytest.raises(ManifestError) as caught:
        objects({"a.yaml": text}, jinja=jinja)
    assert str(caught.value).startswith(f"{WHERE}: a.yaml: ")
    assert message in str(caught.value)
    copy = ManifestError.from_wire(caught.value.to_wire())
    assert (str(copy), copy.reason) == (str(caught.value), caught.value.reason)


def test_template_errors_show_the_params() -> None:
    with pytest.raises(ManifestError) as caught:
        objects({"a.yaml": "{{ values.nope }}"}, jinja=True)
    assert caught.value.reason == "TemplateError"
    assert '"name": "eu1"' in str(caught.value)


def test_selected() -> None:
    files = dict.fromkeys(("a.yaml", "b.yml", "c.json", "README.md", "sub/d.yaml", "sub/deep/e.yaml"), b"x")

    def names(*, recurse: bool = False, include: str | None = None, exclude: str | None = None) -> list[str]:
        return list(selected(files, where=WHERE, recurse=recurse, include=include, exclude=exclude))

    assert names() == ["a.yaml", "b.yml", "c.json"]
    assert names(recurse=True) == ["a.yaml", "b.yml", "c.json", "sub/d.yaml", "sub/deep/e.yaml"]
    assert names(recurse=True, include="**/*.yaml", exclude="sub/deep/**") == ["a.yaml", "sub/d.yaml"]
    assert names(include="{a,c}.*") == ["a.yaml", "c.json"]
    with pytest.raises(ManifestError, match=r"a.yaml: it is not UTF-8"):
        selected({"a.yaml": b"\xff\xfe"}, where=WHERE, recurse=False, include=None, exclude=None)
    with pytest.raises(ManifestError, match="not closed"):
        names(include="[a")


def test_a_hook_may_have_a_generated_name() -> None:
    metadata = "{generateName: migrate-, annotations: {argocd.argoproj.io/hook: PreSync}}"
    text = f"apiVersion: batch/v1\nkind: Job\nmetadata: {metadata}\n"
    (name,) = objects({"a.yaml": text})
    assert name.startswith("migrate-")
    assert objects({"a.yaml": text}) == [name]
