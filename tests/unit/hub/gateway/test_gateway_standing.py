from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.contract.wire import Standing
from hub.gateway.identity import HubIdentity, Recovery
from hub.gateway.peers import ANNOTATION_ROTATE, Admission, Peer, admit, is_clone
from hub.gateway.standing import standing

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
IN_FORCE, OTHER = "a" * 64, "b" * 64


def peer(fingerprint: str = IN_FORCE, *, issued: datetime = NOW, issuer: str = "") -> Peer:
    return Peer("eu1", fingerprint, NOW + timedelta(days=90), issued, issuer)


def cluster(*, rotate: str = "", **status: Any) -> dict[str, Any]:
    annotations = {ANNOTATION_ROTATE: rotate} if rotate else {}
    return {
        "metadata": {"name": "eu1", "annotations": annotations},
        "spec": {"accepted": True},
        "status": {"fingerprint": IN_FORCE} | status,
    }


def test_an_agent_is_asked_to_renew_where_a_person_asked_or_the_ca_is_another() -> None:
    identity = HubIdentity.create(now=NOW)
    key = identity.authority.key_id
    assert standing(peer(issuer=key), cluster(), identity, 1) == {"keys": 0}
    assert standing(peer(issuer=key), cluster(rotate=IN_FORCE), identity, 1) == {
        "keys": 0,
        "renew_within": 1,
        "rotate": True,
    }
    assert "rotate" not in standing(peer(OTHER, issuer=key), cluster(rotate=IN_FORCE), identity, 1)
    assert "rotate" not in standing(peer(issuer=key), cluster(rotate="nonsense"), identity, 1)
    active = identity.announced(now=NOW).activated()
    assert standing(peer(issuer=key), cluster(), active, 10_000)["renew_within"] == 200
    assert "renew_within" not in standing(peer(issuer=active.authority.key_id), cluster(), active, 10_000)


def test_s4_a_clone_is_told_and_not_asked_to_renew() -> None:
    identity = HubIdentity.create(now=NOW)
    told = standing(peer(), cluster(rotate=IN_FORCE, clone={"message": "two"}), identity, 1)
    assert told == {"keys": 0, "standing": Standing.CLONED}


@pytest.mark.parametrize(
    ("issued", "since", "expected"),
    [
        (NOW, NOW + timedelta(minutes=5), True),
        (NOW, NOW + timedelta(minutes=9, seconds=30), False),  # its own late requests
        (
            NOW - timedelta(days=9),
            NOW + timedelta(minutes=5),
            False,
        ),  # of before the last join: replaced on purpose
    ],
)
def test_s4_which_superseded_certificate_is_a_clones(
    issued: datetime,
    since: datetime,
    expected: bool,  # noqa: FBT001 - a table's
) -> None:
    certificate = {"joinedAt": NOW.isoformat(), "since": since.isoformat()}
    found = is_clone(
        peer(OTHER, issued=issued), cluster(certificate=certificate), now=NOW + timedelta(minutes=10)
    )
    assert found is expected


def test_f1_f3_whom_a_recovered_hub_lets_in() -> None:
    recovery = Recovery(at=NOW, backup=NOW - timedelta(days=1))
    day = timedelta(days=1)

    def verdict(issued: datetime, held: dict[str, Any] | None) -> Admission:
        return admit(peer(OTHER, issued=issued), held, now=NOW + day, recovery=recovery)

    assert verdict(NOW - day, None) is Admission.UNKNOWN
    assert verdict(NOW + day / 2, None) is Admission.REFUSED, "issued by nobody that this hub knows of"
    assert verdict(NOW - day / 2, cluster()) is Admission.RETURNED
    assert verdict(NOW - 2 * day, cluster()) is Admission.SUPERSEDED, "the backup knows a newer one"
    assert verdict(NOW - day / 2, cluster(fingerprint="")) is Admission.REFUSED, "revoked before the backup"
    rejoined = {"joinedAt": (NOW + day / 4).isoformat()}
    assert verdict(NOW - day / 2, cluster(certificate=rejoined)) is Admission.SUPERSEDED
    declared = {**cluster(), "status": {}}
    assert verdict(NOW - day / 2, declared) is Admission.UNKNOWN
    assert admit(peer(OTHER), None, now=NOW) is Admission.REFUSED
