"""Collectives played on the simulated fabric, against nccl-tests: errors on sizes that the fit had not seen.

    python benchmarks/collectives_on_fabric.py nccl_busbw_dev.csv

Each GPU is a place on a switch with a card of the link's rate. A collective waits for its rounds and then
sends its bytes as an activity of the solver, capped at what its protocol reaches, and takes the fastest
protocol. Of each system every second size is left out of the fit of the link.
"""

import math
import sys
from pathlib import Path

import numpy as np
import polars as pl

from sim.calibration.of_collectives import Measured, fit_link, measured
from sim.flows import Fluid
from sim.network import Fabric
from sim.perf.collectives import CollectiveLink, rounds, sent_bytes
from sim.topology import Network, Site


def main() -> None:
    """Print the errors by system and kind, and of all."""
    table = pl.read_csv(sys.argv[1]).select(
        "system", kind="collective", gpus="gpus", message_bytes=pl.col("bytes").cast(pl.Float64),
        time_s=pl.col("time_us") * 1e-6,
    )  # fmt: skip
    every: list[float] = []
    for (system,), rows in table.group_by("system", maintain_order=True):
        own = measured(rows)
        places = np.concatenate([np.arange((own.kinds == kind).sum()) for kind in dict.fromkeys(own.kinds)])
        for half in (0, 1):
            link = fit_link(own.take(places % 2 != half), str(system), "NVLink", "half of the sizes")
            every += errors(link, own.take(places % 2 == half))
        print(f"{system}: n {len(own)}, median {np.median(np.abs(every[-len(own) :])):.1%}")
    print(f"all: n {len(every)}, median {np.median(np.abs(every)):.1%}, mean {np.mean(np.abs(every)):.1%}")


def errors(link: CollectiveLink, rows: Measured) -> list[float]:
    """Relative errors of the simulated times."""
    told = zip(rows.kinds, rows.message_bytes, rows.gpus, rows.time_s, strict=True)
    return [simulated_s(link, str(kind), size, int(gpus)) / time_s - 1 for kind, size, gpus, time_s in told]


def simulated_s(link: CollectiveLink, kind: str, message_bytes: float, gpus: int) -> float:
    """When the fastest protocol is through, on a fabric where nothing else runs."""
    count = float(rounds(kind, np.array(float(gpus))))  # type: ignore[arg-type]
    sent = float(sent_bytes(kind, np.array(message_bytes), np.array(float(gpus))))  # type: ignore[arg-type]
    slower = link.latencies.get(kind, 1.0)  # type: ignore[call-overload]
    small_s = (link.first_s + link.round_s * count) * slower
    protocols = (
        (small_s, link.small_rate),
        (small_s + link.middle_s * slower, link.middle_rate),
        ((link.first_s + link.bulk_s + link.bulk_round_s * count) * slower, 1.0),
    )
    card = link.rate * (gpus / 8) ** link.rate_by_gpus * link.rates.get(kind, 1.0)  # type: ignore[call-overload]
    fabric = Fabric(Fluid())
    fabric.lay(Network(kind="single_switch"), [Site(f"gpu {n}", 0, card) for n in range(gpus)])
    ends_s = []
    now_s = 0.0
    for latency_s, share in protocols:
        usages: dict[int, float] = {}
        fabric.between(range(gpus), 1.0, "all_to_all" if kind == "all_to_all" else "ring", usages)
        fabric.fluid.add(sent, usages, now_s, cap=share * card)
        end_s = fabric.fluid.next_end_s()
        fabric.fluid.end_due(end_s)
        ends_s.append(latency_s + end_s - now_s)
        now_s = end_s
    return min(ends_s, default=math.inf)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        sys.exit(__doc__)
    main()
