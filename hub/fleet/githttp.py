"""A Git server on loopback: bare repositories below a folder, over Git's smart HTTP protocol.

It runs `git http-backend`, Git's own server side, so that a local fleet and the tests clone and push as they
would anywhere. For local fleets only: it has no TLS, and whoever reaches it may push unless a user is asked
for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import os
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from hub.fleet.command import ended

if TYPE_CHECKING:
    from pathlib import Path

REQUEST_SECONDS = 300.0
CHUNK = 64 * 1024
MAX_HEAD = 16 * 1024
MAX_BACKENDS = 16
"""Processes at once; more requests wait."""

_SERVICE = re.compile(
    r"/(?P<repo>(?:(?!\.)[A-Za-z0-9._-]+/)*(?!\.)[A-Za-z0-9._-]+)/(?:info/refs|git-upload-pack|git-receive-pack)"
)
_CONFIG = (
    ("http.receivepack", "true"),
    ("safe.directory", "*"),
    ("core.hooksPath", os.devnull),
    ("uploadpack.allowAnySHA1InWant", "true"),
)
_FILTER = "uploadpack.allowFilter"
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "GIT_EXEC_PATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class _Head:
    """What a CGI program says before its body: RFC 3875, section 6."""

    status: int
    headers: dict[str, str]


class GitServer:
    """Serves every bare repository below `root`, by its path there.

    `basic` is (user, password) to ask for.
    """

    def __init__(
        self, root: Path, *, host: str = "127.0.0.1", port: int = 0, basic: tuple[str, str] | None = None
    ) -> None:
        self.root = root
        self.host = host
        self.port = port
        self._expected = (
            None if basic is None else "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        )
        self.filters = True
        """Whether it takes partial clones."""
        self.served = 0
        """Requests so far."""
        self._runner: web.AppRunner | None = None
        self._slots = asyncio.Semaphore(MAX_BACKENDS)

    async def start(self) -> None:
        """Listens; `port` is the real one afterwards."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        # bodies go on as they came: Git's server side unpacks them itself
        self._runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes the port and ends what is being served."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def url_of(self, name: str) -> str:
        """The address of the repository in `root / name`."""
        return f"http://{self.host}:{self.port}/{name}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._expected is not None and not hmac.compare_digest(
            request.headers.get("Authorization", "").encode(), self._expected.encode()
        ):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="git"'})
        match = _SERVICE.fullmatch(request.path)
        if match is None or not (self.root / match["repo"] / "HEAD").is_file():
            raise web.HTTPNotFound
        async with self._slots, asyncio.timeout(REQUEST_SECONDS):
            return await self._serve(request)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """One run of the backend: the request's body into it, what it says out."""
        self.served += 1
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environment(request),
            start_new_session=True,
        )
        feeding = asyncio.create_task(_feed(request, process))
        try:
            return await _answer(request, process)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if process.returncode is None:
                await _end(process)

    def _environment(self, request: web.Request) -> dict[str, str]:
        """CGI's variables; nothing of our own surroundings but what finds the programs."""
        values = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
        values |= {
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": str(len(_CONFIG) + 1),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": request.remote or "",
        }
        if request.content_length is not None:
            values["CONTENT_LENGTH"] = str(request.content_length)
        for index, (key, value) in enumerate((*_CONFIG, (_FILTER, str(self.filters).lower()))):
            values[f"GIT_CONFIG_KEY_{index}"] = key
            values[f"GIT_CONFIG_VALUE_{index}"] = value
        return values


async def _feed(request: web.Request, process: asyncio.subprocess.Process) -> None:
    """The body into the backend, which may stop reading early."""
    stdin = process.stdin
    if stdin is None:
        return
    try:
        async for chunk in request.content.iter_chunked(CHUNK):
            stdin.write(chunk)
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        stdin.close()


async def _answer(request: web.Request, process: asyncio.subprocess.Process) -> web.StreamResponse:
    stdout = process.stdout
    if stdout is None:
        raise web.HTTPInternalServerError
    try:
        head = _parse_head(await stdout.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise web.HTTPInternalServerError(text="git http-backend gave no answer\n") from error
    response = web.StreamResponse(status=head.status, headers=head.headers)
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # the client has had enough
        while chunk := await stdout.read(CHUNK):
            await response.write(chunk)
        await response.write_eof()
        await process.wait()
    return response


def _parse_head(data: bytes) -> _Head:
    if len(data) > MAX_HEAD:
        raise ValueError("too long")
    headers = {}
    for line in data.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    status = int(headers.pop("Status", str(HTTPStatus.OK.value)).split()[0])
    return _Head(status, headers)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a backend whose client has gone, with the Git processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    await ended(process)
