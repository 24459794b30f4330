"""Stated priorities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job


class Priority(Order):
    """Higher `priority` first; submission order inside one priority.

    With preemption a job takes GPUs from running jobs of strictly lower priority, the latest submitted first.
    """

    kind: Literal["priority"] = "priority"
    timeless: ClassVar[bool] = True
    preemption: ClassVar[Literal["never", "optional", "always"]] = "optional"

    def key(self, job: Job) -> Key:
        """The higher the priority, the earlier."""
        return -job.priority

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """Waiting jobs stand behind every running job of their own priority."""
        del now_s
        return (-job.priority, math.inf if job.site is None else job.index)
