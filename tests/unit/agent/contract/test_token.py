from __future__ import annotations

import pytest

from agent.contract.token import JoinToken, TokenInvalid

TOKEN = JoinToken(id="abc-1", secret="s" * 32, hub="hub-1", ca="a" * 64)


def test_text_form_round_trips() -> None:
    text = TOKEN.encode()
    assert text.startswith("axlt1.")
    assert "=" not in text
    assert JoinToken.parse(f"  {text}\n") == TOKEN


@pytest.mark.parametrize("text", ["", "axlt1.", "axlt2.e30", "axlt1.e30", "axlt1.!!!!", "axlt1." + "A" * 600])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        JoinToken.parse(text)


def test_s6_errors_and_reprs_never_carry_the_secret() -> None:
    assert "s" * 32 not in repr(TOKEN)
    with pytest.raises(TokenInvalid) as caught:
        JoinToken.parse(TOKEN.encode()[:-6])
    assert "ssss" not in str(caught.value)
    assert caught.value.__cause__ is None
