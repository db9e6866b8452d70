from __future__ import annotations

from hub.core.params import params_text


def test_s6_a_password_in_an_address_is_not_told() -> None:
    text = params_text({"repo": "https://bob:s3cretpw@host/x.git", "plain": "https://host/a@b"})
    assert text == '{"plain": "https://host/a@b", "repo": "https://***@host/x.git"}'
