"""Greedy: whoever fits may pass those who do not."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Literal

from sim.blocking.queue import Blocking
from sim.preemption import hopeful, is_spent, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.job import Job
    from sim.line import Entry
    from sim.partition import Partition, Shape


class Greedy(Blocking):
    """Jobs in order, those that do not fit skipped; a wide job may wait as long as narrow ones keep coming.

    Where the order preempts, a job also fits when it can displace running jobs of worse rank; this is the
    greedy grant over running and waiting jobs together. With `reclaim`, jobs that stay inside their tenant's
    quota come before those that would borrow.
    """

    kind: Literal["greedy"] = "greedy"

    def queue(self, partition: Partition) -> GreedyQueue:
        """An empty queue for a partition."""
        return GreedyQueue(partition)


class GreedyQueue:
    """A heap per shape: when the first of a shape does not fit, no other of that shape does."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self._by_key = not (partition.reclaims or partition.order.by_tenant)
        """Whether jobs have their turn by the order of the queue alone."""

    def add(self, job: Job) -> None:
        """A job waits."""
        job.shape.line.push((self.partition.order.key(job), job.index, job))

    def offer(self, job: Job, now_s: float) -> None:
        """One job is added while nothing is freed: it can start only if it is the first of its shape."""
        partition, line = self.partition, job.shape.line
        entry = (partition.order.key(job), job.index, job)
        site = None
        if line.first is None or entry < line.first:
            if partition.swaps and self._swap(job, now_s):
                return
            site = place(partition, job, now_s, known=False) if partition.displaces else partition.find(job)
        if site is None:
            line.push(entry)
            return
        partition.start(job, site, now_s)
        if partition.displaced:
            self._requeue(partition.displaced, now_s)

    def _swap(self, job: Job, now_s: float) -> bool:
        """The newcomer takes the GPUs of the weakest running job, if that holds just as many on one node.

        What the general search would find too, at once: it tries the weakest first and has enough with it.
        Nothing is left over, so nobody else is helped. The one displaced found no room just now, as it is of
        the newcomer's width, and stood last; its rank is computed anew, so that by rounding another may stand
        behind it, and then it is asked again like any other.
        """
        partition, shape = self.partition, job.shape
        pool, running = shape.only_in, partition.running
        if pool is None or not shape.plain or pool.levels >> shape.gpus or job.was or not running.jobs:
            return False
        rank, weakest = running.worst
        alike, site = weakest.shape, weakest.site
        if (
            alike.gpus != shape.gpus
            or not alike.plain
            or alike.only_in is not pool
            or site is None
            or len(site[2]) != 1
            or weakest.started_s == now_s
            or rank <= partition.order.rank(job, now_s)
        ):
            return False
        partition.swap(job, weakest, site, now_s)
        self.add(weakest)
        if weakest.gpus <= partition.most_free and partition.order.rank(weakest, now_s) < running.last:
            self._in_order([alike], now_s)
        return True

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start whoever fits, in order."""
        partition = self.partition
        if freed and not fresh and self._by_key and partition.displaces:
            if shapes := hopeful(partition, now_s):
                self._in_order(shapes, now_s, helped=True)
            return
        shapes = []
        if fresh:
            shapes += dict.fromkeys(job.shape for job in fresh if not (freed and job.shape.waiting))
        if freed:
            if partition.displaces:
                shapes += hopeful(partition, now_s)
            else:
                most_free = partition.most_free
                waiting = partition.waiting.items()
                shapes += [shape for gpus, alike in waiting if gpus <= most_free for shape in alike]
        if not shapes:
            return
        if partition.reclaims:
            self._inside_quotas_first(shapes, now_s)
        elif partition.order.by_tenant:
            self._by_share(shapes, now_s)
        elif len(shapes) == 1 and not partition.displaces:
            self._start_line(shapes[0], now_s)
        else:
            self._in_order(shapes, now_s, helped=freed and not fresh)

    def _requeue(self, displaced: list[Job], now_s: float) -> None:
        """Jobs lost their GPUs to the only newcomer: they and whoever fits what is left have their turn."""
        partition = self.partition
        for job in displaced:
            self.add(job)
        if partition.leftover:
            self.settle(now_s, displaced, freed=True)
        elif partition.reclaims:
            self._inside_quotas_first([job.shape for job in displaced], now_s)
        elif not partition.are_out(displaced):
            self._in_order(list(dict.fromkeys(job.shape for job in displaced)), now_s)

    def _start_line(self, shape: Shape, now_s: float) -> None:
        """Start jobs of one shape until one does not fit."""
        while (entry := shape.line.first) is not None and self._start(entry, shape, now_s):
            pass

    def _in_order(self, shapes: list[Shape], now_s: float, *, helped: bool = False) -> None:
        """Start jobs of several shapes by key; a shape is out once its first job does not fit.

        `helped` says that the first of each are known to find something new at this moment.
        Jobs displaced have their turn at their place in the order, before any that stand behind them.
        """
        displaced = self.partition.displaced
        known, spent = not helped, False
        if helped and self.partition.displaces:
            shape = shapes[0] if len(shapes) == 1 else min(shapes, key=_by_head)
            head, gone = shape.line.first, len(displaced)
            known = True
            if head is None or not self._start(head, shape, now_s, known=False):
                shapes.remove(shape)
            elif len(displaced) > gone:
                shapes += self._turned(displaced[gone:])
                spent = is_spent(self.partition)
            elif is_spent(self.partition):
                return
        heads = [(entry, shape) for shape in dict.fromkeys(shapes) if (entry := shape.line.first) is not None]
        heapify(heads)
        while heads:
            head, shape = heappop(heads)
            if shape.line.first is not head or (spent and head[2].marks is not None):
                continue
            gone = len(displaced)
            if not self._start(head, shape, now_s, known=known):
                known = True
                continue
            known, spent = True, self.partition.displaces and is_spent(self.partition)
            if (following := shape.line.first) is not None:
                heappush(heads, (following, shape))
            if len(displaced) > gone:
                turned = self._turned(displaced[gone:])
                heads += [(entry, shape) for shape in turned if (entry := shape.line.first) is not None]
                heapify(heads)

    def _turned(self, displaced: list[Job]) -> dict[Shape, None]:
        """Shapes that have a turn after jobs were displaced: theirs, and where GPUs are left over, all."""
        for job in displaced:
            self.add(job)
        shapes = dict.fromkeys(job.shape for job in displaced)
        if self.partition.leftover:
            for alike in self.partition.waiting.values():
                shapes.update(alike)
        return shapes

    def _by_share(self, shapes: list[Shape], now_s: float) -> None:
        """Start jobs by the share of their tenant, which each start changes."""
        displaced = self.partition.displaced
        turns = dict.fromkeys(shape for shape in shapes if shape.line.first is not None)
        while turns:
            shape = min(turns, key=_by_share)
            gone = len(displaced)
            head = shape.line.first
            if head is None or not self._start(head, shape, now_s) or shape.line.first is None:
                del turns[shape]
            if len(displaced) > gone:
                turns.update(self._turned(displaced[gone:]))

    def _inside_quotas_first(self, shapes: list[Shape], now_s: float) -> None:
        """Start jobs that stay inside their tenant's quota, then those that borrow, each in order.

        Every start and every loan taken back changes who is which.
        """
        partition = self.partition
        displaced = partition.displaced
        by_tenant = partition.order.by_tenant
        turns = dict.fromkeys(shape for shape in shapes if shape.line.first is not None)

        def standing(shape: Shape) -> tuple[bool, object]:
            head = shape.line.first
            return partition.borrows(shape), _by_share(shape) if by_tenant or head is None else head[:2]

        while turns:
            shape = min(turns, key=standing)
            gone = len(displaced)
            head = shape.line.first
            if head is None or not self._start(head, shape, now_s) or shape.line.first is None:
                del turns[shape]
            if len(displaced) > gone:
                turns.update(self._turned(displaced[gone:]))

    def _start(self, entry: Entry, shape: Shape, now_s: float, *, known: bool = True) -> bool:
        """Start the first job of a shape, if it can; without `known` even if it found no place before."""
        job = entry[2]
        partition = self.partition
        if partition.displaces:
            site = place(partition, job, now_s, known=known and job.marks is not None)
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
    entry = shape.line.first
    return (math.inf, 0) if entry is None else (entry[2].account.share, entry[1])


def _by_head(shape: Shape) -> tuple[bool, Entry | None]:
    """Order of the first of each shape; where nobody is in line, last."""
    return shape.line.first is None, shape.line.first
