"""Greedy: whoever fits may pass those who do not."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Literal

from sim.blocking.queue import Blocking
from sim.preemption import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.job import Job
    from sim.line import Entry
    from sim.partition import Partition, Shape


class Greedy(Blocking):
    """Jobs in order, those that do not fit skipped; a wide job may wait as long as narrow ones keep coming.

    Where the order preempts, a job also fits when it can displace running jobs of worse rank; this is the
    greedy grant over running and waiting jobs together.
    """

    kind: Literal["greedy"] = "greedy"

    def queue(self, partition: Partition) -> GreedyQueue:
        """An empty queue for a partition."""
        return GreedyQueue(partition)


class GreedyQueue:
    """A heap per shape: when the first of a shape does not fit, no other of that shape does."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    def add(self, job: Job) -> None:
        """A job waits."""
        job.shape.line.push((self.partition.order.key(job), job.index, job))

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start whoever fits, in order.

        Where several newcomers may displace others, all are looked at: what one leaves of the GPUs it takes
        belongs to the first in order, which need not be a newcomer.
        """
        partition = self.partition
        if freed or (partition.displaces and len(fresh) > 1):
            most_free = math.inf if partition.displaces else partition.most_free
            waiting = partition.waiting.items()
            shapes = [shape for gpus, alike in waiting if gpus <= most_free for shape in alike]
            if fresh:
                shapes += dict.fromkeys(job.shape for job in fresh if not job.shape.waiting)
        elif len(fresh) == 1:
            entry = _head(fresh[0].shape)
            if entry is not None and entry[2] is fresh[0]:
                self._start(entry, fresh[0].shape, now_s)
            return
        else:
            shapes = list(dict.fromkeys(job.shape for job in fresh))
        if len(shapes) == 1:
            self._start_line(shapes[0], now_s)
        elif partition.order.by_tenant:
            self._by_share([shape for shape in shapes if _head(shape) is not None], now_s)
        else:
            self._in_order(shapes, now_s)

    def _start_line(self, shape: Shape, now_s: float) -> None:
        """Start jobs of one shape until one does not fit."""
        while (entry := _head(shape)) is not None and self._start(entry, shape, now_s):
            pass

    def _in_order(self, shapes: list[Shape], now_s: float) -> None:
        """Start jobs of several shapes by key; a shape is out once its first job does not fit."""
        heads = [(entry, shape) for shape in shapes if (entry := _head(shape)) is not None]
        heapify(heads)
        while heads:
            entry, shape = heads[0]
            if self._start(entry, shape, now_s) and (following := _head(shape)) is not None:
                heapreplace(heads, (following, shape))
            else:
                heappop(heads)

    def _by_share(self, shapes: list[Shape], now_s: float) -> None:
        """Start jobs by the share of their tenant, which each start changes."""
        while shapes:
            shape = min(shapes, key=_by_share)
            if not self._start(shape.line.head(), shape, now_s) or _head(shape) is None:
                shapes.remove(shape)

    def _start(self, entry: Entry, shape: Shape, now_s: float) -> bool:
        """Start the first job of a shape, if it can."""
        job = entry[2]
        partition = self.partition
        if partition.displaces:
            site = place(partition, job, now_s, known=job.marks is not None)
        else:
            site = partition.find(job)
        if site is None:
            return False
        shape.line.pop()
        partition.start(job, site, now_s)
        return True

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""
        for shape in self._all_shapes():
            for _, _, job in shape.line:
                if job.shape is shape:
                    yield job

    def _all_shapes(self) -> Iterator[Shape]:
        for shape in self.partition.shapes.values():
            yield shape
            if shape.relaxed is not None:
                yield shape.relaxed


def _by_share(shape: Shape) -> tuple[float, int]:
    """Order of tenants, then of submission."""
    _, index, job = shape.line.head()
    return (job.account.share, index)


def _head(shape: Shape) -> Entry | None:
    """The first of a shape's line; entries of jobs that have since changed their shape are dropped."""
    line = shape.line
    while line:
        entry = line.head()
        if entry[2].shape is shape:
            return entry
        line.pop()
    return None
