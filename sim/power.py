"""What a fleet draws, from what its GPUs do: working, waiting or idle, and what that costs.

"Utilisation" as drivers count it says little about power: in the Acme traces GPUs that are 99 % utilised
draw 97 W of 400 in the median, as they wait for others (Hu et al., NSDI 2024). So power follows from the
use of each stay: near the rated power while a job works, a quarter of it while it loads, writes, waits for
network and stores or hangs, the idle power otherwise. Hosts draw a constant power. Losses of cooling and
conversion multiply the energy once (PUE); what the supplies of nodes lose can be told apart.

Limits of racks and of the hall are resources like links: a job that works needs the power of its GPUs beyond
what they draw while they wait, and where that is short all who share it work slower. Power beyond waiting is
taken to go with speed, which is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim import catalog
from sim.errors import PlanError
from sim.fleet import Pool
from sim.parts import Fraction, Part, Watts

Floats = NDArray[np.float64]
USUAL_IDLE: Final = 0.15
"""Of the rated power, where the catalog knows no idle power: an A100 draws 60 of 400 W (Acme traces)."""
HOURS: Final = 24
HOUR_S: Final = 3600.0
CUBE: Final = 3.0
"""Dynamic power goes with the cube of the clock: voltage follows frequency, and P ~ f V^2 (textbook law)."""
ByHour = tuple[Annotated[float, Field(ge=0)], ...]
HOST_SHARE: Final = 0.61
"""Of what a node's rating has beyond its GPUs, what processors, memory, cards and fans draw. With it and GPUs
at their rated power a node of eight H100 draws the 8.4 of 10.2 kW measured at most (arXiv 2412.08602)."""


class Power(Part):
    """How much GPUs and hosts draw, what they may draw at most, and what energy costs."""

    working: Fraction = Field(0.89, description="of a GPU's rated power, while its job works")
    """With it a node of eight H100 draws 76 % of its rating, as in heavy training (arXiv 2506.14551)."""
    waiting: Fraction = Field(
        0.25, description="of the same, while its job loads, writes, waits for network or stores, or hangs"
    )
    idle: Fraction | None = Field(None, description="of the same, while it is free; left out, by the catalog")
    host: Watts | None = Field(
        None, description="of a node besides its GPUs; left out, by the catalog's node"
    )
    pue: Annotated[float, Field(ge=1, le=5)] = Field(
        1.2, description="energy of the building over that of its nodes"
    )
    supply_fixed: Watts = Field(0.0, description="lost in the supply of each node, whatever it draws")
    supply_efficiency: Annotated[float, Field(gt=0.5, le=1)] = Field(
        1.0, description="of what a node takes from the wall beyond that, what reaches it; 0.96 is usual"
    )
    price_per_kwh: Annotated[float, Field(ge=0)] | None = Field(None, description="price of energy")
    price_by_hour: ByHour = Field(
        (), description="24 factors of the price, from midnight; left out, all are 1"
    )
    carbon_per_kwh: Annotated[float, Field(ge=0)] | None = Field(
        None, description="kg of carbon dioxide for a kWh; 0.02 hydro to 0.9 coal"
    )
    carbon_by_hour: ByHour = Field(
        (), description="24 factors of the carbon, from midnight; left out, all are 1"
    )
    gpu_cap: Watts | None = Field(
        None, description="the most that each GPU may draw; jobs on it work slower, by the cube root law"
    )
    rack_limit: Watts | None = Field(
        None, description="the most that the nodes of a rack may draw: jobs there share what is left"
    )
    limit: Watts | None = Field(
        None, description="the most that all nodes may draw: jobs share what is left and work slower"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in ("price_by_hour", "carbon_by_hour"):
            if len(getattr(self, name)) not in (0, HOURS):
                raise ValueError(f"{name} needs 24 factors, not {len(getattr(self, name))}")
        if self.waiting > self.working:
            raise ValueError("waiting must be no more than working")
        return self

    def at_the_wall_w(self, node_w: float) -> float:
        """What a node takes whose parts draw so much."""
        return (node_w + self.supply_fixed) / self.supply_efficiency

    @property
    def limits(self) -> bool:
        """Whether power may slow jobs down."""
        return self.limit is not None or self.rack_limit is not None or self.gpu_cap is not None


@dataclass(frozen=True, slots=True)
class Draw:
    """Watts of one pool: of a GPU by what it does, and of a node besides its GPUs."""

    working_w: float
    waiting_w: float
    idle_w: float
    host_w: float
    pace: float = 1.0
    """Speed of work at that power, for its speed without a cap."""

    def least_w(self, gpus: int) -> float:
        """What it may draw without any work: GPUs that wait draw more than those that are free."""
        return self.host_w + gpus * max(self.waiting_w, self.idle_w)


def draw(spec: Power, pool: Pool) -> Draw:
    """What a pool's nodes draw. PlanError where neither the scenario nor the catalog knows it."""
    if pool.gpu is None:
        raise PlanError(f"power: needs to know the GPU of pool {pool.name}; give gpu or node")
    known = catalog.gpu(pool.gpu)
    rated_w = float(known.power)
    idle_w = known.idle_power or USUAL_IDLE * rated_w
    if spec.idle is not None:
        idle_w = spec.idle * rated_w
    host_w = spec.host
    if host_w is None:
        node = catalog.node(pool.node) if pool.node is not None else None
        if node is None or node.power is None:
            raise PlanError(f"power: needs host: the catalog does not know what nodes of {pool.name} draw")
        host_w = HOST_SHARE * max(0.0, node.power - pool.gpus_per_node * rated_w)
    working_w, waiting_w, pace = spec.working * rated_w, spec.waiting * rated_w, 1.0
    if spec.gpu_cap is not None and spec.gpu_cap < working_w:
        if spec.gpu_cap <= max(waiting_w, idle_w):
            raise PlanError(
                f"power: gpu_cap must be more than {max(waiting_w, idle_w):,.0f} W, which GPUs of {pool.name}"
                " draw while they wait"
            )
        pace = ((spec.gpu_cap - idle_w) / (working_w - idle_w)) ** (1 / CUBE)
        # a stay that goes at this pace draws the cap: its mean of working and waiting
        working_w = (spec.gpu_cap - (1 - pace) * waiting_w) / pace
    return Draw(working_w, waiting_w, idle_w, host_w, pace)


@dataclass(frozen=True, slots=True)
class Load:
    """What GPUs of stays do, one row for each node of each stay."""

    node: NDArray[np.int64]
    gpus: NDArray[np.int64]
    start_s: Floats
    end_s: Floats
    working: Floats
    """Share of the stay in which the job works; it waits for the rest."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Power of all nodes over a time, and the energy of each."""

    node_energy_j: Floats
    time_s: Floats
    """When power changes, the end included."""
    power_w: Floats
    """From each of these times to the next."""
    rack_peak_w: Floats
    """The most that each rack draws."""
    rack_p99_w: Floats
    """What each rack does not exceed for 99 % of the time."""
    limit_w: float = math.inf
    """What is never exceeded: where stays draw their mean, sums may seem to."""

    @property
    def energy_j(self) -> float:
        """Of all nodes."""
        return float(self.node_energy_j.sum())

    def weighted_j(self, by_hour: Sequence[float]) -> float:
        """Energy of all nodes, each hour of the day counted with its factor; time 0 is midnight."""
        if not by_hour:
            return self.energy_j
        marks = (
            np.arange(math.ceil(self.time_s[0] / HOUR_S), math.floor(self.time_s[-1] / HOUR_S) + 1) * HOUR_S
        )
        times = np.unique(np.concatenate([self.time_s, marks]))
        place = np.searchsorted(self.time_s, times[:-1], side="right") - 1
        hour = (times[:-1] // HOUR_S).astype(np.int64) % HOURS
        return float((self.power_w[place] * np.diff(times) * np.array(by_hour)[hour]).sum())

    @property
    def mean_w(self) -> float:
        """Over the whole time."""
        lasted_s = float(self.time_s[-1] - self.time_s[0])
        return self.energy_j / lasted_s if lasted_s else 0.0

    @property
    def peak_w(self) -> float:
        """The most that is drawn at any time."""
        return min(float(self.power_w.max()), self.limit_w) if len(self.power_w) else 0.0

    def quantile_w(self, share: float) -> float:
        """Power that is not exceeded for such a share of the time."""
        return min(_quantile(self.time_s, self.power_w, share), self.limit_w)


def _quantile(time_s: Floats, power_w: Floats, share: float) -> float:
    """Power that is not exceeded for such a share of the time."""
    order = np.argsort(power_w)
    lasted_s = np.cumsum(np.diff(time_s)[order])
    if not len(lasted_s) or lasted_s[-1] <= 0:
        return 0.0
    place = int(np.searchsorted(lasted_s, share * lasted_s[-1] * (1 - 1e-12)))
    return float(power_w[order][min(place, len(order) - 1)])


def drawn(
    load: Load,
    draws: Sequence[Draw],
    pool_of: NDArray[np.int64],
    node_gpus: NDArray[np.int64],
    from_s: float,
    to_s: float,
    rack_of: NDArray[np.int64],
    spec: Power,
) -> Drawn:
    """Energy of each node and power over time at the wall, exact between events.

    ``pool_of`` and ``rack_of`` are of each node, ``draws`` of each pool. A stay draws its mean
    power throughout.
    """
    working_w, waiting_w, idle_w, host_w = (
        np.array([getattr(each, name) for each in draws])[pool_of]
        for name in ("working_w", "waiting_w", "idle_w", "host_w")
    )
    base_w = (host_w + node_gpus * idle_w + spec.supply_fixed) / spec.supply_efficiency
    start_s, end_s = np.clip(load.start_s, from_s, to_s), np.clip(load.end_s, from_s, to_s)
    mean_w = load.working * working_w[load.node] + (1 - load.working) * waiting_w[load.node]
    more_w = load.gpus * (mean_w - idle_w[load.node]) / spec.supply_efficiency
    energy_j = base_w * (to_s - from_s)
    energy_j += np.bincount(load.node, more_w * (end_s - start_s), len(base_w))
    times, level_w = _over_time(base_w.sum(), more_w, start_s, end_s, from_s, to_s)
    racks = int(rack_of.max()) + 1 if len(rack_of) else 0
    peak_w, p99_w = np.zeros(racks), np.zeros(racks)
    of_rack, base_of = rack_of[load.node], np.bincount(rack_of, base_w, racks)
    order = np.argsort(of_rack, kind="stable")
    ends = np.searchsorted(of_rack[order], np.arange(racks + 1))
    for rack in range(racks):
        own = order[ends[rack] : ends[rack + 1]]
        when, drawn_w = _over_time(base_of[rack], more_w[own], start_s[own], end_s[own], from_s, to_s)
        peak_w[rack] = drawn_w.max(initial=0.0)
        p99_w[rack] = _quantile(when, drawn_w, 0.99)
    if spec.rack_limit is not None:
        peak_w, p99_w = np.minimum(peak_w, spec.rack_limit), np.minimum(p99_w, spec.rack_limit)
    return Drawn(energy_j, times, level_w, peak_w, p99_w, math.inf if spec.limit is None else spec.limit)


def _over_time(
    base_w: float, more_w: Floats, start_s: Floats, end_s: Floats, from_s: float, to_s: float
) -> tuple[Floats, Floats]:
    """When power changes, the ends included, and the power from each of these times to the next."""
    times, place = np.unique(np.concatenate([[from_s, to_s], start_s, end_s]), return_inverse=True)
    change: Any = np.concatenate([[0.0, 0.0], more_w, -more_w])
    level_w = np.asarray(base_w + np.cumsum(np.bincount(place, change, len(times))), dtype=np.float64)
    return np.asarray(times, dtype=np.float64), level_w[:-1]


def left_w(spec: Power, limit_w: float, draws: Sequence[Draw], gpus: Sequence[int], what: str) -> float:
    """What a limit at the wall leaves for work, beyond what some nodes draw while all their jobs wait.

    PlanError if that is nothing.
    """
    least_w = sum(spec.at_the_wall_w(each.least_w(count)) for each, count in zip(draws, gpus, strict=True))
    if limit_w <= least_w:
        raise PlanError(
            f"power: {what} of {limit_w / 1e3:,.4g} kW leaves nothing for work:"
            f" {least_w / 1e3:,.4g} kW go while all jobs wait"
        )
    return (limit_w - least_w) * spec.supply_efficiency
