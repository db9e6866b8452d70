"""Users' templates: Jinja2 in its sandbox, strict about what is undefined, and giving JSON values.

The sandbox stops attributes and calls, not memory or time: text from users is rendered in a worker process
with limits (`hub.render`), or on a person's own machine by the CLI. What can be bounded cheaply is bounded
here, so that an error names its template.

A template that is one expression gives its typed value. Jinja's own `NativeEnvironment` is no way to that: it
reads the rendered text again, so that the string `1e3` becomes a number. In text, what is not text is printed
as JSON: `true`, not `True`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import unicodedata
from collections import OrderedDict
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.environment import TemplateExpression
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agent.contract.errors import TerminalError
from agent.kube import yaml
from hub.core import patterns
from hub.core.insert import Mark
from hub.core.params import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_OUTPUT = 16 * 1024 * 1024
"""Characters that one template may give."""
MAX_REPEAT = 1024 * 1024
"""Items of a repeated string or list, and bits of a power."""
MAX_DEPTH = 64
"""How deep the value of an expression may be nested."""
CACHED_TEXT = 4 * 1024 * 1024
"""Characters of template text whose compiled form is kept; it takes some ten times that in memory."""

_MARKS = ("{{", "{%", "{#")
_Compiled = Template | TemplateExpression


def is_template(text: str) -> bool:
    """Whether rendering could change the text."""
    return any(mark in text for mark in _MARKS)


class TemplateFailure(TerminalError):
    """A template that does not parse or render. `line` counts from 1 within its text; None where unknown."""

    reason = "TemplateError"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Environment(ImmutableSandboxedEnvironment):
    """A map's own keys come before the methods of Python's dict, and a subscript is a key: `cluster.values` is data."""

    intercepted_binops = frozenset({"*", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict) and isinstance(argument, str) and argument not in obj:
            return self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | list | tuple) and isinstance(times, int):
                    _bound(len(many) * times)
        elif isinstance(left, int) and isinstance(right, int):
            _bound(left.bit_length() * abs(right))
        return super().call_binop(context, operator, left, right)


def _bound(size: int) -> None:
    if size > MAX_REPEAT:
        raise ValueError(f"a result of more than {MAX_REPEAT} items is refused")


class TemplateEngine:
    """Renders strings and whole values. Compiled templates are kept, the least recently used going first."""

    def __init__(self, *, cached_text: int = CACHED_TEXT) -> None:
        self._environment = _environment()
        self._cache: OrderedDict[tuple[bool, str], _Compiled] = OrderedDict()
        self._cached = 0
        self._limit = cached_text

    def value(self, text: str, params: Mapping[str, Any]) -> Any:
        """The text rendered; the typed value where it is exactly one `{{ expression }}`.

        Raises `TemplateFailure` for everything that a template may do wrong.
        """
        if not is_template(text):
            return text
        return self._run(text, params, typed=True)

    def text(self, text: str, params: Mapping[str, Any]) -> str:
        """The text rendered as text, also where it is one expression."""
        if not is_template(text):
            return text
        rendered: str = self._run(text, params, typed=False)
        return rendered

    def _run(self, text: str, params: Mapping[str, Any], *, typed: bool) -> Any:
        try:
            compiled = self._compiled(text, typed=typed)
            if isinstance(compiled, TemplateExpression):
                return _json_value(compiled(params))
            return _joined(compiled.generate(params))
        except TemplateFailure:
            raise
        except MemoryError as error:
            raise TemplateFailure("it needs more memory than a template may use") from error
        except Exception as error:  # whatever user code in a template may raise
            line = _line(error) or (None if "\n" in text else 1)
            raise TemplateFailure(_message(error), line=line) from error

    def _compiled(self, text: str, *, typed: bool) -> _Compiled:
        key = (typed, text)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        compiled = self._compile(text, typed=typed)
        self._cache[key] = compiled
        self._cached += len(text)
        while self._cached > self._limit and len(self._cache) > 1:
            (_, dropped), _ = self._cache.popitem(last=False)
            self._cached -= len(dropped)
        return compiled

    def _compile(self, text: str, *, typed: bool) -> _Compiled:
        tree = self._environment.parse(text)
        expression = _single_expression(tree) if typed else None
        if expression is None:
            return self._environment.from_string(tree)
        result = nodes.Name("result", "store", lineno=1)
        program = nodes.Template([nodes.Assign(result, expression, lineno=1)], lineno=1)
        program.set_environment(self._environment)
        # As `compile_expression(undefined_to_none=False)`, from the tree that was already parsed
        return TemplateExpression(self._environment.from_string(program), undefined_to_none=False)


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_printed,
        cache_size=0,
        auto_reload=False,
    )
    for name in ("lipsum", "cycler", "joiner"):
        del environment.globals[name]
    del environment.filters["random"]  # equal input gives equal output
    filters: dict[str, Callable[..., Any]] = {
        "slugify": slugify,
        "normalize": lambda value: normalize(str(value)),
        "to_yaml": lambda value: yaml.dump(_json_value(value)),
        "from_yaml": yaml.load_value,
        "tojson": _to_json,
        "to_json": lambda value: _to_json(value, separators=(",", ":")),
        "regex_match": lambda value, pattern: patterns.matches(pattern, _subject(value)),
        "regex_find": lambda value, pattern: patterns.found(pattern, _subject(value)),
        "regex_replace": lambda value, pattern, new: patterns.replaced(pattern, new, _subject(value)),
        "sha256": lambda value: hashlib.sha256(str(value).encode()).hexdigest(),
        "string": lambda value: str(_printed(value)),
        "b64encode": lambda value: base64.b64encode(str(value).encode()).decode(),
        "b64decode": lambda value: base64.b64decode(str(value), validate=True).decode(),
        "pairs": pairs,
    }
    environment.filters.update(filters)
    return environment


def slugify(value: Any, max_length: int = 63, smart: bool = False) -> str:  # noqa: FBT001, FBT002 - a filter
    """A DNS label: lowercase letters, digits and single dashes. `smart` cuts between words where it can."""
    plain = unicodedata.normalize("NFKD", str(value).casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(slug) <= max_length:
        return slug
    cut = slug[:max_length]
    if smart and slug[max_length] != "-" and "-" in cut:
        cut = cut.rpartition("-")[0]
    return cut.strip("-")


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """A map's keys with its values, by key; a list's indices with its items; nothing of none."""
    if isinstance(value, dict):
        return sorted(value.items())
    return [] if value is None else list(enumerate(value))


def _to_json(value: Any, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    return json.dumps(
        _json_value(value), sort_keys=True, ensure_ascii=False, indent=indent, separators=separators
    )


def _subject(value: Any) -> str:
    """What an expression is searched in: cut short it would match otherwise."""
    text = str(_printed(value))
    if len(text) > patterns.MAX_SUBJECT:
        raise TemplateFailure(f"an expression is searched in at most {patterns.MAX_SUBJECT} characters")
    return text


def _single_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression where the whole template is one `{{ }}` and nothing around it."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    parts = tree.body[0].nodes
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData):
        return None
    return parts[0]


def _printed(value: Any) -> Any:
    """How an expression's value appears within text."""
    if isinstance(value, str | Undefined):
        return value
    if isinstance(value, Mark):
        return value.text()
    return json.dumps(_json_value(value), ensure_ascii=False)


def _joined(pieces: Iterator[str]) -> str:
    out: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OUTPUT:
            raise TemplateFailure(f"it gives more than {MAX_OUTPUT} characters")
        out.append(piece)
    return "".join(out)


def _json_value(value: Any, depth: int = 0) -> Any:
    """Plain JSON of what an expression gave; anything undefined, however deep, is an error."""
    if depth > MAX_DEPTH:
        raise ValueError("its value is nested too deep")
    if isinstance(value, Undefined):
        str(value)  # StrictUndefined raises, with the name that is missing
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mark):
        return value.text()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple | range | GeneratorType):
        return [_json_value(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_key(key): _json_value(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"it gives a {type(value).__name__}, which is no JSON value")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a map's key is a {type(key).__name__}, not text")  # noqa: TRY004 - one kind of failure
    return str(key)


def _message(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = (error.message if isinstance(error, TemplateError) else str(error)) or ""
    plain = isinstance(error, TemplateError | ValueError)
    return (text if plain and text else f"{type(error).__name__}: {text}")[:500]


def _line(error: Exception) -> int | None:
    """The template's line: a syntax error's own, else the innermost template frame's as Jinja rewrote it."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, trace = None, error.__traceback__
    while trace is not None:
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
