"""What the chart puts on the hub's cluster is what the hub can live with: two processes, exactly those rights."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent.contract.names import AGENT_NAMESPACE, HUB_NAMESPACE
from agent.kube.yaml import load_all
from hub.api.registry import APPLICATION, ASSIGNMENT, CLUSTER
from hub.fleet.tools import ensure_tools
from hub.gateway.identity import HubIdentity
from hub.web.asked import AppQuery, ExplainQuery, ObjectQuery
from hub.web.client import Client
from tests.integration.hub_rig import SHOP, Fleet, fleet, free_port
from tests.integration.kubelet_rig import kubeconfig_as
from tests.integration.postgres_rig import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]
CHART = Path(__file__).resolve().parents[2] / "charts" / "axletree-hub"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@pytest.fixture(scope="session")
def helm() -> Path:
    return asyncio.run(ensure_tools()) / "helm"


@pytest.fixture
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


def _run(helm: Path, folder: Path, *arguments: str, kubeconfig: Path | None = None) -> str:
    environment = {"HOME": str(folder)} | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    done = subprocess.run(
        [str(helm), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _scrape(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


def test_what_prometheus_and_grafana_read_is_made_on_request(helm: Path, tmp_path: Path) -> None:
    template = ("template", "hub", str(CHART), "--namespace", HUB_NAMESPACE)
    asked = [f"metrics.{name}.enabled=true" for name in ("serviceMonitor", "rules", "dashboard")]
    options = [word for each in asked for word in ("--set", each)]
    made = {obj["kind"]: obj for obj in load_all(_run(helm, tmp_path, *template, *options), source="helm")}
    (rules,) = load_all((CHART / "monitoring" / "rules.yaml").read_text(), source="rules")
    assert made["PrometheusRule"]["spec"] == rules
    selector = made["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    services = [
        obj for obj in load_all(_run(helm, tmp_path, *template), source="helm") if obj["kind"] == "Service"
    ]
    matched = [each for each in services if selector.items() <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in matched] == ["axletree-metrics"]
    assert matched[0]["spec"]["ports"][0]["name"] == made["ServiceMonitor"]["spec"]["endpoints"][0]["port"]
    board = made["ConfigMap"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["axletree.json"])["uid"] == "axletree-hub"
    kinds = {obj["kind"] for obj in load_all(_run(helm, tmp_path, *template), source="helm")}
    assert not kinds & {"ServiceMonitor", "PrometheusRule", "ConfigMap"}
    silent = _run(helm, tmp_path, *template, "--set", "metrics.enabled=false")
    assert "9090" not in silent
    assert "events.k8s.io" in silent
    silent = _run(helm, tmp_path, *template, "--set", "events.enabled=false,logFormat=text")
    assert "events.k8s.io" not in silent
    assert "--no-events" in silent
    assert "--log-format=text" in silent


def test_the_hubs_proxy_is_told_to_all_of_its_pods(helm: Path, tmp_path: Path) -> None:
    template = ("template", "hub", str(CHART), "--namespace", HUB_NAMESPACE)

    def containers(*options: str) -> list[dict[str, Any]]:
        made = load_all(_run(helm, tmp_path, *template, *options), source="helm")
        return [
            obj["spec"]["template"]["spec"]["containers"][0] for obj in made if obj["kind"] == "Deployment"
        ]

    for one in containers():
        assert not any("PROXY" in each["name"] for each in one["env"])
        assert "envFrom" not in one
    secrets = ("--set", "proxy.secret=way,bundles.credentialsSecret=keys")
    for one in containers("--set", "proxy.https=http://p:3128,proxy.noProxy=.svc", *secrets):
        variables = {each["name"]: each.get("value") for each in one["env"]}
        assert (variables["HTTPS_PROXY"], variables["NO_PROXY"]) == ("http://p:3128", ".svc")
        assert "HTTP_PROXY" not in variables
        assert [each["secretRef"]["name"] for each in one["envFrom"]] == ["keys", "way"]


def test_the_chart_is_clean_and_small_installations_need_no_gateway(helm: Path, tmp_path: Path) -> None:
    _run(helm, tmp_path, "lint", "--strict", str(CHART))
    template = ("template", "hub", str(CHART), "--namespace", HUB_NAMESPACE)
    alone = load_all(_run(helm, tmp_path, *template, "--set", "gateway.replicas=0"), source="helm")
    deployments = [obj["metadata"]["name"] for obj in alone if obj["kind"] == "Deployment"]
    assert deployments == ["axletree-hub"]
    services = {obj["metadata"]["name"]: obj["spec"]["selector"] for obj in alone if obj["kind"] == "Service"}
    assert services["axletree-gateway"]["app.kubernetes.io/component"] == "controller"
    refused = subprocess.run(
        [str(helm), *template, "--set", "gateway.replica=3"], capture_output=True, text=True, check=False
    )
    assert refused.returncode
    assert "replica" in refused.stderr


def test_what_is_shared_elsewhere_needs_no_volume_and_no_common_node(helm: Path, tmp_path: Path) -> None:
    def rendered(*sets: str) -> dict[str, dict[str, Any]]:
        options = [part for each in sets for part in ("--set", each)]
        printed = _run(helm, tmp_path, "template", "hub", str(CHART), "--namespace", HUB_NAMESPACE, *options)
        found = (obj for obj in load_all(printed, source="helm") if obj["kind"] == "Deployment")
        return {obj["metadata"]["name"]: obj["spec"]["template"]["spec"] for obj in found}

    def data(pod: dict[str, Any]) -> set[str]:
        (volume,) = (each for each in pod["volumes"] if each["name"] == "data")
        return set(volume) - {"name"}

    pods = rendered()
    assert {name: data(pod) for name, pod in pods.items()} == {
        name: {"persistentVolumeClaim"} for name in pods
    }
    assert pods["axletree-gateway"]["affinity"] == pods["axletree-hub"]["affinity"]
    assert "imagePullSecrets" not in pods["axletree-hub"]
    pods = rendered("data.accessModes={ReadWriteMany}", "image.pullSecrets={one,two}")
    assert not any("affinity" in pod for pod in pods.values())
    assert all(pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}] for pod in pods.values())
    hosts = ("hub.example.com", "10.0.0.1", "fd00::1", "fd00::")
    arguments = rendered(f"hosts={{{','.join(hosts)}}}")["axletree-hub"]["containers"][0]["args"]
    named = [each.removeprefix("--public-host=") for each in arguments if each.startswith("--public-host=")]
    assert [each for each in named if each in hosts] == list(hosts)
    pods = rendered("data.accessModes={ReadWriteOncePod}", "gateway.replicas=0")
    assert list(pods) == ["axletree-hub"]
    pods = rendered(
        *("bundles.urlSecret=store", "bundles.credentialsSecret=keys"),
        *("api.replicas=2", "history.databaseSecret=database"),
    )
    assert data(pods["axletree-hub"]) == {"persistentVolumeClaim"}
    assert data(pods["axletree-gateway"]) == data(pods["axletree-api"]) == {"emptyDir"}
    assert "affinity" not in pods["axletree-gateway"]
    for pod in pods.values():
        (container,) = pod["containers"]
        env = {each["name"]: each for each in container["env"]}
        assert env["AXLETREE_BUNDLES"]["valueFrom"]["secretKeyRef"] == {"name": "store", "key": "url"}
        assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    serving = {name for name, pod in pods.items() if "--api-port=8444" in pod["containers"][0]["args"]}
    assert serving == {"axletree-api"}
    elsewhere = ("bundles.url=s3://b/p", "history.databaseSecret=database", "data.enabled=false")
    pods = rendered(*elsewhere, "controller.replicas=2")
    assert {name: data(pod) for name, pod in pods.items()} == {name: {"emptyDir"} for name in pods}
    assert not any("affinity" in pod for pod in pods.values())
    for wrong in (
        *("bundles.url=postgresql://a:b@c/d", "api.replicas=1", "data.enabled=false"),
        *("data.accessModes={ReadWriteOncePod}", "data.accessModes={ReadOnlyMany}", "controller.replicas=0"),
        *(
            "hosts={https://hub.example.com}",
            "hosts={hub.example.com:8443}",
            "data.size=1.2.3",
            "staleAfter=-1",
            "service.port=0",
            "image.repository=",
        ),
    ):
        refused = subprocess.run(
            [str(helm), "template", "hub", str(CHART), "--set", wrong],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode, wrong


def test_containers_have_no_more_than_they_need(helm: Path, tmp_path: Path) -> None:
    printed = _run(helm, tmp_path, "template", "hub", str(CHART), "--namespace", HUB_NAMESPACE)
    pods = [
        obj["spec"]["template"]["spec"]
        for obj in load_all(printed, source="helm")
        if obj["kind"] == "Deployment"
    ]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


async def _admitted_where_pods_are_restricted(client: RestClient) -> None:
    """The API server's own judgement, in a namespace that takes nothing less."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await client.merge_patch(f"/api/v1/namespaces/{HUB_NAMESPACE}", label)
    deployments = (await client.list(f"/apis/apps/v1/namespaces/{HUB_NAMESPACE}/deployments")).items
    assert {obj["metadata"]["name"] for obj in deployments} == {
        *("axletree-hub", "axletree-gateway", "axletree-api")
    }
    for obj in deployments:
        pod = obj["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**pod["metadata"], "name": obj["metadata"]["name"]}
        where = f"/api/v1/namespaces/{HUB_NAMESPACE}/pods"
        await client.request("POST", where, params={"dryRun": "All"}, body=pod)


async def _metrics_say(shop: Fleet, leads: int, serves: int) -> None:
    """Each process of what it sees itself, as soon as it has seen it."""
    where = f'namespace="{shop.namespace}"'
    states = 'health="Healthy",sync="Synced"'
    wanted = {
        leads: [
            f'axletree_applications{{applicationset="shop",{states[:16]},{where},{states[17:]}}} 3.0',
            "axletree_release_duration_seconds_count 7.0",  # four, and three of the next commit
            "axletree_leader 1.0",
        ],
        serves: [
            'axletree_agents{state="Connected"} 1.0',
            f'axletree_agent_last_seen_timestamp_seconds{{cluster="{shop.cluster}"}}',
            "axletree_leader 0.0",
        ],
    }
    missing: list[str] = []

    async def told() -> bool:
        missing.clear()
        for port, lines in wanted.items():
            text = await _scrape(port)
            missing.extend(line for line in lines if line not in text)
        return not missing

    try:
        await shop.until("the metrics say it", told)
    except AssertionError as error:
        raise AssertionError(f"{error}\nnot told: {missing}") from error


async def _asks_the_controller(api: Client, namespace: str) -> None:
    """What the process of the API cannot tell by itself, it asks through the database."""
    asked = ExplainQuery(object="ConfigMap/db", field=".data.value")
    said = await api.explain(namespace, "db", asked)
    assert [each.after for each in said.layers] == ["2"]
    leases = (await api.leases_objects()).items
    assert "axletree-controller" in {each["metadata"]["name"] for each in leases}
    assert len((await api.projects_objects(ObjectQuery(namespace=namespace))).items) == 1


async def _events_are_there(shop: Fleet) -> bool:
    """They are written once it is quiet."""
    events = await shop.client.list(f"/apis/events.k8s.io/v1/namespaces/{shop.namespace}/events")
    assert {each["reportingController"] for each in events.items} <= {"axletree.dev/hub"}
    about = {(each["regarding"]["kind"], each["regarding"]["name"], each["reason"]) for each in events.items}
    wanted = {("Application", name, "Released") for name in (*SHOP, "extra")}
    return wanted | {("Application", "db", "Healthy"), ("ApplicationSet", "shop", "Planned")} <= about


async def _takes_away_what_is_no_longer_wanted(shop: Fleet) -> None:
    """An app that a person deletes, and at last the cluster with all that is left there."""
    await shop.client.delete(APPLICATION.path(shop.namespace, "extra"))

    async def no_extra() -> bool:
        return "extra" not in await shop.apps()

    await shop.until("the app is gone", no_extra)
    await shop.client.delete(CLUSTER.path(name=shop.cluster))

    async def no_cluster() -> bool:
        clusters = {each["metadata"]["name"] for each in (await shop.client.list(CLUSTER.path())).items}
        left = {each["metadata"]["name"] for each in (await shop.client.list(ASSIGNMENT.path())).items}
        return shop.cluster not in clusters | left

    await shop.until("the cluster is gone", no_cluster)


async def test_all_processes_live_with_exactly_the_rights_that_were_installed(
    database: str, shop: Fleet, helm: Path, tmp_path: Path
) -> None:
    """The controller expands, renders and releases; a gateway has the agent join; programs ask a third process.

    They share a database, and no folder.
    """
    options = ("--namespace", HUB_NAMESPACE, "--create-namespace", "--take-ownership", "--wait=false")
    options += ("--set", "api.replicas=1,history.databaseSecret=database")
    await asyncio.to_thread(
        _run,
        *(helm, tmp_path, "upgrade", "--install", "hub", str(CHART), *options),
        kubeconfig=shop.server.kubeconfig_path,
    )
    await _admitted_where_pods_are_restricted(shop.client)
    ports = [free_port() for _ in range(4)]
    stores = {"database": database, "bundles": database}
    as_hub, as_gateway, as_api = [
        await kubeconfig_as(shop.server, shop.client, (HUB_NAMESPACE, name), tmp_path / f"{name}.json")
        for name in ("axletree-hub", "axletree-gateway", "axletree-api")
    ]
    scraped = free_port(), free_port()
    await shop.hub("leads", ports[0], kubeconfig=as_hub, gateway="one", metrics_port=scraped[0], **stores)
    await shop.led_by("leads")
    for name, port, account, more in (
        ("serves", ports[1], as_gateway, {"metrics_port": scraped[1]}),
        ("answers", ports[2], as_api, {"api_port": ports[3]}),
    ):
        own = {"role": "gateway", "gateway": name, "data_dir": str(tmp_path / name)}
        await shop.hub(name, port, kubeconfig=account, **own, **stores, **more)
    await shop.shop()
    await shop.join(ports[1])
    await shop.settled()
    await shop.release(**dict.fromkeys(SHOP, "2"))
    await shop.settled()

    await _metrics_say(shop, *scraped)

    person = await kubeconfig_as(
        shop.server, shop.client, (AGENT_NAMESPACE, "deployer"), tmp_path / "person.json"
    )
    token = json.loads(person.read_text())["users"][0]["user"]["token"]
    identity = await HubIdentity.load_or_create(shop.client, now=datetime.now(UTC))
    trust = ssl.create_default_context(cadata=identity.ca_pem)
    async with Client(f"https://127.0.0.1:{ports[3]}", token=token, ca=trust) as api:

        async def listed() -> bool:
            page = await api.list_applications(AppQuery(namespace=[shop.namespace], health=["Healthy"]))
            return {each.name for each in page.items} == {*SHOP, "extra"}

        await shop.until("the API has it all", listed)
        done = await api.refresh_application(shop.namespace, "extra")
        assert done.act == "refresh"
        await _asks_the_controller(api, shop.namespace)

    await _takes_away_what_is_no_longer_wanted(shop)
    await shop.until("Events say what happened", partial(_events_are_there, shop))

    webhook = await shop.client.get(f"{WEBHOOKS}/axletree-applications")
    assert webhook["webhooks"][0]["clientConfig"]["url"].startswith(f"https://127.0.0.1:{ports[0]}/")
    for hub in shop.hubs:
        log = hub.log.read_text()
        assert "forbidden" not in log.lower(), log[-4000:]
