"""Taking GPUs from running jobs: who may be displaced for whom, and as few of them as will do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sim.partition import Partition, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.cluster import Gang, Placement, Pool
    from sim.job import Job


def place(partition: Partition, job: Job, now_s: float, *, known: bool) -> Site | None:
    """A place for the job: among the free GPUs, else on those of jobs that it displaces; None if neither.

    `known` says that the job found no place when it last asked; then only nodes that were loosened since can
    help it. Those it displaces have lost their GPUs on return; the free GPUs of the place are not yet taken.
    """
    if not partition.displaces:
        return partition.find(job)
    if known and not helped(partition, job, now_s):
        return None
    site = partition.old_site(job, now_s) or partition.find(job)
    if site is not None or not partition.allows(job.shape):
        return site
    for pool, gang in job.shape.options:
        victims = _victims(partition, job, pool, gang, now_s)
        if victims:
            for victim in victims:
                partition.displace(victim, now_s)
            return partition.find(job)
    return None


def helped(partition: Partition, job: Job, now_s: float) -> bool:
    """Whether a job that found no place may find one now: a loosened node has room for some part of its gang.

    Room is what is free and what the job may displace there.

    On every other node no more is possible than when the job found no place: running jobs only gain rank.
    Where that says nothing (a quota may have been the reason, or GPUs count anywhere) the answer is yes.
    """
    if partition.limited or partition.reclaims or partition.rule.anywhere:
        return True
    order = partition.order
    own = order.rank(job, now_s)
    has_room = _has_room if order.steady else partial(_has_room_now, now_s)
    for pool, gang in job.shape.options:
        narrowest, first = gang.parts[-1][0], pool.first_node
        for node in partition.loosened:
            if 0 <= node - first < pool.nodes and has_room(partition, pool, node, narrowest, own):
                return True
    return False


def _has_room_now(
    now_s: float, partition: Partition, pool: Pool, node: int, gpus: int, own: tuple[float, ...]
) -> bool:
    """As `_has_room`, for orders whose running jobs change places: their ranks are those of this moment."""
    rank = partition.order.rank
    weaker = (held for running, held in partition.on_node[node].items() if rank(running, now_s) > own)
    return pool.free[node - pool.first_node] + sum(weaker) >= gpus


def _has_room(partition: Partition, pool: Pool, node: int, gpus: int, own: tuple[float, ...]) -> bool:
    """Whether so many GPUs of a node are free or held by jobs of worse rank; stops once that is settled."""
    missing = gpus - pool.free[node - pool.first_node]
    if missing <= 0:
        return True
    held_for_good = pool.gpus_per_node - gpus
    if not held_for_good:
        return own < partition.strongest(node)
    for running, held in partition.on_node[node].items():
        if running.rank > own:
            missing -= held
            if missing <= 0:
                return True
        else:
            held_for_good -= held
            if held_for_good < 0:
                return False
    return False


def _victims(partition: Partition, job: Job, pool: Pool, gang: Gang, now_s: float) -> list[Job]:
    """The running jobs of the pool that make room when they go; empty when all that may go are not enough.

    The weakest go first until the job fits. Then, strongest first, each is spared that the job does not need.
    The pool is tried out on and left as it was.
    """
    fits = partition.rule.fits
    if partition.order.steady and not partition.reclaims and not partition.outranks(job, now_s):
        return []
    plain = len(gang.parts) == 1 and not gang.local and not gang.needs_host
    room: _Room | None = None
    tried: list[Job] = []
    for victim in _weaker(partition, job, now_s):
        if victim.site is None or victim.site[0] is not pool:
            continue
        tried.append(victim)
        if room is None:
            if plain and _enough_alone(pool, gang, victim.site[2]):
                return tried
            room = _Room(pool, gang, anywhere=partition.rule.anywhere)
        if not room.add(victim.site[2]):
            continue
        going = [victim for victim in tried if room.useful(victim)]
        for each in going:
            _give(each)
        needed = _spare(pool, gang, going, fits) if fits(pool, gang) else []
        for each in needed or going:
            _take(each)
        if needed:
            return needed
    return []


def _enough_alone(pool: Pool, gang: Gang, placement: Placement) -> bool:
    """Whether a gang that asks for one node fits where a single running job goes."""
    (width, count), (node, gpus) = gang.parts[0], placement[0]
    return count == 1 and pool.free[node - pool.first_node] + gpus >= width


def _spare(pool: Pool, gang: Gang, going: list[Job], fits: Callable[[Pool, Gang], bool]) -> list[Job]:
    """Of jobs whose GPUs are free for trial, those that the gang needs gone; the others get theirs back."""
    needed = []
    for victim in reversed(going):
        _take(victim)
        if not fits(pool, gang):
            _give(victim)
            needed.append(victim)
    return needed


class _Room:
    """Counts, without touching the pool, whether enough nodes would have room for the parts of a gang."""

    def __init__(self, pool: Pool, gang: Gang, *, anywhere: bool) -> None:
        self.pool = pool
        self.anywhere = anywhere
        self.missing_gpus = gang.gpus - pool.free_gpus
        self.extra: dict[int, int] = {}
        self.narrowest = gang.parts[-1][0]
        self.missing: list[list[int]] = []
        needed = 0
        for width, count in gang.parts:
            needed += count
            self.missing.append([width, needed - pool.nodes_with(width).bit_count()])

    def add(self, placement: Placement) -> bool:
        """These GPUs would be free too: is that enough?"""
        first, free, extra = self.pool.first_node, self.pool.free, self.extra
        for node, gpus in placement:
            self.missing_gpus -= gpus
            before = free[node - first] + extra.get(node, 0)
            extra[node] = extra.get(node, 0) + gpus
            for width_missing in self.missing:
                if before < width_missing[0] <= before + gpus:
                    width_missing[1] -= 1
        if self.anywhere or self.missing_gpus > 0:
            return self.missing_gpus <= 0
        return all(missing <= 0 for _, missing in self.missing)

    def useful(self, job: Job) -> bool:
        """Whether the job holds GPUs on a node that could take a part."""
        if self.anywhere:
            return True
        first, free, extra = self.pool.first_node, self.pool.free, self.extra
        placement = () if job.site is None else job.site[2]
        return any(free[node - first] + extra[node] >= self.narrowest for node, _ in placement)


def _weaker(partition: Partition, job: Job, now_s: float) -> Iterator[Job]:
    """Running jobs that the job may displace, weakest first; none that started at this very moment."""
    if partition.reclaims:
        yield from _borrowers(partition, job, now_s)
        return
    rank = partition.order.rank
    own = rank(job, now_s)
    if partition.order.steady:
        for other, running in reversed(partition.running):
            if other <= own:
                return
            if running.started_s != now_s:
                yield running
        return
    ranked = sorted(((rank(running, now_s), running) for _, running in partition.running), reverse=True)
    for other, running in ranked:
        if other <= own:
            return
        if running.started_s != now_s:
            yield running


def _borrowers(partition: Partition, job: Job, now_s: float) -> Iterator[Job]:
    """Jobs of tenants above their quota, last started first, while a tenant is still above it.

    Only a job that stays inside its own tenant's quota may take them.
    """
    account = job.account
    if account.gpus + job.gpus > account.quota_gpus:
        return
    held = {other.tenant: other.gpus for other in partition.accounts.values()}
    for _, running in reversed(partition.running):
        owner = running.account
        if running.started_s != now_s and owner is not account and held[owner.tenant] > owner.quota_gpus:
            held[owner.tenant] -= running.gpus
            yield running


def _give(job: Job) -> None:
    if job.site is not None:
        pool, gang, placement = job.site
        pool.give(placement, gang)


def _take(job: Job) -> None:
    if job.site is not None:
        pool, gang, placement = job.site
        pool.take(placement, gang)
