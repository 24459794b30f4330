"""What an order of the queue is. Smaller comes first; the row in the arrivals table breaks ties."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from sim.parts import Part

if TYPE_CHECKING:
    from sim.job import Job
    from sim.tenancy import Account

Key: TypeAlias = "float | tuple[float, ...]"


class Order(Part):
    """A queue order: pure functions of one job, with the defaults of an order that never preempts.

    The scheduler relies on two promises. While a job waits its `key` does not change. While it runs, its
    `rank` against waiting jobs only improves, except at the moments that `changes_after_s` announces; so a
    job that could not displace anybody need not be looked at again until GPUs are freed or a rank gets worse.
    """

    preemption: ClassVar[Literal["never", "optional", "always"]] = "never"
    """Whether a waiting job takes the GPUs of a running one of worse rank: by definition, if asked, never."""
    by_tenant: ClassVar[bool] = False
    """Whether tenants are ranked first, and jobs only inside a tenant."""
    sinks: ClassVar[bool] = False
    """Whether the rank of a running job gets worse at known times."""
    timeless: ClassVar[bool] = False
    """Whether the rank of a waiting job stays as it is, so that it may be looked up instead of asked for."""
    steady: ClassVar[bool] = True
    """Whether running jobs keep their order among themselves between changes."""

    def key(self, job: Job) -> Key:
        """Place of a waiting job in the queue."""
        raise NotImplementedError

    def rank(self, job: Job, now_s: float) -> tuple[float, ...]:
        """Place of a job among running and waiting ones, for orders that preempt."""
        raise NotImplementedError

    def changes_after_s(self, job: Job) -> float:
        """How long after its start a running job's rank gets worse; infinite when it never does."""
        del job
        return math.inf

    def change(self, job: Job, now_s: float) -> None:
        """Make the change of rank that `changes_after_s` announced."""

    def share(self, account: Account, capacity: tuple[float, float, float]) -> float:
        """Place of a tenant among tenants, where `by_tenant`; capacity is (GPUs, cores, bytes)."""
        del account, capacity
        return 0.0
