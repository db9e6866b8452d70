"""What can go wrong between a repository's address and a file's bytes.

No message carries a credential, and an address is printed without its user part.
"""

from __future__ import annotations

from agent.contract.errors import AxletreeError, TerminalError, TransientError


class SourceError(AxletreeError):
    """Base of all that a source raises."""

    reason = "SourceError"


class RepositoryUnreachable(SourceError, TransientError):
    """The repository did not answer, or not sensibly: a network, a server, a time limit."""

    reason = "RepositoryUnreachable"


class RepositoryDenied(RepositoryUnreachable):
    """It answered that we may not read it, or that it is not there.

    Git hosts answer the same for both. Transient, since it heals when somebody adds a Secret or a grant,
    neither of which changes the object that waits for it.
    """

    reason = "RepositoryDenied"


class RepositoryRefused(SourceError, TerminalError):
    """We do not talk to that address: it is malformed, of a forbidden protocol, or it redirects."""

    reason = "RepositoryRefused"


class RevisionNotFound(SourceError, TerminalError):
    """No such branch, tag or commit in the repository as last fetched."""

    reason = "RevisionNotFound"


class RevisionRefused(RevisionNotFound):
    """The text cannot be a revision's name; it was not handed to Git."""

    reason = "RevisionRefused"


class PathRefused(SourceError, TerminalError):
    """The path is absolute, climbs, or holds what no path of a repository holds."""

    reason = "PathRefused"


class PathNotFound(SourceError, TerminalError):
    """Nothing of the needed kind is at that path of the commit."""

    reason = "PathNotFound"


class SymlinkEscape(SourceError, TerminalError):
    """A link points outside its repository."""

    reason = "SymlinkEscape"


class SymlinkBroken(SourceError, TerminalError):
    """A link points nowhere, or in a circle."""

    reason = "SymlinkBroken"


class LfsPointer(SourceError, TerminalError):
    """A file's content is kept in Git LFS: what the repository holds is not the file."""

    reason = "LfsPointer"


class SourceTooLarge(SourceError, TerminalError):
    """More bytes, files or folders below a path than may be read for one application."""

    reason = "SourceTooLarge"


class ChartInvalid(SourceError, TerminalError):
    """A repository's index, a manifest or a chart's archive is not what it must be, or has another digest."""

    reason = "ChartInvalid"


class DependencyNotLocked(SourceError, TerminalError):
    """Nobody can say which version of a chart's dependency is meant, or where it is."""

    reason = "DependencyNotLocked"


class DependencyLockStale(SourceError, TerminalError):
    """A chart's lock is of other dependencies than it has."""

    reason = "DependencyLockStale"


class ArtifactInvalid(SourceError, TerminalError):
    """A registry's manifest or the archive of an artifact is not what it must be, or has another digest."""

    reason = "ArtifactInvalid"


class SignatureError(SourceError, TerminalError):
    """What the project wants signed is not: nothing of it is used, and the last good plan stays."""

    reason = "SignatureError"


class SignatureMissing(SignatureError):
    """It has no signature of a kind that is read."""

    reason = "SignatureMissing"


class SignatureUntrusted(SignatureError):
    """It is signed, by none of the trusted keys or not as it is."""

    reason = "SignatureUntrusted"


class SigningKeysInvalid(SignatureError):
    """A key of the project's `verify` does not read."""

    reason = "SigningKeysInvalid"


class VerifierMissing(SignatureError):
    """The program that verifies is not there, or did not answer: nothing is trusted then."""

    reason = "VerifierMissing"
