"""What a parameter's text becomes: as `helm template --set` has it."""

from __future__ import annotations

import pytest

from hub.render.values import with_parameter


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-012", -12),
        ("+5", 5),
        ("-0", 0),
        ("00", "00"),
        ("01", "01"),
        ("0", 0),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("9" * 5000, "9" * 5000),
        ("1.5", "1.5"),
        ("-", "-"),
        ("TRUE", True),
        ("Null", None),
        ("{a, 1,2,}", ["a", " 1", 2, ""]),
        ("{}", []),
    ],
)
def test_a_parameters_text_is_what_helm_makes_of_it(text: str, value: object) -> None:
    found = with_parameter({}, "x", text)["x"]
    assert (found, type(found)) == (value, type(value))
