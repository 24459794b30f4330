"""Shortest job first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job


class Sjf(Order):
    """Jobs by expected run time; a job that runs is never disturbed."""

    kind: Literal["sjf"] = "sjf"

    def key(self, job: Job) -> Key:
        """Expected run time in seconds."""
        return job.estimate_s
