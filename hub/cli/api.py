"""Which hub's API is meant, and as whom: one way for every command that goes over it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError

if TYPE_CHECKING:
    from hub.web.client import Client

URL, CA, TOKEN, TOKEN_FILE = "AXLETREE_API", "AXLETREE_CA", "AXLETREE_TOKEN", "AXLETREE_TOKEN_FILE"
_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

ApiOption = Annotated[str, typer.Option("--api", envvar=URL, help="https://HOST:PORT of the hub's API.")]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", envvar=CA, help="A file with the hub's CA; none: what this machine trusts."),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar=TOKEN,
        help=f"A Kubernetes token of the hub's cluster; else the file ${TOKEN_FILE}, else the Pod's own.",
    ),
]


class ApiNotNamed(AxletreeError):
    """Which API is meant, whom it trusts, or as whom, is not said."""

    reason = "ApiNotNamed"


def is_named() -> bool:
    """Whether the environment names an API."""
    return bool(os.environ.get(URL))


def client_of(api: str = "", ca: Path | None = None, token: str = "") -> Client:
    """What is not given is the environment's. Raises `ApiNotNamed`."""
    from hub.web.client import Client  # noqa: PLC0415 - models, which commands over Kubernetes do not need

    url = api or os.environ.get(URL, "")
    if not url.startswith("https://"):
        raise ApiNotNamed(f"{url or 'no API'}: say https://HOST:PORT by --api or {URL}")
    file = str(ca or os.environ.get(CA, ""))
    try:
        trusted = ssl.create_default_context(cafile=file or None)
    except (OSError, ssl.SSLError) as error:
        raise ApiNotNamed(f"{file} is no CA: {error}") from error
    return Client(url, token=token or _token(), ca=trusted)


def _token() -> str:
    """The environment's, or that of the Pod that this runs in. Raises `ApiNotNamed`."""
    if os.environ.get(TOKEN):
        return os.environ[TOKEN]
    file = Path(os.environ.get(TOKEN_FILE, "") or _POD)
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ApiNotNamed(
            f"say as whom: a Kubernetes token by --token or {TOKEN}, or a file by {TOKEN_FILE}"
        ) from error
