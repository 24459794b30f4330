"""What a user says about scheduling, and the desk of one partition that carries it out, moment by moment."""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sim.blocking import BLOCKING, Blocking, Greedy
from sim.partition import Partition, PreemptionCost
from sim.parts import Part, Seconds
from sim.placement import PLACEMENT, Consolidate, PlacementRule
from sim.policies import POLICIES, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sim.cluster import Pool
    from sim.job import Job
    from sim.log import Log, Outcome
    from sim.tenancy import Account


def _short_form(value: Any) -> Any:  # noqa: ANN401  whatever the user wrote
    """`fifo` is short for `{kind: fifo}`."""
    return {"kind": value} if isinstance(value, str) else value


def _choice(registry: Mapping[str, type[Part]]) -> Any:  # noqa: ANN401  a type made from the registry
    """One of the parts of a shelf, told by its `kind`."""
    union = reduce(or_, registry.values())
    return Annotated[Annotated[union, Field(discriminator="kind")], BeforeValidator(_short_form)]


class EstimateSpec(Part):
    """What the scheduler believes about run times."""

    source: Literal["exact", "user"] = Field(
        "exact", alias="from", description="the true run time, or the limit that the user stated with the job"
    )
    factor: float = Field(1.0, gt=0, description="the estimate is multiplied by this")
    on_overrun: Literal["extend", "kill"] = Field(
        "extend",
        description="a job that outlives its estimate goes on, or is killed as at a wall-clock limit",
    )


class PreemptionSpec(Part):
    """What it costs a job to lose its GPUs."""

    checkpoint_every: Seconds = Field(
        0.0, description="work between checkpoints; what came after the last one is lost; 0 loses nothing"
    )
    restart: Seconds = Field(0.0, description="time to load the saved state, with the GPUs held")
    restart_per_gpu: Seconds = Field(0.0, description="more of it for each GPU of the job")


class SchedulerSpec(Part):
    """Who is served first, who may pass whom, where jobs go, and what may be taken from whom."""

    order: _choice(POLICIES) = Field(  # type: ignore[valid-type]
        POLICIES["fifo"](), description="order of the queue"
    )
    blocking: _choice(BLOCKING) = Field(  # type: ignore[valid-type]
        Greedy(), description="who may pass a job that does not fit"
    )
    placement: _choice(PLACEMENT) = Field(  # type: ignore[valid-type]
        Consolidate(), description="which free GPUs a job gets"
    )
    estimates: EstimateSpec = Field(EstimateSpec(), description="what the scheduler believes about run times")
    preemption: PreemptionSpec | Literal["none"] | None = Field(
        None, description="cost of preemption; orders that preempt by definition do it for free unless told"
    )
    reclaim: bool = Field(
        default=False, description="tenants inside their quota take GPUs back from those who borrow them"
    )

    @property
    def preempts(self) -> bool:
        """Whether waiting jobs displace running ones by the order of the queue."""
        order: Order = self.order
        return order.preemption == "always" or (
            order.preemption == "optional" and isinstance(self.preemption, PreemptionSpec)
        )

    @property
    def cost(self) -> PreemptionCost:
        """What a preempted job loses."""
        spec = self.preemption
        if not isinstance(spec, PreemptionSpec):
            return PreemptionCost()
        return PreemptionCost(spec.checkpoint_every, spec.restart, spec.restart_per_gpu)

    @model_validator(mode="after")
    def _has_a_meaning(self) -> Self:
        if why := list(self._contradictions()):
            raise ValueError("; ".join(why))
        return self

    def _contradictions(self) -> Iterator[str]:
        """Combinations that have no meaning, said for the user."""
        order: Order = self.order
        blocking: Blocking = self.blocking
        name, rule = getattr(order, "kind", ""), getattr(blocking, "kind", "")
        if order.preemption == "always" and self.preemption == "none":
            yield (
                f'order "{name}" preempts by definition, so preemption cannot be "none"; '
                'for shortest jobs first without preemption write order "sjf"'
            )
        if order.preemption == "never" and isinstance(self.preemption, PreemptionSpec) and not self.reclaim:
            yield (
                f'order "{name}" never preempts, so a cost of preemption has no effect; '
                "choose srtf, srsf, las or priority, or set reclaim with quotas"
            )
        if self.preempts and blocking.reserves:
            yield (
                f'blocking "{rule}" promises start times, which order "{name}" would break by preemption; '
                'use "strict" or "greedy"'
            )
        if self.reclaim and blocking.reserves:
            yield f'blocking "{rule}" promises starts, which reclaim would break; use "strict" or "greedy"'
        if self.reclaim and self.preempts:
            yield f'order "{name}" already decides who is displaced; use it or reclaim, not both'
        if order.by_tenant and rule == "conservative":
            yield (
                f'order "{name}" changes with every start, but "conservative" fixes the start of each job '
                'when it is submitted; use "strict", "greedy" or "easy"'
            )
        if blocking.reserves and getattr(self.placement, "patience", 0.0) > 0:
            yield (
                f'blocking "{rule}" promises GPUs that patience would then refuse; set patience to 0 s, '
                'or use "strict" or "greedy"'
            )


class Desk:
    """The scheduler of one partition: jobs come in, jobs end, and once a moment it decides who starts."""

    def __init__(self, partition: Partition, blocking: Blocking) -> None:
        self.partition = partition
        self.queue = blocking.queue(partition)
        self.sinks = partition.order.sinks
        """Whether ranks of running jobs get worse at known times."""
        self._plans_all = blocking.plans_all
        self._may_act = partition.displaces or blocking.reserves
        self._fresh: list[Job] = []
        self._freed = False
        self._gave_up_gpus = False
        self._relaxed = False
        """Whether somebody who is in line already asks anew."""

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a decision."""
        return not self.partition.waiting and not self._fresh

    def submit(self, job: Job) -> None:
        """A job joins the queue; whether it starts is decided when the moment is settled."""
        self._fresh.append(job)

    def finish(self, job: Job, now_s: float, outcome: Outcome) -> bool:
        """A running job has ended; returns whether anybody waits for a decision."""
        partition = self.partition
        partition.stop(job, now_s, outcome)
        if partition.waiting or self._fresh:
            self._freed = self._gave_up_gpus = True
            return True
        if partition.loosened:
            partition.forget_moment()
        return False

    def fail(self, job: Job, now_s: float) -> None:
        """Something under a running job has failed and was noticed: the job waits again."""
        self.partition.fail(job, now_s)
        self.submit(job)
        self._freed = self._gave_up_gpus = True

    def bring_back(self) -> None:
        """GPUs are back in service."""
        self._freed = self._gave_up_gpus = True

    def change_rank(self, job: Job, now_s: float) -> None:
        """A running job's rank gets worse, as its order announced."""
        self.partition.change_rank(job, now_s)
        self._freed = True
        if self.idle:
            self.partition.settle_ranks(math.nextafter(now_s, math.inf))
            self.partition.forget_moment()

    def relax(self, job: Job, now_s: float) -> None:
        """A waiting job gives up its wish for locality."""
        self.partition.relax(job, now_s)
        self.submit(job)
        self._relaxed = True

    def settle(self, now_s: float) -> bool:
        """Decide, after all that happened at this moment, who starts; note why the others wait.

        Returns whether there is anything for the clock: a start, a loss of GPUs, the patience of a newcomer.
        """
        partition, fresh, freed = self.partition, self._fresh, self._freed
        waiting = partition.waiting
        alone = len(fresh) == 1 and not (freed and waiting)
        if alone and not (waiting and self._may_act) and self._settle_newcomer(fresh[0], now_s):
            return bool(partition.begun or partition.impatient)
        if waiting or fresh:
            if alone and not freed:
                self.queue.offer(fresh[0], now_s)
            else:
                for job in fresh:
                    self.queue.add(job)
                self.queue.settle(now_s, fresh, freed=freed)
            if partition.displaced:
                fresh += partition.displaced
            if waiting and (self._gave_up_gpus or partition.begun):
                partition.account_causes(now_s)
            if fresh:
                self._let_wait(now_s)
        if partition.loosened:
            partition.forget_moment()
        if partition.sunk:
            partition.settle_ranks(math.nextafter(now_s, math.inf))
        self._freed = self._gave_up_gpus = self._relaxed = False
        return bool(partition.begun or partition.displaced or partition.impatient)

    def _settle_newcomer(self, job: Job, now_s: float) -> bool:
        """The plain cases of one newcomer: it starts as nobody waits, or too few GPUs are free for it.

        Where others wait, only for queues that do nothing but start jobs on free GPUs.
        """
        partition = self.partition
        if self._relaxed:
            return False
        if not partition.waiting:
            site = None if self._plans_all or partition.sunk else partition.find(job)
            if site is None:
                return False
            partition.start(job, site, now_s)
            if partition.loosened:
                partition.forget_moment()
            self._freed = self._gave_up_gpus = False
        elif job.gpus <= partition.most_free:
            return False
        else:
            self.queue.add(job)
            partition.enter(job, now_s)
        self._fresh.clear()
        return True

    def _let_wait(self, now_s: float) -> None:
        """The newcomers that found no place wait from now on."""
        for job in self._fresh:
            if job.site is None and job.marks is None:
                self.partition.enter(job, now_s)
        self._fresh = []


def desk(
    spec: SchedulerSpec, name: str, pools: Iterable[Pool], log: Log, accounts: Iterable[Account] = ()
) -> Desk:
    """The scheduler of a partition as the user described it. `accounts` are the tenants with quotas there."""
    rule: PlacementRule = spec.placement
    accounts = tuple(accounts)
    partition = Partition(
        name,
        pools,
        rule,
        spec.order,
        log,
        cost=spec.cost,
        preempts=spec.preempts,
        reclaims=spec.reclaim,
        limited=any(account.limit_gpus != float("inf") for account in accounts) or spec.reclaim,
    )
    partition.accounts.update((account.tenant, account) for account in accounts)
    return Desk(partition, spec.blocking)
