"""What is written already of each app: a gateway that starts again writes only what differs from that.

Agents send every app's state to a gateway that does not know them. Without this, a restart would cost one write an
app of the whole fleet, and each write a round of everybody who watches Applications.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.contract.errors import AxletreeError
from agent.contract.names import API_VERSION
from agent.contract.wire import AppReport
from hub.gateway.observed import content_of

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.gateway.observed import Observation
    from hub.gateway.writer import LatestWriter

log = logging.getLogger(__name__)

_APPLICATIONS = f"/apis/{API_VERSION}/applications"
_PAGE = "250"


async def recall(client: RestClient, observed: LatestWriter[Observation]) -> int:
    """Read page by page and keep a hash an app; gives how many. A failure only costs writes that say the same."""
    known, rest = 0, ""
    try:
        while True:
            params = (
                {"limit": _PAGE, "resourceVersion": "0"} if not rest else {"limit": _PAGE, "continue": rest}
            )
            page = await client.get(_APPLICATIONS, params=params)
            for item in page.get("items") or ():
                known += _seed(item, observed)
            rest = (page.get("metadata") or {}).get("continue") or ""
            if not rest:
                return known
    except AxletreeError as error:
        log.info("what was observed before is not known beyond %d apps: %s", known, error)
        return known


def _seed(item: Manifest, observed: LatestWriter[Observation]) -> bool:
    said: dict[str, Any] | None = (item.get("status") or {}).get("observed")
    if not said:
        return False
    metadata = item["metadata"]
    key = f"{metadata['namespace']}/{metadata['name']}"
    try:
        observed.seed(key, content_of(AppReport.model_validate(said)))
    except ValidationError:
        return False  # of another version: written anew
    return True
