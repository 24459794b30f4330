"""What a blocking rule is: the waiting jobs of one partition, and the rule by which they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from sim.parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.job import Job
    from sim.partition import Partition


class Queue(Protocol):
    """Waiting jobs, and who of them starts at a moment."""

    def add(self, job: Job) -> None:
        """A job waits: it was submitted or preempted, or its shape changed while it waited."""

    def offer(self, job: Job, now_s: float) -> None:
        """One job is added while nothing is freed: start it if it may, else it waits."""

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start, through the partition, whoever may start now; who is displaced for them joins the queue.

        `fresh` are the jobs added since the last call. `freed` says that more may be possible than before:
        GPUs were freed, a quota was, or a running job's rank got worse. Where it is False only the fresh jobs
        can start.
        """

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""


class Blocking(Part):
    """Who may pass a job that does not fit."""

    reserves: ClassVar[bool] = False
    """Whether it promises start times; such promises exclude preemption."""
    plans_all: ClassVar[bool] = False
    """Whether its queue must know of every job, also of one that starts at once because nobody waits."""

    def queue(self, partition: Partition) -> Queue:
        """An empty queue for a partition."""
        raise NotImplementedError
