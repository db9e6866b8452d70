from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import pytest

from hub.render.chart import ValuesLayer
from hub.render.explain import explain, parse_path, path_text
from hub.render.explaining import Question
from hub.render.hubvalues import CachedObjects, GivenObjects, keys_of
from hub.render.plain import ManifestError
from hub.render.pool import WorkerPool
from tests.unit.hub.render.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHART = {
    "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "web/values.yaml": "replicas: 1\npassword: ''\nhost: ''\n",
    "web/templates/all.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: {{ .Values.password | quote }}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
        "data: {host: {{ .Values.host | quote }}, replicas: {{ .Values.replicas | quote }}}\n"
    ),
}


def _object(kind: str, name: str, **data: str) -> dict[str, Any]:
    values = {key.replace("_", "."): value for key, value in data.items()}
    if kind == "Secret":
        values = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": "shop", "uid": "1", "resourceVersion": "7"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": values}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with WorkerPool() as pool:
        made = Desk(tmp_path / "repo", pool)
        for name, text in CHART.items():
            made.write(name, text)
        yield made


def _from(*entries: dict[str, Any], **helm: Any) -> dict[str, Any]:
    return {"path": "web", "helm": {"valuesFrom": list(entries), **helm}}


async def test_values_come_from_config_maps_and_secrets_in_order(desk: Desk) -> None:
    desk.objects += [
        _object("ConfigMap", "base", values_yaml="replicas: 2\nhost: one\n"),
        _object("ConfigMap", "more", values_yaml="replicas: 3\n"),
        _object("Secret", "db", password="hunter2-and-more"),
    ]
    entries = [{"kind": "ConfigMap", "name": "base"}, {"kind": "ConfigMap", "name": "more"}]
    entries += [{"kind": "Secret", "name": "db", "valuesKey": "password", "targetPath": "password"}]
    found = await desk.render(_from(*entries))
    config, secret = found.objects
    assert config["data"] == {"host": "one", "replicas": "3"}
    assert secret["stringData"] == {"password": "hunter2-and-more"}
    later = await desk.render(_from(*entries, values={"replicas": 9}))
    assert later.objects[0]["data"]["replicas"] == "9", "what the Application says itself wins"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"kind": "ConfigMap", "name": "gone"},
            r"there is no ConfigMap shop/gone with the label axletree.dev/values",
        ),
        ({"kind": "Secret", "name": "db", "valuesKey": "gone"}, r"Secret shop/db has no key gone"),
    ],
)
async def test_what_is_missing_is_told_unless_it_may_be(
    desk: Desk, entry: dict[str, Any], message: str
) -> None:
    desk.objects.append(_object("Secret", "db", password="x"))
    with pytest.raises(ManifestError, match=message) as caught:
        await desk.render(_from(entry))
    assert caught.value.reason == "ValuesNotFound"
    assert len((await desk.render(_from({**entry, "optional": True}))).objects) == 2


async def test_i5_a_secret_value_outside_a_secret_is_refused_and_not_said(desk: Desk) -> None:
    desk.objects.append(_object("Secret", "db", host="hunter2-and-more"))
    entry = {"kind": "Secret", "name": "db", "valuesKey": "host", "targetPath": "host"}
    with pytest.raises(ManifestError) as caught:
        await desk.render(_from(entry))
    assert caught.value.reason == "SecretInClear"
    assert "ConfigMap c: data.host" in str(caught.value).replace("/", " ") or "data.host" in str(caught.value)
    assert "hunter2" not in str(caught.value)


_PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("pin: 48151623", '"pin {{ .Values.pin }}"'),
        ("pin: 48151623", "{{ .Values.pin }}"),
        (f"pin: {_PEM!r}".replace("'", '"'), '|{{ printf "top\\n%s" .Values.pin | nindent 8 }}'),
        (f"pin: {_PEM!r}".replace("'", '"'), "{{ .Values.pin | toJson | quote }}"),
        ("pin: 'so<\"me&thing'", "{{ .Values.pin | toJson | quote }}"),
        ("pin: some/thing@else", "x://u:{{ .Values.pin | urlquery }}@db"),
    ],
    ids=["number in text", "number", "indented", "lines as JSON", "escaped by Go", "in an address"],
)
@pytest.mark.parametrize("kind", ["example.com/v1 Lock", "v1 Secret"])
async def test_i5_a_secret_value_is_known_in_the_forms_that_templates_give_it(
    desk: Desk, value: str, shown: str, kind: str
) -> None:
    """Where it is stored as it is: in any other kind, and in what a Secret says about itself."""
    version, _, name = kind.partition(" ")
    field = "metadata:\n  name: l\n  annotations:" if name == "Secret" else "metadata: {name: l}\nspec:"
    if name == "Secret" and shown == "{{ .Values.pin }}":
        shown = '"{{ .Values.pin }}"'
    desk.write("web/templates/lock.yaml", f"apiVersion: {version}\nkind: {name}\n{field}\n    it: {shown}\n")
    desk.objects.append(_object("Secret", "db", values_yaml=f"{value}\n"))
    with pytest.raises(ManifestError) as caught:
        await desk.render(_from({"kind": "Secret", "name": "db"}))
    assert caught.value.reason == "SecretInClear", caught.value
    assert not [word for word in ("48151623", "MIIEv", "so<", "some") if word in str(caught.value)]


async def test_i5_what_programs_say_beside_their_answers_is_not_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Helm warns of a value that is none where the chart has a map, and quotes it; Jsonnet traces what it is told."""
    desk.write("web/values.yaml", "password: {from: here}\n")
    desk.write("web/templates/all.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    desk.objects.append(_object("Secret", "db", password="hunter2-and-more"))
    entry = {"kind": "Secret", "name": "db", "valuesKey": "password", "targetPath": "password"}
    await desk.render(_from(entry))
    made = '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "c"}}'
    desk.write("traced/a.jsonnet", f'std.trace("hunter2-and-more", {made})')
    await desk.render({"path": "traced"})
    await cast("WorkerPool", desk.runner).close()
    assert "hunter2" not in caplog.text


async def test_i5_errors_say_no_secret_value_however_short(desk: Desk) -> None:
    desk.write("web/templates/bad.yaml", '{{ fail (printf "not %s" .Values.password) }}')
    desk.objects.append(_object("Secret", "db", password="abc12"))
    entry = {"kind": "Secret", "name": "db", "valuesKey": "password", "targetPath": "password"}
    with pytest.raises(ManifestError) as caught:
        await desk.render(_from(entry, values={"replicas": 4}))
    assert "abc12" not in str(caught.value)
    assert "not (secret)" in str(caught.value)
    assert 'layer: helm; params: {"replicas": 4}' in str(caught.value), "the layer, and what it was given"


async def test_i5_explain_hides_what_a_secret_set(desk: Desk) -> None:
    desk.objects.append(_object("Secret", "db", host="short"))
    entry = {"kind": "Secret", "name": "db", "valuesKey": "host", "targetPath": "host"}
    source = _from(entry, values={"host": "plain"})
    found = await desk.render(source, stages=True)
    touches = explain(found.stages, found.objects[0], parse_path("data.host"), texts={})
    assert [(one.stage, one.before, one.after) for one in touches][1:] == [
        ("Secret shop/db: host at host", "", "(secret)"),
        ("helm.values", "(secret)", "plain"),
    ]


async def test_i5_no_secret_value_leaves_the_worker_that_explains(desk: Desk) -> None:
    """Neither as a text, nor within one, nor as a number, however short; what else is said stays."""
    desk.write("web/values.yaml", "replicas: 1\npassword: ''\nhost: ''\npin: 0\n")
    desk.write(
        "web/templates/pins.yaml",
        "apiVersion: example.com/v1\nkind: Lock\nmetadata: {name: l}\n"
        'spec: {pin: {{ .Values.pin }}, url: {{ printf "x://%s@db" .Values.host | quote }}}\n',
    )
    desk.objects.append(
        _object("Secret", "db", values_yaml="pin: 481516\nhost: abc12\npassword: hunter2-long\n")
    )
    request = await desk.request(_from({"kind": "Secret", "name": "db"}, values={"replicas": 7}))
    pool = cast("WorkerPool", desk.runner)
    lock = await pool.explain(request, Question("lock", "l"))
    secret = await pool.explain(request, Question("Secret", "s"))
    config = await pool.explain(request, Question("ConfigMap", "c", ".data.replicas"))
    assert {(path_text(one.path), one.after) for one in lock if one.stage.startswith("Secret")} == {
        (".spec.pin", "(secret)"),
        (".spec.url", "(secret)"),
    }
    assert [(one.stage, one.after) for one in config] == [("chart defaults", "1"), ("helm.values", "7")]
    for told in (lock, secret, config):
        for word in ("481516", "abc12", "hunter2"):
            assert word not in repr(told)


async def test_what_changes_with_the_objects_is_asked_again(desk: Desk) -> None:
    one = _object("ConfigMap", "base", values_yaml="replicas: 2\n")
    desk.objects.append(one)
    request = await desk.request(_from({"kind": "ConfigMap", "name": "base"}))
    layers = request.sources[0].layers  # type: ignore[union-attr]
    assert layers == (ValuesLayer("ConfigMap shop/base: values.yaml", text="replicas: 2\n"),)


def test_only_labelled_objects_of_the_same_project_are_found() -> None:
    config, secret = _object("ConfigMap", "a", x="1"), _object("Secret", "a", x="2")
    objects = CachedObjects({"shop/a": config}.get, {"shop/a": secret}.get, lambda: ())
    assert objects.find("ConfigMap", "shop", "a") is config
    assert objects.find("Secret", "shop", "a") is secret
    assert objects.find("Secret", "other", "a") is None
    assert GivenObjects([config]).find("ConfigMap", "other", "a") is None


def test_keys_are_those_of_the_project() -> None:
    def keys(namespace: str, label: str) -> dict[str, Any]:
        metadata = {"name": "k", "namespace": namespace, "labels": {"axletree.dev/credentials": label}}
        return {
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"a.agekey": "AGE", "p.asc": "PGP", "x": "no"},
        }

    secrets = [keys("shop", "sops"), keys("other", "sops"), keys("shop", "git")]
    found = keys_of(secrets, "shop")
    assert (found.age, found.pgp) == (("AGE",), ("PGP",))
    assert "AGE" not in repr(found)
