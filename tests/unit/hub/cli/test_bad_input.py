"""What people write by mistake or on purpose: each ends in a line that says what is wrong and where."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hub.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

SET = """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {name: many, namespace: shop}
spec:
  generators: [%s]
  template:
    metadata: {name: "%s"}
    spec: {cluster: hub, sources: [{repoURL: "https://h/x"}]}
"""
CLUSTER = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1}
"""
SOON = 30.0
"""Seconds of this process: far over what a check needs, far under what the mistake would take."""


def many(name: str, count: int) -> str:
    """A generator of so many parameter sets."""
    rows = ", ".join(f"{{{name}: {number}}}" for number in range(count))
    return f"{{list: {{elements: [{rows}]}}}}"


def said(folder: Path, text: str, command: str = "expand") -> str:
    """What the command complains of, which it refuses, in time."""
    (folder / "set.yaml").write_text(text)
    started = time.process_time()
    result = CliRunner().invoke(app, [command, "-f", str(folder / "set.yaml")])
    assert time.process_time() - started < SOON
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_a_matrix_that_nobody_means_is_refused_before_it_is_made(tmp_path: Path) -> None:
    matrix = f"{{matrix: {{generators: [{many('a', 100)}, {many('b', 100)}, {many('c', 100)}]}}}}"
    found = said(tmp_path, SET % (matrix, "x-{{ a }}-{{ b }}-{{ c }}"))
    assert "TooManyChildren: set shop/many: generators[0]: matrix.generators[2]: 10000 x 100" in found
    assert "10000 x 100 or so parameter sets are more than the 100000 that a generator may give" in found
    assert "select less, or split the set" in found


def test_more_children_than_a_set_may_have(tmp_path: Path) -> None:
    matrix = f"{{matrix: {{generators: [{many('a', 200)}, {many('b', 101)}]}}}}"
    found = said(tmp_path, SET % (matrix, "x-{{ a }}-{{ b }}"))
    assert "TooManyChildren: set shop/many: generators[0]" in found
    assert "20200 children are more than the 20000 that a set may have" in found


def test_two_children_of_one_name(tmp_path: Path) -> None:
    found = said(tmp_path, SET % (many("a", 2), "same"))
    assert 'DuplicateName: set shop/many: generators[0]: two children are called "same"' in found
    assert '{"a": 0}' in found
    assert '{"a": 1}' in found


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("generators: [{lits: {}}]", "spec.generators[0].lits: unknown field"),
        (
            "generators: [{list: {elements: [], elemens: []}}]",
            'elemens: unknown field; did you mean "elements"?',
        ),
        ("genrators: []", 'spec.genrators: unknown field; did you mean "generators"?'),
        ("generators: [{list: {elements: {}}}]", "spec.generators[0].list.elements"),
    ],
)
def test_fields_that_there_are_not(tmp_path: Path, spec: str, words: str) -> None:
    template = "template: {metadata: {name: x}, spec: {cluster: hub, sources: [{repoURL: 'https://h/x'}]}}"
    head = "apiVersion: axletree.dev/v1alpha1\nkind: ApplicationSet\nmetadata: {name: bad}\n"
    assert words in said(tmp_path, f"{head}spec:\n  {spec}\n  {template}\n")


def test_a_child_whose_field_is_misspelt_and_one_that_waits_for_itself(tmp_path: Path) -> None:
    text = SET % (many("a", 1), "x")
    found = said(tmp_path, text.replace("cluster: hub,", "cluster: hub, dependOn: [],"))
    assert 'child "x": spec.dependOn: unknown field; did you mean "dependsOn"?' in found
    (tmp_path / "set.yaml").write_text(text.replace("cluster: hub,", "cluster: hub, dependsOn: [{name: x}],"))
    result = CliRunner().invoke(app, ["graph", "-f", str(tmp_path / "set.yaml")])
    assert result.exit_code == 1
    assert "DependencyCycle: x@hub -> x@hub" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "labels: {app: n}",
            "labels.app: input should be a valid string: YAML reads n, no, off, false as false",
        ),
        ("labels: {app: on}", "YAML reads y, yes, on, true as true; quote it"),
    ],
)
def test_a_word_that_yaml_takes_for_a_boolean(tmp_path: Path, more: str, words: str) -> None:
    text = (SET % (many("a", 1), "x")).replace('metadata: {name: "x"}', f'metadata: {{name: "x", {more}}}')
    assert words in said(tmp_path, text)


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        ("waves: [{name: a, maxConcurrent: 0}]", "waves[0]: maxConcurrent lets at least one go"),
        ("waves: [{name: a, maxConcurrent: 0%}]", "waves[0]: maxConcurrent lets at least one go"),
        ("waves: [{name: a}, {name: a}]", "rollout: names of waves are unique, and none is rest: a"),
        ("waves: [{name: a, sock: 5m}]", 'waves[0].sock: unknown field; did you mean "soak"?'),
    ],
)
def test_waves_that_mean_nothing(tmp_path: Path, rollout: str, words: str) -> None:
    assert words in said(tmp_path, SET % (many("a", 1), "x") + f"  rollout: {{{rollout}}}\n")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 100000000 }}",
        "{{ ('x' * 30000) * 30000 }}",
        "{{ 2 ** (2 ** 40) }}",
        "{{ range(10 ** 9) | list | length }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{% set x = namespace(a='y') %}{% for i in range(60) %}{% set x.a = x.a ~ x.a %}{% endfor %}{{ x.a }}",
    ],
)
def test_s7_templates_that_loop_or_explode_end(tmp_path: Path, template: str) -> None:
    text = SET % (many("a", 1), "x")
    patch = f'  templatePatch: |\n    spec: {{namespace: "{template}"}}\n'
    found = said(tmp_path, text + patch)
    assert "TemplateError: set shop/many: " in found, found


@pytest.mark.parametrize("command", ["expand", "graph", "render", "health"])
def test_a_file_that_is_not_there(tmp_path: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, "-f", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert result.stderr == f"axle: InvalidFile: {tmp_path}/none.yaml: No such file or directory\n"


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("shop", "c0ffee1", "InvalidReference: 'shop': write NAMESPACE/SET"),
        ("shop/shop", "main", "RevisionRefused: --revision 'main': say the commit"),
        ("shop/shop", "c0ffee", "by its first seven digits or more"),
    ],
)
def test_a_rollout_of_what_is_no_commit(name: str, revision: str, words: str) -> None:
    result = CliRunner().invoke(app, ["rollout", name, "--revision", revision])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr
