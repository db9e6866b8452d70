"""Why a round does not start at all. What befalls one object is a value, not an exception."""

from __future__ import annotations

from agent.contract.errors import TerminalError, TransientError


class ServiceAccountMissing(TransientError):
    """The account to impersonate does not exist: nothing is done with the agent's own rights instead."""

    reason = "ServiceAccountMissing"


class NamespaceOnClusterScoped(TerminalError):
    """A cluster-scoped object names a namespace: somebody means another kind or another scope."""

    reason = "NamespaceOnClusterScoped"


class DuplicateObject(TerminalError):
    """The bundle has one object twice: whichever came last would win."""

    reason = "DuplicateObject"


class ObjectInvalid(TerminalError):
    """An object without kind or name, or with a generated name, which cannot be applied twice."""

    reason = "ObjectInvalid"


class RecreateRefused(TerminalError):
    """An object that cannot be changed in place is not deleted: it is to be kept, or would not come back."""

    reason = "RecreateRefused"


class InventoryCorrupt(TerminalError):
    """An inventory that cannot be read. It is not an empty one: nothing may be concluded from it."""

    reason = "InventoryCorrupt"


class DependsOnCycle(TerminalError):
    """Objects of the bundle depend on each other in a circle, so that none can be first."""

    reason = "DependsOnCycle"


class HookConflict(TerminalError):
    """A hook's name is taken by an object that the app did not make."""

    reason = "HookConflict"


class HookFailed(TerminalError):
    """A hook ran and failed. It is not run again in the same release."""

    reason = "HookFailed"
