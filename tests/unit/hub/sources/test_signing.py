"""What of a Git object is signed, and which keys are of which kind."""

from __future__ import annotations

import pytest

from hub.render.signed import covers
from hub.sources.errors import SigningKeysInvalid
from hub.sources.signing import Signed, TrustedKeys, commit_signature, tag_signature

HEAD = b"tree " + b"a" * 40 + b"\nauthor a <a@example.com> 1 +0000\ncommitter a <a@example.com> 1 +0000"
SIGNATURE = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
HEADER = b"\ngpgsig " + SIGNATURE.rstrip(b"\n").replace(b"\n", b"\n ")
COMMIT = "c" * 40


def test_the_signature_is_cut_out_and_the_rest_is_what_was_signed() -> None:
    plain = HEAD + b"\nencoding x\n\nmessage\n\nmore\n"
    body = plain.replace(b"\nencoding", HEADER + b"\nencoding")
    assert commit_signature(body) == Signed(plain, SIGNATURE)


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"\n\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n",
        HEAD + b"\n\nmessage\n",
        HEAD + HEADER + HEADER + b"\n\nmessage\n",
        HEAD + HEADER + HEADER.replace(b"gpgsig", b"gpgsig-sha256") + b"\n\nmessage\n",
        b"",
    ],
)
def test_a_signature_in_the_message_or_a_second_one_counts_for_nothing(body: bytes) -> None:
    assert commit_signature(body) is None


def _tag(name: str = "v1", kind: str = "commit") -> bytes:
    return f"object {COMMIT}\ntype {kind}\ntag {name}\ntagger a <a@example.com> 1 +0000\n\nrelease\n".encode()


def test_a_tags_signature_is_its_end() -> None:
    assert tag_signature(_tag() + SIGNATURE, name="v1", commit=COMMIT) == Signed(_tag(), SIGNATURE)


@pytest.mark.parametrize(
    ("body", "name", "commit"),
    [
        (_tag() + SIGNATURE, "v2", COMMIT),
        (_tag() + SIGNATURE, "v1", "d" * 40),
        (_tag(kind="tree") + SIGNATURE, "v1", COMMIT),
        (_tag(), "v1", COMMIT),
        (b"tag v1\n" + _tag("v2") + SIGNATURE, "v2", COMMIT),
    ],
)
def test_a_tag_of_another_name_or_for_another_thing_is_none(body: bytes, name: str, commit: str) -> None:
    assert tag_signature(body, name=name, commit=commit) is None


def test_keys_are_told_apart_by_their_form() -> None:
    block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n-----END PGP PUBLIC KEY BLOCK-----"
    pem = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"
    found = TrustedKeys.of([f" {block}\n", "ssh-ed25519 AAAA me@example.com\n", pem])
    assert found == TrustedKeys((block,), ("ssh-ed25519 AAAA",), (pem,))


@pytest.mark.parametrize(
    "text", ["", "ssh-dss AAAA", "ssh-ed25519 AAAA\nssh-ed25519 BBBB", 'cert-authority ssh-rsa A"', "word"]
)
def test_what_is_no_key_is_refused_and_not_left_out(text: str) -> None:
    with pytest.raises(SigningKeysInvalid):
        TrustedKeys.of(["ssh-ed25519 AAAA", text])


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example.com/shop/apps",
        "https://git.example.com/shop/apps.git",
        "https://git.example.com:443/shop/apps/",
        "HTTPS://GIT.example.com/shop/Apps",
        "http://git.example.com/shop/apps",
        "ssh://git@git.example.com:2222/shop/apps",
        "git@git.example.com:shop/apps.git",
        "https://git.example.com/shop/%61pps",
    ],
)
def test_s6_another_spelling_does_not_evade_a_rule(address: str) -> None:
    assert covers("https://git.example.com/shop/*", address)
    assert covers("**", address)
    assert not covers("https://git.example.com/other/*", address)


def test_a_chart_is_covered_by_its_repository_and_by_its_own_address() -> None:
    assert covers("oci://registry.example.com/charts", "oci://registry.example.com/charts#web")
    assert covers("oci://registry.example.com/charts/*", "oci://registry.example.com/charts#web")
    assert covers("oci://registry.example.com/charts/*", "oci://registry.example.com/charts/web")
    assert not covers("oci://registry.example.com/charts/db", "oci://registry.example.com/charts#web")
