"""Programs that steer the fleet: the playbook and the shell script of the documentation, as they stand there."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.contract.errors import ApiError
from e2e.words import CONFIG_MAPS, DEPLOYMENTS, SETS, image, one, status
from hub.gateway.identity import HubIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
EXAMPLES = Path(__file__).parents[1] / "docs" / "examples" / "automation"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
SECONDS = 240.0
BROKEN = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  {% if cluster.name == "us1" %}
  timeout: 30
  {% else %}
  timeout: "30"
  {% endif %}
"""


async def test_a_playbook_commits_waits_for_the_fleet_and_acts_on_what_came_of_it(
    rig: Rig, tmp_path: Path
) -> None:
    environment = await _pipeline(rig, tmp_path)
    values = "shop/frontend/values.yaml"
    code, said = await _play(
        rig, environment, tmp_path, values, rig.checkout.retagged({"frontend": "2.0.0"})[values]
    )
    assert code == 0, said
    commit = await rig.checkout.head()
    assert (
        await rig.checkout.git("ls-remote", "origin", "refs/tags/rolled-out")
        == f"{commit}\trefs/tags/rolled-out"
    )
    for cluster in ("eu1", "us1"):
        deployment = await rig.spokes[cluster].client.get(one(DEPLOYMENTS, "shop-frontend/frontend"))
        assert image(deployment).endswith(":2.0.0"), "it came back only when it was everywhere"

    code, said = await _play(rig, environment, tmp_path, "shop/frontend/settings.yaml", BROKEN)
    assert code == 2, said
    bad = await rig.checkout.git("rev-parse", "HEAD~1")
    assert f"{bad[:12]} is Failed" in said
    assert "shop/frontend-us1 on us1 is Failed" in said
    assert "frontend-eu1" not in said.partition("is Failed:")[2], "only what failed is named"
    back = await rig.checkout.head()
    assert f"Taken back by {back[:12]}, which is Healthy." in said
    shop = await rig.hub.client.get(one(SETS, "shop/shop"))
    assert status(shop, "health", "state") == "Healthy", status(shop, "health")
    assert set(status(shop, "plan", "revisions").values()) == {back}
    with pytest.raises(ApiError):
        await rig.spokes["eu1"].client.get(one(CONFIG_MAPS, "shop-frontend/settings"))
    await rig.hub.eventually(lambda: rig.healthy("shop/shop"))
    rolled_out = await rig.checkout.git("ls-remote", "origin", "refs/tags/rolled-out")
    assert rolled_out.startswith(commit), "what failed is not marked"

    assert await _run(environment, str(EXAMPLES / "wait.sh"), "shop/shop", back) == (0, "")
    code, said = await _run(environment, str(EXAMPLES / "wait.sh"), "shop/shop", bad)
    assert (code, '"state":"Superseded"' in said) == (1, True)
    code, said = await _run(environment, str(EXAMPLES / "wait.sh"), "shop/none", bad)
    assert (code, '"status":404' in said) == (1, True), said


async def _play(
    rig: Rig, environment: Mapping[str, str], folder: Path, path: str, content: str | None
) -> tuple[int, str]:
    assert content is not None
    (folder / "content").write_text(content)
    given = {
        "checkout": str(rig.fleet.checkout),
        "path": path,
        "content": str(folder / "content"),
        "application_set": "shop/shop",
        "api": environment["AXLETREE_API"],
        "ca": environment["AXLETREE_CA"],
        "a_look": 30,
    }
    options = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    return await _run(environment, ansible, *options, str(EXAMPLES / "rollout.yml"))


async def _run(environment: Mapping[str, str], *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(environment),
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def _pipeline(rig: Rig, folder: Path) -> dict[str, str]:
    """An account that may see the sets of the shop and have Git fetched for them, and nothing else."""
    client = rig.hub.client
    accounts = "/api/v1/namespaces/shop/serviceaccounts"
    group = "rbac.authorization.k8s.io"
    sets = {"apiGroups": ["axletree.dev"], "resources": ["applicationsets"], "verbs": ["get", "refresh"]}
    subject = {"kind": "ServiceAccount", "name": "pipeline", "namespace": "shop"}
    manifests = {
        f"{accounts}/pipeline": {"apiVersion": "v1", "kind": "ServiceAccount"},
        f"{RBAC}/roles/pipeline": {"apiVersion": f"{group}/v1", "kind": "Role", "rules": [sets]},
        f"{RBAC}/rolebindings/pipeline": {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "pipeline"},
            "subjects": [subject],
        },
    }
    for path, manifest in manifests.items():
        named = manifest | {"metadata": {"name": "pipeline", "namespace": "shop"}}
        await client.apply(path, named, field_manager="tests", force=True)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await client.request("POST", f"{accounts}/pipeline/token", body=asked))["status"]["token"]
    ca = folder / "ca.pem"
    identity = await HubIdentity.load_or_create(client, now=datetime.now(UTC))
    ca.write_text(identity.ca_pem)
    home = folder / "home"
    home.mkdir()
    return {
        **{key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ},
        "HOME": str(home),
        "AXLETREE_API": rig.fleet.services.api_url,
        "AXLETREE_TOKEN": token,
        "AXLETREE_CA": str(ca),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        **{
            f"GIT_{role}_{what}": "pipeline@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
