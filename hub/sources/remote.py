"""Git commands that talk to one repository's own host: with its credentials, and with what a failure means."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from git.cmd import Git
from git.exc import UnsafeProtocolError

from agent.kube.proxy import without_users
from hub.sources.errors import RepositoryDenied, RepositoryRefused, RepositoryUnreachable, SourceTooLarge
from hub.sources.process import OWN_SSH, SSH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hub.sources.credentials import Credentials
    from hub.sources.process import GitRunner, Outcome
    from hub.sources.urls import RepoUrl

_REMOTE_FAILURES = (
    "unable to access",
    "could not resolve",
    "could not read",
    "does not appear to be a git repository",
    "remote error",
    "remote end hung up",
    "rpc failed",
    "early eof",
    "expected flush",
    "invalid server response",
    "protocol error",
    "authentication failed",
    "permission denied",
    "host key verification failed",
    "connection",
    "couldn't find remote ref",
    "not our ref",
    "unadvertised object",
)
_DENIED = (
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied",
    "host key verification failed",
    "returned error: 401",
    "returned error: 403",
    "returned error: 404",
    "' not found",
)


class MirrorBroken(Exception):
    """Git failed, and not for a reason that lies with the remote side."""


class Remote:
    """Where one mirror is fetched from."""

    def __init__(self, url: RepoUrl, runner: GitRunner, scratch: Path, *, own_keys: bool = False) -> None:
        """`scratch` is a folder for a key's file, for as long as a command runs.

        `own_keys`: without credentials ssh may use those of the person whose command it is. Never on a hub.
        """
        self.url = url
        self._own_keys = own_keys
        self._runner = runner
        self._scratch = scratch

    def run(
        self,
        args: Sequence[str],
        git_dir: Path,
        credentials: Credentials | None,
        *,
        seconds: float,
        config: Sequence[tuple[str, str]] = (),
        lines: Sequence[str] = (),
        stop_when: Callable[[], bool] | None = None,
    ) -> Outcome:
        """One command to its end. Raises `RepositoryRefused`, `RepositoryDenied` before it begins."""
        try:
            Git.check_unsafe_protocols(str(self.url))  # a second lock: our own allow-list is the first
        except UnsafeProtocolError as error:
            raise RepositoryRefused(f"{self.url}: its protocol is refused") from error
        given = list(config)
        if credentials is not None and self.url.scheme in {"http", "https"}:
            given.append((f"http.{self.url}.extraHeader", f"Authorization: {credentials.header()}"))
        with self._identity(credentials) as settings:
            return self._runner.run(
                args,
                git_dir=git_dir,
                timeout=seconds,
                config=given,
                settings=settings,
                lines=lines,
                stop_when=stop_when,
            )

    @contextlib.contextmanager
    def _identity(self, credentials: Credentials | None) -> Iterator[dict[str, str]]:
        """Variables for ssh, with the key in a file that only we may read, and only for as long as this lasts."""
        if self.url.scheme != "ssh":
            yield {}
            return
        if credentials is None or not credentials.private_key:
            if self._own_keys:
                yield {"GIT_SSH_COMMAND": OWN_SSH}
                return
            raise RepositoryDenied(f"{self.url}: no Secret with sshPrivateKey and knownHosts covers it")
        with tempfile.TemporaryDirectory(prefix="ssh-", dir=self._scratch) as folder:
            files = {"key": credentials.private_key, "known_hosts": credentials.known_hosts}
            for name, text in files.items():
                handle = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
            key, hosts = shlex.quote(f"{folder}/key"), shlex.quote(f"{folder}/known_hosts")
            yield {"GIT_SSH_COMMAND": f"{SSH} -i {key} -oUserKnownHostsFile={hosts}"}

    def failure(self, outcome: Outcome, credentials: Credentials | None, seconds: float) -> Exception:
        """What a failed command means, in words fit for a status: scrubbed, bounded, on one line."""
        if outcome.stopped:
            return SourceTooLarge(f"{self.url}: it sent more than may be read at once")
        if outcome.timed_out or outcome.status < 0:
            ended = f"git was ended by signal {-outcome.status}"
            said = f"no answer within {seconds:g} s" if outcome.timed_out else ended
            return RepositoryUnreachable(f"{self.url}: {said}")
        text = without_users(outcome.stderr)
        text = credentials.scrub(text) if credentials is not None else text
        lower = (
            outcome.stderr.lower()
        )  # a name that is one letter long is scrubbed out of Git's own words, too
        if "returned error: 30" in lower or "unable to update url base from redirection" in lower:
            return RepositoryRefused(f"{self.url}: it redirects; use the address that it redirects to")
        said = _said(text) or f"git ended with status {outcome.status}"
        if any(mark in lower for mark in _DENIED):
            return RepositoryDenied(f"{self.url}: {said}")
        if any(mark in lower for mark in _REMOTE_FAILURES):
            return RepositoryUnreachable(f"{self.url}: {said}")
        return MirrorBroken(said)


def _said(text: str) -> str:
    """The line that says it: ssh's own comes before Git's, which only tells that ssh ended."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    ssh = [line for line in lines if "host key verification failed" in line.lower() or "(publickey" in line]
    line = (ssh or told or lines[-1:] or [""])[0]
    if ssh:
        return ascii(line)[1:-1][:300]
    return ascii(line.partition(": ")[2] or line)[1:-1][:300]
