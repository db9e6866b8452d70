"""Functions of Go templates, of sprig, and of Argo CD, as Jinja2 has them.

Each gets its arguments in Go's order, in which what was piped comes last. What is not in the table has no equal.
https://masterminds.github.io/sprig/ and https://pkg.go.dev/text/template#hdr-Functions
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from hub.importers.golex import Untranslatable
from hub.importers.jinjatext import Binding, Expr, literal, operator, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    Function: TypeAlias = Callable[..., Expr]

_VERB = re.compile(r"%(%|(?:\.[0-9]+)?s|[vdq])")
_GROUP = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def _filter(name: str) -> Function:
    return lambda value: value.filtered(name)


def _operator(sign: str) -> Function:
    return lambda first, *others: operator(sign, first, *others) if others else first


def _compare(sign: str) -> Function:
    return lambda left, right: operator(sign, left, right)


def _equal(first: Expr, *others: Expr) -> Expr:
    if len(others) == 1:
        return operator("==", first, others[0])
    return operator("in", first, Expr(f"[{', '.join(one.text for one in others)}]"))


def _not(value: Expr) -> Expr:
    return Expr(f"not {value.operand}", Binding.OPERATOR)


def _at(value: Expr, *keys: Expr) -> Expr:
    for key in keys:
        value = Expr(f"{value.atom}[{key.text}]")
    return value


def _index(value: Expr, *keys: Expr) -> Expr:
    """Beyond a list's end is an error; a map gives nothing for a key that it has not, whatever `missingkey` says."""
    found = _at(value, *keys)
    return found if not keys or keys[-1].text.isdigit() else found.filtered("default('')")


def _default(fallback: Expr, value: Expr) -> Expr:
    return value.filtered(f"default({fallback.text}, true)")


def _get(value: Expr, key: Expr) -> Expr:
    return _at(value, key).filtered("default('')")


def _dig(*args: Expr) -> Expr:
    *keys, fallback, value = args
    for key in keys[:-1]:
        value = Expr(f"({_index(value, key).text} | default({{}}))")
    return _at(value, keys[-1]).filtered(f"default({fallback.text})")


def _ternary(yes: Expr, no: Expr, test: Expr) -> Expr:
    return Expr(f"{yes.operand} if {test.operand} else {no.operand}", Binding.OPERATOR)


def _list(*items: Expr) -> Expr:
    return Expr(f"[{', '.join(one.text for one in items)}]")


def _dict(*items: Expr) -> Expr:
    pairs = zip(items[::2], items[1::2], strict=True)
    return Expr("{" + ", ".join(f"{key.text}: {value.text}" for key, value in pairs) + "}")


def _slice(start: str, end: str) -> Callable[[Expr], Expr]:
    return lambda value: Expr(f"{value.atom}[{start}:{end}]")


def _trunc(length: Expr, value: Expr) -> Expr:
    return _slice(length.text, "")(value) if length.text.startswith("-") else _slice("", length.text)(value)


def _substr(start: Expr, end: Expr, value: Expr) -> Expr:
    """A start below zero is the text's, an end below zero its end."""
    return _slice(*("" if one.text.startswith("-") else one.text for one in (start, end)))(value)


def _slugify(*args: Expr) -> Expr:
    *options, value = args
    inner = ", ".join(one.text for one in options)
    return value.filtered(f"slugify({inner})" if inner else "slugify")


def _printf(form: Expr, *args: Expr) -> Expr:
    text = _literal_text(form)
    parts: list[Expr] = []
    left = list(args)
    for at, piece in enumerate(_VERB.split(text)):
        if at % 2 == 0:
            parts += [literal(piece)] if piece else []
        elif piece == "%":
            parts.append(literal("%"))
        elif left:
            parts.append(_formatted(piece, left.pop(0)))
        else:
            raise Untranslatable(f"printf {form.text} has fewer arguments than verbs")
    if left or "%" in _VERB.sub("", text):
        raise Untranslatable(f"printf {form.text} has no equal")
    return operator("~", *parts) if len(parts) > 1 else (parts or [literal("")])[0].filtered("string")


def _formatted(verb: str, value: Expr) -> Expr:
    if verb == "q":
        return value.filtered("string | tojson")
    return _slice("", verb[1:-1])(value.filtered("string")) if verb.startswith(".") else value


def _regex(name: str) -> Function:
    return lambda pattern, value: value.filtered(f"{name}({pattern.text})")


def _regex_replace(pattern: Expr, value: Expr, replacement: Expr) -> Expr:
    """Go marks groups with a dollar, Python with a backslash, which is only itself in Go.

    A name that no group has is nothing in Go: `$1y` is no group 1.
    """

    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return f"\\g<{name}>" if name.isdigit() or f"<{name}>" in pattern.text else ""

    text = _GROUP.sub(group, _literal_text(replacement).replace("\\", "\\\\"))
    return value.filtered(f"regex_replace({pattern.text}, {quoted(text)})")


def _literal_text(value: Expr) -> str:
    text = value.text
    if value.binding is not Binding.ATOM or text[:1] not in "\"'" or text != quoted(text[1:-1]):
        raise Untranslatable(f"a text is expected, not {text}")
    return text[1:-1]


def _cat(*args: Expr) -> Expr:
    return _list(*args).filtered('join(" ")')


def _print(*args: Expr) -> Expr:
    return operator("~", *args) if len(args) > 1 else args[0].filtered("string")


def _integers(sign: str) -> Function:
    return lambda *args: operator(sign, *(one.filtered("int") for one in args)) if args[1:] else args[0]


def _indent(width: Expr, text: Expr) -> Expr:
    return text.filtered(f"indent({width.text}, true)")


FUNCTIONS: dict[str, Function] = {
    # the language's own
    "and": _operator("and"),
    "or": _operator("or"),
    "not": _not,
    "eq": _equal,
    "ne": _compare("!="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "index": _index,
    "len": _filter("length"),
    "print": _print,
    "printf": _printf,
    "urlquery": _filter("urlencode | replace('/', '%2F') | replace('%20', '+')"),
    # Argo CD's own
    "normalize": _filter("normalize"),
    "slugify": _slugify,
    "toYaml": lambda value: value.filtered("to_yaml | trim"),
    "fromYaml": _filter("from_yaml"),
    "fromYamlArray": _filter("from_yaml"),
    # texts, from sprig
    "lower": _filter("lower"),
    "upper": _filter("upper"),
    "title": _filter("title"),
    "trim": _filter("trim"),
    "trimAll": lambda chars, value: value.call("strip", chars),
    "trimPrefix": lambda prefix, value: value.call("removeprefix", prefix),
    "trimSuffix": lambda suffix, value: value.call("removesuffix", suffix),
    "hasPrefix": lambda prefix, value: value.call("startswith", prefix),
    "hasSuffix": lambda suffix, value: value.call("endswith", suffix),
    "contains": lambda part, value: operator("in", part, value),
    "replace": lambda old, new, value: value.filtered(f"replace({old.text}, {new.text})"),
    "nospace": lambda value: value.call("split").filtered("join"),
    "trunc": _trunc,
    "substr": _substr,
    "repeat": lambda count, value: operator("*", value, count),
    "quote": lambda value: value.filtered("string | tojson"),
    "squote": lambda value: operator("~", literal("'"), value, literal("'")),
    "cat": _cat,
    "indent": _indent,
    "nindent": lambda width, text: operator("~", Expr('"\\n"'), _indent(width, text)),
    "splitList": lambda separator, value: value.call("split", separator),
    "join": lambda separator, value: value.filtered(f"join({separator.text})"),
    "toString": _filter("string"),
    "b64enc": _filter("b64encode"),
    "b64dec": _filter("b64decode"),
    "sha256sum": _filter("sha256"),
    # numbers, from sprig
    "int": _filter("int"),
    "int64": _filter("int"),
    "atoi": _filter("int"),
    "float64": _filter("float"),
    "add": _integers("+"),
    "sub": _integers("-"),
    "mul": _integers("*"),
    "div": _integers("//"),
    "mod": _integers("%"),
    "add1": lambda value: operator("+", value.filtered("int"), literal(1)),
    "max": lambda *args: _list(*args).filtered("max"),
    "min": lambda *args: _list(*args).filtered("min"),
    "until": lambda count: Expr(f"range({count.text})"),
    # lists and maps, from sprig
    "list": _list,
    "tuple": _list,
    "dict": _dict,
    "first": _filter("first"),
    "last": _filter("last"),
    "rest": _slice("1", ""),
    "initial": _slice("", "-1"),
    "uniq": _filter("unique(true) | list"),
    "sortAlpha": _filter("sort(case_sensitive=true)"),
    "reverse": _filter("reverse | list"),
    "compact": _filter("select | list"),
    "concat": _operator("+"),
    "append": lambda values, value: operator("+", values, _list(value)),
    "has": lambda value, values: operator("in", value, values),
    "hasKey": lambda value, key: operator("in", key, value),
    "get": _get,
    "dig": _dig,
    "keys": _filter("list"),
    "toJson": _filter("to_json"),
    "toRawJson": _filter("to_json"),
    "regexMatch": _regex("regex_match"),
    "mustRegexMatch": _regex("regex_match"),
    "regexFind": _regex("regex_find"),
    "mustRegexFind": _regex("regex_find"),
    "regexReplaceAll": _regex_replace,
    "mustRegexReplaceAll": _regex_replace,
    "toPrettyJson": _filter("tojson(indent=2)"),
    "fromJson": _filter("from_yaml"),
    # choices, from sprig
    "default": _default,
    "empty": _not,
    "coalesce": _operator("or"),
    "ternary": _ternary,
    "required": lambda _, value: value,
}
LENIENT = frozenset({"default", "empty", "coalesce", "and", "or", "not", "hasKey", "ternary", "eq", "ne"})
"""Those that are asked about what may be missing."""


def translated(name: str, args: list[Expr]) -> Expr:
    """The call as Jinja2 has it. Raises `Untranslatable`."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise Untranslatable(f'the function "{name}" has no equal')
    try:
        return function(*args)
    except (TypeError, ValueError, IndexError):
        raise Untranslatable(f'"{name}" does not take {len(args)} arguments') from None
