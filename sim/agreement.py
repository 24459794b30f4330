"""Whether the parts of a scenario agree: names exist, quotas and jobs fit the fleet, times are in order.

Each check looks at the parts that are sound by themselves, so that one fault does not hide another.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sim import units, words
from sim.checkpoints import CheckpointRule
from sim.document import Location, dotted
from sim.errors import PlanError, hint, listed
from sim.failures import Failures
from sim.fleet import Fleet, Tenant, card_of
from sim.network import Network, Store, TrafficRule
from sim.objectives import Objective
from sim.power import Power, draw
from sim.scheduler import SchedulerSpec
from sim.workloads import MOST_JOBS, Training, TrainingSteps, Workload

CHECKED = (
    "horizon", "warm_up", "fleet", "tenants", "scheduler", "workloads", "network", "stores", "traffic",
    "checkpoints", "failures", "power", "objectives",
)  # fmt: skip
"""The parts of a scenario that must agree."""


@dataclass(slots=True)
class Draft:
    """The parts of a scenario that are sound by themselves, None for the others, so that all are checked."""

    horizon: float | None = None
    warm_up: float | None = None
    fleet: Fleet | None = None
    tenants: tuple[Tenant, ...] | None = None
    scheduler: SchedulerSpec | None = None
    workloads: tuple[Workload, ...] | None = None
    network: Network | None = None
    stores: tuple[Store, ...] | None = None
    traffic: tuple[TrafficRule, ...] | None = None
    checkpoints: tuple[CheckpointRule, ...] | None = None
    failures: Failures | None = None
    power: Power | None = None
    objectives: tuple[Objective, ...] | None = None
    unsound: set[str] = field(default_factory=set)
    """Names of parts that were written and are not sound."""


def disagreements(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Where parts contradict one another, each with the place and the remedy."""
    yield from _repeated_names(draft)
    yield from _times_in_order(draft)
    yield from _tenants_fit_the_fleet(draft)
    yield from _workloads_fit_the_fleet(draft)
    yield from _objectives_name_tenants(draft)
    yield from _promises_know_no_quotas(draft)
    yield from _checkpoints_have_an_interval(draft)
    yield from _stores_are_there(draft)
    yield from _stores_are_large_enough(draft)
    yield from _drawn_network_holds_the_fleet(draft)
    yield from _stores_hang_on_switches(draft)
    yield from _traffic_has_a_network(draft)
    yield from _traffic_names_trainings(draft)
    yield from _nobody_is_killed_for_sharing(draft)
    yield from _power_is_known(draft)


def _stores_are_there(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Stores have names of their own, and those that rules name exist."""
    if "stores" in draft.unsound:
        return
    names = [store.name for store in draft.stores or ()]
    for position, name in enumerate(names):
        if name in names[:position]:
            yield ("stores", position, "name"), f'"{name}" is the name of another store too'
    wanted = [("traffic", place, rule.store) for place, rule in enumerate(draft.traffic or ())]
    wanted += [("checkpoints", place, rule.store) for place, rule in enumerate(draft.checkpoints or ())]
    for rules, position, store in wanted:
        if store is not None and store not in names:
            told = hint(store, names) if names else "the scenario has no stores"
            yield (rules, position, "store"), f'"{store}" is not a store; {told}'


def _stores_are_large_enough(draft: Draft) -> Iterator[tuple[Location, str]]:
    """A store of limited size holds its data sets and at least one checkpoint of each rule."""
    if "stores" in draft.unsound or "traffic" in draft.unsound:
        return
    room = {store.name: store.capacity for store in draft.stores or () if store.capacity is not None}
    named: dict[str, tuple[float | None, str | None]] = {}
    for position, rule in enumerate(draft.traffic or ()):
        if rule.data_set_name is not None:
            known = named.setdefault(rule.data_set_name, (rule.data_set, rule.store))
            if known != (rule.data_set, rule.store):
                message = f'"{rule.data_set_name}" has another size, or lies elsewhere, in an earlier rule'
                yield ("traffic", position, "data_set_name"), message
                continue
            if sum(each.data_set_name == rule.data_set_name for each in (draft.traffic or ())[:position]):
                continue  # it lies there once
        if rule.store in room and rule.data_set is not None:
            room[rule.store] -= rule.data_set
            if room[rule.store] < 0:
                message = f'"{rule.store}" is too small for it, with all other data sets that lie there'
                larger = [s.name for s in draft.stores or () if (s.capacity or math.inf) >= rule.data_set]
                where = f"; {listed(larger)} would hold it" if larger else "; no store would hold it"
                yield ("traffic", position, "data_set"), message + where
                return
    for position, saved in enumerate(draft.checkpoints or ()):
        if saved.store in room and (saved.size or 0.0) > room[saved.store]:
            message = f'"{saved.store}" has no room for one checkpoint of this size beside its data sets'
            yield ("checkpoints", position, "size"), message


def _drawn_network_holds_the_fleet(draft: Draft) -> Iterator[tuple[Location, str]]:
    """The switches of a drawn network serve every node of the fleet, and no more."""
    if draft.network is None or not draft.network.is_drawn or draft.fleet is None:
        return
    served, there = sum(s.nodes for s in draft.network.switches), sum(p.nodes for p in draft.fleet.pools)
    if served != there:
        yield ("network", "switches"), f"serve {served:,} nodes, but the fleet has {there:,}"


def _stores_hang_on_switches(draft: Draft) -> Iterator[tuple[Location, str]]:
    """A store that names a switch names one of a drawn network; in a graph each store must."""
    network = draft.network
    if network is None and "network" in draft.unsound:
        return
    drawn = [switch.name for switch in network.switches] if network is not None else []
    for position, store in enumerate(draft.stores or ()):
        place = ("stores", position, "switch")
        if store.switch is None:
            if network is not None and network.kind == "graph" and store.is_shared:
                yield place, f"is missing: a graph has no top; it may be {listed(drawn)}"
        elif not drawn:
            yield place, "has no meaning: only a network of kind tree or graph has switches with names"
        elif store.switch not in drawn:
            yield place, f'"{store.switch}" is not a switch of the network; {hint(store.switch, drawn)}'


def _traffic_names_trainings(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Workloads whose traffic is to be told say what they train."""
    if draft.workloads is None:
        return
    trains = {
        workload.name
        for workload in draft.workloads
        if isinstance(getattr(workload, "duration", None), Training | TrainingSteps) and workload.name
    }
    for position, rule in enumerate(draft.traffic or ()):
        if rule.workload is not None and rule.workload not in trains:
            told = hint(rule.workload, sorted(trains)) if trains else "no workload does"
            message = f'"{rule.workload}" is not a workload that says what it trains; {told}'
            yield ("traffic", position, "workload"), message


def _traffic_has_a_network(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Where something is sent there is a network, and it is known what the cards of each node carry."""
    if draft.network is None:
        for position, rule in enumerate(draft.traffic or ()):
            if (rule.sends > 0 or rule.workload is not None) and "network" not in draft.unsound:
                yield ("traffic", position, "sends"), "needs a network: say network: {card: 400 Gbit/s}"
        return
    pools = draft.fleet.pools if draft.fleet is not None else ()
    unknown = next((pool for pool in pools if card_of(pool) is None), None)
    if draft.network.card is None and unknown is not None:
        whose = unknown.node or unknown.name
        yield ("network",), f"needs card: the catalog does not know the network cards of {whose}"


def _power_is_known(draft: Draft) -> Iterator[tuple[Location, str]]:
    """The catalog or the scenario says what the nodes of each pool draw."""
    if draft.power is None or draft.fleet is None:
        return
    for pool in draft.fleet.pools:
        try:
            draw(draft.power, pool)
        except PlanError as error:
            yield ("power",), str(error).removeprefix("power: ")
            return
    pools = draft.fleet.pools
    least_w = [
        draft.power.at_the_wall_w(draw(draft.power, pool).least_w(pool.gpus_per_node)) for pool in pools
    ]
    nodes = [pool.nodes for pool in draft.fleet.pools]
    racks = [min(pool.nodes, pool.nodes_per_rack) for pool in draft.fleet.pools]
    needs = {
        "limit": sum(each * count for each, count in zip(least_w, nodes, strict=True)),
        "rack_limit": max(each * count for each, count in zip(least_w, racks, strict=True)),
    }
    for name, need_w in needs.items():
        given_w = getattr(draft.power, name)
        if given_w is not None and given_w <= need_w:
            message = f"leaves nothing for work: {need_w / 1e3:,.4g} kW go while all jobs wait"
            yield ("power", name), message


def _nobody_is_killed_for_sharing(draft: Draft) -> Iterator[tuple[Location, str]]:
    """How long jobs run that share bandwidth is not known before."""
    shares = bool(draft.traffic) or any(rule.store is not None for rule in draft.checkpoints or ())
    shares = shares or (draft.power is not None and draft.power.limits)
    if not shares or draft.scheduler is None:
        return
    if draft.scheduler.estimates.on_overrun == "kill":
        message = '"kill" has no meaning where jobs share network or stores: how long they run is not known'
        yield ("scheduler", "estimates", "on_overrun"), message


def _checkpoints_have_an_interval(draft: Draft) -> Iterator[tuple[Location, str]]:
    if "failures" in draft.unsound or (draft.failures is not None and draft.failures.all_components):
        return
    for position, rule in enumerate(draft.checkpoints or ()):
        if rule.every is None:
            message = "needs every: no component fails at a known rate, so that no interval is best"
            yield ("checkpoints", position), message


def _repeated_names(draft: Draft) -> Iterator[tuple[Location, str]]:
    pools = [pool.name for pool in draft.fleet.pools] if draft.fleet else []
    tenants = [tenant.name for tenant in draft.tenants or ()]
    workloads = [workload.name for workload in draft.workloads or ()]
    places: Mapping[Location, Sequence[str | None]] = {
        ("fleet", "pools"): pools,
        ("tenants",): tenants,
        ("workloads",): workloads,
    }
    for place, names in places.items():
        for position, name in enumerate(names):
            first = names.index(name)
            if first < position and name is not None:
                other = dotted((*place, first))
                yield (*place, position, "name"), f'"{name}" is the name of {other} too; names must differ'


def _times_in_order(draft: Draft) -> Iterator[tuple[Location, str]]:
    if draft.horizon is not None and draft.warm_up is not None and draft.warm_up >= draft.horizon:
        warm_up, horizon = (units.format_si(value, "s") for value in (draft.warm_up, draft.horizon))
        yield ("warm_up",), f'"{warm_up}" must be shorter than the horizon, "{horizon}"'
    for position, workload in enumerate(draft.workloads or ()):
        ends = draft.horizon is not None or "horizon" in draft.unsound
        endless = all(getattr(workload, limit, 0) is None for limit in ("count", "until"))
        if not ends and endless and hasattr(workload, "count"):
            yield (
                ("workloads", position),
                "would never end; give it a count or until, or the scenario a horizon",
            )
        expected = _expected_jobs(workload, draft.horizon)
        if expected > MOST_JOBS:
            message = f"would submit about {expected:.3g} jobs; at most {MOST_JOBS:,} can be"
            yield ("workloads", position), message


def _expected_jobs(workload: Workload, horizon_s: float | None) -> float:
    """How many jobs a random workload would submit, 0 where that cannot be told beforehand."""
    rate_per_s = getattr(getattr(workload, "arrivals", workload), "rate_per_s", 0.0)
    ends_s = [end_s for end_s in (getattr(workload, "until", None), horizon_s) if end_s is not None]
    if not rate_per_s or not ends_s:
        return 0.0
    hours = getattr(workload, "hours", None)
    open_s = hours.open_before_s(min(ends_s)) if hours else min(ends_s)
    count = getattr(workload, "count", None)
    return float(min(rate_per_s * open_s, math.inf if count is None else count))


def _tenants_fit_the_fleet(draft: Draft) -> Iterator[tuple[Location, str]]:
    if draft.fleet is None or draft.tenants is None:
        return
    gpus = _gpus_by_virtual_cluster(draft.fleet)
    promised: dict[str | None, int] = {}
    for position, tenant in enumerate(draft.tenants):
        cluster = tenant.virtual_cluster or (tenant.name if tenant.name in gpus else None)
        if cluster is not None and cluster not in gpus:
            remedy = hint(cluster, _names(gpus)) if _names(gpus) else "no pool of the fleet has one"
            yield (
                ("tenants", position, "virtual_cluster"),
                f'"{cluster}" is not a virtual cluster of the fleet; {remedy}',
            )
            continue
        if cluster is None and None not in gpus:
            message = (
                f'"{tenant.name}" has no virtual cluster, but every pool is in one; {hint("", _names(gpus))}'
            )
            yield ("tenants", position, "virtual_cluster"), message
            continue
        before = promised.get(cluster, 0)
        promised[cluster] = before + (tenant.quota or 0)
        if before <= gpus.get(cluster, 0) < promised[cluster]:
            whose = f'virtual cluster "{cluster}"' if cluster else "the fleet"
            has = f"{words.count(promised[cluster], 'GPU')}, but {whose} has {gpus.get(cluster, 0):,}"
            yield ("tenants", position, "quota"), f"with it the quotas add up to {has}"


def _gpus_by_virtual_cluster(fleet: Fleet) -> dict[str | None, int]:
    """GPUs of each virtual cluster; under None, those of pools that are in none."""
    gpus: dict[str | None, int] = {}
    for pool in fleet.pools:
        gpus[pool.virtual_cluster] = gpus.get(pool.virtual_cluster, 0) + pool.gpus
    return gpus


def _names(gpus: Mapping[str | None, int]) -> list[str]:
    return [name for name in gpus if name is not None]


def _workloads_fit_the_fleet(draft: Draft) -> Iterator[tuple[Location, str]]:
    for position, workload in enumerate(draft.workloads or ()):
        here: Location = ("workloads", position)
        tenant = getattr(workload, "tenant", None)
        declared = [declared.name for declared in draft.tenants or ()]
        named = tenant not in (None, type(workload).model_fields["tenant"].default)
        if declared and named and tenant not in declared:
            remedy = hint(str(tenant), declared)
            yield (*here, "tenant"), f'"{tenant}" is not a tenant of this scenario; {remedy}'
        if draft.fleet is not None:
            yield from _kind_and_size_fit(here, workload, draft)


def _kind_and_size_fit(here: Location, workload: Workload, draft: Draft) -> Iterator[tuple[Location, str]]:
    """The GPU kind asked for exists, and some pool that the tenant may use is as wide as the widest job."""
    pools = draft.fleet.pools if draft.fleet else ()
    kind = getattr(workload, "gpu_kind", None)
    kinds = {pool.gpu: None for pool in pools if pool.gpu is not None}
    if kind is not None and kind not in kinds:
        remedy = hint(kind, kinds) if kinds else "no pool of the fleet states its GPU"
        yield (*here, "gpu_kind"), f'"{kind}" is not a GPU kind of the fleet; {remedy}'
        return
    largest = getattr(getattr(workload, "gpus", None), "largest", None)
    cluster = _virtual_cluster_of(workload.tenant, draft)
    spares = (
        draft.failures.spares.nodes if draft.failures is not None and draft.failures.spares is not None else 0
    )
    widths = [
        max(1, pool.nodes - spares) * pool.gpus_per_node
        for pool in pools
        if kind in (None, pool.gpu) and pool.virtual_cluster == cluster
    ]
    if largest is not None and widths and largest() > max(widths):
        aside = ", spares aside" if spares else ""
        limit = f"the largest pool that it may use has {max(widths):,}{aside}"
        yield (*here, "gpus"), f"a job of {words.count(largest(), 'GPU')} can never start: {limit}"
    declared = [tenant.name for tenant in draft.tenants or ()]
    if workload.tenant is not None and workload.tenant not in declared and not widths:
        where = f'virtual cluster "{cluster}"' if cluster else "the nodes that are in no virtual cluster"
        what = f'"{kind}"' if kind and cluster else "pool"
        yield (*here, "tenant"), f'"{workload.tenant}" would run on {where}, where there is no {what}'


def _virtual_cluster_of(tenant: object, draft: Draft) -> str | None:
    """The virtual cluster in which a tenant's jobs run, None for the pools that are in none."""
    clusters = {pool.virtual_cluster for pool in draft.fleet.pools} if draft.fleet else set()
    for declared in draft.tenants or ():
        if declared.name == tenant and declared.virtual_cluster is not None:
            return declared.virtual_cluster
    return str(tenant) if tenant in clusters and tenant is not None else None


def _objectives_name_tenants(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Tenants of objectives are declared, or at least named by a workload or hidden in a trace."""
    if draft.workloads is None or draft.tenants is None:
        return
    named = [workload.tenant for workload in draft.workloads]
    if None in named:
        return
    known = list(dict.fromkeys([*(tenant.name for tenant in draft.tenants), *map(str, named)]))
    for position, objective in enumerate(draft.objectives or ()):
        if objective.tenant is not None and objective.tenant not in known:
            remedy = hint(objective.tenant, known)
            message = f'"{objective.tenant}" is not a tenant of this scenario; {remedy}'
            yield ("objectives", position, "tenant"), message


def _promises_know_no_quotas(draft: Draft) -> Iterator[tuple[Location, str]]:
    """A start that is fixed at submission cannot know when a tenant will be back inside its quota."""
    if draft.scheduler is None or getattr(draft.scheduler.blocking, "kind", "") != "conservative":
        return
    if any(tenant.quota is not None for tenant in draft.tenants or ()):
        message = (
            '"conservative" fixes the start of each job when it is submitted, when nobody knows how much of '
            'a quota will be in use; use "strict", "greedy" or "easy" with quotas'
        )
        yield ("scheduler", "blocking"), message
