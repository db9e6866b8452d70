from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.contract.token import JoinToken
from hub.gateway.errors import TokenRefused
from hub.gateway.tokens import TokenRecord, verify

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOKEN = JoinToken(id="abc123", secret="s" * 43, hub="hub-1", ca="c" * 64)
RECORD = TokenRecord(
    id="abc123",
    cluster="eu1",
    secret_hash=hashlib.sha256(TOKEN.secret.encode()).hexdigest(),
    expires_at=NOW + timedelta(hours=1),
)


def check(record: TokenRecord = RECORD, *, token: JoinToken = TOKEN, **more: object) -> None:
    given: dict[str, object] = {"cluster": "eu1", "key": "k1", "hub_id": "hub-1", "now": NOW} | more
    verify(record, token=token, **given)  # type: ignore[arg-type]


def test_s2_a_token_works_for_its_cluster_in_its_time_for_one_key() -> None:
    check()
    used = replace(RECORD, used_by="k1")
    check(used)
    check(used, now=NOW + timedelta(days=2))
    refused: list[tuple[TokenRecord, dict[str, object], str]] = [
        (RECORD, {"token": TOKEN.model_copy(update={"secret": "t" * 43})}, "no such token"),
        (RECORD, {"token": TOKEN.model_copy(update={"id": "other"})}, "no such token"),
        (RECORD, {"hub_id": "hub-2"}, "another hub"),
        (RECORD, {"cluster": "eu1-b"}, "not for cluster"),
        (RECORD, {"cluster": "eu"}, "not for cluster"),
        (RECORD, {"now": NOW + timedelta(hours=1)}, "expired"),
        (used, {"key": "k2"}, "another key"),
    ]
    for record, more, message in refused:
        with pytest.raises(TokenRefused, match=message):
            check(record, **more)  # type: ignore[arg-type]


def test_a_record_survives_its_secret() -> None:
    record = replace(
        RECORD,
        auto_accept=True,
        labels=(("env", "prod"),),
        allow_labels=("region", "site.example.com/"),
        used_by="k1",
        certificate="PEM",
        enrolled=True,
    )
    assert TokenRecord.from_secret(record.to_secret()) == record
    assert TOKEN.secret not in str(record.to_secret())


def test_a_spoke_has_only_those_labels_that_its_token_allows() -> None:
    record = replace(RECORD, allow_labels=("region", "site.example.com/"))
    own = {"region": "eu", "env": "prod", "site.example.com/row": "7", "regional": "x"}
    assert record.allowed(own) == {"region": "eu", "site.example.com/row": "7"}
    assert RECORD.allowed(own) == {}


@pytest.mark.parametrize("broken", [{"data": None}, {"metadata": {"name": "axletree-hub-identity"}}])
def test_a_secret_that_is_no_token_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(TokenRefused):
        TokenRecord.from_secret(RECORD.to_secret() | broken)


def test_s2_a_token_for_labels_lets_nobody_in_as_the_hubs_own_cluster() -> None:
    labelled = replace(RECORD, cluster="", match=(("env", "edge"),))
    check(labelled, labels={"env": "edge"})
    with pytest.raises(TokenRefused, match="the hub's own cluster"):
        check(labelled, cluster="hub", labels={"env": "edge"})
    check(replace(RECORD, cluster="hub"), cluster="hub")
