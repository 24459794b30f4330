"""Conservative backfill: everybody has a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from sim.blocking.queue import Blocking
from sim.cluster import Pool
from sim.log import NO_JOB
from sim.partition import earliest_end_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sim.cluster import Gang, Placement
    from sim.job import Job
    from sim.partition import Partition, Site
    from sim.placement import PlacementRule


class Conservative(Blocking):
    """Every job is promised a start on named nodes at submission: the earliest that delays no other promise.

    When a job ends before its estimate, promises move forward one by one, in the order of the queue, and none
    moves back (Mu'alem and Feitelson, IEEE TPDS 2001). When a job outlives its estimate, those whose GPUs it
    holds move back, which is logged, and so do promises when nodes leave; nobody is promised anything for
    whom too few are in service. Every such surprise plans the whole queue again, so runs with wrong estimates
    and long queues are slow.
    """

    kind: Literal["conservative"] = "conservative"
    reserves: ClassVar[bool] = True
    plans_all: ClassVar[bool] = True

    def queue(self, partition: Partition) -> ConservativeQueue:
        """An empty queue for a partition."""
        partition.rank = earliest_end_first
        return ConservativeQueue(partition)


@dataclass(slots=True)
class Plan:
    """The promised start of a job and its place; none, and never, where too few nodes are in service."""

    job: Job
    start_s: float = math.inf
    site: Site | None = None

    @property
    def end_s(self) -> float:
        """When the job is expected to end if it starts as promised."""
        return self.start_s + self.job.remaining_s


class Profile:
    """Free GPUs on each node of a pool from now on: a step function of time that ends in an endless step."""

    def __init__(self, pool: Pool, now_s: float) -> None:
        self.pool = pool
        self.times_s = [now_s]
        self.free: list[NDArray[np.int64]] = [np.array(pool.free, dtype=np.int64)]

    def add(self, placement: Placement, sign: int, start_s: float, end_s: float) -> None:
        """Free (+1) or hold (-1) GPUs over a span of time."""
        first, last = self._cut(start_s), self._cut(end_s)
        for step in range(first, last):
            for node, gpus in placement:
                self.free[step][node - self.pool.first_node] += sign * gpus

    def _cut(self, at_s: float) -> int:
        """The step that begins at a time; made where there is none."""
        if at_s == np.inf:
            return len(self.times_s)
        step = int(np.searchsorted(self.times_s, at_s))
        if step == len(self.times_s) or self.times_s[step] != at_s:
            self.times_s.insert(step, at_s)
            self.free.insert(step, self.free[step - 1].copy())
        return step

    def forget_before(self, now_s: float) -> None:
        """Drop the past."""
        step = self._cut(now_s)
        del self.times_s[:step], self.free[:step]

    def earliest(self, gang: Gang, run_s: float, rule: PlacementRule) -> tuple[float, Placement] | None:
        """The earliest start at which one place stays free for the whole run, and that place."""
        free = np.stack(self.free)
        for step, start_s in enumerate(self.times_s):
            after = int(np.searchsorted(self.times_s, start_s + run_s))
            lowest = free[step : max(after, step + 1)].min(axis=0)
            if lowest.clip(0).sum() < gang.gpus:
                continue
            placement = rule.find(_pool_with(self.pool, lowest), gang)
            if placement is not None:
                return start_s, placement
        return None


def _pool_with(pool: Pool, free: NDArray[np.int64]) -> Pool:
    """The pool as if these GPUs were free on its nodes."""
    trial = Pool(
        pool.name,
        pool.gpu,
        pool.nodes,
        pool.gpus_per_node,
        pool.first_node,
        pool.nodes_per_rack,
        pool.nodes_per_domain,
    )
    trial.set_free([max(0, int(gpus)) for gpus in free])
    return trial


def _is_free(site: Site) -> bool:
    pool, _, placement = site
    return all(pool.free[node - pool.first_node] >= gpus for node, gpus in placement)


class ConservativeQueue:
    """The plans of everybody who waits, and what they leave free over time."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.plans: dict[int, Plan] = {}
        self.unplanned: list[Job] = []
        self.profiles: dict[str, Profile] = {}

    def add(self, job: Job) -> None:
        """A job waits."""
        self.unplanned.append(job)

    def offer(self, job: Job, now_s: float) -> None:
        """One job is added while nothing is freed."""
        self.add(job)
        self.settle(now_s, (job,), freed=False)

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Plan the fresh jobs, start those whose promised time has come."""
        del fresh, freed
        partition = self.partition
        late = [
            job for (end_s, *_), job in takewhile(lambda ranked: ranked[0][0] <= now_s, partition.running)
        ]
        if not late and partition.overran is not None and self._overdue(now_s):
            late = [partition.overran]
        if late or partition.nodes_changed or (partition.loses_nodes and self._overdue(now_s)):
            self._plan_again(now_s, late[0].index if late else NO_JOB)
        elif partition.surprised:
            self._move_forward(now_s)
        elif not self.profiles:
            self._build(now_s)
        else:
            for profile in self.profiles.values():
                profile.forget_before(now_s)
        partition.surprised = partition.nodes_changed = False
        key = partition.order.key
        for job in sorted(self.unplanned, key=lambda job: (key(job), job.index)):
            self._promise(job)
        self.unplanned.clear()
        for plan in sorted(
            self.plans.values(), key=lambda plan: (plan.start_s, key(plan.job), plan.job.index)
        ):
            if plan.start_s > now_s:
                break
            if plan.site is None or not _is_free(plan.site):
                continue  # a job that takes no time leaves it within this moment, or one hangs there
            del self.plans[plan.job.index]
            partition.start(plan.job, plan.site, now_s)

    def _overdue(self, now_s: float) -> bool:
        """Whether somebody should have started already, but for a job that ended late."""
        return any(plan.start_s < now_s for plan in self.plans.values())

    def _build(self, now_s: float) -> None:
        """Profiles of what the running jobs leave free."""
        self.profiles = {pool.name: Profile(pool, now_s) for pool in self.partition.pools}
        for end_s, _, job in self.partition.expected_ends(now_s):
            if job.site is not None:
                self.profiles[job.site[0].name].add(job.site[2], +1, end_s, np.inf)

    def _promise(self, job: Job) -> Plan:
        """Reserve the earliest start; the first pool wins a tie."""
        best = Plan(job)
        for pool, gang in job.shape.options:
            found = self.profiles[pool.name].earliest(gang, job.remaining_s, self.partition.rule)
            if found is not None and found[0] < best.start_s:
                best = Plan(job, found[0], (pool, gang, found[1]))
        if best.site is None and not self.partition.loses_nodes:
            raise AssertionError(f"{job}, which the empty pool holds, finds no place in an endless future")
        self._hold(best, -1)
        self.plans[job.index] = best
        return best

    def _hold(self, plan: Plan, sign: int) -> None:
        if plan.site is not None:
            self.profiles[plan.site[0].name].add(plan.site[2], sign, plan.start_s, plan.end_s)

    def _in_order(self) -> list[Plan]:
        return sorted(self.plans.values(), key=lambda plan: (plan.start_s, plan.job.index))

    def _move_forward(self, now_s: float) -> None:
        """GPUs came free early: each job in turn may take an earlier start, none a later one."""
        self._build(now_s)
        plans = self._in_order()
        for plan in plans:
            self._hold(plan, -1)
        for plan in plans:
            self._hold(plan, +1)
            self._promise(plan.job)

    def _plan_again(self, now_s: float, late: int) -> None:
        """A job has outlived its estimate, or nodes changed: plan all anew, in the order of old promises."""
        self._build(now_s)
        for plan in self._in_order():
            renewed = self._promise(plan.job)
            if renewed.start_s > plan.start_s:
                self.partition.log.moved_reservations.append(
                    (now_s, plan.job.index, plan.start_s, renewed.start_s, late)
                )

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""
        for plan in self.plans.values():
            yield plan.job
        yield from self.unplanned
