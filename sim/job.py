"""One job as the scheduler sees it: what it asks for, what it has had, where it runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.checkpoints import Saving
    from sim.partition import Marks, Shape, Site, Was
    from sim.tenancy import Account


class Job:
    """A gang-scheduled job between its submission and its end.

    `index` is its row in the arrivals table and breaks every tie. Times are seconds of simulated time. What
    the policy may look at is the estimate; `work_left_s` is the truth, which only the engine uses.

    Three facts are there only once they are true: `expected_end_s` of a job that has started, `earlier`, its
    rank when it last lost its GPUs, and `above`, its place in the level from which it last sank.
    """

    __slots__ = (
        "above",
        "account",
        "attained_gpu_s",
        "displaced_s",
        "earlier",
        "entered_s",
        "estimate_s",
        "expected_end_s",
        "gpus",
        "index",
        "level",
        "marks",
        "priority",
        "queued_s",
        "rank",
        "remaining_s",
        "restart_s",
        "saving",
        "serial",
        "shape",
        "site",
        "started_s",
        "was",
        "work_left_s",
    )

    above: tuple[float, ...]
    earlier: tuple[float, ...]
    expected_end_s: float

    def __init__(
        self,
        index: int,
        submit_s: float,
        work_s: float,
        estimate_s: float,
        priority: int,
        account: Account,
        shape: Shape,
        saving: Saving | None = None,
    ) -> None:
        self.index = index
        self.work_left_s = work_s
        """Work still to do, in seconds on its GPUs; known to the engine only."""
        self.estimate_s = estimate_s
        """Run time that was stated for the whole job."""
        self.remaining_s = estimate_s
        """Run time that is still expected at the last time the job was started or queued."""
        self.priority = priority
        self.account = account
        self.shape = shape
        self.saving = saving
        """How it saves its work; None where the scheduler's cost of preemption says it."""
        self.gpus = shape.gpus
        self.queued_s = submit_s
        """When it last joined the queue."""
        self.marks: Marks | None = None
        """What its shape had waited when this job joined; None while it does not wait."""
        self.attained_gpu_s = 0.0
        """GPU-seconds held so far, up to the last start."""
        self.displaced_s = -1.0
        """When it last lost its GPUs to another job; negative while that never happened."""
        self.was: Was | None = None
        """How it stood before it last lost its GPUs, for as long as that may be taken back."""
        self.level = 0
        self.entered_s = submit_s
        """When it entered its level of a multi-level queue."""
        self.site: Site | None = None
        """Where it runs; None while it waits."""
        self.started_s = -1.0
        """Last start; negative before the first."""
        self.restart_s = 0.0
        """Time that the current run spends on loading saved state before it works."""
        self.rank: tuple[float, ...] = ()
        """Key under which it stands in the list of running jobs."""
        self.serial = -1
        """Number of its current run or wait on the engine's clock; alarms with another are void."""

    def __repr__(self) -> str:
        """Row and width, for assertion messages."""
        return f"Job({self.index}, gpus={self.gpus})"
