"""One virtual cluster at one moment: its pools, who runs, who waits and why. No clock: time is passed in.

A partition is what a blocking rule works on. It finds places, takes and gives GPUs, and keeps the time that
each shape of job has spent waiting for each reason. All jobs of one shape wait for the same reason, so the
reasons are accounted per shape, when they change, and not per job.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sim.cluster import Gang, Placement, Pool, parts_of
from sim.line import Line
from sim.log import CAUSES, Log, Outcome
from sim.ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sim.job import Job
    from sim.placement import PlacementRule
    from sim.policies import Order
    from sim.tenancy import Account

CAPACITY, FRAGMENTATION, QUOTA, ORDER = range(4)
PREEMPTION = 4
ANYBODY: tuple[float, ...] = (math.inf,)
"""A rank that every job's rank is better than."""
DONE, PREEMPTED, FAILED = Outcome.DONE, Outcome.PREEMPTED, Outcome.FAILED
TIMED_OUT, CENSORED = Outcome.TIMED_OUT, Outcome.CENSORED


Site: TypeAlias = tuple[Pool, Gang, Placement]
"""Where a job runs or could run."""
Marks: TypeAlias = tuple[tuple[float, float, float, float], int, float]
"""What a shape had waited when a job joined it: times by cause, the cause then, and for how long already."""


Was: TypeAlias = tuple[
    Site, float, float, float, float, float, float, float, tuple[float, ...], tuple[float, ...]
]
"""A running job as it stood when it lost its GPUs: site, start, GPU-seconds attained, work left, expected
time left, restart time, when it was queued and last displaced, its rank before that, and its rank."""


@dataclass(slots=True, eq=False)
class Shape:
    """What a job asks for, shared by all jobs of one partition that ask for the same.

    `options` are the pools that could hold it, with the gang that it would be there. `account` is set where
    tenants are told apart. While anybody of this shape waits, it has waited for `cause` since `since_s`.
    """

    gpus: int
    options: tuple[tuple[Pool, Gang], ...]
    account: Account | None
    relaxed: Shape | None = None
    """The same without the wish for locality, where there is one to give up."""
    waiting: int = 0
    cause: int = CAPACITY
    since_s: float = 0.0
    waited_s: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Time spent waiting for each reason up to `since_s`; a new tuple whenever the reason changes."""
    line: Line = field(default_factory=Line)
    """Room for a blocking rule that keeps a line per shape."""
    only_in: Pool | None = None
    """The pool, where it is the only option and nothing but room on its nodes matters: no quota, no host."""
    plain: bool = False
    """Whether, there, all that is asked for is one node with enough free GPUs."""
    widest: int = 0
    """GPUs of the widest part of the gang, there."""
    narrowest: int = 0
    """GPUs of the narrowest part."""
    straight: bool = False
    """Whether, there, it asks for one node with enough free GPUs or for wholly free nodes, in the partition's
    only pool: then how many GPUs are free, and which nodes wholly so, tells why it waits."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a job states about where it can run."""

    gpus: int
    nodes: int | None = None
    gpu_kind: str | None = None
    cpus: float = 0.0
    memory_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class PreemptionCost:
    """What it costs a job to lose its GPUs: the work since its last checkpoint, and the time to load that.

    `checkpoint_every_s` counts work since the start of the run; 0 means that nothing is ever lost. Restarting
    takes `restart_s` and `restart_s_per_gpu` for each GPU of the gang, with the GPUs held.
    """

    checkpoint_every_s: float = 0.0
    restart_s: float = 0.0
    restart_s_per_gpu: float = 0.0

    def split(self, job: Job, now_s: float, outcome: Outcome) -> tuple[float, float, float]:
        """A stay on the GPUs that ends now: seconds of work kept, of work lost, and of loading state."""
        elapsed_s = now_s - job.started_s
        loading_s = min(elapsed_s, job.restart_s)
        worked_s = elapsed_s - loading_s
        if outcome is Outcome.TIMED_OUT:
            return 0.0, worked_s, loading_s
        if outcome is Outcome.CENSORED or not self.checkpoint_every_s:
            return worked_s, 0.0, loading_s
        kept_s = math.floor(worked_s / self.checkpoint_every_s) * self.checkpoint_every_s
        return kept_s, worked_s - kept_s, loading_s


def latest_start_last(job: Job, now_s: float) -> tuple[float, ...]:
    """Rank of running jobs where borrowers give GPUs back: who started last has the least to lose."""
    del now_s
    return (job.started_s, job.index)


def earliest_end_first(job: Job, now_s: float) -> tuple[float, ...]:
    """Rank of running jobs where reservations are made: in the order in which they are expected to end."""
    del now_s
    return (job.expected_end_s, job.index)


class Courses(Protocol):
    """What a partition needs of runs whose worth it cannot tell from their length."""

    def close(
        self, job: Job, now_s: float, outcome: Outcome
    ) -> tuple[float, float, float, float, float] | None:
        """What a stay was worth that ends now; None for a job that has no such run."""


class Partition:
    """The pools of one virtual cluster with everybody who runs or waits there.

    `preempts` says that a waiting job may displace running ones of worse rank, `reclaims` that a tenant
    inside its quota may displace those who borrow, `limited` that tenants have quotas.
    """

    loses_nodes = False
    """Whether nodes have been out of service."""
    nodes_changed = False
    """Whether nodes have left or come back since promises were last made."""
    surprised = False
    """Whether a job has ended at another time than expected since a promise was last made."""
    overran: Job | None = None
    """The last job that ended later than expected."""
    courses: Courses | None = None
    """Runs of jobs that share network and stores, where there are any."""
    plain = True
    """Whether nothing fails and no job has checkpoints of its own."""
    seated: dict[Job, None] | None = None
    """Jobs that hold GPUs; kept where not `plain`."""
    _crooked = 0
    """Waiting shapes that are not straight."""
    _looks = (0, 0, 0)
    """Of the only pool, when causes were last accounted: free GPUs, levels, and the wholly free nodes."""

    def __init__(
        self,
        name: str,
        pools: Iterable[Pool],
        rule: PlacementRule,
        order: Order,
        log: Log,
        *,
        cost: PreemptionCost | None = None,
        preempts: bool = False,
        reclaims: bool = False,
        limited: bool = False,
    ) -> None:
        self.name = name
        self.pools = tuple(pools)
        self.rule = rule
        self.order = order
        self.log = log
        self.cost = cost or PreemptionCost()
        self._free_of_cost = self.cost == PreemptionCost()
        self.preempts = preempts
        self._steady = order.steady
        self.reclaims = reclaims
        self.limited = limited
        self.apart = limited or order.by_tenant
        self.timeless = preempts and order.timeless
        """Whether waiting jobs carry their rank."""
        self.accounts: dict[str, Account] = {}
        self.shapes: dict[tuple[Request, str | None], Shape] = {}
        self.waiting: dict[int, dict[Shape, None]] = {}
        """Shapes for which somebody waits, by GPUs."""
        self._lacking: set[int] = set()
        """Widths for which every shape is known to wait for GPUs alone."""
        self.displaces = preempts or reclaims
        """Whether running jobs can lose their GPUs to waiting ones."""
        self.tells = not (limited or reclaims or rule.anywhere)
        """Whether loosened nodes tell who is helped: a quota is never the reason, and not any GPUs do."""
        self.on_node: defaultdict[int, dict[Job, int]] = defaultdict(dict)
        """Running jobs and their GPUs by node, kept where they can be displaced."""
        self.loosened: dict[int, int] = {}
        """Nodes on which GPUs were freed at this moment, with their free GPUs before; -1 if a rank got worse.
        Where no more are free now than before, waiting jobs can do no more there than when they last asked:
        whoever took the GPUs since stands before them, or may be displaced by them like those that left."""
        self.running = Ranking()
        self.rank: Callable[[Job, float], tuple[float, ...]] | None = None
        """How running jobs are ranked; None where nobody needs to know."""
        if preempts:
            self.rank = order.rank
        elif reclaims:
            self.rank = latest_start_last
        self.capacity = (
            float(sum(pool.gpus for pool in self.pools)),
            sum(pool.nodes * pool.cpus_per_node for pool in self.pools),
            sum(pool.nodes * pool.memory_bytes_per_node for pool in self.pools),
        )
        self.begun: list[Job] = []
        """Jobs started since the engine last looked."""
        self.displaced: list[Job] = []
        """Jobs that lost their GPUs since the engine last looked."""
        self.sunk: list[Job] = []
        """Running jobs whose rank got worse at this moment."""
        self.impatient: list[Job] = []
        """Jobs that began to wait for locality since the engine last looked."""
        self.patience_s: float = getattr(rule, "patience", 0.0)
        self.struck: dict[Job, float] = {}
        """Running jobs under which something failed that nobody has noticed yet, and since when they hang."""
        self.swaps = preempts and order.steady and self._free_of_cost and not (reclaims or self.apart)
        """Whether a newcomer may take the GPUs of the weakest job as they are."""

    # ---- what jobs ask for

    def shape(self, request: Request, account: Account) -> Shape | None:
        """The shape of a request; None when no pool could ever hold it, be it empty."""
        self.accounts.setdefault(account.tenant, account)
        key = (request, account.tenant if self.apart else None)
        found = self.shapes.get(key)
        if found is None:
            found = self._new_shape(request, account)
            if not found.options:
                return None
            self.shapes[key] = found
        return found

    def _new_shape(self, request: Request, account: Account) -> Shape:
        owner = account if self.apart else None
        relaxed = Shape(request.gpus, tuple(self._options(request, local=False)), owner)
        if len(relaxed.options) == 1 and owner is None and not self.rule.anywhere:
            pool, gang = relaxed.options[0]
            if not gang.needs_host:
                relaxed.only_in = pool
                relaxed.plain = gang.parts == ((gang.gpus, 1),)
                relaxed.widest, relaxed.narrowest = gang.parts[0][0], gang.parts[-1][0]
                whole = len(gang.parts) == 1 and relaxed.widest == pool.gpus_per_node
                relaxed.straight = len(self.pools) == 1 and (relaxed.plain or whole)
        if not self.patience_s:
            return relaxed
        wishing = Shape(request.gpus, tuple(self._options(request, local=True)), owner, relaxed)
        wishing.line.owner = wishing
        return wishing

    def _options(self, request: Request, *, local: bool) -> Iterator[tuple[Pool, Gang]]:
        for pool in self.pools:
            if request.gpu_kind not in (None, pool.gpu):
                continue
            if request.nodes is not None and request.nodes > request.gpus:
                continue
            gang = Gang(
                request.gpus,
                parts_of(request.gpus, pool.gpus_per_node, request.nodes),
                local,
                request.cpus / request.gpus,
                request.memory_bytes / request.gpus,
            )
            if self.rule.holds(pool, gang):
                if gang.needs_host and pool.host is None and pool.states_host:
                    pool.track_host()
                yield pool, gang

    # ---- places

    def find(self, job: Job) -> Site | None:
        """A place among the free GPUs, in the first pool that has one; None also when the quota is used."""
        shape = job.shape
        account = shape.account
        if account is not None and account.gpus + shape.gpus > account.limit_gpus:
            return None
        gpus, only_in = shape.gpus, shape.only_in
        if only_in is not None and not only_in.levels >> shape.widest:
            return None
        for pool, gang in shape.options:
            if pool.free_gpus >= gpus:
                placement = self.rule.find(pool, gang)
                if placement is not None:
                    return pool, gang, placement
        return None

    def fits(self, shape: Shape) -> bool:
        """Whether a job of this shape would find a place, quotas apart."""
        gpus = shape.gpus
        if shape.plain and shape.only_in is not None:
            return shape.only_in.levels >> gpus != 0
        for pool, gang in shape.options:  # noqa: SIM110  a generator costs more than what it would ask
            if pool.free_gpus >= gpus and self.rule.fits(pool, gang):
                return True
        return False

    def allows(self, shape: Shape) -> bool:
        """Whether the tenant's quota leaves room for one more job of this shape."""
        return shape.account is None or shape.account.allows(shape.gpus)

    def borrows(self, shape: Shape) -> bool:
        """Whether a job of this shape would be a loan that a tenant inside its quota can take back."""
        account = shape.account
        return self.reclaims and account is not None and account.gpus + shape.gpus > account.quota_gpus

    # ---- starting and stopping

    def start(self, job: Job, site: Site, now_s: float) -> None:
        """Give the job its GPUs; its wait, if it had one, is over."""
        if job.marks is not None:
            self.leave(job, now_s)
        if job.was is not None and job.displaced_s == now_s and site is job.was[0]:
            self._resume(job, job.was)
            return
        job.started_s = now_s
        job.expected_end_s = now_s + job.restart_s + job.remaining_s
        job.site = site
        if self.seated is not None:
            self.seated[job] = None
        rank = self.rank
        if rank is None and not self.apart:
            site[0].take(site[2], site[1])
        else:
            self._seat(job, site, () if rank is None else rank(job, now_s))
        self.begun.append(job)

    def _seat(self, job: Job, site: Site, rank: tuple[float, ...]) -> None:
        """Take the GPUs of a site for a job, which is then among those that run."""
        pool, gang, placement = site
        pool.take(placement, gang)
        if self.apart:
            self._charge(job, +1)
        if rank:
            job.rank = rank
            self.running.add(rank, job)
            if self.displaces:
                on_node = self.on_node
                for node, gpus in placement:
                    on_node[node][job] = gpus

    def stop(self, job: Job, now_s: float, outcome: Outcome) -> float:
        """Free the GPUs of a running job and note what its stay was worth; returns the work kept in s."""
        site = job.site
        if site is None:
            raise AssertionError(f"{job} holds nothing")
        pool, gang, placement = site
        job.site = None
        if self.seated is not None:
            del self.seated[job]
        if job.rank and (self.plain or job not in self.struck):
            self._unrank(job, pool, placement)
        pool.give(placement, gang)
        if self.apart:
            self._charge(job, -1)
        if now_s != job.expected_end_s:
            self.surprised = True
            if now_s > job.expected_end_s:
                self.overran = job
        written_s = stalled_s = 0.0
        if not self.plain:
            kept_s, lost_s, loading_s, written_s, stalled_s = self._worth(job, now_s, outcome)
        elif outcome is DONE:
            kept_s, lost_s, loading_s = job.work_left_s, 0.0, job.restart_s
        elif outcome is PREEMPTED and self._free_of_cost:
            kept_s, lost_s, loading_s = now_s - job.started_s, 0.0, 0.0
        else:
            kept_s, lost_s, loading_s = self.cost.split(job, now_s, outcome)
        index, started_s = job.index, job.started_s
        self.log.runs.append(
            (index, started_s, now_s, outcome, kept_s, lost_s, loading_s, placement, written_s, stalled_s)
        )
        return kept_s

    def _worth(self, job: Job, now_s: float, outcome: Outcome) -> tuple[float, float, float, float, float]:
        """A stay that ends now, in seconds of work kept, of work lost, of loading, of writing, of hanging."""
        struck_s = self.struck.pop(job, now_s)
        worth = None if self.courses is None else self.courses.close(job, now_s, outcome)
        if worth is not None:
            return worth
        stalled_s = now_s - struck_s
        elapsed_s = struck_s - job.started_s
        loading_s = min(elapsed_s, job.restart_s)
        worked_s = elapsed_s - loading_s
        saving = job.saving
        if outcome is DONE:
            written_s = 0.0 if saving is None else worked_s - job.work_left_s
            return job.work_left_s, 0.0, job.restart_s, written_s, stalled_s
        if saving is None:
            if outcome is FAILED and not self.cost.checkpoint_every_s:
                return 0.0, worked_s, loading_s, 0.0, stalled_s
            kept_s, lost_s, loading_s = self.cost.split(job, struck_s, outcome)
            return kept_s, lost_s, loading_s, 0.0, stalled_s
        kept_s, lost_s, written_s = saving.split(worked_s)
        if outcome is TIMED_OUT:
            kept_s, lost_s = 0.0, kept_s + lost_s
        elif outcome is CENSORED:
            kept_s, lost_s = kept_s + lost_s, 0.0
        return kept_s, lost_s, loading_s, written_s, stalled_s

    def hang(self, job: Job, now_s: float) -> None:
        """Something under a running job has failed: it holds its GPUs, works no more, is not displaced."""
        self.struck[job] = now_s
        if job.rank and job.site is not None:
            self.running.remove(job.rank)
            if self.displaces:
                for node, _ in job.site[2]:
                    del self.on_node[node][job]

    def fail(self, job: Job, now_s: float) -> None:
        """A running job has lost its nodes: it waits again, with what it has saved."""
        self._put_back(job, self.stop(job, now_s, FAILED), now_s)

    def take_out(self, pool: Pool, node: int) -> int:
        """Hold all GPUs that are free on a node that is out of service; returns how many."""
        gpus = pool.free[node - pool.first_node]
        if gpus:
            pool.take(((node, gpus),), _on_one_node(gpus))
        self.surprised = self.loses_nodes = self.nodes_changed = True
        return gpus

    def bring_back(self, pool: Pool, node: int, gpus: int) -> None:
        """A node is back in service with the GPUs that were held."""
        self.surprised = self.nodes_changed = True
        if gpus:
            if self.displaces and node not in self.loosened:
                self.loosened[node] = pool.free[node - pool.first_node]
            pool.give(((node, gpus),), _on_one_node(gpus))

    def _unrank(self, job: Job, pool: Pool, placement: Placement) -> None:
        """A running job is about to give up its GPUs and its place among those that run."""
        self.running.remove(job.rank)
        if self.displaces:
            on_node, loosened, free, first = self.on_node, self.loosened, pool.free, pool.first_node
            for node, _ in placement:
                del on_node[node][job]
                if node not in loosened:
                    loosened[node] = free[node - first]

    def swap(self, job: Job, weakest: Job, site: Site, now_s: float) -> None:
        """Start a newcomer on the GPUs of the weakest running job, all on one node: no GPU is free meanwhile.

        The same as to displace the one and to start the other there, where preemption costs nothing.
        """
        started_s = weakest.started_s
        self._remember(weakest)
        self.running.drop_worst()
        weakest.site = None
        if now_s != weakest.expected_end_s:
            self.surprised = True
            if now_s > weakest.expected_end_s:
                self.overran = weakest
        kept_s = now_s - started_s
        self.log.runs.append(
            (weakest.index, started_s, now_s, PREEMPTED, kept_s, 0.0, 0.0, site[2], 0.0, 0.0)
        )
        self._put_back(weakest, kept_s, now_s)
        self.displaced.append(weakest)
        pool, _, placement = site
        job.started_s = now_s
        job.expected_end_s = now_s + job.restart_s + job.remaining_s
        job.site = (pool, job.shape.options[0][1], placement)
        job.rank = rank = self.order.rank(job, now_s)
        self.running.add(rank, job)
        ((node, gpus),) = placement
        on_node = self.on_node[node]
        del on_node[weakest]
        on_node[job] = gpus
        self.begun.append(job)

    def displace(self, job: Job, now_s: float) -> None:
        """Take the GPUs of a running job and put it back in the queue with what it has saved."""
        self._remember(job)
        self._put_back(job, self.stop(job, now_s, PREEMPTED), now_s)
        self.displaced.append(job)

    def _remember(self, job: Job) -> None:
        """What the job was like, should it get its GPUs back at this moment."""
        if job.site is not None:
            job.was = (
                job.site,
                job.started_s,
                job.attained_gpu_s,
                job.work_left_s,
                job.remaining_s,
                job.restart_s,
                job.queued_s,
                job.displaced_s,
                job.earlier if job.displaced_s >= 0 else (),
                job.rank,
            )

    def _put_back(self, job: Job, kept_s: float, now_s: float) -> None:
        """The job has lost its GPUs; the work that was kept is done."""
        job.attained_gpu_s += (now_s - job.started_s) * job.gpus
        job.work_left_s = job.work_left_s - kept_s if kept_s < job.work_left_s else 0.0
        job.remaining_s = job.remaining_s - kept_s if kept_s < job.remaining_s else 0.0
        saving = job.saving
        if saving is None:
            job.restart_s = self.cost.restart_s + self.cost.restart_s_per_gpu * job.gpus
        else:
            job.restart_s = saving.restore_s
        job.queued_s = job.displaced_s = now_s
        job.earlier = job.rank

    def old_site(self, job: Job, now_s: float) -> Site | None:
        """The GPUs that a job lost at this very moment, if nobody needs them after all.

        Where GPUs count anywhere, it is enough that as many are free: those who took them make way.
        """
        if job.was is None or job.displaced_s != now_s or not self.allows(job.shape):
            return None
        pool, _, placement = site = job.was[0]
        free, first = pool.free, pool.first_node
        if all(free[node - first] >= gpus for node, gpus in placement):
            return site
        if not self.rule.anywhere or pool.free_gpus < job.gpus:
            return None
        self._clear(site, now_s)
        return site

    def _clear(self, site: Site, now_s: float) -> None:
        """Seat those elsewhere who started on these GPUs at this very moment: they did nothing there yet."""
        pool, gang, placement = site
        movers = [job for node, _ in placement for job in self.on_node[node] if job.started_s == now_s]
        sites = {job: job.site for job in movers if job.site is not None}
        for job, (_, held, old) in sites.items():
            pool.give(old, held)
            for node, _ in old:
                del self.on_node[node][job]
        pool.take(placement, gang)
        for job, (_, held, _) in sites.items():
            new = self.rule.find(pool, held)
            if new is None:
                raise AssertionError(f"{job} has no GPUs elsewhere")
            pool.take(new, held)
            job.site = (pool, held, new)
            for node, gpus in new:
                self.on_node[node][job] = gpus
        pool.give(placement, gang)

    def _resume(self, job: Job, was: Was) -> None:
        """A job gets the GPUs back that it lost at this very moment: it never stopped."""
        runs = self.log.runs
        at = next(n for n in range(len(runs) - 1, -1, -1) if runs[n][0] == job.index)
        del runs[at]
        self.displaced.remove(job)
        job.was = None
        site, job.started_s, job.attained_gpu_s, job.work_left_s, job.remaining_s = was[:5]
        job.restart_s, job.queued_s, job.displaced_s, job.earlier, rank = was[5:]
        job.site = site
        if self.seated is not None:
            self.seated[job] = None
        self._seat(job, site, rank)

    @property
    def leftover(self) -> bool:
        """Whether a node has free GPUs that waiting jobs have not been asked about."""
        loosened = self.loosened
        for pool in self.pools:
            free, first, nodes = pool.free, pool.first_node, pool.nodes
            for node, before in loosened.items():
                if 0 <= node - first < nodes and free[node - first] > max(before, 0):
                    return True
        return False

    def forget_moment(self) -> None:
        """All is decided at this moment: what was freed in it is no news any more."""
        self.loosened.clear()

    def has_room(self, node: int, gpus: int, rank: tuple[float, ...], now_s: float) -> bool:
        """Whether jobs of worse rank hold at least so many GPUs of a node."""
        if self._steady:
            for running, held in self.on_node[node].items():
                if running.rank > rank:
                    gpus -= held
                    if gpus <= 0:
                        return True
            return False
        order, on_node = self.order, self.on_node[node].items()
        return sum(held for running, held in on_node if order.rank(running, now_s) > rank) >= gpus

    @property
    def weakest(self) -> tuple[float, ...]:
        """The worst rank that runs; beyond all ranks where running jobs change places among themselves."""
        return self.running.last if self._steady and self.running.jobs else ANYBODY

    def are_out(self, displaced: list[Job]) -> bool:
        """Whether jobs that just lost their GPUs can neither go elsewhere nor displace anybody in turn."""
        if self.reclaims:
            return False
        weakest, most_free = self.weakest, self.most_free
        return all(job.rank > weakest and job.gpus > most_free for job in displaced)

    def expected_ends(self, now_s: float) -> Iterator[tuple[float, int, Job]]:
        """Running jobs by expected end. One past its estimate is expected to go on for as long again."""
        late: list[tuple[float, int, Job]] = []
        for (end_s, *_), job in self.running:
            if end_s > now_s:
                break
            late.append((now_s + max(1.0, now_s - end_s), job.index, job))
        on_time = ((rank[0], job.index, job) for rank, job in islice(self.running, len(late), None))
        return heapq.merge(sorted(late), on_time)

    def change_rank(self, job: Job, now_s: float) -> None:
        """Make the change of a running job's rank that its order announced."""
        self.running.remove(job.rank)
        self.order.change(job, now_s)
        job.rank = self.order.rank(job, now_s)
        self.running.add(job.rank, job)
        self.sunk.append(job)
        if job.site is not None:
            for node, _ in job.site[2]:
                self.loosened[node] = -1

    def settle_ranks(self, after_s: float) -> None:
        """Once a moment is decided, running jobs whose rank had got worse stand where running jobs stand."""
        for job in self.sunk:
            if job.site is not None:
                self.running.remove(job.rank)
                job.rank = self.order.rank(job, after_s)
                self.running.add(job.rank, job)
        self.sunk.clear()

    def _charge(self, job: Job, sign: int) -> None:
        account, gang = job.account, job.shape.options[0][1]
        account.gpus += sign * job.gpus
        account.cpus += sign * gang.cpus_per_gpu * job.gpus
        account.memory_bytes += sign * gang.memory_bytes_per_gpu * job.gpus
        account.share = self.order.share(account, self.capacity)

    # ---- why jobs wait

    def enter(self, job: Job, now_s: float) -> None:
        """The job found no place at this moment and waits from now on."""
        shape = job.shape
        if not shape.waiting:
            if not self.waiting:
                pool = self.pools[0]
                self._looks = (pool.free_gpus, pool.levels, pool.buckets[-1])
            if not shape.straight:
                self._crooked += 1
            self.waiting.setdefault(shape.gpus, {})[shape] = None
            shape.cause = self.cause(shape)
            shape.since_s = now_s
            if shape.cause != CAPACITY:
                self._lacking.discard(shape.gpus)
        if self.timeless:
            job.rank = self.order.rank(job, now_s)
        shape.waiting += 1
        job.marks = (shape.waited_s, shape.cause, now_s - shape.since_s)
        if shape.relaxed is not None:
            self.impatient.append(job)

    def leave(self, job: Job, now_s: float, *, still_queued: int = 0) -> None:
        """The job stops waiting: note its time in the queue by cause.

        A job that had been running waits because it was preempted, whatever else keeps it waiting.
        """
        marks, shape = job.marks, job.shape
        if marks is None:
            raise AssertionError(f"{job} does not wait")
        job.marks = None
        total_s = now_s - job.queued_s
        if total_s > 0:
            queued_s = job.queued_s
            if job.started_s >= 0:
                row = (job.index, queued_s, now_s, 0.0, 0.0, 0.0, 0.0, total_s, still_queued)
            elif marks[0] is shape.waited_s and marks[1] == CAPACITY:
                row = (job.index, queued_s, now_s, total_s, 0.0, 0.0, 0.0, 0.0, still_queued)
            else:
                capacity_s, fragmentation_s, quota_s, order_s = _split(marks, shape, now_s, total_s)
                row = (
                    job.index,
                    queued_s,
                    now_s,
                    capacity_s,
                    fragmentation_s,
                    quota_s,
                    order_s,
                    0.0,
                    still_queued,
                )
            self.log.waits.append(row)
        shape.waiting -= 1
        if not shape.waiting:
            if not shape.straight:
                self._crooked -= 1
            self._note(shape, now_s)
            alike = self.waiting[shape.gpus]
            del alike[shape]
            if not alike:
                del self.waiting[shape.gpus]
                self._lacking.discard(shape.gpus)

    def relax(self, job: Job, now_s: float) -> None:
        """The job has waited long enough for locality: from now on it asks for what there is."""
        if job.shape.relaxed is None:
            raise AssertionError(f"{job} has no locality to give up")
        self.leave(job, now_s)
        job.queued_s = now_s
        wishing, job.shape = job.shape, job.shape.relaxed
        wishing.line.skip_moved()

    def account_causes(self, now_s: float) -> None:
        """Note, after the last change of this moment, for which reason each shape waits from now on.

        If the pool looks as it did, nothing has changed for anybody. Where no pool has as many free GPUs as a
        width needs, and none had before, nothing can have changed for it.
        """
        if not self._crooked:
            pool = self.pools[0]
            looks = (pool.free_gpus, pool.levels, pool.buckets[-1])
            if looks == self._looks:
                return
            self._looks = looks
        most_free, lacking = self.most_free, self._lacking
        for gpus, shapes in self.waiting.items():
            if gpus > most_free:
                if gpus in lacking:
                    continue
                if not self.limited:
                    lacking.add(gpus)
            elif lacking:
                lacking.discard(gpus)
            for shape in shapes:
                cause = self.cause(shape)
                if cause != shape.cause:
                    self._note(shape, now_s)
                    shape.cause = cause

    def _note(self, shape: Shape, now_s: float) -> None:
        """Add the time since the last change to the reason that held."""
        parts = list(shape.waited_s)
        parts[shape.cause] += now_s - shape.since_s
        shape.waited_s = (parts[0], parts[1], parts[2], parts[3])
        shape.since_s = now_s

    @property
    def most_free(self) -> int:
        """Free GPUs of the pool that has the most."""
        pools = self.pools
        return pools[0].free_gpus if len(pools) == 1 else max(pool.free_gpus for pool in pools)

    def cause(self, shape: Shape) -> int:
        """Why a job of this shape does not start now, given that it does not."""
        only_in = shape.only_in
        if only_in is not None:
            if shape.gpus > only_in.free_gpus:
                return CAPACITY
            if not only_in.levels >> shape.widest:
                return FRAGMENTATION
            if shape.plain:
                return ORDER
        if shape.account is not None and not shape.account.allows(shape.gpus):
            return QUOTA
        gpus = shape.gpus
        enough = False
        for pool, gang in shape.options:
            if pool.free_gpus >= gpus:
                if self.rule.fits(pool, gang):
                    return ORDER
                enough = True
        return FRAGMENTATION if enough else CAPACITY


@cache
def _on_one_node(gpus: int) -> Gang:
    """What holds GPUs of a node that is out of service."""
    return Gang(gpus, ((gpus, 1),))


def _split(marks: Marks, shape: Shape, now_s: float, total_s: float) -> list[float]:
    """A wait by cause, from what the shape had waited when the job joined and what it has waited now.

    The cause that held last takes up the rounding, so that the parts add up to the wait; if it held for no
    time, the largest does.
    """
    (capacity_s, fragmentation_s, quota_s, order_s), cause, elapsed_s = marks
    waited_s, last = shape.waited_s, shape.cause
    parts = [
        waited_s[0] - capacity_s,
        waited_s[1] - fragmentation_s,
        waited_s[2] - quota_s,
        waited_s[3] - order_s,
    ]
    waited_since_s = parts[cause] - elapsed_s
    parts[cause] = waited_since_s if waited_since_s > 0 else 0.0
    if now_s <= shape.since_s:
        last = parts.index(max(parts))
    parts[last] = 0.0
    parts[last] = total_s - (parts[0] + parts[1] + parts[2] + parts[3])
    return parts


if len(CAUSES) != PREEMPTION + 1:
    raise AssertionError("causes of the log and of the partition differ")
