"""Where one control plane keeps its things, and the files that its parts read."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.fleet import kwok, pki

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/16"
# What the API server is called; the first address of the service range is `kubernetes.default`.
SERVER_HOSTS = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    LOOPBACK,
    "10.96.0.1",
)
# The components are administrators: the roles that Kubernetes ships for them suffice only with one
# ServiceAccount a controller, which costs an idle cluster twenty clients more.
ADMINS = "system:masters"
USERS = {
    "admin": "kubernetes-admin",
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
    "kwok": "kwok",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of a control plane; everything else listens nowhere."""

    api: int
    etcd: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of one control plane."""

    folder: Path

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def run(self) -> Path:
        """Records and logs of the processes."""
        return self.folder / "run"

    @property
    def data(self) -> Path:
        return self.folder / "etcd"

    @property
    def kwok_config(self) -> Path:
        return self.folder / "kwok.yaml"

    @property
    def authentication_config(self) -> Path:
        return self.folder / "authentication.json"

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.folder / ("kubeconfig" if user == "admin" else f"{user}.kubeconfig")

    def load_ports(self) -> Ports | None:
        try:
            found = json.loads((self.folder / "ports.json").read_text())
            return Ports(api=int(found["api"]), etcd=int(found["etcd"]))
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def save_ports(self, ports: Ports) -> None:
        write(self.folder / "ports.json", json.dumps({"api": ports.api, "etcd": ports.etcd}).encode())


def prepare(layout: Layout, *, name: str, ports: Ports, now: dt.datetime) -> None:
    """Write what the parts read. Keys are made once: a cluster that starts again stays the same cluster."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.folder.chmod(0o700)
    if not layout.pki.exists():
        _write_pki(layout.pki, name, now)
    for user in USERS:
        write(layout.kubeconfig(user), _kubeconfig(layout, name, user, ports))
    write(layout.kwok_config, kwok.configuration().encode())
    write(layout.authentication_config, json.dumps(_authentication()).encode())
    layout.save_ports(ports)


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:  # noqa: PTH123
        out.write(content)
    fresh.replace(path)


def _write_pki(folder: Path, name: str, now: dt.datetime) -> None:
    # etcd has a CA of its own: whom the cluster's CA certifies must not reach the store behind its back.
    cluster, store = (pki.new_authority(f"{name}-{part}", now=now) for part in ("ca", "etcd-ca"))
    pairs = {
        "apiserver": pki.server_certificate(
            cluster, common_name="kube-apiserver", hosts=SERVER_HOSTS, now=now
        ),
        "etcd": pki.server_certificate(store, common_name="etcd", hosts=("localhost", LOOPBACK), now=now),
        "etcd-client": pki.client_certificate(store, user="kube-apiserver", now=now),
        "service-account": pki.signing_key(),
        **{
            user: pki.client_certificate(cluster, user=common_name, groups=(ADMINS,), now=now)
            for user, common_name in USERS.items()
        },
    }
    fresh = folder.with_name("pki.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    write(fresh / "ca.crt", cluster.pem)
    write(fresh / "etcd-ca.crt", store.pem)
    for pair, content in pairs.items():
        write(fresh / f"{pair}.crt", content.certificate)
        write(fresh / f"{pair}.key", content.key)
    fresh.rename(folder)


def _kubeconfig(layout: Layout, name: str, user: str, ports: Ports) -> bytes:
    def data(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    # JSON is YAML, and needs no emitter. Self-contained, so that it may be copied elsewhere.
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-{user}"}}],
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": f"https://{LOOPBACK}:{ports.api}",
                        "certificate-authority-data": data("ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": f"{name}-{user}",
                    "user": {
                        "client-certificate-data": data(f"{user}.crt"),
                        "client-key-data": data(f"{user}.key"),
                    },
                }
            ],
        },
        indent=1,
    ).encode()


def _authentication() -> dict[str, object]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")],
        },
    }
