from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.kube.yaml import load_all
from hub.cli.output import Format, age, name_of, print_objects, print_table, seconds_text

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
APP = {
    "apiVersion": "axletree.dev/v1alpha1",
    "kind": "Application",
    "metadata": {"name": "web", "namespace": "shop"},
}
CLUSTER = {"apiVersion": "axletree.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu1"}}


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=0), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=119), "119m"),
        (timedelta(hours=2), "2h"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=2), "2d"),
        (timedelta(seconds=-30), "0s"),
    ],
)
def test_age_counts_in_the_largest_unit_that_there_are_two_of(ago: timedelta, text: str) -> None:
    assert age((NOW - ago).isoformat(), NOW) == text


@pytest.mark.parametrize("nothing", ["", None, "soon"])
def test_no_time_has_no_age(nothing: str | None) -> None:
    assert age(nothing, NOW) == ""


def test_age_reads_kubernetes_times() -> None:
    assert age("2030-01-02T11:59:50Z", NOW) == "10s"
    assert age("2030-01-02T11:59:50.123456Z", NOW) == "9s"


def test_names_carry_kind_group_and_namespace() -> None:
    assert name_of(APP) == "application.axletree.dev/shop/web"
    assert name_of(CLUSTER) == "cluster.axletree.dev/eu1"


def test_a_table_loses_nothing_where_the_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    long = "m" * 300
    print_table(("NAME", "MESSAGE"), [("a", "x"), ("bcdef", long)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME    MESSAGE", "a       x", f"bcdef   {long}"]


def test_a_cell_is_text_and_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("MESSAGE",), [("[red]no[/red] :smile:",)])
    assert capsys.readouterr().out.splitlines()[1] == "[red]no[/red] :smile:"


def test_json_is_a_list_or_the_one_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_objects([APP], Format.JSON, columns=(), row=lambda _: ())
    listed = load_all(capsys.readouterr().out)
    print_objects([APP], Format.JSON, columns=(), row=lambda _: (), single=True)
    assert listed == [APP]  # a List is read as its items
    assert load_all(capsys.readouterr().out) == [APP]


def test_yaml_is_documents(capsys: pytest.CaptureFixture[str]) -> None:
    print_objects([APP, CLUSTER], Format.YAML, columns=(), row=lambda _: ())
    assert load_all(capsys.readouterr().out) == [APP, CLUSTER]


def test_long_times_are_in_minutes() -> None:
    assert seconds_text(8.24) == "8.2 s"
    assert seconds_text(64) == "1 min 04 s"
