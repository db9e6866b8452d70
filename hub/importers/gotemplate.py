"""Go templates as Jinja2 templates: `{{ .path.basename | lower }}` becomes `{{ path.basename | lower }}`.

Argo CD is lenient about keys that are missing unless a set says `missingkey=error`: there, conditions and
defaults may ask for them. Jinja2 is strict here, so such questions are written out with `default`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.importers.gofunctions import LENIENT, translated
from hub.importers.golex import Action, Text, Untranslatable, pieces
from hub.importers.goparse import Call, Literal, Node, Parser, Path, Variable
from hub.importers.jinjatext import ROOT, Binding, Expr, literal, plain, root_field

_REFUSED = frozenset({"define", "template", "block", "break", "continue"})


def go_to_jinja(source: str, *, lenient: bool = True) -> str:
    """The template in Jinja2's words. `lenient`: keys may be missing. Raises `Untranslatable`."""
    if "{{" not in source:
        return plain(source)
    return _Translation(lenient).run(source)


@dataclass(slots=True)
class _Block:
    """An `if`, `range` or `with` that is open: how it ends, and what held before it."""

    kind: str
    closing: str
    dot: Expr | None
    variables: dict[str, str]


@dataclass(slots=True)
class _Translation:
    lenient: bool
    dot: Expr | None = None
    """What `.` means; None is the root."""
    variables: dict[str, str] = field(default_factory=dict)
    """Jinja2's name of each variable that is in sight."""
    loops: list[frozenset[str]] = field(default_factory=list)
    """The variables that were in sight outside of each open loop: within it, Jinja2 cannot set those."""
    blocks: list[_Block] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def run(self, source: str) -> str:
        out = [
            plain(piece.text) if isinstance(piece, Text) else self._action(piece) for piece in pieces(source)
        ]
        if self.blocks:
            raise Untranslatable(f'"{self.blocks[-1].kind}" has no end')
        return "".join(out)

    def _action(self, action: Action) -> str:
        left, right = "-" if action.left else "", "-" if action.right else ""
        if action.body.startswith("/*"):
            return f"{{#{left} {action.body[2:-2].strip().replace('#}', '# }')} {right}#}}"
        parser = Parser(action.body)
        keyword = parser.word()
        if keyword in _REFUSED:
            raise Untranslatable(f'"{keyword}" has no equal')
        parts = self._statement(parser, keyword)
        if isinstance(parts, Expr):
            return f"{{{{{left} {parts.text} {right}}}}}"
        first, *rest = parts
        *middle, last = [f"{{%{left if at == 0 else ''} {one}" for at, one in enumerate((first, *rest))]
        return "".join([*(f"{one} %}}" for one in middle), f"{last} {right}%}}"])

    def _statement(self, parser: Parser, keyword: str) -> Expr | list[str]:
        match keyword:
            case "if" | "range" | "with":
                parser.take()
                return self._open(parser, keyword)
            case "else":
                parser.take()
                return self._else(parser)
            case "end":
                if not self.blocks:
                    raise parser.failure("nothing is open")
                return self._close()
        declared = parser.declared()
        value = self.expression(parser.pipeline())
        parser.end()
        if declared is None:
            return value
        (name,), sign = declared
        return [f"set {self._name(name, sign, parser)} = {value.text}"]

    def _name(self, name: str, sign: str, parser: Parser) -> str:
        if sign == ":=":
            return self._declare(name)
        if name not in self.variables:
            raise parser.failure(f'"${name}" is not declared')
        if any(self.variables[name] in outside for outside in self.loops):
            raise parser.failure("a variable from outside of the loop is set, which has no equal")
        return self.variables[name]

    def _declare(self, name: str) -> str:
        plain_name = name if root_field(name).text == name else f"{name}_"
        while plain_name in self.used:
            plain_name += "_"
        self.used.add(plain_name)
        self.variables[name] = plain_name
        return plain_name

    def _open(self, parser: Parser, keyword: str) -> list[str]:
        declared = parser.declared()
        value = self.expression(parser.pipeline(), lenient=self.lenient)
        parser.end()
        block = _Block(keyword, f"end{keyword}", self.dot, dict(self.variables))
        self.blocks.append(block)
        names = declared[0] if declared else []
        if keyword == "range":
            block.closing = "endfor"
            self.loops.append(frozenset(self.variables.values()))
            index = self._declare(names[0]) if len(names) > 1 else "_"
            item = self._declare(names[-1]) if names else self._declare("item")
            self.dot = Expr(item)
            return [f"for {index}, {item} in {value.operand} | pairs"]
        if keyword == "with":
            block.closing = "endif"
            name = self._declare(names[0] if names else "it")
            self.dot = Expr(name)
            return [f"set {name} = {value.text}", f"if {name}"]
        if names:
            name = self._declare(names[0])
            return [f"set {name} = {value.text}", f"if {name}"]
        return [f"if {value.text}"]

    def _else(self, parser: Parser) -> list[str]:
        if not self.blocks:
            raise parser.failure("nothing is open")
        block = self.blocks[-1]
        if block.kind != "if":
            self.dot = block.dot
        if parser.word() == "if":
            parser.take()
            value = self.expression(parser.pipeline(), lenient=self.lenient)
            return [f"elif {value.text}"]
        parser.end()
        return ["else"]

    def _close(self) -> list[str]:
        block = self.blocks.pop()
        self.dot, self.variables = block.dot, block.variables
        if block.kind == "range":
            self.loops.pop()
        return [block.closing]

    def expression(self, node: Node, *, lenient: bool = False) -> Expr:
        """The Jinja2 expression. `lenient`: what is missing counts as nothing."""
        match node:
            case Literal(value):
                return literal(value)
            case Variable(name):
                return self._variable(name)
            case Call(name, args):
                asks = self.lenient and name in LENIENT
                return translated(name, [self.expression(one, lenient=asks) for one in args])
            case Path(base, fields):
                return self._path(base, fields, lenient=lenient)
        raise Untranslatable(f"{node} has no equal")  # pragma: no cover - all kinds are above

    def _variable(self, name: str) -> Expr:
        if not name:
            return Expr(ROOT)
        if name not in self.variables:
            raise Untranslatable(f'"${name}" is not declared')
        return Expr(self.variables[name])

    def _path(self, base: Node | None, fields: tuple[str, ...], *, lenient: bool) -> Expr:
        if isinstance(base, Call) and base.name == "split" and fields and fields[0][:1] == "_":
            separator, value = (self.expression(one) for one in base.args)
            part = Expr(f"{value.atom}.split({separator.text})[{fields[0][1:]}]")
            return self._below(part, fields[1:], lenient=lenient)
        if base is None:
            return self._below(self.dot, fields, lenient=lenient)
        if isinstance(base, Variable) and not base.name and fields:
            return self._below(None, fields, lenient=lenient)
        return self._below(self.expression(base), fields, lenient=lenient)

    def _below(self, value: Expr | None, fields: tuple[str, ...], *, lenient: bool) -> Expr:
        for at, name in enumerate(fields):
            value = root_field(name) if value is None else value.field(name)
            if lenient:
                last = at == len(fields) - 1
                value = value.filtered("default(none)" if last else "default({})")
                if not last:
                    value = Expr(f"({value.text})", Binding.ATOM)
        return Expr(ROOT) if value is None else value
