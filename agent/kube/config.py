"""Where an API server is and how to prove who asks: from a kubeconfig, or from inside a Pod.

Only what needs no other program: certificates, tokens, token files. Exec and OIDC plugins are the hub's
business, which has the official client to run them; an agent has its Pod's token.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError
from agent.kube.document import read_document
from agent.kube.proxy import environment_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MEMORY = hasattr(os, "memfd_create")


class KubeconfigError(TerminalError):
    """A kubeconfig that cannot be read, or that does not say what is needed."""

    reason = "KubeconfigInvalid"


class CredentialPluginUnsupported(KubeconfigError):
    """The user's credentials come from a program that this loader does not run."""

    reason = "CredentialPluginUnsupported"


class NotInCluster(TerminalError):
    """This process does not run in a Pod with a ServiceAccount."""

    reason = "NotInCluster"


@dataclass(frozen=True, slots=True)
class KubeConfig:
    """How to reach one API server. `server` has no trailing slash; `headers` may carry a bearer token."""

    server: str
    ssl: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token_file: Path | None = None
    namespace: str = "default"
    proxy: str | None = field(default=None, repr=False)
    server_hostname: str | None = None
    """The name that the server's certificate must carry, where it is not the host of `server`."""


def load_kubeconfig(path: Path, *, context: str | None = None) -> KubeConfig:
    """Read one context of a kubeconfig, its current one unless named.

    Raises `KubeconfigError` for what is missing or malformed, `CredentialPluginUnsupported` for plugins.
    """
    try:
        document = read_document(path.read_bytes(), source=str(path))
    except OSError as error:
        raise KubeconfigError(f"kubeconfig {path}: {error.strerror or error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"kubeconfig {path} is not a mapping")
    chosen = context or document.get("current-context") or ""
    where = f"kubeconfig {path}, context {chosen!r}"
    scope = _entry(document, "context", chosen, where=where)
    cluster = _entry(document, "cluster", str(scope.get("cluster", "")), where=where)
    user = _entry(document, "user", str(scope["user"]), where=where) if scope.get("user") else {}
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"{where}: the cluster has no http(s) server")
    if "exec" in user or "auth-provider" in user:
        raise CredentialPluginUnsupported(
            f"{where}: the user's credentials come from a plugin (exec or auth-provider), which is not "
            "run: name a kubeconfig with a token (`kubectl create token`) or a certificate"
        )
    files = _Files(base=path.parent, where=where)
    return KubeConfig(
        server=server,
        ssl=_ssl_context(cluster, user, files=files) if server.startswith("https://") else None,
        headers=_headers(user),
        token_file=None if user.get("token") else files.path(user.get("tokenFile")),
        namespace=str(scope.get("namespace") or "default"),
        proxy=str(cluster.get("proxy-url") or "") or environment_proxy(server),
        server_hostname=cluster.get("tls-server-name") or None,
    )


def in_cluster(*, account: Path = SERVICE_ACCOUNT) -> KubeConfig:
    """The API server and identity that the kubelet gives a Pod. Raises `NotInCluster` elsewhere."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token, ca, namespace = account / "token", account / "ca.crt", account / "namespace"
    if not host or not port or not token.is_file():
        raise NotInCluster("no ServiceAccount of a Pod here: run in a cluster, or give a kubeconfig")
    return KubeConfig(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ssl=_client_context(ca.read_text() if ca.is_file() else None),
        token_file=token,
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
    )


def _entry(document: Mapping[str, Any], kind: str, name: str, *, where: str) -> dict[str, Any]:
    for entry in document.get(f"{kind}s") or []:
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(kind)
            return found if isinstance(found, dict) else {}
    raise KubeconfigError(f"{where}: there is no {kind} named {name!r}")


@dataclass(frozen=True, slots=True)
class _Files:
    """Values that stand either inline in base64 or in a file beside the kubeconfig."""

    base: Path
    where: str

    def path(self, value: object) -> Path | None:
        return self.base / str(value) if value else None

    def content(self, section: Mapping[str, Any], key: str) -> str | None:
        """`<key>-data` wins over the file `<key>`, as in kubectl."""
        inline, path = section.get(f"{key}-data"), self.path(section.get(key))
        try:
            if inline:
                return base64.b64decode("".join(str(inline).split()), validate=True).decode()
            return path.read_text() if path else None
        except (OSError, binascii.Error, UnicodeDecodeError) as error:
            raise KubeconfigError(f"{self.where}: {key} cannot be read: {error}") from error


def _headers(user: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if user.get("token"):
        headers["Authorization"] = f"Bearer {user['token']}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if user.get("as"):
        headers["Impersonate-User"] = str(user["as"])
    return headers


def _ssl_context(cluster: Mapping[str, Any], user: Mapping[str, Any], *, files: _Files) -> ssl.SSLContext:
    try:
        context = _client_context(files.content(cluster, "certificate-authority"))
        certificate, key = files.content(user, "client-certificate"), files.content(user, "client-key")
        if bool(certificate) != bool(key):
            raise KubeconfigError(f"{files.where}: a client certificate and its key belong together")
        if certificate and key:
            load_identity(context, certificate=certificate, key=key)
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError(f"{files.where}: certificates cannot be loaded: {error}") from error
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _client_context(ca: str | None) -> ssl.SSLContext:
    if ca is not None and not ca.strip():
        raise ValueError("an empty certificate authority would mean the system's")
    context = ssl.create_default_context(cadata=ca)
    # Python 3.13 refuses CAs without a key identifier, which kubectl accepts and old clusters have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def load_identity(context: ssl.SSLContext, *, certificate: str, key: str) -> None:
    """Load a client certificate from PEM text.

    OpenSSL's Python binding reads files only: the text goes through one that no disk holds, or else that only we can
    read, and that is gone before this returns.
    """
    text = f"{certificate.rstrip()}\n{key.rstrip()}\n".encode()
    if _MEMORY:
        with os.fdopen(os.memfd_create("axletree"), "wb") as file:
            file.write(text)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - not in a Pod

    with NamedTemporaryFile(prefix="axletree-") as kept:
        kept.write(text)
        kept.flush()
        context.load_cert_chain(kept.name)
