"""Taking GPUs from running jobs: who may be displaced for whom, and as few of them as will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.partition import Partition, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.cluster import Gang, Pool
    from sim.job import Job


def place(partition: Partition, job: Job, now_s: float) -> Site | None:
    """A place for the job: among the free GPUs, else on the GPUs of jobs that it displaces; None if neither will do.

    Those it displaces have lost their GPUs on return; the free GPUs of the place are not yet taken.
    """
    site = partition.find(job)
    if site is not None or not (partition.preempts or partition.reclaims):
        return site
    if not partition.allows(job.shape):
        return None
    for pool, gang in job.shape.options:
        victims = _victims(partition, job, pool, gang, now_s)
        if victims:
            for victim in victims:
                partition.displace(victim, now_s)
            return partition.find(job)
    return None


def _victims(partition: Partition, job: Job, pool: Pool, gang: Gang, now_s: float) -> list[Job]:
    """The running jobs of the pool that make room when they go; empty when all that may go are not enough.

    The weakest go first until the job fits. Then, strongest first, each is spared that the job does not need. The
    pool is tried out on and left as it was.
    """
    tried: list[Job] = []
    wanted = gang.gpus - pool.free_gpus
    weaker = _weaker(partition, job, now_s)
    for victim in weaker:
        if victim.site is not None and victim.site.pool is pool:
            tried.append(victim)
            wanted -= victim.gpus
            if wanted <= 0:
                break
    if wanted > 0:
        return []
    for victim in tried:
        _give(victim)
    fits = partition.rule.fits
    while not fits(pool, gang):
        following = next((v for v in weaker if v.site is not None and v.site.pool is pool), None)
        if following is None:
            for victim in tried:
                _take(victim)
            return []
        tried.append(following)
        _give(following)
    needed = []
    for victim in reversed(tried):
        if _still_free(pool, victim):
            _take(victim)
            if fits(pool, gang):
                continue
            _give(victim)
        needed.append(victim)
    for victim in needed:
        _take(victim)
    return needed


def _weaker(partition: Partition, job: Job, now_s: float) -> Iterator[Job]:
    """Running jobs that the job may displace, weakest first."""
    if partition.reclaims:
        yield from _borrowers(partition, job)
        return
    rank = partition.order.rank
    own = rank(job, now_s)
    if partition.order.steady:
        for other, running in reversed(partition.running):
            if other <= own:
                return
            yield running
        return
    ranked = sorted(((rank(running, now_s), running) for _, running in partition.running), reverse=True)
    for other, running in ranked:
        if other <= own:
            return
        yield running


def _borrowers(partition: Partition, job: Job) -> Iterator[Job]:
    """Jobs of tenants above their quota, last started first, while a tenant is still above it.

    Only a job that stays inside its own tenant's quota may take them.
    """
    account = job.account
    if account.gpus + job.gpus > account.quota_gpus:
        return
    held = {other.tenant: other.gpus for other in partition.accounts.values()}
    for _, running in reversed(partition.running):
        owner = running.account
        if owner is not account and held[owner.tenant] > owner.quota_gpus:
            held[owner.tenant] -= running.gpus
            yield running


def _give(job: Job) -> None:
    if job.site is not None:
        job.site.pool.give(job.site.placement, job.site.gang)


def _take(job: Job) -> None:
    if job.site is not None:
        job.site.pool.take(job.site.placement, job.site.gang)


def _still_free(pool: Pool, job: Job) -> bool:
    site = job.site
    return site is not None and all(
        pool.free[node - pool.first_node] >= gpus for node, gpus in site.placement
    )
