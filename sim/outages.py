"""Failures, maintenance and repairs as they happen to the nodes and jobs of a simulation.

A failure takes a node (or a rack): what is free there is out of service at once, and jobs that run there
hang until it is noticed; then they go back to the queue with what they have saved, and the node is away
until it is repaired. Failures of a node that is away already do not count: there is nothing left to fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sim.cluster import iterate_bits, touches
from sim.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.cluster import Pool
    from sim.failures import Failure, Failures, FailureTimes, RepairShop
    from sim.job import Job
    from sim.log import Log
    from sim.scheduler import Desk

HOPELESS: Final = 100_000
"""Failures that hit jobs, without any job ending meanwhile, after which there is no end in sight."""
MAINTENANCE: Final = "maintenance"


class Clock(Protocol):
    """What outages need of the clock."""

    def call_at(self, time_s: float, what: Callable[[float], None]) -> None:
        """Something happens at a time."""

    def set_alarm(self, job: Job, what: int, time_s: float) -> None:
        """Ring for a job, and for nothing else of it."""


class World(Protocol):
    """What outages need of the simulation."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def log(self) -> Log:
        """What happened so far."""

    @property
    def is_over(self) -> bool:
        """Whether no job is to come, runs or waits."""

    @property
    def all_came(self) -> bool:
        """Whether no job is to come."""

    def touch(self, desk: Desk) -> None:
        """A desk has to decide at this moment."""

    def running(self) -> Iterator[Job]:
        """Jobs that hold GPUs."""

    def pause(self, job: Job, now_s: float) -> None:
        """A running job goes on no more, though it holds its GPUs."""

    def empty(self, node: int) -> None:
        """Nothing is cached on a node any more."""


@dataclass(slots=True)
class _Away:
    """A node out of service: since when, by what, the GPUs held there, and the failures noticed meanwhile."""

    since_s: float
    component: str
    jobs_hit: int
    gpus: int = 0


@dataclass(slots=True)
class Outages:
    """What fails under the jobs of one simulation."""

    spec: Failures
    times: FailureTimes
    shop: RepairShop
    homes: Sequence[tuple[Desk, Pool]]
    """The desk and pool of each node."""
    is_noticed: int
    """The engine's alarm for a failure under a job that is noticed."""
    away: dict[int, _Away] = field(default_factory=dict)
    away_bits: dict[int, int] = field(default_factory=dict)
    """The same nodes as a set, by the first node of their pool."""
    failed: dict[int, int] = field(default_factory=dict)
    """Failures of each node so far."""
    standing_by: dict[int, dict[int, None]] = field(default_factory=dict)
    """Nodes that stand by, by the first node of their pool."""
    coming: set[int] = field(default_factory=set)
    """Spares on their way into service."""
    lent: dict[int, int] = field(default_factory=dict)
    """How many of a pool's spares are in service, by the same."""
    returning: int = 0
    """Nodes that are away and will be back."""
    world: World = field(init=False)
    """The simulation, once it has begun."""
    _in_vain: int = 0
    _ended: int = 0
    _round: int = 0

    def begin(self, world: World) -> None:
        """The simulation begins."""
        self.world = world
        self._set_aside()
        self._wait_for_next()
        rounds = self.spec.maintenance
        if rounds is not None:
            first_s = rounds.every if rounds.first is None else rounds.first
            world.clock.call_at(first_s, self._maintain)

    def _set_aside(self) -> None:
        """The last nodes of each pool stand by."""
        spares = self.spec.spares
        pools = {} if spares is None else {pool.first_node: (desk, pool) for desk, pool in self.homes}
        for first, (desk, pool) in pools.items():
            count = 0 if spares is None else min(spares.nodes, pool.nodes - 1)
            own = [first + pool.nodes - 1 - place for place in range(count)]
            for node in own:
                desk.partition.take_out(pool, node)
            self.standing_by[first] = dict.fromkeys(own)

    def _is_idle(self, node: int) -> bool:
        """Whether a node is away, or a spare that is not in service, so that there is nothing to fail."""
        if node in self.away or node in self.coming:
            return True
        return node in self.standing_by.get(self.homes[node][1].first_node, ())

    def _stand_in(self, node: int, noticed_s: float) -> None:
        """A spare takes the place of a node, if there is one."""
        desk, pool = self.homes[node]
        spares, ready = self.spec.spares, self.standing_by.get(pool.first_node)
        if spares is None or not ready:
            return
        spare, _ = ready.popitem()
        self.coming.add(spare)
        self.lent[pool.first_node] = self.lent.get(pool.first_node, 0) + 1
        self.returning += 1

        def happen(now_s: float) -> None:
            del now_s
            self.returning -= 1
            self.coming.discard(spare)
            self._bring_back(desk, pool, spare, pool.gpus_per_node)

        self.world.clock.call_at(noticed_s + spares.after, happen)

    def _bring_back(self, desk: Desk, pool: Pool, node: int, gpus: int) -> None:
        """A node is in service again; where nobody waits or can be displaced, there is nothing to decide."""
        desk.partition.bring_back(pool, node, gpus)
        if desk.partition.displaces or not desk.idle:
            desk.bring_back()
            self.world.touch(desk)

    # ---- what happens

    def _wait_for_next(self) -> None:
        if self.times.next_s < math.inf:
            self.world.clock.call_at(self.times.next_s, self._strike)

    def _strike(self, now_s: float) -> None:
        """The next failure strikes, unless all is over."""
        if self.world.is_over or self._is_stuck:
            return
        if self.times.next_s > now_s:
            self._wait_for_next()  # a node was cured meanwhile, and it comes later
            return
        failure = self.times.pop()
        nodes = [node for node in failure.nodes if not self._is_idle(node)]
        if nodes:
            self._fail(failure, nodes, now_s)
        self._wait_for_next()

    @property
    def _is_stuck(self) -> bool:
        """Whether those who wait could only run on nodes that never come back."""
        if self.returning:
            return False
        return self.world.all_came and next(self.world.running(), None) is None

    def _fail(self, failure: Failure, nodes: Sequence[int], now_s: float) -> None:
        hit = self._hang(nodes, now_s)
        self._check_hope(hit)
        for node in nodes:
            self.failed[node] = self.failed.get(node, 0) + 1
            self._take_out(node, failure.component, len(hit), now_s)
        noticed_s = now_s + (self.spec.detection if hit else 0.0)
        for node in nodes:
            lemons = self.spec.lemons
            if lemons is not None and lemons.out_after is not None and self.failed[node] >= lemons.out_after:
                continue  # health checks have had enough of it
            back_s = self.shop.done_s(noticed_s, failure.repair_s)
            self._return_at(back_s, node, repaired=True)
        for node in nodes:
            self._stand_in(node, noticed_s)

    def _maintain(self, now_s: float) -> None:
        """A round of maintenance: the next nodes are taken out, jobs on them are stopped at once."""
        rounds = self.spec.maintenance
        if rounds is None or self.world.is_over:
            return
        count = len(self.homes)
        nodes = [(self._round * rounds.nodes + n) % count for n in range(min(rounds.nodes, count))]
        self._round += 1
        nodes = [node for node in nodes if not self._is_idle(node)]
        hit = self._hang(nodes, now_s, planned=True)
        for node in nodes:
            self._take_out(node, MAINTENANCE, len(hit), now_s)
            self._return_at(now_s + rounds.lasts, node)
            self._stand_in(node, now_s)
        self.world.clock.call_at(now_s + rounds.every, self._maintain)

    def _hang(self, nodes: Sequence[int], now_s: float, *, planned: bool = False) -> list[Job]:
        """Jobs on some nodes do no more work until it is noticed that something failed."""
        wanted = set(nodes)
        hit = []
        for job in sorted(self.world.running(), key=_by_index):
            site = job.site
            if site is None or not touches(site[2], wanted):
                continue
            desk = self.homes[site[2][0][0]][0]
            if job not in desk.partition.struck:
                hit.append(job)
                desk.partition.hang(job, now_s)
                self.world.pause(job, now_s)
                at_s = now_s if planned else now_s + self.spec.detection
                self.world.clock.set_alarm(job, self.is_noticed, at_s)
        return hit

    def _take_out(self, node: int, component: str, jobs_hit: int, now_s: float) -> None:
        desk, pool = self.homes[node]
        self.away[node] = _Away(now_s, component, jobs_hit, desk.partition.take_out(pool, node))
        self.away_bits[pool.first_node] = self.away_bits.get(pool.first_node, 0) ^ 1 << node - pool.first_node

    def freed(self, desk: Desk) -> None:
        """A job that had hung has given up its GPUs: those of nodes that are away are out of service too."""
        for pool in desk.partition.pools:
            first = pool.first_node
            for place in iterate_bits(self.away_bits.get(first, 0) & ~pool.buckets[0]):
                self.away[first + place].gpus += desk.partition.take_out(pool, first + place)

    def _return_at(self, time_s: float, node: int, *, repaired: bool = False) -> None:
        """A node will be back at a time."""

        def happen(now_s: float) -> None:
            self.returning -= 1
            if repaired:
                self.times.repaired(node, now_s)
                self.world.empty(node)
            away = self.away.pop(node)
            desk, pool = self.homes[node]
            self.away_bits[pool.first_node] ^= 1 << node - pool.first_node
            self.world.log.outages.append((node, away.since_s, now_s, away.component, away.jobs_hit))
            if self.lent.get(pool.first_node) and away.gpus == pool.gpus_per_node:
                self.lent[pool.first_node] -= 1
                self.standing_by[pool.first_node][node] = None
                return
            self._bring_back(desk, pool, node, away.gpus)

        self.returning += 1
        self.world.clock.call_at(time_s, happen)

    def close(self, end_s: float) -> None:
        """The simulation ends: nodes that are away stay so."""
        for node, away in sorted(self.away.items()):
            self.world.log.outages.append((node, away.since_s, end_s, away.component, away.jobs_hit))
        self.away.clear()

    def _check_hope(self, hit: Sequence[Job]) -> None:
        """PlanError where jobs are hit for ever and none ends."""
        ended = len(self.world.log.runs)
        done = sum(run[3] == 0 for run in self.world.log.runs[self._ended :])
        self._ended = ended
        self._in_vain = 0 if done else self._in_vain + len(hit)
        if self._in_vain > HOPELESS:
            raise PlanError(
                f"failures stopped jobs {HOPELESS:,} times in a row without any job ending;"
                " give jobs checkpoints, or state rarer failures"
            )


def _by_index(job: Job) -> int:
    return job.index
