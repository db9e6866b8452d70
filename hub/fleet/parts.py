"""The command lines of a control plane's parts: pure, from a layout and ports to argv.

The flags keep idle clusters small (no leader election, few controllers, slow polls, little history) and busy
ones fast (the managers' own rate limits would dominate a rollout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.fleet.layout import LOOPBACK, SERVICE_RANGE, Layout, Ports

if TYPE_CHECKING:
    from pathlib import Path

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"

# An API server whose clients are gone ends at once; etcd goes last, since the server writes until it ends.
STOP_ORDER = (
    frozenset({CONTROLLER_MANAGER, SCHEDULER, KWOK}),
    frozenset({API_SERVER}),
    frozenset({ETCD}),
)
_SMALL = {"GOGC": "40"}
"""Less garbage kept for a little more CPU while busy. Not for the API server: a third of its work would be that."""

_NODE_GRACE_HOURS = 24 * 365
"""The node says nothing after it is ready: nobody waits for a heartbeat, however busy the machine is."""
_QPS = ("--kube-api-qps=500", "--kube-api-burst=1000")
_CONTROLLERS = (
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
)
_WORKLOAD_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "disruption-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    # Admission puts protection finalizers on claims and volumes: without these two nothing takes them off.
    "persistentvolumeclaim-protection-controller",
    "persistentvolume-protection-controller",
)


def environment(name: str) -> dict[str, str]:
    """What a part gets besides the surroundings."""
    return {} if name == API_SERVER else dict(_SMALL)


def etcd(layout: Layout, ports: Ports) -> list[str]:
    """Run a store for one client. Its peer listener, which cannot be left out, takes any free port."""
    client, peer = f"https://{LOOPBACK}:{ports.etcd}", f"https://{LOOPBACK}:0"
    pair = [("cert-file", "etcd.crt"), ("key-file", "etcd.key"), ("trusted-ca-file", "etcd-ca.crt")]
    return [
        "--name=default",
        f"--data-dir={layout.data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *(f"--{flag}={layout.pki / file}" for flag, file in pair),
        *(f"--peer-{flag}={layout.pki / file}" for flag, file in pair),
        "--client-cert-auth",
        "--peer-client-cert-auth",
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={1 << 30}",
        "--snapshot-count=1000",
        "--snapshot-catchup-entries=100",
        "--heartbeat-interval=200",
        "--election-timeout=2000",
        "--log-level=warn",
    ]


def api_server(layout: Layout, ports: Ports) -> list[str]:
    """RBAC is on, anonymous requests reach the health endpoints alone, nothing is audited."""
    pki = layout.pki
    return [
        f"--etcd-servers=https://{LOOPBACK}:{ports.etcd}",
        f"--etcd-cafile={pki / 'etcd-ca.crt'}",
        f"--etcd-certfile={pki / 'etcd-client.crt'}",
        f"--etcd-keyfile={pki / 'etcd-client.key'}",
        "--etcd-count-metric-poll-period=0",
        "--etcd-db-metric-poll-interval=0",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports.api}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--authentication-config={layout.authentication_config}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-account.crt'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def controller_manager(layout: Layout, *, workloads: bool) -> list[str]:
    """Without workloads, only what keeps namespaces, accounts and owned objects in order."""
    controllers = [*_CONTROLLERS, *(_WORKLOAD_CONTROLLERS if workloads else ())]
    return [
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        f"--controllers={','.join(controllers)}",
        f"--service-account-private-key-file={layout.pki / 'service-account.key'}",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        f"--node-monitor-grace-period={_NODE_GRACE_HOURS}h",
        "--node-monitor-period=30s",
        "--pvclaimbinder-sync-period=60s",
        *_QPS,
    ]


def scheduler(layout: Layout) -> list[str]:
    return [
        f"--kubeconfig={layout.kubeconfig('scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        *_QPS,
    ]


def kwok(layout: Layout) -> list[str]:
    return [f"--kubeconfig={layout.kubeconfig('kwok')}", f"--config={layout.kwok_config}"]


def store_and_server(binary: Path, layout: Layout, ports: Ports) -> dict[str, list[str]]:
    """List what must answer before anything else makes sense."""
    return {
        ETCD: [str(binary), ETCD, *etcd(layout, ports)],
        API_SERVER: [str(binary), API_SERVER, *api_server(layout, ports)],
    }


def managers(binary: Path, layout: Layout, *, workloads: bool) -> dict[str, list[str]]:
    """List what works through the API server."""
    found = {
        CONTROLLER_MANAGER: [
            str(binary),
            CONTROLLER_MANAGER,
            *controller_manager(layout, workloads=workloads),
        ]
    }
    if workloads:
        found[SCHEDULER] = [str(binary), SCHEDULER, *scheduler(layout)]
        found[KWOK] = [str(binary), KWOK, *kwok(layout)]
    return found
