"""What a fleet draws, from what its GPUs do: working, waiting or idle, and what that costs.

"Utilisation" as drivers count it says little about power: in the Acme traces GPUs that are 99 % utilised
draw 97 W of 400 in the median, as they wait for others (Hu et al., NSDI 2024). So power follows from the
use of each stay: near the rated power while a job works, a quarter of it while it loads, writes, waits for
network and stores or hangs, the idle power otherwise. Hosts draw a constant power. Losses of cooling and
conversion multiply the energy once (PUE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sim import catalog
from sim.errors import PlanError
from sim.fleet import Pool
from sim.parts import Fraction, Part, Watts

Floats = NDArray[np.float64]
USUAL_IDLE: Final = 0.15
"""Of the rated power, where the catalog knows no idle power: an A100 draws 60 of 400 W (Acme traces)."""
HOST_SHARE: Final = 0.61
"""Of what a node's rating has beyond its GPUs, what processors, memory, cards and fans draw. With it and GPUs
at their rated power a node of eight H100 draws the 8.4 of 10.2 kW measured at most (arXiv 2412.08602)."""


class Power(Part):
    """How much GPUs and hosts draw, and what energy costs."""

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
    price_per_kwh: Annotated[float, Field(ge=0)] | None = Field(None, description="price of energy")
    carbon_per_kwh: Annotated[float, Field(ge=0)] | None = Field(
        None, description="kg of carbon dioxide for a kWh; 0.02 hydro to 0.9 coal"
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """Watts of one pool: of a GPU by what it does, and of a node besides its GPUs."""

    working_w: float
    waiting_w: float
    idle_w: float
    host_w: float


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
    return Draw(spec.working * rated_w, spec.waiting * rated_w, idle_w, host_w)


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

    @property
    def energy_j(self) -> float:
        """Of all nodes."""
        return float(self.node_energy_j.sum())

    @property
    def mean_w(self) -> float:
        """Over the whole time."""
        lasted_s = float(self.time_s[-1] - self.time_s[0])
        return self.energy_j / lasted_s if lasted_s else 0.0

    @property
    def peak_w(self) -> float:
        """The most that is drawn at any time."""
        return float(self.power_w.max()) if len(self.power_w) else 0.0

    def quantile_w(self, share: float) -> float:
        """Power that is not exceeded for such a share of the time."""
        order = np.argsort(self.power_w)
        lasted_s = np.cumsum(np.diff(self.time_s)[order])
        place = int(np.searchsorted(lasted_s, share * lasted_s[-1] * (1 - 1e-12)))
        return float(self.power_w[order][min(place, len(order) - 1)])


def drawn(
    load: Load,
    draws: Sequence[Draw],
    pool_of: NDArray[np.int64],
    node_gpus: NDArray[np.int64],
    from_s: float,
    to_s: float,
) -> Drawn:
    """Energy of each node and power over time, exact between events.

    ``pool_of`` is the pool of each node, ``draws`` of each pool. A stay draws its mean power throughout.
    """
    working_w, waiting_w, idle_w, host_w = (
        np.array([getattr(each, name) for each in draws])[pool_of]
        for name in ("working_w", "waiting_w", "idle_w", "host_w")
    )
    base_w = host_w + node_gpus * idle_w
    start_s, end_s = np.clip(load.start_s, from_s, to_s), np.clip(load.end_s, from_s, to_s)
    mean_w = load.working * working_w[load.node] + (1 - load.working) * waiting_w[load.node]
    more_w = load.gpus * (mean_w - idle_w[load.node])
    energy_j = base_w * (to_s - from_s)
    energy_j += np.bincount(load.node, more_w * (end_s - start_s), len(base_w))
    times, place = np.unique(np.concatenate([[from_s, to_s], start_s, end_s]), return_inverse=True)
    change: Any = np.concatenate([[0.0, 0.0], more_w, -more_w])
    level_w = base_w.sum() + np.cumsum(np.bincount(place, change, len(times)))
    return Drawn(energy_j, times, level_w[:-1])
