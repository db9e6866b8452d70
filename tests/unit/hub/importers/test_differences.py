"""Fields of children that others may change, from Argo CD's places to ours."""

from __future__ import annotations

import pytest

from hub.core.ignore import parsed
from hub.importers.differences import ignored
from hub.importers.notes import Notes


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("/spec/source/targetRevision", ["/spec/sources/0/revision"]),
        ("/spec/source/helm/values", ["/spec/sources/0/helm/values"]),
        ("/spec/sources/1/targetRevision", ["/spec/sources/1/revision"]),
        ("/spec/source", ["/spec/sources/0"]),
        ("/spec/sources", ["/spec/sources"]),
        ("/spec/syncPolicy", ["/spec/sync"]),
        (
            "/spec/syncPolicy/automated",
            ["/spec/sync/mode", "/spec/sync/prune", "/spec/sync/drift", "/spec/sync/allowEmpty"],
        ),
        ("/spec/syncPolicy/automated/selfHeal", ["/spec/sync/drift"]),
        ("/spec/syncPolicy/retry/limit", ["/spec/sync/retry/limit"]),
        ("/metadata/annotations/a.io~1b", ["/metadata/annotations/a.io~1b"]),
    ],
)
def test_a_place_that_ours_have_as_well(theirs: str, ours: list[str]) -> None:
    notes = Notes()
    assert ignored([{"jsonPointers": [theirs]}], notes) == [{"jsonPointers": ours}]
    assert not notes.found
    assert all(parsed(one) is not None for one in ours), "our sets take it"


@pytest.mark.parametrize(
    ("jq", "ours"),
    [
        (".spec.source.helm.values", "/spec/sources/0/helm/values"),
        (".spec.sources[1].targetRevision", "/spec/sources/1/revision"),
        ('.metadata.annotations["a.io/b"]', "/metadata/annotations/a.io~1b"),
        (".metadata.labels.team", "/metadata/labels/team"),
    ],
)
def test_a_plain_path_of_jq_is_a_pointer(jq: str, ours: str) -> None:
    assert ignored([{"name": "web", "jqPathExpressions": [jq]}], Notes()) == [
        {"name": "web", "jsonPointers": [ours]}
    ]


@pytest.mark.parametrize(
    "rule",
    [
        {"jsonPointers": ["/metadata/finalizers"]},
        {"jsonPointers": ["/spec/destination"]},
        {"jsonPointers": ["/spec/source/unheardOf"]},
        {"jsonPointers": ["spec"]},
        {"jqPathExpressions": ['.spec.source.helm.parameters[] | select(.name == "x")']},
        {"jqPathExpressions": [""]},
    ],
)
def test_what_has_no_place_is_noted(rule: dict[str, list[str]]) -> None:
    notes = Notes()
    assert ignored([rule], notes) == []
    (note,) = notes.found
    assert note.lost
    assert note.path == "spec.ignoreApplicationDifferences[0]"
