from __future__ import annotations

import pytest

from hub.core.templating import TemplateEngine, TemplateFailure

PARAMS = {"cluster": {"name": "eu1", "values": {"replicas": 3, "values": "own", "hosts": ["a"]}}, "n": None}


@pytest.fixture
def engine() -> TemplateEngine:
    return TemplateEngine()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ cluster.name }}", "eu1"),
        ("{{ cluster.values.replicas }}", 3),
        ("{{- cluster.values.replicas -}}", 3),
        ("{{ cluster.values.replicas }} ", "3 "),
        ("{{ cluster.values.hosts }}", ["a"]),
        ("{{ cluster.values.hosts | map('upper') }}", ["A"]),
        ("{{ cluster.values.values }}", "own"),
        ("{{ '1e3' }}", "1e3"),
        ("{{ '}}' }}", "}}"),
        ("{{ n }}", None),
        ("{{ 1 if true }}-{{ 2 }}", "1-2"),
        ("on: {{ true }}, {{ cluster.values.hosts }}, {{ n }}", 'on: true, ["a"], null'),
        ("{{ missing is defined }}", False),
        ("{{ missing | default('x') }}", "x"),
        ("{{ 'Größe & Co.' | slugify }}", "grosse-co"),
        ("{{ 'alpha beta gamma' | slugify(9, true) }}", "alpha"),
        ("{{ {'b': [1, 2], 'a': true} | to_json }}", '{"a":true,"b":[1,2]}'),
        ("{{ 'shop/web-1' | regex_replace('[^a-z]+', '-') }}", "shop-web-"),
        ("{{ 'web-1' | regex_replace('(?P<n>[a-z]+)-', '\\\\g<n>.') }}", "web.1"),
        ("{{ 'shop/web' | regex_find('[a-z]+$') }}{{ 'a' | regex_find('b') }}", "web"),
        ("{{ 'shop/web' | regex_match('^shop/') }}", True),
        ("{{ 'Feature/X_1.' | normalize }}", "feature-x-1"),
        ("{{ {'a': [1, 'y']} | to_yaml }}", "a:\n- 1\n- 'y'\n"),
        ("{{ 'a: 012' | from_yaml }}", {"a": 10}),
        ("{{ 'a' | sha256 }}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("{{ {'b': '<'} | tojson }}", '{"b": "<"}'),
    ],
)
def test_value(engine: TemplateEngine, text: str, expected: object) -> None:
    assert engine.value(text, PARAMS) == expected
    assert type(engine.value(text, PARAMS)) is type(expected)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("{{ missing }}", "'missing' is undefined", 1),
        ("{{ [cluster, {'a': missing}] }}", "'missing' is undefined", 1),
        ("a\nb {{ cluster.nam }}", "has no attribute 'nam'", 2),
        ("a\n{{ 1 / 0 }}", "ZeroDivisionError", 2),
        ("a\n\n{% if %}", "Expected an expression", 3),
        ("{{ cluster.items }}", "it gives a", 1),
        ("{{ cluster['items'] }}", "has no attribute 'items'", 1),
        ("{% include '/etc/passwd' %}", "no loader", 1),
        ("{{ '(' * 500 | int }}{{ " + "(" * 5000 + ")" * 5000 + " }}", "", None),
    ],
)
def test_failures_say_what_and_where(
    engine: TemplateEngine, text: str, message: str, line: int | None
) -> None:
    with pytest.raises(TemplateFailure) as caught:
        engine.value(text, PARAMS)
    assert message in str(caught.value)
    assert line is None or caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cluster.__init__.__globals__ }}",
        "{{ cluster.pop('name') }}",
        "{{ cluster.values.hosts.append('x') }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ ('{0.__cl' ~ 'ass__}').format(1) }}",
        "{{ cluster | attr('__class__') }}",
        "{{ ['__class__'] | map(attribute='__class__') | list }}",
        "{{ self.__init__ }}",
        "{{ range(1000000000) | list }}",
        "{{ 'x' * 10**9 }}",
        "{{ [0] * 10**9 }}",
        "{{ 10 ** (10 ** 9) }}",
        "{{ lipsum.__globals__ }}",
    ],
)
def test_s7_no_escape_and_no_cheap_bomb(engine: TemplateEngine, text: str) -> None:
    for render in (engine.value, engine.text):
        with pytest.raises(TemplateFailure):
            render(text, PARAMS)
    assert PARAMS["cluster"]["values"]["hosts"] == ["a"]  # type: ignore[index]


def test_compiled_templates_are_bounded() -> None:
    engine = TemplateEngine(cached_text=1000)
    for number in range(200):
        assert engine.value(f"{{{{ {number} }}}}", {}) == number
    assert engine._cached <= 1000
    assert len(engine._cache) < 200


def test_parameters_may_have_any_name(engine: TemplateEngine) -> None:
    assert engine.value("{{ context }}{{ args }}", {"context": "a", "args": "b", "self": "c"}) == "ab"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'a' | regex_match('(a+)+') }}", "repeats what repeats"),
        ("{{ 'a' | regex_replace('a', '\\\\g<x>') }}", "does not read"),
        ("{{ 'a' | regex_find('[') }}", "does not read"),
        ("{{ ('a' * 1025) | regex_match('a') }}", "at most 1024 characters"),
    ],
)
def test_s7_expressions_are_bounded(template: str, said: str) -> None:
    with pytest.raises(TemplateFailure, match=said):
        TemplateEngine().value(template, {})
