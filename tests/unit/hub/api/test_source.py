"""What a source is asked for, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hub.api.application import ApplicationSpec
from hub.render.signed import _origins

DIGEST = f"sha256:{'a' * 64}"
CHART = {"repoURL": "https://charts.example.com/stable", "chart": "web"}
OCI = {"repoURL": "oci://registry.example.com/team/apps"}


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        (CHART | {"revision": "1.2.3", "digest": DIGEST}, f"1.2.3@{DIGEST}"),
        (CHART | {"digest": DIGEST}, DIGEST),
        (OCI | {"revision": "^1", "digest": DIGEST}, f"^1@{DIGEST}"),
        (OCI | {"revision": f"1.2.3@{DIGEST}"}, f"1.2.3@{DIGEST}"),
        (OCI, "HEAD"),
    ],
)
def test_a_digest_is_part_of_what_is_asked_for(source: dict[str, Any], reference: str) -> None:
    """Also where signatures are asked for, which reads the child as it is."""
    spec = ApplicationSpec.model_validate({"cluster": "eu1", "sources": [source]})
    ((address, asked),) = spec.origins()
    assert asked == reference
    assert list(_origins({"spec": spec.to_json()})) == [(address, reference)]


@pytest.mark.parametrize(
    "source",
    [
        {"repoURL": "https://git.example.com/apps", "digest": DIGEST},
        OCI | {"digest": "sha256:abc"},
        OCI | {"digest": "a" * 64},
        OCI | {"revision": DIGEST, "digest": DIGEST},
    ],
)
def test_what_is_no_pin_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApplicationSpec.model_validate({"cluster": "eu1", "sources": [source]})
