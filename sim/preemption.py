"""Taking GPUs from running jobs: who may be displaced for whom, and as few of them as will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.partition import Partition, Shape, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sim.cluster import Gang, Placement, Pool
    from sim.job import Job
    from sim.ranking import Rank


def place(partition: Partition, job: Job, now_s: float, *, known: bool) -> Site | None:
    """A place for the job: among the free GPUs, else on those of jobs that it displaces; None if neither.

    `known` says that the job found no place when it last asked; then only nodes that were loosened since can
    help it. Those it displaces have lost their GPUs on return; the free GPUs of the place are not yet taken.
    """
    if not partition.displaces:
        return partition.find(job)
    if known and not helped(partition, job, now_s):
        return None
    shape = job.shape
    if shape.plain and shape.only_in is not None and job.was is None:
        return _place_on_one_node(partition, job, shape.only_in, now_s)
    site = partition.find(job) if job.was is None else partition.old_site(job, now_s) or partition.find(job)
    if site is not None or not partition.allows(shape):
        return site
    for pool, gang in shape.options:
        victims = _victims(partition, job, pool, gang, now_s)
        if victims:
            left = victims[0].site[2] if victims[0].site else ()
            for victim in victims:
                partition.displace(victim, now_s)
            if shape.plain and len(victims) == 1 == len(left):
                return pool, gang, ((left[0][0], gang.gpus),)
            return partition.find(job)
    return None


def _place_on_one_node(partition: Partition, job: Job, pool: Pool, now_s: float) -> Site | None:
    """As `place`, for a job that has not just lost its GPUs and asks for nothing but enough on one node."""
    gang = job.shape.options[0][1]
    if not pool.levels >> job.gpus:
        victims = _victims_on_one_node(partition, job, pool, now_s)
        if not victims:
            return None
        left = victims[0].site[2] if victims[0].site else ()
        for victim in victims:
            partition.displace(victim, now_s)
        if len(victims) == 1 == len(left):
            return pool, gang, ((left[0][0], job.gpus),)
    placement = partition.rule.find(pool, gang)
    return None if placement is None else (pool, gang, placement)


def helped(partition: Partition, job: Job, now_s: float) -> bool:
    """Whether a job that found no place may find one now: a loosened node has room for some part of its gang.

    Room is what is free and what the job may displace there.

    On every other node no more is possible than when the job found no place: running jobs only gain rank.
    Where that says nothing the answer is yes.
    """
    if not partition.tells:
        return True
    own: Rank = ()
    for pool, gang in job.shape.options:
        narrowest, free, first, nodes = gang.parts[-1][0], pool.free, pool.first_node, pool.nodes
        for node, before in partition.loosened.items():
            if not 0 <= node - first < nodes or free[node - first] <= before:
                continue
            if free[node - first] >= narrowest:
                return True
            own = own or partition.order.rank(job, now_s)
            missing = narrowest - free[node - first]
            if own < partition.weakest and partition.has_room(node, missing, own, now_s):
                return True
    return False


def is_spent(partition: Partition) -> bool:
    """Whether what was freed at this moment is taken again, so that nobody who waits is `helped` by it."""
    if not partition.tells:
        return False
    for pool in partition.pools:
        free, first, nodes = pool.free, pool.first_node, pool.nodes
        for node, before in partition.loosened.items():
            if 0 <= node - first < nodes and free[node - first] > before:
                return False
    return True


def hopeful(partition: Partition, now_s: float) -> list[Shape]:
    """The waiting shapes whose first job may find a place: one that is helped, or has not been tried yet."""
    waiting = partition.waiting.values()
    if len(partition.loosened) != 1 or len(partition.pools) != 1 or not partition.tells:
        return [
            shape
            for alike in waiting
            for shape in alike
            if (head := shape.line.first) is not None
            and (head[2].marks is None or helped(partition, head[2], now_s))
        ]
    (pool,), ((node, before),), rank = partition.pools, partition.loosened.items(), partition.order.rank
    free = pool.free[node - pool.first_node]
    more = free > before
    weakest, timeless = partition.weakest, partition.timeless
    has_room = partition.has_room
    found = []
    for alike in waiting:
        for shape in alike:
            head = shape.line.first
            if head is None:
                continue
            job = head[2]
            if job.marks is not None:
                if not more:
                    continue
                narrowest = shape.narrowest or shape.options[0][1].parts[-1][0]
                if free < narrowest:
                    own = job.rank if timeless else rank(job, now_s)
                    if own >= weakest or not has_room(node, narrowest - free, own, now_s):
                        continue
            found.append(shape)
    return found


def _victims(partition: Partition, job: Job, pool: Pool, gang: Gang, now_s: float) -> list[Job]:
    """The running jobs of the pool that make room when they go; empty when all that may go are not enough.

    The weakest go first until the job fits. Then, strongest first, each is spared that the job does not need.
    The pool is tried out on and left as it was.
    """
    rule = partition.rule
    if job.shape.plain or (
        gang.parts[0] == (gang.gpus, 1) and not (gang.local or gang.needs_host or rule.anywhere)
    ):
        return _victims_on_one_node(partition, job, pool, now_s)
    room = _Room(pool, gang, anywhere=rule.anywhere)
    tried: list[Job] = []
    for victim in _weaker(partition, job, now_s):
        if victim.site is None or victim.site[0] is not pool or victim.started_s == now_s:
            continue
        tried.append(victim)
        if not room.add(victim.site[2]):
            continue
        going = [victim for victim in tried if room.useful(victim)]
        for each in going:
            _give(each)
        needed = _spare(pool, gang, going, rule.fits) if rule.fits(pool, gang) else []
        for each in needed or going:
            _take(each)
        if needed:
            return needed
    return []


def _victims_on_one_node(partition: Partition, job: Job, pool: Pool, now_s: float) -> list[Job]:
    """As `_victims`, for a job that asks for nothing but enough GPUs on one node: counting them is enough."""
    free, first, gpus = pool.free, pool.first_node, job.gpus
    running = partition.running
    weaker: Iterable[Job]
    if running.jobs and partition.order.steady and not partition.reclaims:
        # most often the weakest alone is enough
        rank, weakest = running.worst
        own = partition.order.rank(job, now_s)
        if rank <= own:
            return []
        site = weakest.site
        if site is not None and site[0] is pool and len(site[2]) == 1 and weakest.started_s != now_s:
            ((node, held),) = site[2]
            if free[node - first] + held >= gpus:
                return [weakest]
        weaker = running.worse_than(own)
    else:
        weaker = _weaker(partition, job, now_s)
    room: dict[int, int] = {}
    tried: list[Job] = []
    for victim in weaker:
        site = victim.site
        if victim.started_s == now_s or site is None or site[0] is not pool:
            continue
        tried.append(victim)
        enough = None
        for node, held in site[2]:
            room[node] = after = (room[node] if node in room else free[node - first]) + held
            if after >= gpus:
                enough = enough or {}
                enough[node] = after
        if enough:
            return _needed(tried, enough, gpus) if len(tried) > 1 else tried
    return []


def _needed(tried: list[Job], room: dict[int, int], gpus: int) -> list[Job]:
    """Of jobs whose GPUs would be free on nodes with room, those that must go for one node to have enough."""
    needed = []
    if len(room) == 1:
        ((only, most),) = room.items()
        for victim in reversed(tried):
            for node, taken in victim.site[2] if victim.site else ():
                if node == only:
                    if most - taken >= gpus:
                        most -= taken
                    else:
                        needed.append(victim)
        return needed
    for victim in reversed(tried):
        held = {node: taken for node, taken in victim.site[2] if node in room} if victim.site else {}
        if not held:
            continue
        left = {node: free - held.get(node, 0) for node, free in room.items()}
        if max(left.values()) >= gpus:
            room = left
        else:
            needed.append(victim)
    return needed


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


def _weaker(partition: Partition, job: Job, now_s: float) -> Iterable[Job]:
    """Running jobs that the job may displace, weakest first; but not those that started at this moment."""
    if partition.reclaims:
        return _borrowers(partition, job, now_s)
    rank = partition.order.rank
    own = rank(job, now_s)
    if partition.order.steady:
        return partition.running.worse_than(own)
    ranked = sorted(((rank(running, now_s), running) for _, running in partition.running), reverse=True)
    return [running for other, running in ranked if other > own]


def _borrowers(partition: Partition, job: Job, now_s: float) -> Iterator[Job]:
    """Jobs of tenants above their quota, last started first, while a tenant is still above it.

    Only a job that stays inside its own tenant's quota may take them.
    """
    account = job.account
    if account.gpus + job.gpus > account.quota_gpus:
        return
    held = {other.tenant: other.gpus for other in partition.accounts.values()}
    for running in partition.running.worst_first():
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
