"""What is done over the API of a real hub, and what is made elsewhere and posted to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from typer.testing import CliRunner

from agent.contract.errors import ApiError
from agent.contract.names import (
    ANNOTATION_PAUSED,
    ANNOTATION_PIN,
    ANNOTATION_REFRESH,
    HUB_NAMESPACE,
    LABEL_VALUES,
)
from hub.api.registry import APPLICATION, PROJECT
from hub.cli.main import app
from hub.gateway.identity import SECRET_NAME, HubIdentity
from hub.operator.binder import DEBOUNCE
from hub.web.policy import PREFIX
from tests.integration.api_rig import READ, axle, make

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.integration.api_rig import Api, World
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
READING = frozenset({"get", "tree", "graph", "why", "history", "outputs", "diff", "status", "orphans"})
"""Commands that may be given again: nothing is written by them."""
CHART: dict[str, str | None] = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/values.yaml": "replicas: 1\npassword: ''\nhost: ''\n",
    "chart/templates/all.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: {{ .Values.password | quote }}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
        "data: {host: {{ .Values.host | quote }}, replicas: {{ .Values.replicas | quote }}}\n"
    ),
}


async def test_acts_are_done_once_for_a_key_by_who_may_and_are_written_down(world: World) -> None:
    shop = world.shop
    verbs = [
        {
            "apiGroups": ["axletree.dev"],
            "resources": ["applications"],
            "verbs": ["pause", "resume", "rollback"],
        }
    ]
    reader, person = await world.caller("reader", READ), await world.caller("person", READ + verbs)
    path = f"/applications/{shop.namespace}/web"
    status, said = await reader.post(f"{path}/pause")
    assert (status, said["reason"]) == (403, "Forbidden")
    assert (await person.post(f"{path}/approve"))[0] == 403

    key = {"Idempotency-Key": "abc"}
    once = await person.post(f"{path}/pause", **key)
    assert (once[0], once[1]["changed"]) == (200, ["it is paused"])
    assert await person.post(f"{path}/pause", **key) == once
    status, said = await person.post(f"{path}/resume", **key)
    assert (status, said["reason"]) == (409, "IdempotencyKeyInUse")
    status, said = await person.post(f"{path}/pause")
    assert (status, said["reason"]) == (409, "NothingToDo")
    assert (await shop.app("web"))["metadata"]["annotations"][ANNOTATION_PAUSED] == "true"
    assert (await person.post(f"{path}/resume"))[0] == 200

    status, said = await person.post(f"{path}/rollback")
    assert (status, said["reason"]) == (409, "NothingToDo")  # there is no other release yet
    await shop.release(web="2")

    async def two() -> bool:
        page = (await reader.get(f"{path}/history"))[1]["items"]
        return [each["release"] for each in page if each["well"]] == [2, 1]

    await shop.until("both releases were well", two)
    status, said = await person.post(f"{path}/rollback", {"release": 1})
    assert (status, said["act"]) == (200, "rollback"), said
    await shop.deployed("web", "1")
    assert (await shop.app("web"))["metadata"]["annotations"][ANNOTATION_PIN]
    assert (await person.post(f"{path}/rollback", {"undo": True}))[0] == 200
    await shop.deployed("web", "2")
    status, said = await person.post(f"{path}/rollback", {"relase": 1})
    assert (status, said["reason"]) == (400, "InvalidRequest")

    auditor = await world.caller("auditor", READ, everywhere=True)
    entries = (await auditor.get("/audit"))[1]["items"]
    mine = [(each["act"], each["outcome"]) for each in entries if each["who"].endswith(":person")]
    assert mine[:2] == [("rollback", "Done"), ("rollback", "Done")]
    assert mine[-2:] == [("pause", "NothingToDo"), ("pause", "Done")]
    assert {each["source"] for each in entries} == {"127.0.0.1"}
    await _hasty(world, auditor)


async def _hasty(world: World, auditor: Api) -> None:
    """An act ends though its caller went, and is done once for its key."""
    shop = world.shop
    verbs = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["refresh"]}]
    person = await world.caller("hasty", READ + verbs)
    path = f"/applications/{shop.namespace}/extra/refresh"
    for number in range(12):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(person.post(path, **{"Idempotency-Key": f"k{number}"}), number * 0.004)

        async def answered(key: str = f"k{number}") -> bool:
            status, said = await person.post(path, **{"Idempotency-Key": key})
            assert status == 200 or said["reason"] in ("IdempotencyKeyInUse", "NotReady"), said
            return status == 200

        await shop.until("the same key is answered", answered)
    both = await asyncio.gather(*(person.post(path, **{"Idempotency-Key": "twice"}) for _ in range(4)))
    assert {status for status, _ in both} <= {200, 409}
    entries = (await auditor.get("/audit", limit=200))[1]["items"]
    mine = [each for each in entries if each["who"].endswith(":hasty")]
    done = Counter(each["detail"]["idempotencyKey"] for each in mine if each["outcome"] == "Done")
    assert done == dict.fromkeys((*(f"k{number}" for number in range(12)), "twice"), 1)
    assert {each["outcome"] for each in mine} == {"Done"}


async def test_what_a_program_made_elsewhere_is_an_output_like_any_other(world: World) -> None:
    shop = world.shop
    verbs = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["export"]}]
    reader, terraform = await world.caller("reader", READ), await world.caller("terraform", READ + verbs)
    await shop.put(
        APPLICATION,
        "extra",
        shop.spec("extra")
        | {
            "outputs": [
                {"name": "bucket", "external": True, "schema": {"type": "string"}},
                {"name": "any", "external": True},
            ]
        },
    )
    patch = {"kind": "ConfigMap", "metadata": {"name": "db"}, "data": {"value": "{{ inputs.store }}"}}
    consumer = shop.spec("db") | {
        "namespace": f"{shop.namespace}-consumer",
        "inputs": [{"as": "store", "name": "extra", "output": "bucket"}],
        "patches": [{"patch": json.dumps(patch | {"apiVersion": "v1"})}],
    }
    await shop.put(APPLICATION, "consumer", consumer)

    async def waits() -> bool:
        said = await reader.get(f"/applications/{shop.namespace}/consumer/why")
        return said[0] == 200 and bool(said[1]["waits"])

    await shop.until("the consumer waits for it", waits)
    path = f"/applications/{shop.namespace}/extra/export"
    assert (await reader.post(path, {"output": "bucket", "value": "b-1"}))[0] == 403
    status, said = await terraform.post(path, {"output": "bucket", "value": 1})
    assert (status, said["reason"]) == (400, "InvalidRequest")
    assert (await terraform.post(path, {"output": "other", "value": "x"}))[0] == 409
    assert (await terraform.post(path))[0] == 400

    async def posted(value: str) -> None:
        async def there() -> bool:
            found = await shop._get(f"/api/v1/namespaces/{shop.namespace}-consumer/configmaps/db")
            return found is not None and found["data"] == {"value": value}

        await _taken(shop, terraform, path, "bucket", value)
        await shop.until(f"the consumer has {value}", there)

    await posted("b-1")
    await posted("b-2")
    environment = {
        "AXLETREE_KUBECONFIG": str(shop.server.kubeconfig_path),
        "AXLETREE_HOME": str(shop.folder / "none"),
    }
    arguments = ("outputs", f"{shop.namespace}/extra", "-o", "json")
    told = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
    assert [(each["name"], each["value"]) for each in json.loads(told.stdout)] == [("bucket", "b-2")]
    outputs = (await reader.get(f"/applications/{shop.namespace}/extra/outputs"))[1]["items"]
    assert [each["value"] for each in outputs][:1] == ["b-2"]
    for value in ("x" * 2000, 10**30, json.loads("[" * 40 + "]" * 40)):
        status, said = await terraform.post(path, {"output": "any", "value": value})
        assert (status, said["reason"]) == (400, "InvalidRequest"), said
    for text in ('{"output": "any", "value": NaN}', '{"output": "any", "value": -Infinity}'):
        headers = {"Authorization": f"Bearer {terraform.token}", "Content-Type": "application/json"}
        async with world.session.post(f"{PREFIX}{path}", data=text, headers=headers) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (400, "InvalidRequest"), text
    for other in (100.0, {"a": [7.0]}):
        await _taken(shop, terraform, path, "any", other)
    held = {each["name"]: each["value"] for each in (await shop.app("extra"))["status"]["external"]}
    assert held == {"bucket": "b-2", "any": {"a": [7]}}
    too_many = [{"name": f"o{number}", "external": True} for number in range(33)]
    with pytest.raises(ApiError, match="32"):
        await shop.put(APPLICATION, "extra", shop.spec("extra") | {"outputs": too_many})
    await posted("{{ inputs.store }} {{ 7 * 7 }} ${HOME} <b>")  # data, whatever it looks like
    await _of_a_cluster_that_is_gone(shop, reader)
    await _to_another_project(shop, terraform, path)
    await _flaps(world, terraform, path)
    await _is_served_by_the_next_ca(world)


async def _taken(shop: Fleet, caller: Api, path: str, output: str, value: Any) -> None:
    """Post a value; while others write to the same Application, again."""

    async def taken() -> bool:
        status, said = await caller.post(path, {"output": output, "value": value})
        assert status in (200, 503), said
        return status == 200

    await shop.until(f"{output} is taken", taken)


async def _of_a_cluster_that_is_gone(shop: Fleet, reader: Api) -> None:
    """What an app exported is told also where its cluster is none any more."""
    spec = shop.spec("extra") | {"cluster": f"{shop.cluster}-gone"}
    await shop.put(APPLICATION, "left", spec | {"outputs": [{"name": "any", "external": True}]})
    status, said = await reader.get(f"/applications/{shop.namespace}/left/outputs")
    assert (status, said["items"], said["stale"]) == (200, [], True)
    await shop.client.delete(APPLICATION.path(shop.namespace, "left"))


async def _to_another_project(shop: Fleet, terraform: Api, path: str) -> None:
    """S11: a value goes there while both the Project and the output say so; what went stays where it is."""
    other, client = f"{shop.namespace}-b", shop.client
    await client.apply(
        f"/api/v1/namespaces/{other}",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}},
        field_manager="tests",
    )
    ours = (await client.get(PROJECT.path(shop.namespace, "project")))["spec"]

    async def put(kind: Any, name: str, spec: dict[str, Any]) -> None:
        manifest = kind.manifest(name, namespace=other) | {"spec": spec}
        await client.apply(kind.path(other, name), manifest, field_manager="tests", force=True)

    async def exports(*projects: str) -> None:
        output = {"name": "bucket", "external": True, "schema": {"type": "string"}, "exportTo": [*projects]}
        await shop.put(APPLICATION, "extra", shop.spec("extra") | {"outputs": [output]})

    async def says(word: str) -> None:
        async def so() -> bool:
            found = (await client.get(APPLICATION.path(other, "taker"))).get("status") or {}
            return word in json.dumps(found.get("blockedBy") or [])

        await shop.until(f"it is told: {word}", so)

    async def has(value: str, of: str = f"{other}-apps") -> None:
        async def so() -> bool:
            found = await shop._get(f"/api/v1/namespaces/{of}/configmaps/db")
            return found is not None and found["data"] == {"value": value}

        await shop.until(f"it has {value}", so)

    await put(
        PROJECT, "project", ours | {"destinations": [{"clusters": [shop.cluster], "namespaces": ["*"]}]}
    )
    patch = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "db"}}
    taken = {"as": "store", "name": "extra", "namespace": shop.namespace, "output": "bucket"}
    await put(
        APPLICATION,
        "taker",
        shop.spec("db")
        | {
            "namespace": f"{other}-apps",
            "inputs": [taken],
            "patches": [{"patch": json.dumps(patch | {"data": {"value": "{{ inputs.store }}"}})}],
        },
    )
    await says(f"does not allow edges from {other}")
    await shop.put(PROJECT, "project", ours | {"allowEdgesFrom": [other]})
    await says(f"does not export bucket to {other}")
    await exports(f"{other}x")
    await _taken(shop, terraform, path, "bucket", "p-1")
    await says(f"does not export bucket to {other}")
    assert await shop._get(f"/api/v1/namespaces/{other}-apps/configmaps/db") is None
    await exports("*")
    await has("p-1")
    await exports()
    await _taken(shop, terraform, path, "bucket", "p-2")
    await has("p-2", of=f"{shop.namespace}-consumer")
    await asyncio.sleep(2 * DEBOUNCE)  # nothing is to happen
    await has("p-1")
    await client.delete(APPLICATION.path(other, "taker"))


async def _flaps(world: World, terraform: Api, path: str) -> None:
    """F48: what changes for ever is not followed for ever; what was taken last stays, and it is said."""
    shop = world.shop
    number = 0

    async def told() -> bool:
        nonlocal number
        number += 1
        await terraform.post(path, {"output": "bucket", "value": f"flap-{number}"})
        return "InputsFlapping" in json.dumps((await shop.app("consumer"))["status"].get("blockedBy"))

    await shop.until("it is told that its inputs flap", told)
    status = (await shop.app("consumer"))["status"]
    taken = status["inputs"][0]["value"]
    assert (len(status["inputChanges"]), taken.startswith("flap-")) == (6, True)

    async def has_it() -> bool:
        found = await shop.client.get(f"/api/v1/namespaces/{shop.namespace}-consumer/configmaps/db")
        return bool(found["data"] == {"value": taken})

    await shop.until("it has what was taken last", has_it)
    assert (await terraform.post(path, {"output": "bucket", "value": "later"}))[0] in (200, 503)
    await asyncio.sleep(2 * DEBOUNCE)  # nothing is to happen
    assert (await shop.app("consumer"))["status"]["inputs"][0]["value"] == taken
    assert await has_it()


async def _is_served_by_the_next_ca(world: World) -> None:
    """A replaced CA is in use at once, also by the API: whoever trusts the next one alone is served."""
    path = f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{SECRET_NAME}"
    held = await world.shop.client.get(path)
    following = HubIdentity.from_secret(held).announced(now=datetime.now(UTC)).activated()
    await world.shop.client.replace(path, following.to_secret() | {"metadata": held["metadata"]})
    trusted = ssl.create_default_context(cadata=following.ca_pem)

    async def served() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{world.url}{PREFIX}/openapi.json", ssl=trusted) as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

    await world.shop.until("the API shows a certificate of the next CA", served)


async def test_i5_what_the_api_explains_has_no_secret_value_in_it(world: World) -> None:
    shop = world.shop
    word, metadata = "hunter2-and-more", {"namespace": shop.namespace, "name": "db-password"}
    await make(
        shop.client,
        f"/api/v1/namespaces/{shop.namespace}/secrets/db-password",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "stringData": {"values.yaml": f"password: {word}\nreplicas: 3\n"},
        },
    )
    labels = {"metadata": metadata | {"labels": {LABEL_VALUES: "true"}}}
    await shop.client.merge_patch(f"/api/v1/namespaces/{shop.namespace}/secrets/db-password", labels)
    await shop.author.commit(CHART)
    source = {"repoURL": shop.repo, "revision": "main", "path": "chart"}
    helm = {"valuesFrom": [{"kind": "Secret", "name": "db-password"}], "values": "host: db.example.com\n"}
    await shop.put(
        APPLICATION,
        "chart",
        shop.spec("chart") | {"sources": [source | {"helm": helm}]},
        annotations={ANNOTATION_REFRESH: "1"},
    )
    path = f"/applications/{shop.namespace}/chart"
    reader = await world.caller("reader", READ)
    explains = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["explain"]}]
    person = await world.caller("person", READ + explains)

    async def rendered() -> bool:
        return bool((((await shop.app("chart")).get("status") or {}).get("sync") or {}).get("target"))

    await shop.until("it is rendered", rendered)
    status, said = await reader.get(f"{path}/explain", object="secret/s")
    assert (status, said["reason"]) == (403, "Forbidden")
    told = {}
    for what, field in (("secret/s", ""), ("secret/s", ".stringData.password"), ("ConfigMap/c", ".data")):
        status, told[what, field] = await person.get(f"{path}/explain", object=what, field=field)
        assert status == 200, told
    assert word not in json.dumps(list(told.values()))
    assert [each["after"] for each in told["secret/s", ".stringData.password"]["layers"]] == ["(secret)"] * 2
    layers = [
        (each["stage"], each["change"], each["after"]) for each in told["ConfigMap/c", ".data"]["layers"]
    ]
    assert layers == [
        ("chart defaults", "Added", {"host": "", "replicas": "1"}),
        ("Secret " + f"{shop.namespace}/db-password: values.yaml", "Changed", "(secret)"),
        ("helm.values", "Changed", "db.example.com"),
    ]
    for parameters, reason in (
        ({"object": "service/s"}, "NoSuchObject"),
        ({"object": "secret/s", "field": ".data.nothing"}, "NoSuchField"),
        ({"object": "secret/s", "field": ".["}, "NoSuchField"),
    ):
        status, said = await person.get(f"{path}/explain", **parameters)
        assert (status, said["reason"]) == (422, reason)
    assert (await person.get(f"{path}/explain", object="secret"))[0] == 400
    code, printed = await axle(
        world, person, "explain", f"{shop.namespace}/chart", "ConfigMap/c", ".data.host"
    )
    assert (code, "helm.values" in printed, "db.example.com" in printed) == (0, True, True), printed


async def test_the_command_line_says_the_same_over_the_api_and_over_kubernetes(world: World) -> None:
    shop, space = world.shop, world.shop.namespace
    await shop.settled()
    verbs = ["pause", "resume", "sync", "rollback", "refresh", "approve", "cordon", "uncordon", "explain"]
    verbs += ["release", "adopt"]
    person = await world.caller(
        "steerer",
        [*READ, {"apiGroups": ["axletree.dev"], "resources": ["*"], "verbs": verbs}],
        everywhere=True,
    )
    (shop.folder / "ca.pem").write_text(world.ca)
    over = {
        "AXLETREE_API": world.url,
        "AXLETREE_CA": str(shop.folder / "ca.pem"),
        "AXLETREE_TOKEN": person.token,
    }
    kubernetes = {"AXLETREE_KUBECONFIG": str(shop.server.kubeconfig_path)}

    async def axle(env: dict[str, str], *arguments: str) -> tuple[int, str]:
        bare = dict.fromkeys((*over, *kubernetes)) | {"AXLETREE_HOME": str(shop.folder / "none")}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=bare | env)
        return done.exit_code, done.stdout + done.stderr

    for arguments in (
        ("get", "apps", "-n", space, "-o", "json"),
        ("get", "apps", "-l", f"axletree.dev/cluster={shop.cluster}", "-o", "name"),
        ("get", "appset", f"{space}/shop", "-o", "yaml"),
        ("get", "projects", "-o", "yaml"),
        ("get", "clusters", "-o", "name"),
        ("get", "app", f"{space}/nothing"),
        ("tree", "-o", "json"),
        ("graph", "-o", "json"),
        ("why", f"{space}/web"),
        ("history", f"{space}/web", "-o", "json"),
        ("outputs", f"{space}/web"),
        ("diff", f"{space}/web", "-o", "json"),
        ("status", "-o", "name"),
        ("resume", f"{space}/web"),
        ("rollback", f"{space}/web", "--to", "7"),
        ("sync", f"{space}/web"),
        ("approve", f"appset/{space}/shop"),
        ("approve", f"appset/{space}/shop", "--wave", "none"),
        ("refresh", "nothing"),
        ("wait", f"app/{space}/web", "-q"),
        ("wait", f"appset/{space}/shop", "--for", "Synced"),
        ("wait", f"app/{space}/web", "--for", "Degraded", "--timeout", "0.2s", "-q"),
        ("wait", f"{space}/nothing", "--timeout", "0.2s", "-q"),
        ("wait", f"{space}/nothing", "--for", "Deleted"),
        ("release", f"{space}/web"),
        ("release", f"{space}/web", "--force"),
        ("adopt", f"app/{space}/web", "--timeout", "3m"),
        ("orphans", "list"),
        ("orphans", "list", shop.cluster, "-o", "json"),
        ("orphans", "adopt", shop.cluster, f"{space}/nothing"),
    ):
        for _ in range(20 if arguments[0] in READING else 1):
            said, same = await axle(over, *arguments), await axle(kubernetes, *arguments)
            if said == same:
                break  # else something was written in between, which ends
        assert said == same, arguments
        assert said[1], arguments
    acts = (
        ("pause", f"{space}/web"),
        ("resume", f"{space}/web"),
        ("pause", f"cluster/{shop.cluster}"),
        ("resume", f"cluster/{shop.cluster}"),
        ("refresh", f"{space}/web"),
        ("sync", f"appset/{space}/shop", "--object", "configmap/db", "--timeout", "3m"),
        ("sync", f"app/{space}/db", "--object", "configmap/db", "--timeout", "3m"),
    )
    told = [[await axle(each, *arguments) for arguments in acts] for each in (over, kubernetes)]
    assert told[0] == told[1]
    assert [code for code, _ in told[0]] == [0, 0, 0, 0, 0, 1, 0]
    assert told[0][-1][1] == f"ConfigMap {space}-apps/db of {space}/db on {shop.cluster}: unchanged\n"
    entries = (await person.get("/audit"))[1]["items"]
    mine = [each["act"] for each in entries if each["who"].endswith(":steerer") and each["outcome"] == "Done"]
    assert mine == [*["sync"] * 8, "refresh", "uncordon", "cordon", "resume", "pause", "adopt", "adopt"]
    await _past_a_pause(shop, [partial(axle, each) for each in (over, kubernetes)])
    refused = await axle(over, "orphans", "purge", shop.cluster, f"{space}/web", "--yes")
    assert (refused[0], "NoRoute" in refused[1]) == (2, True), "never at another hub than is named"
    status, said_of_all = await person.post(f"/applicationsets/{space}/shop/sync", {"object": "ConfigMap/db"})
    assert (status, len(said_of_all["changed"])) == (200, 3)

    async def heard() -> bool:
        found = (await person.get(f"/applications/{space}/db"))[1]["objectSync"]
        return (found.get("request"), found.get("state")) == (said_of_all["request"], "Applied")

    await shop.until("the agent has applied the object again", heard)
    assert (await person.post(f"/applicationsets/{space}/shop/sync", {"object": "x"}))[0] == 400
    assert (await person.post(f"/applicationsets/{space}/shop/sync"))[1]["reason"] == "NothingToDo"


async def _past_a_pause(shop: Fleet, ways: Sequence[Callable[..., Awaitable[tuple[int, str]]]]) -> None:
    """By either way a person lets a paused app go, and waits until it is there; who that was is in its history."""
    web = f"app/{shop.namespace}/web"
    for number, axle_ in enumerate(ways):
        assert (await axle_("pause", web))[0] == 0
        await shop.commit(web=f"forced-{number}")
        assert (await axle_("refresh", web))[0] == 0

        async def held() -> bool:
            status = (await shop.app("web"))["status"]
            return status["sync"]["target"] != status["sync"]["released"] and bool(status.get("blockedBy"))

        await shop.until("the pause holds it", held)
        code, said = await axle_("wait", web, "--timeout", "0.5s", "-q")
        assert (code, "Paused" in said or "paused" in said) == (1, True), said
        code, said = await axle_("release", web)
        assert (code, "Paused: " in said) == (1, True), said
        code, said = await axle_("release", web, "--force")
        assert (code, "goes to" in said) == (0, True), said
        code, said = await axle_("wait", web, "--timeout", "3m")
        assert (code, f"{shop.namespace}/web is Healthy" in said) == (0, True), said
        await shop.deployed("web", f"forced-{number}")
        assert (await axle_("resume", web))[0] == 0
