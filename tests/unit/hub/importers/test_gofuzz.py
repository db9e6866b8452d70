"""Whatever stands in a file: a Go template becomes a Jinja2 template that parses, or is told to have no equal."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Environment

from hub.importers.fasttemplate import GitParams, fast_to_jinja
from hub.importers.golex import Untranslatable
from hub.importers.gotemplate import go_to_jinja

WORDS = (
    *(
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{%",
        "{#",
        "#}",
        "%}",
        " ",
        "\n",
        "(",
        ")",
        "|",
        ".",
        ".a",
        ".a.b",
        "$",
        "$x",
        ":=",
        "=",
    ),
    *(
        "if",
        "else",
        "else if",
        "end",
        "range",
        "with",
        "define",
        "eq",
        "and",
        "not",
        "default",
        "index",
        "printf",
    ),
    *(
        '"%s"',
        '"a"',
        '"\\""',
        "`b`",
        "'c'",
        "1",
        "-2",
        "1.5",
        "true",
        "nil",
        "lower",
        "dict",
        "list",
        ",",
        "/* c */",
        "x-y",
    ),
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.lists(
    st.sampled_from(WORDS), max_size=12
).map("".join)
ACTIONS = st.lists(st.lists(st.sampled_from(WORDS[8:]), max_size=6).map(" ".join), max_size=4).map(
    lambda bodies: "".join(f"{{{{ {body} }}}}" for body in bodies)
)
JINJA = Environment(autoescape=True)
JINJA.filters |= dict.fromkeys(
    ("to_yaml", "from_yaml", "pairs", "normalize", "slugify", "sha256", "b64encode", "b64decode"), str
)


@given(TEXTS | ACTIONS)
@example('{{ if .a }}{{ else }}{{ end }}{{ printf "%s" .a }}')
@example("{% raw %}{{ .a }}")
@example("{{ dict 1 and }}")
def test_a_go_template_reads_or_is_refused(text: str) -> None:
    with contextlib.suppress(Untranslatable):
        JINJA.parse(go_to_jinja(text))


@given(TEXTS)
@example("{{ {{ a }} }}")
def test_a_flat_template_reads(text: str) -> None:
    JINJA.parse(fast_to_jinja(text, GitParams(frozenset({""}))))
