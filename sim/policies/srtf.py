"""Shortest remaining time first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job


class Srtf(Order):
    """At each arrival and completion the GPUs go to the jobs with the least time left, running ones included.

    The time left is the expected work, without the time to load saved state: were that counted, two jobs
    could displace each other for ever.
    """

    kind: Literal["srtf"] = "srtf"
    preemption: ClassVar[Literal["never", "optional", "always"]] = "always"

    def key(self, job: Job) -> Key:
        """Expected time left, in seconds."""
        return job.remaining_s

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """When the job would end if it ran from now on, or has run since it started."""
        return ((now_s if job.site is None else job.started_s) + job.remaining_s, job.index)
