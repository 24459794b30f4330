"""From what the user described to what the engine plays: pools, desks, and where each request goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim import catalog
from sim.checkpoints import rule_of
from sim.cluster import Pool
from sim.courses import Courses, Demand
from sim.engine import IS_NOTICED, Simulation, Venue
from sim.errors import PlanError
from sim.failures import FailureTimes, RepairShop
from sim.failures.times import Hall
from sim.fleet import card_of
from sim.flows import Fluid
from sim.log import Log
from sim.meters import Meter
from sim.network import Fabric, Site, Supply
from sim.outages import Outages
from sim.partition import Request
from sim.power import draw, left_w
from sim.scheduler import Desk, EstimateSpec, desk
from sim.stores import Room
from sim.tenancy import Account
from sim.workloads import Training, TrainingSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim import fleet
    from sim.checkpoints import CheckpointRule, Saving
    from sim.network import Network, Store, TrafficRule
    from sim.partition import Shape
    from sim.power import Power
    from sim.scenario import Scenario

REQUEST = ("tenant", "gpus", "nodes", "gpu_kind", "cpus", "memory_bytes")
"""Columns of the arrivals that decide where a job can run."""


def simulate(
    scenario: Scenario,
    jobs: pl.DataFrame,
    on_progress: Callable[[int], None] | None = None,
    *,
    seed: int | None = None,
    folder: Path = Path(),
) -> Log:
    """Play the jobs on the scenario's fleet until the last has left, or until the horizon.

    ``seed`` is for what happens to the fleet, the scenario's if left out; ``folder`` is where its relative
    paths start.
    """
    log = Log()
    simulation = prepare(scenario, jobs, log, scenario.seed if seed is None else seed, folder)
    simulation.on_progress = on_progress
    return simulation.run(scenario.horizon)


def prepare(
    scenario: Scenario, jobs: pl.DataFrame, log: Log, seed: int = 0, folder: Path = Path()
) -> Simulation:
    """The simulation, ready to run. PlanError where the scheduler cannot serve what the jobs ask for."""
    _check_host_demand(scenario, jobs)
    requests = jobs.select(REQUEST).unique(maintain_order=True).with_row_index("code")
    codes = jobs.select(REQUEST).join(
        requests, on=REQUEST, how="left", nulls_equal=True, maintain_order="left"
    )["code"]
    desks = _Desks(scenario, log, folder)
    spec = scenario.scheduler.estimates
    outages = None if scenario.failures is None else _outages(scenario, desks, seed, folder)
    venues = [desks.venue(row) for row in requests.iter_rows(named=True)]
    simulation = Simulation(
        venues=venues,
        codes=codes.to_list(),
        submits_s=jobs["submit_s"].to_list(),
        durations_s=jobs["duration_s"].to_list(),
        estimates_s=estimates_s(jobs, spec).tolist(),
        priorities=jobs["priority"].to_list(),
        log=log,
        kill_at_estimate=spec.on_overrun == "kill",
        outages=outages,
    )
    if any(venue.demand is not None for venue in venues):
        fabric = _fabric(scenario)
        simulation.courses = Courses(
            fabric, simulation.clock, simulation.end, float(scenario.warm_up), rooms=_rooms(scenario)
        )
        running = simulation.courses.running
        simulation.courses.meter = Meter(
            fabric.fluid, fabric.shared(), simulation.clock.call_at, lambda: bool(running)
        )
        for each in desks.desks.values():
            each.partition.courses = simulation.courses
    return simulation


def estimates_s(jobs: pl.DataFrame, spec: EstimateSpec) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What the scheduler believes each job takes; a job without a stated limit is estimated exactly."""
    believed = pl.col("duration_s") if spec.source == "exact" else pl.coalesce("estimate_s", "duration_s")
    return jobs.select(believed.cast(pl.Float64) * spec.factor).to_series().to_numpy()


def nodes(scenario: Scenario) -> pl.DataFrame:
    """Every node of the fleet in the order of the indices that placements use."""
    rows = [
        (
            f"{pool.name}-{n:0{len(str(pool.nodes - 1))}d}",
            pool,
            f"{pool.name}-rack-{n // pool.nodes_per_rack}",
        )
        for pool in scenario.fleet.pools
        for n in range(pool.nodes)
    ]
    return pl.DataFrame(
        {
            "node": [name for name, _, _ in rows],
            "pool": [pool.name for _, pool, _ in rows],
            "gpu": [pool.gpu for _, pool, _ in rows],
            "gpus": [pool.gpus_per_node for _, pool, _ in rows],
            "rack": [rack for _, _, rack in rows],
            "virtual_cluster": [pool.virtual_cluster for _, pool, _ in rows],
        },
        schema_overrides={"gpu": pl.String, "virtual_cluster": pl.String, "gpus": pl.Int64},
    )


@dataclass(slots=True)
class _Desks:
    """The desk of each virtual cluster, and of the nodes that belong to none."""

    scenario: Scenario
    log: Log
    folder: Path
    desks: dict[str | None, Desk] = field(init=False)
    accounts: dict[str, Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pools: dict[str | None, list[Pool]] = {}
        first = 0
        for spec in self.scenario.fleet.pools:
            pools.setdefault(spec.virtual_cluster, []).append(_pool(spec, first))
            first += spec.nodes
        self.accounts = {tenant.name: _account(tenant) for tenant in self.scenario.tenants}
        self.desks = {
            name: desk(
                self.scenario.scheduler, name or "shared", members, self.log, self._accounts_in(name, pools)
            )
            for name, members in pools.items()
        }
        if self.scenario.is_physical:
            for each in self.desks.values():
                each.partition.swaps = each.partition.plain = False  # a swap knows no checkpoints
                each.partition.seated = {}

    def _accounts_in(self, cluster: str | None, pools: Mapping[str | None, object]) -> list[Account]:
        tenants = self.scenario.tenants
        return [
            self.accounts[t.name] for t in tenants if _cluster_of(t.name, t.virtual_cluster, pools) == cluster
        ]

    def venue(self, row: Mapping[str, object]) -> Venue:
        """Where a request goes, or why it cannot go anywhere."""
        tenant = str(row["tenant"])
        stated = next((t.virtual_cluster for t in self.scenario.tenants if t.name == tenant), None)
        cluster = _cluster_of(tenant, stated, self.desks)
        account = self.accounts.setdefault(tenant, Account(tenant))
        home = self.desks.get(cluster)
        if home is None:
            return Venue(
                next(iter(self.desks.values())), account, None, f"tenant {tenant} has no virtual cluster"
            )
        request = _request(row)
        shape = home.partition.shape(request, account)
        if shape is None:
            return Venue(home, account, None, _refusal(request, home))
        if request.gpus > account.limit_gpus:
            return Venue(home, account, None, f"asks for more GPUs than tenant {tenant} may ever hold")
        rule = rule_of(self.scenario.checkpoints, tenant, request.gpus)
        saving = None if rule is None else self._saving(rule, request.gpus, shape)
        return Venue(home, account, shape, saving=saving, demand=self._demand(tenant, request.gpus, rule))

    def _demand(self, tenant: str, gpus: int, rule: CheckpointRule | None) -> Demand | None:
        """What such jobs ask of network and stores; None where they share nothing."""
        fitting = (
            (place, each) for place, each in enumerate(self.scenario.traffic) if each.fits(tenant, gpus)
        )
        place, traffic = next(fitting, (0, None))
        data_set = "" if traffic is None else traffic.data_set_name or f"of rule {place + 1}"
        if traffic is not None and traffic.workload is not None:
            traffic = self._of_training(traffic, traffic.workload, gpus)
        power = self.scenario.power
        if rule is None or rule.store is None:
            limited = power is not None and power.limits
            return Demand(traffic, data_set=data_set) if traffic is not None or limited else None
        return Demand(traffic, rule.size or 0.0, rule.store, rule.restart, rule.keep, data_set)

    def _of_training(self, rule: TrafficRule, name: str, gpus: int) -> TrafficRule:
        """The rule with what the jobs of a workload send and read as they train."""
        for workload in self.scenario.workloads:
            duration = getattr(workload, "duration", None)
            if workload.name == name and isinstance(duration, Training | TrainingSteps):
                found = duration.on(gpus, self.folder)
                rings, evenly = found.out_of_a_node()
                per_node = duration.gpus_per_node
                each = found.traffic().input_bytes / math.ceil(gpus / per_node) / found.step_s
                return rule.of_training(rings, evenly, each)
        raise PlanError(f'traffic: "{name}" is not a workload that says what it trains')

    def _saving(self, rule: CheckpointRule, gpus: int, shape: Shape) -> Saving:
        """How such jobs save their work."""
        pool = shape.options[0][0]
        nodes = math.ceil(gpus / pool.gpus_per_node)
        racks = math.ceil(nodes / (pool.nodes_per_rack or pool.nodes))
        failures = self.scenario.failures
        between_s = math.inf
        if failures is not None:
            between_s = failures.mean_time_between_s(nodes * pool.gpus_per_node, nodes, racks)
        store = next((each for each in self.scenario.stores if each.name == rule.store), None)
        rate = None if store is None else _alone(store, nodes)
        return rule.saving(between_s, rate)


def _alone(store: Store, nodes: int) -> float:
    """Bytes a second that so many nodes write to a store that they have to themselves."""
    each = store.limit(1) or math.inf
    if not store.is_shared:
        return min(store.writes, each) * nodes
    return min(store.writes, each * nodes)


def _fabric(scenario: Scenario) -> Fabric:
    """Network and stores as the user described them."""
    fabric = Fabric(Fluid())
    names = nodes(scenario)["node"].to_list()
    if scenario.network is not None:
        hanging = {store.name: store.switch for store in scenario.stores if store.switch is not None}
        fabric.lay(scenario.network, _sites(scenario, scenario.network, names), hanging)
    for store in scenario.stores:
        fabric.open(store, names)
    if scenario.power is not None and scenario.power.limits:
        fabric.supply = _supply(scenario, scenario.power, fabric.fluid)
    return fabric


def _supply(scenario: Scenario, spec: Power, fluid: Fluid) -> Supply:
    """Power as a resource of the hall and of each rack."""
    pools = scenario.fleet.pools
    draws = [draw(spec, pool) for pool in pools for _ in range(pool.nodes)]
    gpus = [pool.gpus_per_node for pool in pools for _ in range(pool.nodes)]
    supply = Supply([each.working_w - each.waiting_w for each in draws], [each.pace for each in draws])
    if spec.limit is not None:
        supply.hall = fluid.resource("power of the hall", left_w(spec, spec.limit, draws, gpus, "a limit"))
    if spec.rack_limit is not None:
        racks = nodes(scenario)["rack"].to_list()
        resource_of = {}
        for rack in dict.fromkeys(racks):
            own = [place for place, name in enumerate(racks) if name == rack]
            own_draws, own_gpus = [draws[place] for place in own], [gpus[place] for place in own]
            left = left_w(spec, spec.rack_limit, own_draws, own_gpus, f"a limit of {rack}")
            resource_of[rack] = fluid.resource(f"power of {rack}", left)
        supply.racks = [resource_of[rack] for rack in racks]
    return supply


def _sites(scenario: Scenario, network: Network, names: Sequence[str]) -> list[Site]:
    """Every node as the network sees it, in the order of the fleet. Leaves and domains end with a pool."""
    sites: list[Site] = []
    for pool in scenario.fleet.pools:
        width = network.width(pool.nodes_per_rack)
        per_domain = pool.scale_up_gpus // pool.gpus_per_node
        leaf, domain = (
            1 + max((getattr(site, name) for site in sites), default=-1) for name in ("leaf", "domain")
        )
        scale_up = 0.0
        if per_domain > 1 and pool.gpu is not None:
            scale_up = (catalog.gpu(pool.gpu).scale_up_bandwidth or 0.0) * pool.gpus_per_node
        joined = scale_up > 0
        sites += [
            Site(
                names[len(sites) + node],
                leaf + node // width,
                network.card or card_of(pool) or 0.0,
                domain + node // per_domain if joined else -1,
                scale_up,
            )
            for node in range(pool.nodes)
        ]
    return sites


def _rooms(scenario: Scenario) -> dict[str, Room]:
    """What the stores of limited size hold before the first checkpoint: the data sets."""
    rooms = {
        store.name: Room(store.capacity, store.on_full)
        for store in scenario.stores
        if store.capacity is not None
    }
    named = set()
    for rule in scenario.traffic:
        if rule.store in rooms and rule.data_set_name not in named:
            rooms[rule.store].lays_in(rule.data_set or 0.0)
        if rule.data_set_name is not None:
            named.add(rule.data_set_name)
    return rooms


def _outages(scenario: Scenario, desks: _Desks, seed: int, folder: Path) -> Outages:
    """What fails under the jobs, as the user described it."""
    spec = scenario.failures
    if spec is None:
        raise AssertionError("nothing fails")
    table = nodes(scenario)
    homes = {
        pool.first_node + n: (desk, pool)
        for desk in desks.desks.values()
        for pool in desk.partition.pools
        for n in range(pool.nodes)
    }
    racks: dict[str, list[int]] = {}
    for node, rack in enumerate(table["rack"].to_list()):
        racks.setdefault(rack, []).append(node)
    hall = Hall(table["gpus"].to_list(), [tuple(rack) for rack in racks.values()], table["node"].to_list())
    return Outages(
        spec,
        FailureTimes(spec, hall, seed, folder),
        RepairShop(spec.technicians),
        [homes[node] for node in range(table.height)],
        IS_NOTICED,
    )


def _cluster_of(tenant: str, stated: str | None, clusters: Mapping[str | None, object]) -> str | None:
    """The virtual cluster of a tenant: the stated one, else the one of its name, else the shared nodes."""
    if stated is not None:
        return stated
    return tenant if tenant in clusters else None


def _pool(spec: fleet.Pool, first_node: int) -> Pool:
    return Pool(
        name=spec.name,
        gpu=spec.gpu or "",
        nodes=spec.nodes,
        gpus_per_node=spec.gpus_per_node,
        first_node=first_node,
        nodes_per_rack=spec.nodes_per_rack,
        nodes_per_domain=max(1, spec.scale_up_gpus // spec.gpus_per_node),
        cpus_per_node=math.inf if spec.cpus_per_node is None else spec.cpus_per_node,
        memory_bytes_per_node=math.inf if spec.memory_per_node is None else spec.memory_per_node,
    )


def _account(tenant: fleet.Tenant) -> Account:
    if tenant.quota is None:
        return Account(tenant.name, tenant.weight)
    beyond = math.inf if tenant.borrow == "unlimited" else tenant.borrow
    return Account(tenant.name, tenant.weight, tenant.quota, tenant.quota + beyond)


def _request(row: Mapping[str, object]) -> Request:
    values = {name: row[name] for name in REQUEST[1:]}
    return Request(
        gpus=int(str(values["gpus"])),
        nodes=None if values["nodes"] is None else int(str(values["nodes"])),
        gpu_kind=None if values["gpu_kind"] is None else str(values["gpu_kind"]),
        cpus=float(str(values["cpus"] or 0.0)),
        memory_bytes=float(str(values["memory_bytes"] or 0.0)),
    )


def _refusal(request: Request, home: Desk) -> str:
    """Why no pool of a partition could ever hold a request."""
    partition = home.partition
    if request.gpu_kind is not None and all(pool.gpu != request.gpu_kind for pool in partition.pools):
        return f"asks for GPUs of kind {request.gpu_kind}, which {partition.name} does not have"
    if all(request.gpus > pool.gpus for pool in partition.pools):
        return f"asks for more GPUs than any pool of {partition.name} has"
    if request.cpus or request.memory_bytes:
        return f"asks for more GPUs, cores or memory a node than any pool of {partition.name} has"
    return f"asks for a number of nodes that no pool of {partition.name} can give"


def _check_host_demand(scenario: Scenario, jobs: pl.DataFrame) -> None:
    """Promises to everybody are planned on GPUs alone."""
    limited = any(p.cpus_per_node is not None or p.memory_per_node is not None for p in scenario.fleet.pools)
    demands = (jobs["cpus"].fill_null(0) > 0).any() or (jobs["memory_bytes"].fill_null(0) > 0).any()
    if limited and demands and scenario.scheduler.blocking.kind == "conservative":
        raise PlanError(
            'blocking "conservative" plans GPUs only, but these jobs state cores or memory that the nodes '
            'limit; use "easy", or leave cpus_per_node and memory_per_node out of the fleet'
        )
