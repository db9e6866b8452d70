"""How a set's children are let go: waves over clusters, and what is kept of a rollout in status."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from hub.api.model import ApiModel, Duration, IntOrPercent, LabelSelector, Name, Text, rule

LAST_WAVE = "rest"
"""The wave of children that no wave of the spec selects."""
_NO_SLOT = "maxConcurrent lets at least one go; a wave that waits for a person has approval: Manual"


class Approval(StrEnum):
    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class OnFailure(StrEnum):
    """What follows when a wave has more failures than its budget."""

    HALT = "Halt"
    CONTINUE = "Continue"
    ROLLBACK = "Rollback"
    """As Halt; and the children of this wave and of those before go back to the last release that was well."""


class WaveState(StrEnum):
    WAITING = "Waiting"
    AWAITING_APPROVAL = "AwaitingApproval"
    RUNNING = "Running"
    SOAKING = "Soaking"
    HALTED = "Halted"
    DONE = "Done"


class Wave(ApiModel):
    """One step of a rollout. The first wave that selects a child's cluster is the child's."""

    model_config = ConfigDict(
        json_schema_extra=rule(
            "!has(self.maxConcurrent) || (self.maxConcurrent != 0 && self.maxConcurrent != '0%')", _NO_SLOT
        )
    )

    name: Name
    selector: LabelSelector | None = None
    """Over cluster labels; none selects every cluster that no earlier wave has."""
    max_concurrent: IntOrPercent | None = None
    """How many children may be between release and Healthy at once; of a share, at least one."""
    failure_budget: IntOrPercent = 0
    """With more failures than this, the wave stops as `onFailure` says."""
    soak: Duration | None = None
    """How long all must stay well before the next wave opens."""
    timeout: Duration = "30m"
    """A child that is not Healthy this long after its release has failed."""
    approval: Approval = Approval.AUTOMATIC

    @model_validator(mode="after")
    def _some_slot(self) -> Self:
        if self.max_concurrent in (0, "0%"):
            raise ValueError(_NO_SLOT)
        return self


class Rollout(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rule(
            "!has(self.waves) || self.waves.all(w, self.waves.exists_one(o, o.name == w.name)"
            f" && w.name != '{LAST_WAVE}')",
            f"names of waves are unique, and none is {LAST_WAVE}",
        )
    )

    waves: list[Wave] = Field(default_factory=list, max_length=32)
    on_failure: OnFailure = OnFailure.HALT

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        counts = Counter(wave.name for wave in self.waves)
        twice = [name for name, count in counts.items() if count > 1 or name == LAST_WAVE]
        if twice:
            raise ValueError(f"names of waves are unique, and none is {LAST_WAVE}: {', '.join(twice)}")
        return self


class WaveStatus(ApiModel):
    """What must outlive a restart: when it began, until when it soaks, what failed, what was approved."""

    name: Text
    plan: int = 0
    """The plan that last changed one of its running children; what is kept below belongs to that."""
    state: WaveState = WaveState.WAITING
    message: Text = ""
    started_at: Text = ""
    soak_until: Text = ""
    failures: list[Text] = Field(default_factory=list, max_length=64)
    """The children that failed, by `namespace/name`."""
    forgiven: Annotated[int, Field(ge=0)] = 0
    """Failures that someone approved to go on with."""
    approved: bool = False
    counts: dict[str, int] = Field(default_factory=dict, max_length=8)
    """Children: `Waiting`, `InFlight`, `Finished`, `Failed`, `Skipped`."""


class RolloutStatus(ApiModel):
    state: Annotated[str, StringConstraints(max_length=32)] = ""
    """`Progressing`, `AwaitingApproval`, `Halted`, `Paused` or `Done`."""
    message: Text = ""
    waves: list[WaveStatus] = Field(default_factory=list, max_length=33)
    warnings: list[Text] = Field(default_factory=list, max_length=8)
