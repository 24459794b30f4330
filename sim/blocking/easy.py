"""EASY backfill: the head has a promise, others may run if they keep it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from sim.blocking.backlog import Backlog, Entry
from sim.blocking.queue import Blocking
from sim.cluster import Gang
from sim.log import NO_JOB
from sim.partition import earliest_end_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.cluster import Placement, Pool
    from sim.job import Job
    from sim.partition import Partition, Shape, Site


class Easy(Blocking):
    """The first job that does not fit is promised the earliest time at which estimates say its GPUs are free.

    Another may start before it only if it ends by then or uses GPUs that the promise leaves over (Lifka,
    JSSPP 1995). The promise names nodes, so it holds for gangs on nodes too, and the job that has it keeps it
    until it starts, even if the order would now put another job first. When a running job outlives its
    estimate the promise moves, and the move is logged with the job that caused it. It moves too when nodes
    fail; while too few are in service nobody is promised anything, and whoever fits may start.
    """

    kind: Literal["easy"] = "easy"
    reserves: ClassVar[bool] = True

    def queue(self, partition: Partition) -> EasyQueue:
        """An empty queue for a partition."""
        partition.rank = earliest_end_first
        return EasyQueue(partition)


@dataclass(slots=True)
class Promise:
    """The reserved start of a job, and what other jobs may still use of its nodes after that start."""

    job: Job
    start_s: float
    pool: Pool
    spare_gpus: int
    """GPUs of the pool that are free at the start besides those promised."""
    spare: dict[int, int]
    """The same by node, for the nodes of the promise; empty where any GPUs will do."""


class EasyQueue:
    """A backlog per shape and the promise to the head."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.lines: dict[Shape, Backlog] = {}
        self.promise: Promise | None = None

    def add(self, job: Job) -> None:
        """A job waits."""
        line = self.lines.get(job.shape)
        if line is None:
            line = self.lines[job.shape] = Backlog()
        line.add(self._entry(job))

    def _entry(self, job: Job) -> Entry:
        return (self.partition.order.key(job), job.index, job)

    def offer(self, job: Job, now_s: float) -> None:
        """One job is added while nothing is freed."""
        self.add(job)
        self.settle(now_s, (job,), freed=False)

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start heads while they fit, keep or make the promise, then backfill."""
        promised = self.promise is not None
        if freed or not promised:
            self._start_heads(now_s)
        if self.promise is None:
            return
        if freed or not promised or self.partition.surprised:
            if self.partition.surprised or now_s >= self.promise.start_s:
                self._renew(now_s)
            self._backfill(now_s)
        else:
            for job in fresh if len(fresh) == 1 else sorted(fresh, key=self._entry):
                self._try_fresh(job, now_s)

    # ---- heads

    def _start_heads(self, now_s: float) -> None:
        """Start jobs in order until one does not fit; that one has the promise."""
        while (job := self._next()) is not None:
            site = self.partition.find(job)
            if site is None:
                if self.promise is None:
                    self.promise = self._reserve(job, now_s)
                return
            if self.promise is not None and self.promise.start_s < now_s:
                self._note_moved(self.promise, now_s, now_s)
            self.promise = None
            self._start(self._entry(job), site, now_s)

    def _next(self) -> Job | None:
        """Who is served next: the job with the promise, else the first in order whose tenant may start it."""
        if self.promise is not None:
            return self.promise.job
        partition = self.partition
        lines = [line for shape, line in self.lines.items() if partition.allows(shape)]
        if not lines:
            return None
        if partition.order.by_tenant:
            first = min((line.first() for line in lines), key=_by_share)
        else:
            first = min(line.first() for line in lines)
        return first[2]

    def _start(self, entry: Entry, site: Site, now_s: float) -> None:
        job = entry[2]
        line = self.lines[job.shape]
        line.remove(entry)
        if not line:
            del self.lines[job.shape]
        self.partition.start(job, site, now_s)

    # ---- the promise

    def _renew(self, now_s: float) -> None:
        """Make the promise again: after an early end it may improve, after an overrun it moves."""
        promise = self.promise
        if promise is None:
            return
        self.partition.surprised = False
        renewed = self._reserve(promise.job, now_s)
        if renewed.start_s > promise.start_s:
            self._note_moved(promise, renewed.start_s, now_s)
        self.promise = renewed

    def _note_moved(self, promise: Promise, start_s: float, now_s: float) -> None:
        """A promise is kept later than made, because of a job that outlived its estimate.

        That is one that still runs in the pool, else the one that ended last; no job where nodes failed.
        """
        partition, pool = self.partition, promise.pool
        running = (job for _, job in partition.running if job.site is not None and job.site[0] is pool)
        late = next((job for job in running if job.expected_end_s <= now_s), partition.overran)
        if late is None and not partition.loses_nodes:
            raise AssertionError(f"the promise to {promise.job} moved though no job was late")
        culprit = NO_JOB if late is None else late.index
        partition.log.moved_reservations.append((now_s, promise.job.index, promise.start_s, start_s, culprit))

    def _reserve(self, job: Job, now_s: float) -> Promise:
        promises = [self._reserve_in(job, pool, gang, now_s) for pool, gang in job.shape.options]
        return min(promises, key=lambda promise: promise.start_s)

    def _reserve_in(self, job: Job, pool: Pool, gang: Gang, now_s: float) -> Promise:
        """The earliest moment at which the job fits, tried out on the pool, which is left as it was."""
        rule = self.partition.rule
        ended: list[Job] = []
        start_s = now_s
        expected = self._expected_ends(pool, now_s)
        ahead = next(expected, None)
        while not (pool.free_gpus >= gang.gpus and rule.fits(pool, gang)):
            if ahead is None:
                if not self.partition.loses_nodes:
                    raise AssertionError(f"{job} does not fit its pool when it is empty")
                self._take_again(ended)
                return Promise(job, math.inf, pool, 0, {})
            start_s = ahead[0]
            self._hand_back(ahead[2], ended)
            ahead = next(expected, None)
        placement = rule.find(pool, gang)
        if placement is None:
            raise AssertionError(f"{job} fits but finds no place")
        first, spare = pool.first_node, {}
        if not rule.anywhere:
            spare = {node: pool.free[node - first] - gpus for node, gpus in placement}
        spare_gpus = pool.free_gpus - gang.gpus
        self._take_again(ended)
        return Promise(job, start_s, pool, spare_gpus, spare)

    def _take_again(self, ended: list[Job]) -> None:
        """What was tried out is undone: those jobs still run."""
        for other in ended:
            if other.site is not None:
                other.site[0].take(other.site[2], other.site[1])

    def _hand_back(self, job: Job, ended: list[Job]) -> None:
        if job.site is not None:
            pool, gang, placement = job.site
            pool.give(placement, gang)
            ended.append(job)

    def _expected_ends(self, pool: Pool, now_s: float) -> Iterator[tuple[float, int, Job]]:
        """Running jobs of the pool by expected end."""
        for end_s, index, job in self.partition.expected_ends(now_s):
            if job.site is not None and job.site[0] is pool:
                yield end_s, index, job

    # ---- the others

    def _backfill(self, now_s: float) -> None:
        """Start others, in order, as long as the promise stands."""
        promise = self.promise
        by_share = _by_share if self.partition.order.by_tenant else None
        while promise is not None and (shapes := self._roomy()):
            latest_s = _latest(now_s, promise.start_s)
            found = [entry for shape in shapes if (entry := self._candidate(shape, promise, latest_s))]
            if not found:
                return
            entry = found[0] if len(found) == 1 else min(found, key=by_share)
            site = self._place_beside(entry[2], promise, now_s)
            if site is None:
                return
            self._start(entry, site, now_s)

    def _roomy(self) -> list[Shape]:
        """Shapes that somebody waits for and that fit the free GPUs."""
        partition = self.partition
        most_free = partition.most_free
        if not most_free:
            return []
        fits = partition.fits
        return [shape for shape in self.lines if shape.gpus <= most_free and fits(shape)]

    def _candidate(self, shape: Shape, promise: Promise, latest_s: float) -> Entry | None:
        """The first job of a shape, not the promised one, that ends in time or needs nothing promised."""
        if not self.partition.allows(shape):
            return None
        line = self.lines[shape]
        first = line.first_but(promise.job)
        if first is None or first[2].remaining_s <= latest_s or self._fits_beside(shape, promise):
            return first
        return line.first_within(latest_s, promise.job)

    def _fits_beside(self, shape: Shape, promise: Promise) -> bool:
        """Whether a job of the shape fits without what was promised, so that it may take any time."""
        held = self._hold(promise)
        fitting = self._leaves_enough(shape, promise)
        self._let_go(promise, held)
        return fitting

    def _leaves_enough(self, shape: Shape, promise: Promise) -> bool:
        """Whether a job of the shape fits while the promise is held, and leaves that job its quota."""
        account = promise.job.account
        if shape.account is account and account.gpus + shape.gpus + promise.job.gpus > account.limit_gpus:
            return False
        return self.partition.fits(shape)

    def _try_fresh(self, job: Job, now_s: float) -> None:
        promise = self.promise
        if promise is not None and self.partition.fits(job.shape) and self.partition.allows(job.shape):
            site = self._place_beside(job, promise, now_s)
            if site is not None:
                self._start(self._entry(job), site, now_s)

    def _place_beside(self, job: Job, promise: Promise, now_s: float) -> Site | None:
        """A place for a job that ends before the promise, or that leaves alone what was promised."""
        if job.remaining_s <= _latest(now_s, promise.start_s):
            return self.partition.find(job)
        held = self._hold(promise)
        site = self.partition.find(job) if self._leaves_enough(job.shape, promise) else None
        self._let_go(promise, held)
        if site is not None and site[0] is promise.pool:
            promise.spare_gpus -= job.gpus
            for node, gpus in site[2]:
                if node in promise.spare:
                    promise.spare[node] -= gpus
        return site

    def _hold(self, promise: Promise) -> Placement:
        """Take the GPUs that are free now but promised for later."""
        pool = promise.pool
        free, first = pool.free, pool.first_node
        held: Placement = tuple(
            (node, free[node - first] - spare)
            for node, spare in promise.spare.items()
            if free[node - first] > spare
        )
        rule, promised = self.partition.rule, pool.free_gpus - promise.spare_gpus
        if rule.anywhere and promised > 0:
            held = rule.find(pool, Gang(promised, ((promised, 1),))) or ()
        pool.take(held, _HELD)
        return held

    def _let_go(self, promise: Promise, held: Placement) -> None:
        promise.pool.give(held, _HELD)

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""
        for line in self.lines.values():
            yield from line


def _by_share(entry: Entry) -> tuple[float, int]:
    """Order of tenants, then of submission."""
    return (entry[2].account.share, entry[1])


def _latest(now_s: float, start_s: float) -> float:
    """The longest run that, started now, ends by the promised start; exact where the subtraction rounds."""
    longest_s = start_s - now_s
    while now_s + longest_s > start_s:
        longest_s = math.nextafter(longest_s, -math.inf)
    return longest_s


_HELD = Gang(0, ())
"""GPUs that are held for a promise; they need no cores."""
