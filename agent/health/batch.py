"""Jobs and CronJobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.health.result import (
    HEALTHY,
    HealthResult,
    conditions_of,
    degraded,
    is_true,
    number,
    progressing,
    spec_of,
    status_of,
    suspended,
    why,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest


def job(obj: Manifest) -> HealthResult:
    """Call a Job Healthy only once complete: a running one (current, to kstatus) must not open a gate."""
    conditions = conditions_of(obj)
    failed = conditions.get("Failed")
    if is_true(failed) and failed is not None:
        return degraded(why(failed))
    if is_true(conditions.get("Complete")):
        return HEALTHY
    if spec_of(obj).get("suspend") is True or is_true(conditions.get("Suspended")):
        return suspended("the Job is suspended")
    status, wanted = status_of(obj), spec_of(obj).get("completions")
    of = f" of {wanted}" if isinstance(wanted, int) else ""
    done, failures = number(status, "succeeded"), number(status, "failed")
    tail = f", {failures} Pods failed" if failures else ""
    return progressing(f"{done}{of} completions{tail}")


def job_complete(obj: Manifest) -> bool:
    """Whether this Job ran to its end with success: it must not run again for the same release."""
    return is_true(conditions_of(obj).get("Complete"))


def cron_job(obj: Manifest) -> HealthResult:
    """Judge the last run that ended; one under way is normal life, not progress."""
    if spec_of(obj).get("suspend") is True:
        return suspended("the CronJob is suspended")
    status = status_of(obj)
    scheduled, succeeded = status.get("lastScheduleTime"), status.get("lastSuccessfulTime")
    if not isinstance(scheduled, str) or status.get("active"):
        return HEALTHY
    # RFC 3339 in UTC, as API servers write it, sorts as text.
    if isinstance(succeeded, str) and succeeded >= scheduled:
        return HEALTHY
    return degraded("the last run did not succeed")
