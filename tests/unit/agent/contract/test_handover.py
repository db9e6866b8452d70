"""Sealed outputs: they open for whom they were sealed, as what they were sealed, and for nobody else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agent.contract.bundle import ApplyPolicy, Bundle, BundleCorrupt, SealedInputRefused, decode, pack
from agent.contract.canonical import canonical_json
from agent.contract.errors import ApiError
from agent.contract.handover import (
    HandoverRefused,
    Recipient,
    mark_key,
    mark_of,
    open_relayed,
    relayed,
)
from agent.contract.output import OutputRule, SealedRule
from agent.contract.sealing import new_keypair, seal
from agent.sync.exports import _evaluated
from agent.sync.sealing import sealed

PRIVATE, PUBLIC = new_keypair()
OWN, _ = new_keypair()
DIGEST, OTHER = "d" * 64, "e" * 64
PRODUCER, CONSUMER = "shop/database", "shop/backend"
TAKER = Recipient(app=PRODUCER, output="password", consumer=CONSUMER, key=base64.b64encode(PUBLIC).decode())
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "credentials"},
    "data": {"password": base64.b64encode(b"hunter2!").decode(), "raw": base64.b64encode(b"\xff").decode()},
}


def rule(value: str = "data.password") -> SealedRule:
    return SealedRule.model_validate(
        {"name": "password", "object": {"kind": "Secret", "name": "credentials"}, "value": value}
    )


def told(obj: Any = SECRET, *takers: Recipient, value: str = "data.password", **more: Any) -> Any:
    fields = {"digest": DIGEST, "marking": mark_key(OWN), "before": None, "evaluate": _evaluated} | more
    return sealed(PRODUCER, rule(value), obj, takers or (TAKER,), **fields)


def test_a_value_opens_for_whom_it_was_sealed() -> None:
    (one,) = told().handovers
    text = relayed(PRODUCER, "password", digest=DIGEST, text=one.text)
    assert open_relayed(text, consumer=CONSUMER, private_key=PRIVATE) == b"hunter2!"
    assert "hunter2!" not in text


@pytest.mark.parametrize(
    ("changed", "consumer"),
    [
        ({}, "shop/frontend"),
        ({"producer": "shop/cache"}, CONSUMER),
        ({"name": "user"}, CONSUMER),
        ({"digest": OTHER}, CONSUMER),
        ({"text": "sealed:v1:" + "A" * 120}, CONSUMER),
        ({"text": None}, CONSUMER),
    ],
)
def test_s8_a_sealed_value_for_another_app_or_as_another_output_is_refused(
    changed: dict[str, Any], consumer: str
) -> None:
    (one,) = told().handovers
    fields = {"producer": PRODUCER, "name": "password", "digest": DIGEST, "text": one.text} | changed
    value = relayed(fields["producer"], fields["name"], digest=fields["digest"], text=fields["text"])
    with pytest.raises(HandoverRefused):
        open_relayed(value, consumer=consumer, private_key=PRIVATE)
    objects = [SECRET | {"data": {"password": value}}]
    stored = pack(Bundle(policy=ApplyPolicy(), objects=objects), masks=["relayed:x"])
    with pytest.raises(SealedInputRefused) as refused:
        decode(stored.data, blob=stored.blob, private_key=PRIVATE, app=consumer)
    assert isinstance(refused.value, BundleCorrupt)  # what was enforced goes on


def test_s8_another_cluster_cannot_open_it() -> None:
    (one,) = told().handovers
    text = relayed(PRODUCER, "password", digest=DIGEST, text=one.text)
    with pytest.raises(HandoverRefused):
        open_relayed(text, consumer=CONSUMER, private_key=new_keypair()[0])


def test_a_bundle_gives_its_app_the_value_as_a_secrets_data() -> None:
    (one,) = told().handovers
    text = relayed(PRODUCER, "password", digest=DIGEST, text=one.text)
    stored = pack(
        Bundle(policy=ApplyPolicy(), objects=[SECRET | {"data": {"password": text}}]), masks=["relayed:x"]
    )
    found = decode(stored.data, blob=stored.blob, private_key=PRIVATE, app=CONSUMER)
    assert found.objects[0]["data"] == {"password": base64.b64encode(b"hunter2!").decode()}


def test_a_bundle_opens_where_only_the_hub_has_sealed_to_the_next_key_yet() -> None:
    """The key was replaced while the producer was away: its value is still sealed to the former one."""
    present, public = new_keypair()
    (handover,) = told().handovers
    value = relayed(PRODUCER, "password", digest=handover.digest, text=handover.text)
    plain = seal(canonical_json(base64.b64encode(b"of the hub").decode()), recipient=public)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": value, "b": plain},
    }
    stored = pack(Bundle(policy=ApplyPolicy(), objects=[secret]), masks=["x", "y"])
    opened = decode(stored.data, blob=stored.blob, private_key=present, app=CONSUMER, former=(PRIVATE,))
    found = {name: base64.b64decode(text) for name, text in opened.objects[0]["data"].items()}
    assert found == {"a": b"hunter2!", "b": b"of the hub"}
    for keys in ((present, ()), (present, (OWN,)), (PRIVATE, ())):
        with pytest.raises(BundleCorrupt):
            decode(stored.data, blob=stored.blob, private_key=keys[0], app=CONSUMER, former=keys[1])
    with pytest.raises(SealedInputRefused):
        decode(stored.data, blob=stored.blob, private_key=present, app="shop/web", former=(PRIVATE,))


def test_the_same_value_is_not_sealed_again_for_the_same_key() -> None:
    first = told()
    assert told(before=first, digest=OTHER) == first, "a new text would be a new release for who takes it"
    moved = told(SECRET | {"data": {"password": "eHg="}}, before=first)
    assert moved.mark != first.mark
    assert moved.handovers[0].text != first.handovers[0].text
    key = base64.b64encode(new_keypair()[1]).decode()
    rotated = told(SECRET, TAKER.model_copy(update={"key": key}), before=first)
    assert (rotated.mark, rotated.handovers[0].key) != (first.mark, first.handovers[0].key)


def test_i5_nothing_of_the_value_is_told_in_the_clear() -> None:
    report = told().model_dump_json()
    for one in ("hunter2!", base64.b64encode(b"hunter2!").decode()):
        assert one not in report
    assert mark_of("x", producer=PRODUCER, name="password", key=mark_key(OWN)) != mark_of(
        "x", producer=PRODUCER, name="password", key=mark_key(PRIVATE)
    ), "nobody without the agent's key can try guesses"
    failing = told(value="int(data.password) > 1")
    assert (failing.mark, failing.handovers) == (None, [])
    assert "hunter2!" not in failing.problem
    assert "cannot be evaluated" in failing.problem


@pytest.mark.parametrize(
    ("obj", "value", "problem"),
    [
        (None, "data.password", "the app has no Secret credentials"),
        (ApiError("forbidden", status=403, api_reason="Forbidden"), "data.password", "Forbidden"),
        (SECRET, "data.nothing", "gives nothing yet"),
        (SECRET | {"data": {"password": base64.b64encode(b"x" * 2000).decode()}}, "data.password", "1024"),
    ],
)
def test_what_has_no_value_says_why(obj: Any, value: str, problem: str) -> None:
    found = told(obj, value=value)
    assert (found.mark, problem in found.problem) == (None, True), found.problem


def test_a_secrets_data_is_decoded_and_other_values_are_json() -> None:
    def opened(value: str) -> bytes:
        (one,) = told(value=value).handovers
        text = relayed(PRODUCER, "password", digest=DIGEST, text=one.text)
        return open_relayed(text, consumer=CONSUMER, private_key=PRIVATE)

    assert json.loads(opened("{'p': data.password}")) == {"p": "hunter2!"}
    assert opened("data.raw") == base64.b64encode(b"\xff"), "what is no text stays as it was"


def test_s9_a_plain_output_is_still_never_read_from_a_secret() -> None:
    with pytest.raises(ValueError, match="never read from a Secret"):
        OutputRule.model_validate(rule().model_dump())
