from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from agent.contract.wire import KeysAnswer, SignedKeys
from agent.link.identity import (
    Identity,
    new_identity,
    next_sealing_public,
    promoted,
    unjoined,
    with_next_keys,
)
from agent.link.keys import KeysUntrusted, follow, learn
from agent.link.session import HubSession, HubUnreachable, pinned_context
from hub.gateway.identity import HubIdentity, Stage

NOW = datetime.now(UTC)


def joined(hub: HubIdentity) -> Identity:
    """An agent as it is after its join with this hub."""
    fresh = new_identity("eu1", "uid")
    key = serialization.load_pem_private_key(fresh.private_key.encode(), None)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return replace(
        fresh,
        hub_id=hub.hub_id,
        certificate=hub.issue_client(csr, "eu1", NOW),
        ca=hub.trust_pem,
        signing_keys=hub.public_keys,
        keys=hub.generation,
    )


def rotated(hub: HubIdentity, times: int = 1) -> HubIdentity:
    for _ in range(times):
        hub = hub.announced(now=NOW).activated().finished()
    return hub


def test_an_agent_that_was_away_for_several_replacements_follows_them_all() -> None:
    first = HubIdentity.create(now=NOW)
    last = rotated(first, 3)
    assert last.generation == 6
    found = follow(joined(first), list(last.chain))
    assert found.keys == 6
    assert found.ca == last.trust_pem
    assert found.signing_keys == last.public_keys
    assert follow(found, list(last.chain)) is found


def test_s5_keys_that_do_not_follow_from_what_is_held_are_not_taken() -> None:
    ours, other = HubIdentity.create(now=NOW), HubIdentity.create(now=NOW)
    agent = joined(ours)
    with pytest.raises(KeysUntrusted, match="of the hub"):
        follow(agent, list(rotated(other).chain))
    stolen = replace(rotated(other), hub_id=ours.hub_id)
    with pytest.raises(KeysUntrusted):
        follow(agent, list(replace(other, hub_id=ours.hub_id).announced(now=NOW).chain))
    assert stolen.hub_id == agent.hub_id
    chain = list(rotated(ours, 2).chain)
    with pytest.raises(KeysUntrusted, match="unknown key"):
        follow(agent, chain[2:])  # a generation between is missing
    edited = chain[0].document.replace('"generation":1', '"generation":9')
    changed = SignedKeys(document=edited, signature=chain[0].signature)
    with pytest.raises(KeysUntrusted, match="does not fit"):
        follow(agent, [changed])
    with pytest.raises(KeysUntrusted, match="does not read"):
        follow(agent, [SignedKeys(document="{}", signature="x")])


def test_an_identity_in_the_middle_of_a_replacement_survives_its_secret() -> None:
    hub = HubIdentity.create(now=NOW)
    for step in (hub.announced(now=NOW), hub.announced(now=NOW).activated(), rotated(hub)):
        again = HubIdentity.from_secret(step.to_secret())
        assert again.to_secret() == step.to_secret()
        assert again.stage is step.stage
        assert again.chain == step.chain
    with pytest.raises(ValueError, match="Idle"):
        hub.activated()
    announced = hub.announced(now=NOW)
    assert announced.stage is Stage.ANNOUNCED
    assert (announced.ca_hash, announced.active) == (hub.ca_hash, hub.active), (
        "nothing uses the next ones yet"
    )
    with pytest.raises(ValueError, match="Announced"):
        announced.announced(now=NOW)


async def test_f7_a_portal_in_place_of_the_keys_is_no_information(hub: Any, pki: Any) -> None:
    from aiohttp import web  # noqa: PLC0415 - the fixture's server

    async def portal(_: web.Request) -> web.Response:
        return web.Response(text="<html>sign in</html>", content_type="text/html")

    hub.routes["/agent/v1/keys"] = portal
    agent = joined(HubIdentity.create(now=NOW))
    session = HubSession(hub.url, pinned_context(pki.ca), user_agent="test")
    with pytest.raises(HubUnreachable, match="does not read"):
        await learn(session, agent)
    await session.close()


def test_next_keys_are_kept_until_they_are_used_and_former_ones_open_what_is_old() -> None:
    agent = joined(HubIdentity.create(now=NOW))
    prepared = with_next_keys(agent, sealing=True)
    assert with_next_keys(prepared, sealing=True) is prepared, "who is killed asks with the same keys again"
    assert Identity.load(prepared.dump()) == prepared
    after = promoted(prepared)
    assert after.private_key == prepared.next_key
    assert after.sealing_public == next_sealing_public(prepared)
    assert after.sealing_keys == (after.sealing_key, agent.sealing_key)
    for _ in range(5):
        after = promoted(with_next_keys(after, sealing=True))
    assert len(after.sealing_keys) == 4
    assert "PRIVATE" not in repr(prepared)
    assert after.mark_key == agent.mark_key, "no sealed output looks new for a new key"
    assert Identity.load(unjoined(after).dump()).mark_key == agent.mark_key
    assert agent.sealing_key not in after.mark_key
    kept = promoted(with_next_keys(agent))
    assert kept.sealing_key == agent.sealing_key


def test_the_answer_of_the_hub_holds_what_comes_after() -> None:
    hub = rotated(HubIdentity.create(now=NOW), 2)
    answer = KeysAnswer(chain=list(hub.chain))
    assert KeysAnswer.model_validate_json(answer.model_dump_json(by_alias=True)) == answer
