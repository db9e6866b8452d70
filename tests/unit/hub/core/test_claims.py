from __future__ import annotations

from hub.core.claims import Clash, clashes


def test_names_of_their_own_are_no_clash() -> None:
    assert clashes({"ns/a": ["ns/x"], "ns/b": ["ns/y"]}, {"ns/x": "ns/a"}) == {}


def test_what_exists_stays_whose_it_is() -> None:
    found = clashes({"ns/a": ["ns/x"], "ns/b": ["ns/x"]}, {"ns/x": "ns/b"})
    assert found == {"ns/a": Clash("ns/x", "ns/b")}


def test_a_hand_written_application_is_not_taken_over() -> None:
    found = clashes({"ns/a": ["ns/x"]}, {"ns/x": ""})
    assert str(found["ns/a"]) == "ns/x is a hand-written Application already: names are unique in a namespace"


def test_of_two_new_sets_the_first_has_the_name() -> None:
    assert clashes({"ns/b": ["ns/x"], "ns/a": ["ns/x"]}, {}) == {"ns/b": Clash("ns/x", "ns/a")}


def test_a_set_with_a_clash_takes_no_other_name() -> None:
    wanted = {"ns/a": ["ns/w", "ns/x"], "ns/b": ["ns/w"]}
    assert clashes(wanted, {"ns/x": "ns/c"}) == {"ns/a": Clash("ns/x", "ns/c")}


def test_another_sets_existing_child_is_refused_also_where_that_set_is_not_planned_now() -> None:
    assert clashes({"ns/a": ["ns/x"]}, {"ns/x": "ns/z"}) == {"ns/a": Clash("ns/x", "ns/z")}
