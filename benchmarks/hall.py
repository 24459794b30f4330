"""How fast a whole hall is simulated: jobs that share network and stores, write checkpoints and fail.

    python benchmarks/hall.py [--nodes 1000] [--jobs 20000] [--oversubscription 4]

A month of nodes of eight H100 on a leaf-spine fabric, with one file system, the failures of a research
cluster and checkpoints; then the 54 days of Llama 3 (scenarios/llama3_failures.yaml); then one job
that is hit at every turn, after the defaults of AIReSim (github.com/karthikp-ubc/airesim, params.py): 256
days of work on 4,096 of 4,360 servers that fail 0.01 times a day, 15 % of them six times as often until a
repair cures them, as 76 % of repairs do, with 23 minutes to start again. First the job hangs for these
minutes and cannot be hit meanwhile, as there; then it loads its state and can be hit again and again. Unlike
there, work since the last checkpoint is lost. Processor seconds on one core, tables and metrics included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sim import experiment
from sim.results import Results
from sim.scenario import Scenario, load

HOUR_S = 3600.0
DAY_S = 86400.0
SHOWN = ("jobs", "occupancy", "interruptions", "checkpoint_gpu_h", "contention_gpu_h", "effective_time")


def hall(nodes: int, jobs: int, oversubscription: float) -> Scenario:
    """The scenario."""
    span_s = 30 * DAY_S
    return Scenario.model_validate(
        {
            "name": "hall",
            "horizon": span_s,
            "fleet": {"pools": [{"name": "h100", "node": "dgx-h100", "nodes": nodes, "nodes_per_rack": 4}]},
            "scheduler": {"order": "fifo", "blocking": "greedy"},
            "network": {"nodes_per_leaf": 16, "oversubscription": oversubscription},
            "stores": [{"name": "lustre", "read": 1e12, "write": 5e11, "per_node": 2e10}],
            "traffic": [
                {"gpus_from": 64, "sends": 1.5e11, "pattern": "all_to_all", "reads": 1e8, "store": "lustre"},
                {"gpus_from": 16, "sends": 9e10, "reads": 5e8, "store": "lustre"},
                {"reads": 1e9, "store": "lustre"},
            ],
            "checkpoints": [
                {"gpus_from": 64, "size": 2e12, "store": "lustre", "snapshot": 5.0, "restart": 120.0},
                {"every": 3600.0, "size": 1e11, "store": "lustre", "restart": 60.0},
            ],
            "failures": {"preset": "rsc1", "detection": 300.0, "technicians": 8},
            "workloads": [
                {
                    "kind": "synthetic",
                    "arrivals": {"kind": "poisson", "rate": jobs / span_s},
                    "gpus": {
                        "kind": "choice",
                        "values": [1, 4, 8, 16, 32, 64, 128, 256],
                        "weights": [20, 15, 25, 15, 10, 8, 5, 2],
                    },
                    "duration": {"kind": "lognormal", "median": 3 * 3600.0, "sigma": 1.2},
                }
            ],
        }
    )


def servers(*, hangs: bool) -> Scenario:
    """The scenario of the job that is hit at every turn, and hangs or loads for 23 minutes each time."""
    loading = {} if hangs else {"restore": 20 * 60.0, "restart": 3 * 60.0}
    repair = {
        "kind": "mixture",
        "components": [{"kind": "fixed", "value": 2 * HOUR_S}, {"kind": "fixed", "value": 50 * HOUR_S}],
        "weights": [20, 80],
    }
    return Scenario.model_validate(
        {
            "name": "servers",
            "fleet": {"pools": [{"name": "servers", "gpus_per_node": 1, "nodes": 4360, "nodes_per_rack": 8}]},
            "scheduler": {"order": "fifo", "blocking": "greedy"},
            "failures": {
                "components": [
                    {"name": "server", "per": "node", "mean_time_between": 100 * DAY_S, "repair": repair}
                ],
                "lemons": {"share": 0.15, "times": 6, "cured": 0.76},
                "spares": {"nodes": 200, "after": 20 * 60.0},
                "detection": 23 * 60.0 if hangs else 0.0,
            },
            "checkpoints": [{"every": 600.0, "write": 5.0, **loading}],
            "workloads": [
                {
                    "kind": "synthetic",
                    "count": 1,
                    "arrivals": {"kind": "batch", "every": DAY_S, "size": 1},
                    "gpus": 4096,
                    "duration": 256 * DAY_S,
                }
            ],
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--oversubscription", type=float, default=4.0)
    asked = parser.parse_args()
    wanted = hall(asked.nodes, asked.jobs, asked.oversubscription)
    show(f"a month of {asked.nodes:,} nodes, {asked.oversubscription:g}:1", wanted, Path())
    file = Path(__file__).parents[1] / "scenarios" / "llama3_failures.yaml"
    show("Llama 3's 54 days", load(file), file.parent)
    for hangs in (True, False):
        what = "that cannot be hit while they start" if hangs else "that can be hit while they start"
        show(f"256 days of work on 4,096 servers {what}", servers(hangs=hangs), Path())


def show(title: str, scenario: Scenario, folder: Path) -> Results:
    """Play it and print what it took and came to."""
    begin_s = time.process_time()
    found = experiment.run(scenario, folder)
    took_s = time.process_time() - begin_s
    told = ", ".join(f"{name} {found.metric(name) or 0:,.4g}" for name in SHOWN)
    print(f"{title}: {took_s:.2f} s ({told})", flush=True)
    return found


if __name__ == "__main__":
    main()
