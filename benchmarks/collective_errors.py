"""All-reduce times of message sizes that the fit of latency and rate has not seen.

    python benchmarks/collective_errors.py shared/validation

Every second size of each system is left out, then the others. NCCL's tables say the bus rate, the serving
tables the latency of half-precision elements.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from sim.calibration.least_squares import Floats
from sim.calibration.of_profile import fit_link

FEWEST = 8


def main() -> None:
    folder = Path(sys.argv[1])
    nccl = pl.read_csv(folder / "nccl_busbw_dev.csv").filter(pl.col("collective") == "all_reduce").select(
        pl.concat_str(pl.lit("NCCL tests: "), "system", pl.lit(" x "), "gpus").alias("of"),
        world=pl.col("gpus"), size=pl.col("bytes").cast(pl.Float64), time_s=pl.col("time_us") * 1e-6,
    )  # fmt: skip
    serving = pl.read_csv(folder / "serving_op_collectives.csv")
    serving = serving.filter(pl.col("op_name") == "all_reduce").select(
        pl.concat_str("library", pl.lit(": "), "system", pl.lit(" x "), "num_gpus").alias("of"),
        world=pl.col("num_gpus"),
        size=pl.col("message_elements_2_bytes_each") * 2.0,
        time_s=pl.col("latency_ms") * 1e-3,
    )  # fmt: skip
    print("| all-reduce of | sizes | MAPE | median | p90 |\n|---|---|---|---|---|")
    everything = []
    for (name,), rows in pl.concat([nccl, serving], how="vertical_relaxed").group_by(
        "of", maintain_order=True
    ):
        by_size = rows.group_by("size").agg(pl.col("world").first(), pl.col("time_s").median()).sort("size")
        if len(by_size) >= FEWEST:
            found = errors(by_size)
            everything.append(found)
            print(line(str(name), found))
    print(line("all", np.concatenate(everything)))


def errors(rows: pl.DataFrame) -> Floats:
    sizes, times = rows["size"].to_numpy(), rows["time_s"].to_numpy()
    off = np.zeros(len(sizes))
    for half in (0, 1):
        out = np.arange(len(sizes)) % 2 == half
        link = fit_link(int(rows["world"][0]), sizes[~out], times[~out])
        off[out] = [
            link.all_reduce_s(size) / time - 1 for size, time in zip(sizes[out], times[out], strict=True)
        ]
    return np.abs(off)


def line(name: str, off: Floats) -> str:
    return f"| {name} | {len(off)} | {off.mean():.1%} | {np.median(off):.1%} | {np.quantile(off, 0.9):.1%} |"


if __name__ == "__main__":
    main()
