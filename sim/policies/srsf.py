"""Shortest remaining service first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job


class Srsf(Order):
    """As shortest remaining time first, but by GPU-seconds left: time x GPUs (Gu et al., NSDI 2019)."""

    kind: Literal["srsf"] = "srsf"
    preemption: ClassVar[Literal["never", "optional", "always"]] = "always"
    steady: ClassVar[bool] = False

    def key(self, job: Job) -> Key:
        """Expected GPU-seconds left."""
        return job.remaining_s * job.gpus

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """Expected GPU-seconds left at this moment."""
        ran_s = 0.0 if job.site is None else now_s - job.started_s
        return ((job.remaining_s - ran_s) * job.gpus, job.index)
