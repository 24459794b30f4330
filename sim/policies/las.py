"""Least attained service, in discrete levels (2D-LAS)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from sim.parts import GpuSeconds
from sim.policies.order import Order

if TYPE_CHECKING:
    from sim.job import Job


REMEMBERED = 16
"""Numbers that tell places in a level apart; jobs that were displaced often would gather ever more."""


class Las(Order):
    """Jobs sink to a lower level as the GPU-seconds they have held pass each threshold.

    Inside a level it is first in, first out. It needs no run times: new and short jobs go first because they
    have had little. The two-dimensional form counts GPUs x time. A job sinks at the exact moment it passes a
    threshold and joins the tail of the next level; several of one moment do so in the order of their level.
    Inside a level nobody displaces a running job. Thresholds and the order inside a level follow the Tiresias
    simulator (Gu et al., NSDI 2019), which however notices some sinking late.
    """

    kind: Literal["las"] = "las"
    timeless: ClassVar[bool] = True
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

    def key(self, job: Job) -> tuple[float, ...]:
        """Level; inside it those displaced last come first, then the others as they entered."""
        if job.displaced_s > job.entered_s:
            return (job.level, -job.displaced_s, *job.earlier[2:])
        return (job.level, job.entered_s, *job.above) if job.level else (0, job.entered_s)

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """Inside a level running jobs stand before waiting ones, in the order in which they came to run.

        A job that sinks at this very moment stands at the tail: those who wait in its new level may displace
        it.
        """
        if job.site is None:
            return (*self.key(job), job.index)
        if job.level and job.entered_s == now_s and job.started_s < now_s:
            return (job.level, now_s, *job.above, job.index)
        return (job.level, -math.inf, *_place(job), job.index)

    def changes_after_s(self, job: Job) -> float:
        """Time on its GPUs until the job passes the threshold of its level."""
        if job.level == len(self.thresholds):
            return math.inf
        left_gpu_s = self.thresholds[job.level] - job.attained_gpu_s
        return left_gpu_s / job.gpus if left_gpu_s > 0 else 0.0

    def change(self, job: Job, now_s: float) -> None:
        """Sink to the tail of the next level; of several at one moment, in the order of the level above."""
        job.above = _place(job)
        job.level += 1
        job.entered_s = now_s


def _place(job: Job) -> tuple[float, ...]:
    """Order of those that run in a level: as they came to run there.

    Of those that came at one moment: first who had waited there, as they waited, then who sank to it. Where
    that is equal too, what was before decides, as far back as is remembered.
    """
    if job.started_s < job.entered_s:
        return (job.entered_s, 1, *job.above)[:REMEMBERED]
    if job.displaced_s > job.entered_s:
        return (job.started_s, 0, -job.displaced_s, *job.earlier[2:])[:REMEMBERED]
    if job.level:
        return (job.started_s, 0, job.entered_s, *job.above)[:REMEMBERED]
    return (job.started_s, 0, job.entered_s)
