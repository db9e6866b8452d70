from __future__ import annotations

from typing import Any

import pytest

from hub.core.params import with_itself
from hub.core.templating import TemplateEngine
from hub.importers.fasttemplate import GitParams, fast_to_jinja
from hub.importers.golex import Untranslatable
from hub.importers.gotemplate import go_to_jinja

PARAMS: dict[str, Any] = {
    "name": "Eu1",
    "n": 3,
    "on": True,
    "empty": "",
    "my-key": "dash",
    "path": {"path": "apps/web", "basename": "web", "segments": ["apps", "web"]},
    "metadata": {"labels": {"env": "prod", "app.io/ring": "0"}, "annotations": {}},
    "values": {"size": "large"},
    "items": [{"k": "a"}, {"k": "b"}],
    "map": {"y": 2, "x": 1},
}
ENGINE = TemplateEngine()


def render(text: str) -> str:
    return ENGINE.text(text, with_itself(PARAMS))


@pytest.mark.parametrize(
    ("source", "jinja"),
    [
        ("{{.name}}", "{{ name }}"),
        ("{{ .path.basename | lower }}-x", "{{ path.basename | lower }}-x"),
        ("{{- .name -}}", "{{- name -}}"),
        (
            '{{ index .metadata.labels "app.io/ring" }}',
            "{{ metadata.labels[\"app.io/ring\"] | default('') }}",
        ),
        ("{{ index .path.segments 1 }}", "{{ path.segments[1] }}"),
        ('{{ default "x" .values.size }}', '{{ values.size | default("x", true) }}'),
        ('{{ index . "my-key" }}', "{{ params[\"my-key\"] | default('') }}"),
        ("no template", "no template"),
        ("a {% b", 'a {{ "{%" }} b'),
    ],
)
def test_go_reads_as_jinja(source: str, jinja: str) -> None:
    assert go_to_jinja(source, lenient=False) == jinja


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{.name}}-{{ .n }}-{{.on}}", "Eu1-3-true"),
        ('{{ printf "%s-%d%%" (lower .name) .n }}', "eu1-3%"),
        ('{{ .name | lower | replace "eu" "us" | quote }}', '"us1"'),
        ('{{ .missing | default "d" }}{{ default .name .empty }}', "dEu1"),
        ('{{ if .missing }}a{{ else if eq .name "Eu1" }}b{{ else }}c{{ end }}', "b"),
        ("{{ if and .on (not .missing.deep) }}yes{{ end }}", "yes"),
        ('{{ if hasKey .metadata.labels "env" }}{{ .metadata.labels.env }}{{ end }}', "prod"),
        ("{{ range .items }}[{{ .k }}{{ $.name }}]{{ end }}", "[aEu1][bEu1]"),
        ("{{ range $i, $e := .items }}{{ $i }}{{ $e.k }}{{ end }}", "0a1b"),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "x=1;y=2;"),
        ("{{ range .missing }}x{{ else }}none{{ end }}", "none"),
        ("{{ with .values }}{{ .size }}{{ end }}{{ .name }}", "largeEu1"),
        ("{{ with .missing }}a{{ else }}b{{ end }}", "b"),
        ("{{ $x := .name }}{{ $x = lower $x }}{{ $x }}", "eu1"),
        ("{{ $x := 1 }}{{ if .on }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ('{{ trunc 2 .name }}{{ .path.path | trimPrefix "apps/" }}{{ substr 0 1 .name }}', "EuwebE"),
        ('{{ (split "/" .path.path)._1 }}{{ join "," .path.segments }}', "webapps,web"),
        ('{{ splitList "/" .path.path | first }}{{ last .path.segments }}', "appsweb"),
        ('{{ ternary "a" "b" (eq .n 3) }}{{ add .n 1 2 }}{{ len .items }}', "a62"),
        ('{{ dig "labels" "nope" "d" .metadata }}{{ dig "a" "b" "e" .metadata }}', "de"),
        ("{{ .map | toJson }}{{ toYaml .values }}|", '{"x":1,"y":2}size: large|'),
        ('{{ printf "%.2s-%s" .name .n }}', "Eu-3"),
        ('{{ regexReplaceAll "[^a-z]+" .path.path "-" }}', "apps-web"),
        ('{{ .path.path | regexFind "[a-z]+$" }}{{ regexMatch "^apps/" .path.path }}', "webtrue"),
        ('{{ regexReplaceAll "(ap)(ps)" .path.path "${2}$1" }}', "psap/web"),
        ('{{ list "a" .name | join "-" }}{{ has "a" (list "a") }}', "a-Eu1true"),
        ('{{ b64enc .name | b64dec }}{{ contains "u" .name }}{{ .n | toString }}', "Eu1true3"),
        ('{{/* a comment */}}{{ `raw "x"` }}{{ "}}" }}', 'raw "x"}}'),
        ('{{ normalize "A_b" }}{{ slugify 3 .path.path }}', "a-bapp"),
        ("a  {{- /* c */ -}}  b", "ab"),
        ('{{ (index .items 0).k }}{{ eq .name "x" "Eu1" }}', "atrue"),
        ('{{ if eq .missing.deep "x" }}a{{ else }}b{{ end }}{{ ne .metadata.labels.nope "x" }}', "btrue"),
        ("{{ eq .missing nil }}{{ if .values.items }}a{{ else }}b{{ end }}", "trueb"),
        ('{{ default "d" .map.get }}{{ hasKey .map "items" }}', "dfalse"),
        ('{{ list "b" "a" "C" "c" | sortAlpha | uniq | join "" }}', "Cabc"),
        ('{{ nospace " a\tb c" }}{{ substr 1 -1 .name }}{{ substr -1 2 .name }}', "abcu1Eu"),
        (
            '{{ regexReplaceAll "([a-z])" .path.basename "$1y${1}" }}{{ urlquery "a b&c/d" }}',
            "weba+b%26c%2Fd",
        ),
    ],
)
def test_go_means_the_same(source: str, expected: str) -> None:
    assert render(go_to_jinja(source)) == expected


@pytest.mark.parametrize("lenient", [True, False])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('{{ index .metadata.labels "nope" }}', ""),
        ('{{ if index .metadata.labels "nope" }}a{{ else }}b{{ end }}', "b"),
        ('{{ if eq (index .metadata.labels "nope") "x" }}a{{ else }}b{{ end }}', "b"),
        ('{{ if hasPrefix "x" (index .metadata.annotations "nope") }}a{{ else }}b{{ end }}', "b"),
        ('{{ printf "%s-x" (index .metadata.labels "nope") }}{{ index .metadata.labels "env" }}', "-xprod"),
        ('{{ index .metadata.annotations "nope" | default "d" }}', "d"),
    ],
)
def test_index_of_a_map_gives_nothing_for_a_key_that_is_not_there(
    source: str, expected: str, *, lenient: bool
) -> None:
    """Go's `missingkey` is asked for fields, never for `index`."""
    assert render(go_to_jinja(source, lenient=lenient)) == expected


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('{{ define "x" }}{{ end }}', '"define" has no equal'),
        ("{{ genCA }}", 'the function "genCA" has no equal'),
        ("{{ .a ", "no end"),
        ("{{ if .a }}", '"if" has no end'),
        ("{{ end }}", "nothing is open"),
        ("{{ $x }}", "is not declared"),
        ("{{ $x := 1 }}{{ range .items }}{{ $x = 2 }}{{ end }}", "outside of the loop"),
        ('{{ printf "%05d" .n }}', "has no equal"),
        ("{{ .a | .b }}", "must be a function"),
        ('{{ regexReplaceAll "a" .name .n }}', "a text is expected"),
        ("{{ trunc .n }}", "does not take 1"),
        ("{{ ? }}", "does not read"),
        ("{{ (.a }}", "it ends too early"),
    ],
)
def test_go_that_has_no_equal_says_so(source: str, problem: str) -> None:
    with pytest.raises(Untranslatable, match=problem.replace("(", r"\(").replace('"', '"')):
        go_to_jinja(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{name}}", "Eu1"),
        ("{{ path }}-{{path.basename}}-{{path[0]}}", "apps/web-web-apps"),
        ("{{metadata.labels.env}}{{metadata.labels.app.io/ring}}", "prod0"),
        ("{{values.size}}{{my-key}}", "largedash"),
        ("{{ not a key | x }}", "{{ not a key | x }}"),
        ("{# {% a", "{# {% a"),
        ("{{items.1.k}}", "b"),
    ],
)
def test_fasttemplate_means_the_same(source: str, expected: str) -> None:
    assert render(fast_to_jinja(source, GitParams(frozenset({""})))) == expected


def test_fasttemplate_with_a_prefix() -> None:
    git = GitParams(frozenset({"my"}))
    assert (
        fast_to_jinja("{{my.path}}{{my.path[1]}}{{path}}", git)
        == "{{ my.path.path }}{{ my.path.segments[1] }}{{ path }}"
    )
