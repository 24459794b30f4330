"""Least attained service, in discrete levels (2D-LAS)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from sim.parts import GpuSeconds
from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job


class Las(Order):
    """Jobs sink to a lower level as the GPU-seconds they have held pass each threshold.

    Inside a level it is first in, first out. It needs no run times: new and short jobs go first because they
    have had little. The two-dimensional form counts GPUs x time. A job sinks at the exact moment it passes a
    threshold and joins the tail of the next level. Inside a level nobody displaces a running job. Thresholds
    and the order inside a level follow the Tiresias simulator (Gu et al., NSDI 2019), which however notices
    some sinking late.
    """

    kind: Literal["las"] = "las"
    preemption: ClassVar[Literal["never", "optional", "always"]] = "always"
    sinks: ClassVar[bool] = True
    thresholds: tuple[GpuSeconds, ...] = Field(
        (3250.0, 7200.0), min_length=1, description="GPU-seconds held at which a job sinks to the next level"
    )

    @field_validator("thresholds")
    @classmethod
    def _ascend(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in zip((0.0, *thresholds), thresholds, strict=False)):
            raise ValueError("thresholds must be positive and ascend")
        return thresholds

    def key(self, job: Job) -> Key:
        """Level; inside it those displaced last come first, then the others as they entered."""
        if job.displaced_s > job.entered_s:
            return (job.level, -job.displaced_s, _joined_s(job))
        return (job.level, job.entered_s, 0.0)

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """Inside a level running jobs stand before waiting ones, in the order in which they came to run.

        A job that sinks at this very moment stands at the tail: those who wait in its new level may displace
        it.
        """
        if job.site is None:
            if job.displaced_s > job.entered_s:
                return (job.level, -job.displaced_s, _joined_s(job), job.index)
            return (job.level, job.entered_s, 0.0, job.index)
        if job.entered_s == now_s and job.started_s < now_s:
            return (job.level, now_s, 0.0, job.index)
        return (job.level, -math.inf, _joined_s(job), job.index)

    def changes_after_s(self, job: Job) -> float:
        """Time on its GPUs until the job passes the threshold of its level."""
        if job.level == len(self.thresholds):
            return math.inf
        return max(0.0, self.thresholds[job.level] - job.attained_gpu_s) / job.gpus

    def change(self, job: Job, now_s: float) -> None:
        """Sink to the tail of the next level."""
        job.level += 1
        job.entered_s = now_s


def _joined_s(job: Job) -> float:
    """When the job came to run in its level: by starting there, or by sinking to it while it ran."""
    return max(job.started_s, job.entered_s)
