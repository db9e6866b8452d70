"""What can go wrong with a local fleet. Every message says what to do next."""

from __future__ import annotations

from agent.contract.errors import TerminalError, TransientError


class FleetError(TerminalError):
    """Base of the failures of local fleets that a person has to look at."""

    reason = "FleetFailed"


class UnsupportedPlatformError(FleetError):
    """Processes are identified through /proc, and etcd is built for Linux: elsewhere, kind is the way."""

    reason = "UnsupportedPlatform"


class BuildError(FleetError):
    """The control plane's program could not be built."""

    reason = "BuildFailed"


class ToolMissingError(FleetError):
    """A program that the chosen provider needs is not there."""

    reason = "ToolMissing"


class ProcessExitedError(FleetError):
    """A part of a control plane ended while it was wanted."""

    reason = "ProcessExited"


class PortTakenError(TransientError):
    """Someone else got the port between choosing and binding it: choose again."""

    reason = "PortTaken"


class NotReadyError(FleetError):
    """A control plane did not become ready in time."""

    reason = "NotReady"


class FleetExistsError(FleetError):
    """Another fleet runs from the same folder."""

    reason = "FleetExists"
