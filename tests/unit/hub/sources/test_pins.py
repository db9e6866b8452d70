from __future__ import annotations

import pytest

from hub.core.expansion import revision_key
from hub.sources.errors import RevisionRefused
from hub.sources.pins import Pin, split_name

HEX = "a" * 64


@pytest.mark.parametrize(
    ("revision", "pin"),
    [
        ("1.2.3", Pin("1.2.3")),
        ("^1.2", Pin("^1.2")),
        ("", Pin("")),
        (f"sha256:{HEX}", Pin("", HEX)),
        (f"1.2.3@sha256:{HEX}", Pin("1.2.3", HEX)),
        (f"^1@sha256:{HEX}", Pin("^1", HEX)),
    ],
)
def test_what_a_revision_pins(revision: str, pin: Pin) -> None:
    assert Pin.parse(revision) == pin


@pytest.mark.parametrize(
    "revision", ["sha256:abc", f"-x@sha256:{HEX}", f"sha512:{HEX}", f"a@b@sha256:{HEX}", "a b"]
)
def test_what_pins_nothing_is_refused(revision: str) -> None:
    with pytest.raises(RevisionRefused):
        Pin.parse(revision)


@pytest.mark.parametrize(
    ("address", "revision"),
    [
        ("https://git.example.com/shop/apps", "main"),
        ("git@git.example.com:shop/apps", "HEAD"),
        ("ssh://git@h/x", "v1"),
        ("oci://registry.example.com/apps", f"1.0.0@sha256:{HEX}"),
        ("oci://registry.example.com/apps", f"sha256:{HEX}"),
        ("https://charts.example.com#web", "^1.0"),
    ],
)
def test_a_plans_name_of_a_revision_is_taken_apart_again(address: str, revision: str) -> None:
    assert split_name(revision_key(address, revision)) == (address, revision)
