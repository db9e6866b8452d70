"""What a plain YAML scalar means to kubectl. Pure.

kubectl reads YAML through sigs.k8s.io/yaml: go-yaml v2 (YAML 1.1 with changes of its own), then JSON, then
integers where the JSON number is one. PyYAML's rules differ on about half of the odd scalars: `y`, `0o17`,
`1e3`, `12:30`, dates. The table in the tests was made with that Go code.
"""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_HINTS = frozenset("0123456789+-.yYnNtTfFoO~")
"""A plain scalar that starts with none of these is a string: most are, and are told by one look."""
_INT = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_POINT_FLOAT = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?")
_BASES = (("hex", 16), ("bin", 2), ("oct", 8), ("dec", 10))
_INT64 = 2**63
_PLAIN_EXPONENTS = (-4, 6)
_UINT64 = 2**64


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar without a tag, as go-yaml has it: up to a uint64, `1.0` a float."""
    if text[:1] not in _HINTS and text not in _WORDS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        point = _finite(text) if _POINT_FLOAT.fullmatch(text) else None
        return text if point is None else point
    if text[0] not in "0123456789+-":
        return text
    number = _number(text.replace("_", ""))
    return text if number is None else number


def _number(plain: str) -> Scalar:
    match = _INT.fullmatch(plain)
    if match:
        for name, base in _BASES:
            if match[name] is not None:
                value = int(match[name], base)
                value = -value if match["sign"] == "-" else value
                if -_INT64 <= value < _INT64 or (value < _UINT64 and not match["sign"]):
                    return value
    if _FLOAT.fullmatch(plain):
        return _finite(plain)
    return None


def _finite(plain: str) -> float | None:
    """None for what a float cannot hold: a string, then."""
    value = float(plain)
    return None if math.isinf(value) else value


def json_value(value: Scalar) -> Scalar:
    """The scalar after its way through JSON: `1.0` and `1e3` are integers, what exceeds an int64 a float."""
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else float(value)
    if not isinstance(value, float) or not value.is_integer():
        return value
    shown = int(Decimal(repr(value)))  # the shortest digits, then zeros: what Go writes, and reads back
    return shown if -_INT64 <= shown < _INT64 else value


def key_text(value: Scalar) -> str | None:
    """The JSON key that a scalar gives as a mapping's key; None where it gives none."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value < _INT64 else None
        case float():
            return _short_float(value)
        case None:
            return None


def _short_float(value: float) -> str:
    """As Go prints a float32 in its shortest form: so sigs.k8s.io/yaml makes keys of floats."""
    if math.isnan(value):
        return ".nan"
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    mantissa, _, exponent = min(_float32_texts(single), key=len).partition("e")
    if _PLAIN_EXPONENTS[0] <= int(exponent) < _PLAIN_EXPONENTS[1]:
        return f"{Decimal(f'{mantissa}e{exponent}'):f}"
    return f"{mantissa}e{exponent}"


def _float32_texts(single: float) -> list[str]:
    """In scientific form, all that read back as the same float32; nine digits always do."""
    texts = [f"{single:.{digits}e}" for digits in range(9)]
    return [text for text in texts if struct.unpack("f", struct.pack("f", float(text)))[0] == single]
