from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import pytest

from agent.kube.config import load_kubeconfig
from hub.fleet import layout, parts

LAYOUT = layout.Layout(Path("/fleet/one"))
PORTS = layout.Ports(api=20001, etcd=20002)
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def every_command() -> dict[str, list[str]]:
    binary = Path("/cache/controlplane")
    return {
        **parts.store_and_server(binary, LAYOUT, PORTS),
        **parts.managers(binary, LAYOUT, workloads=True),
    }


def test_commands_name_their_part_first() -> None:
    for name, argv in every_command().items():
        assert argv[:2] == ["/cache/controlplane", name]


def test_every_part_has_its_turn_to_stop() -> None:
    assert set().union(*parts.STOP_ORDER) == set(every_command())
    assert parts.STOP_ORDER[-1] == {parts.ETCD}


def test_a_hub_needs_neither_scheduler_nor_kwok() -> None:
    found = parts.managers(Path("/x"), LAYOUT, workloads=False)
    assert set(found) == {parts.CONTROLLER_MANAGER}
    assert "deployment-controller" not in " ".join(found[parts.CONTROLLER_MANAGER])


def test_nothing_listens_beyond_loopback_and_nothing_is_insecure() -> None:
    text = " ".join(word for argv in every_command().values() for word in argv)
    assert "0.0.0.0" not in text
    assert "http://" not in text
    assert "insecure" not in text
    assert "AlwaysAllow" not in text
    assert "--client-cert-auth" in text


def test_protection_finalizers_have_their_controllers() -> None:
    text = " ".join(parts.controller_manager(LAYOUT, workloads=True))
    assert "persistentvolumeclaim-protection-controller" in text
    assert "persistentvolume-protection-controller" in text


def test_files_are_private_and_keys_made_once(tmp_path: Path) -> None:
    here = layout.Layout(tmp_path / "one")
    layout.prepare(here, name="one", ports=PORTS, now=NOW)
    first = {path.name: path.read_bytes() for path in here.pki.iterdir()}
    layout.prepare(here, name="one", ports=layout.Ports(api=20003, etcd=20004), now=NOW)
    assert {path.name: path.read_bytes() for path in here.pki.iterdir()} == first
    assert here.load_ports() == layout.Ports(api=20003, etcd=20004)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in here.folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(here.folder.stat().st_mode) == 0o700


def test_the_kubeconfig_is_self_contained_and_reads_as_ours(tmp_path: Path) -> None:
    here = layout.Layout(tmp_path / "one")
    layout.prepare(here, name="one", ports=PORTS, now=NOW)
    text = here.kubeconfig().read_text()
    assert str(tmp_path) not in text
    assert load_kubeconfig(here.kubeconfig()).server == "https://127.0.0.1:20001"


def test_only_health_is_open_to_strangers(tmp_path: Path) -> None:
    here = layout.Layout(tmp_path / "one")
    layout.prepare(here, name="one", ports=PORTS, now=NOW)
    anonymous = json.loads(here.authentication_config.read_text())["anonymous"]
    assert [one["path"] for one in anonymous["conditions"]] == ["/livez", "/readyz", "/healthz"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"api": "x", "etcd": 1}'])
def test_unreadable_ports_are_chosen_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    assert layout.Layout(tmp_path).load_ports() is None
