"""Who may ask a recovered hub to be known again."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.contract.wire import ReturnRequest
from hub.gateway.clusters import Clusters
from hub.gateway.errors import CertificateRefused, RequestInvalid
from hub.gateway.identity import HubIdentity, Recovery
from hub.gateway.join import Enrolment
from hub.gateway.peers import Peer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def test_s5_only_a_certificate_of_a_ca_that_is_trusted_now_comes_back() -> None:
    """A listener's TLS goes on taking those of a CA that was replaced, until it is started again."""
    former = HubIdentity.create(now=NOW)
    recovered = former.recovered(Recovery(at=NOW, backup=NOW - timedelta(days=1)))
    replaced = recovered.announced(now=NOW).activated().finished()
    nobody = cast("Any", SimpleNamespace(items={}))
    peer = Peer("eu1", "a" * 64, NOW + timedelta(days=1), NOW, former.authority.key_id)
    wrong = ReturnRequest(sealing_key=base64.b64encode(b"short").decode())
    for identity, expected in ((recovered, RequestInvalid), (replaced, CertificateRefused)):
        clusters = Clusters(cast("Any", None), nobody)
        enrolment = Enrolment(cast("Any", None), lambda held=identity: held, clusters, now=lambda: NOW)
        with pytest.raises(expected):
            await enrolment.come_back(peer, wrong)
