"""The port to what enforces on the spoke: all that the way to the hub asks of it, and nothing of how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.link.assignment import SignedAssignment
    from agent.link.bundles import BundleFetcher
    from agent.link.identity import Identity


class Enforcer(Protocol):
    """What runs on the spoke, as far as the way to the hub is concerned."""

    @property
    def held(self) -> SignedAssignment | None: ...

    @property
    def removed(self) -> bool:
        """Whether all that there was is deleted, by the decision that the cluster is removed."""

    def accept(self, signed: SignedAssignment) -> None: ...

    def linked(self, fetcher: BundleFetcher | None) -> None: ...

    def reached(self) -> None: ...

    def halt(self, why: str) -> None:
        """Delete nothing while there is a reason not to; empty: there is none."""

    def renewed(self, identity: Identity) -> None: ...
