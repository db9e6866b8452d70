"""Git processes that take nothing from their surroundings.

Git reads configuration from seven places and runs programs named in most of them. Here none counts but what
this module says: no system, user or environment configuration, no hooks, credential helpers or prompts, no
protocol but http, https and ssh, no redirect. Credentials travel in the environment, since any user of the
machine may read argument lists.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git.cmd import Git

from hub.sources.errors import RepositoryUnreachable
from hub.sources.proxies import git_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

MAX_STDERR = 64 * 1024
"""Bytes kept of what Git or the remote side says; a remote that says more is cut off with its process."""

_KEPT = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH", "GIT_PROXY_SSL_CAINFO")
_CONFIG: tuple[tuple[str, str], ...] = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.fsync", "none"),  # a mirror is a cache: a corrupt one is cloned again
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.followRedirects", "false"),
    # gives up on a silent server also where our own time limit is generous
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "30"),
    ("transfer.bundleURI", "false"),
)
SSH = (
    "ssh -F /dev/null -oBatchMode=yes -oStrictHostKeyChecking=yes -oGlobalKnownHostsFile=/dev/null"
    " -oIdentitiesOnly=yes -oIdentityAgent=none -oConnectTimeout=15 -oPermitLocalCommand=no"
    " -oClearAllForwardings=yes -oUpdateHostKeys=no -oServerAliveInterval=10 -oServerAliveCountMax=3"
)
"""Neither the user's own configuration nor the user's own keys: a repository is read with what its Secret says."""
OWN_SSH = "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=15 -oPermitLocalCommand=no"
"""As the person has it set up, for commands on their own machine."""
_WATCH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a Git process ended. `stderr` is as printed: scrub it before it goes anywhere."""

    status: int
    stderr: str
    timed_out: bool = False
    stopped: bool = False
    """Ended by the caller's own `stop_when`."""


class GitRunner:
    """Starts Git processes and knows those that run, so that closing leaves none.

    Safe for use from threads.
    """

    def __init__(self, home: Path) -> None:
        """`home` is made empty: curl reads `~/.netrc`, Git `~/.config/git`."""
        self._home = home
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self,
        args: Sequence[str],
        *,
        git_dir: Path,
        timeout: float,
        config: Sequence[tuple[str, str]] = (),
        settings: Mapping[str, str] | None = None,
        lines: Sequence[str] = (),
        stop_when: Callable[[], bool] | None = None,
    ) -> Outcome:
        """Runs one command to its end, at most `timeout` seconds, with every process that it started.

        `settings` are variables for it, `lines` its standard input; it is ended once `stop_when` says so, which is
        asked from another thread.
        """
        process = self._start(
            args,
            git_dir=git_dir,
            config=config,
            settings=settings,
            stdin=subprocess.PIPE if lines else None,
            with_stdout=False,
        )
        watch = _Watch(process, timeout, stop_when)
        watch.start()
        try:
            with process:
                if process.stdin is not None:
                    with contextlib.suppress(OSError):  # it says itself why it reads no more
                        process.stdin.write("".join(f"{line}\n" for line in lines).encode("ascii"))
                        process.stdin.close()
                text = process.stderr.read(MAX_STDERR) if process.stderr is not None else b""
                if len(text) == MAX_STDERR:
                    _kill(process)
            said = text.decode(errors="replace")
            return Outcome(process.returncode, said, timed_out=watch.expired, stopped=watch.stopped)
        finally:
            watch.cancel()
            _kill(process)
            self._forget(process)

    def open(self, args: Sequence[str], *, git_dir: Path) -> subprocess.Popen[bytes]:
        """Starts a process that is spoken to over its pipes; give it to `end` afterwards."""
        return self._start(
            args, git_dir=git_dir, config=(), settings=None, stdin=subprocess.PIPE, with_stdout=True
        )

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process from `open`, whatever it is doing."""
        _kill(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
        self._forget(process)

    def close(self) -> None:
        """Kills all that runs; nothing starts afterwards. Whoever waits for one sees it end."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            _kill(process)

    def _start(
        self,
        args: Sequence[str],
        *,
        git_dir: Path,
        config: Sequence[tuple[str, str]],
        settings: Mapping[str, str] | None,
        stdin: int | None,
        with_stdout: bool,
    ) -> subprocess.Popen[bytes]:
        ours = environment(home=self._home, git_dir=git_dir, config=config) | dict(settings or {})
        command = [*_without_strays(ours), Git.GIT_PYTHON_GIT_EXECUTABLE or "git", *args]
        with self._lock:
            if self._closed:
                raise RepositoryUnreachable("the source is closed")
            # its own process group: Git leaves the network to children, which must end with it
            wrapper = Git(git_dir).execute(
                command,
                istream=stdin,
                as_process=True,
                env=ours,
                with_stdout=with_stdout,
                start_new_session=True,
            )
            process = wrapper.proc
            if process is None:
                raise RepositoryUnreachable("git did not start")
            wrapper.proc = None  # its finaliser would end the process with the wrapper
            self._running.add(process)
        return process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)


class _Watch:
    """Ends a process at its time limit, or when the caller has seen enough."""

    def __init__(
        self, process: subprocess.Popen[bytes], timeout: float, stop_when: Callable[[], bool] | None
    ) -> None:
        self._process = process
        self._until = time.monotonic() + timeout
        self._stop_when = stop_when
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.expired = self.stopped = False

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            left = self._until - time.monotonic()
            self.expired = left <= 0
            self.stopped = not self.expired and self._stop_when is not None and self._stop_when()
            if self.expired or self.stopped:
                _kill(self._process)
                return
            self._over.wait(left if self._stop_when is None else min(left, _WATCH_SECONDS))


def environment(*, home: Path, git_dir: Path, config: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What is laid over the process's own environment for Git."""
    values = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        # named outright, Git looks no further, and does not ask who owns the folder
        "GIT_DIR": str(git_dir),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": SSH,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_TRACE_REDACT": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        **git_variables(os.environ),
    }
    pairs = [*_CONFIG, *config]
    values["GIT_CONFIG_COUNT"] = str(len(pairs))
    for index, (key, value) in enumerate(pairs):
        values[f"GIT_CONFIG_KEY_{index}"] = key
        values[f"GIT_CONFIG_VALUE_{index}"] = value
    return values


def _without_strays(ours: Mapping[str, str]) -> list[str]:
    """A prefix that unsets Git's other variables, which GitPython passes on.

    Setting them empty is not the same: an empty GIT_SSL_NO_VERIFY still turns verification off.
    """
    strays = [
        name for name in os.environ if name.startswith("GIT_") and name not in ours and name not in _KEPT
    ]
    return ["env", *(part for name in strays for part in ("-u", name))] if strays else []


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
