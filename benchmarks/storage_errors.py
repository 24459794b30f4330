"""How many A100 a storage system feeds, from its result with H100: MLPerf Storage v1.0.

    python benchmarks/storage_errors.py mlperf_storage_v10_dev.csv

The A100 result of each system is left out of what is known of hosts. Beside it what a fixed number of bytes a
second says.
"""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from sim.feeding import DEMAND, Result, alone_s, fed, processes_per_host


def pairs(path: Path) -> dict[str, list[tuple[Result, Result]]]:
    """By workload, the results of each system with H100 and A100."""
    found: dict[tuple[str, ...], dict[str, Result]] = defaultdict(dict)
    with path.open() as file:
        for row in csv.DictReader(file):
            system = re.sub(r"[_-]?(a100|h100)", "", row["system"], flags=re.IGNORECASE)
            key = (row["workload"], row["submitter"], system, row["n_client_hosts"])
            found[key][row["accelerator"]] = Result(
                row["workload"], row["accelerator"], int(row["n_accelerators"]), int(row["n_client_hosts"])
            )
    by_workload = defaultdict(list)
    for (workload, *_), both in sorted(found.items()):
        if {"h100", "a100"} <= set(both):
            by_workload[workload].append((both["h100"], both["a100"]))
    return by_workload


def main() -> None:
    """Print the errors."""
    for workload, known in pairs(Path(sys.argv[1])).items():
        ratio = DEMAND[workload, "h100"] / DEMAND[workload, "a100"]
        fixed, ours = [], []
        for place, (shown, other) in enumerate(known):
            others = [pair for at, pair in enumerate(known) if at != place]
            limit = processes_per_host([shown, *(each for pair in others for each in pair)])
            fixed.append(shown.accelerators * ratio / other.accelerators - 1)
            told = fed(shown, other.accelerator, limit, alone_s(others))
            ours.append(told / other.accelerators - 1)
        ours_told, fixed_told = (
            f"{np.median(np.abs(errors)):.1%} (mean {np.mean(np.abs(errors)):.1%})"
            for errors in (ours, fixed)
        )
        print(f"{workload}: n {len(known)}, left out {ours_told}; fixed bytes a second {fixed_told}")


if __name__ == "__main__":
    main()
