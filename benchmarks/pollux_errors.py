"""Step and sync times of other people's CNN trainings on placements that the fit has not seen.

    python benchmarks/pollux_errors.py shared/traces/pollux_profiles

The data are of Pollux (Qiao et al., OSDI 2021). Compute is a fixed part and a part per sample; the all-reduce
is latency and a part for each further GPU, apart for each number of nodes; what of it shows is what the
backward pass does not hide (``sim.perf.device.overlapped``).

The last column is what no model can beat that does not know one node from another: sync times of a placement
told by the mean of the same on the other placements of its shape (112 and 121 have one), where there are any.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from sim.calibration.least_squares import Floats, minimise

FOLDS = 12
NODES = (1, 2, 3, 4)
START = np.log([0.02, 1e-3, *([1e-3, 1e-3] + [5e-2, 1e-2] * 3), 1.0, 1e-3])
SPREAD = np.array([2.0, 2.0, *[3.0] * 8, 1.0, 1.0])


def main() -> None:
    print(
        "| training | rows | placements | step: MAPE, median | sync: MAPE, median, share of step time "
        "| sync by the same shape on other nodes: rows, MAPE, median; the model there |\n"
        "|---|---|---|---|---|---|"
    )
    for name in ("cifar10", "imagenet"):
        table = pl.read_csv(
            Path(sys.argv[1]) / f"{name}_placements.csv.gz", schema_overrides={"placement": pl.String}
        )
        print(errors(name, table))


def predicted(at: Floats, table: pl.DataFrame) -> tuple[Floats, Floats]:
    """Step and sync time of each row."""
    value = np.exp(at)
    gpus = np.array([sum(map(int, placement)) for placement in table["placement"]])
    nodes = np.array([len(placement) for placement in table["placement"]])
    compute = value[0] + value[1] * table["local_bsz"].to_numpy()
    reduce = np.zeros(len(gpus))
    for place, count in enumerate(NODES):
        latency, further = value[2 + 2 * place : 4 + 2 * place]
        reduce = np.where(nodes == count, latency + further * (gpus - count), reduce)
    sharpness, backward = 1 + value[-2], 2 / 3 * compute
    sync = (backward**sharpness + reduce**sharpness) ** (1 / sharpness) - backward
    sync = np.where(gpus > 1, sync, 0.0) + value[-1]
    return compute + sync, sync


def by_shape(table: pl.DataFrame) -> Floats:
    """Sync time of each row as the mean of the same elsewhere; NaN where there is none."""
    shape = pl.Series("shape", ["".join(sorted(placement)) for placement in table["placement"]])
    alike = ["shape", "local_bsz"]
    others = pl.col("sync_time").sum().over(alike) - pl.col("sync_time")
    count = pl.len().over(alike) - 1
    told = table.with_columns(shape).select(pl.when(count > 0).then(others / count).otherwise(np.nan))
    return np.asarray(told.to_series().to_numpy(), dtype=np.float64)


def errors(name: str, table: pl.DataFrame) -> str:
    step, sync = table["step_time"].to_numpy(), table["sync_time"].to_numpy()
    kinds = table["placement"].to_numpy()
    order = np.random.default_rng(0).permutation(np.unique(kinds))
    guess = np.zeros((2, len(step)))
    for fold in range(FOLDS):
        out = np.isin(kinds, order[fold::FOLDS])
        known = table.filter(~pl.Series(out))

        def misses(at: Floats, known: pl.DataFrame = known) -> Floats:
            steps, syncs = predicted(at, known)
            behind = np.log(syncs + 0.02 * steps) - np.log(known["sync_time"].to_numpy() + 0.02 * steps)
            return np.concatenate([np.log(steps / known["step_time"].to_numpy()), 0.3 * behind])

        found = minimise(misses, START, SPREAD, np.full(len(START), np.inf), noise=0.1)
        guess[:, out] = predicted(found.values, table.filter(pl.Series(out)))
    of_step = np.abs(guess[0] / step - 1)
    many = np.array([len(kind) > 1 for kind in kinds])
    of_sync = np.abs(guess[1] / sync - 1)[many]
    share = np.abs(guess[1] - sync)[many] / step[many]
    elsewhere = by_shape(table)
    there = np.isfinite(elsewhere) & many
    least, ours = (np.abs(told / sync - 1)[there] for told in (elsewhere, guess[1]))
    return (
        f"| {name} | {len(step)} | {len(order)} | {of_step.mean():.1%}, {np.median(of_step):.1%} "
        f"| {of_sync.mean():.1%}, {np.median(of_sync):.1%}, {share.mean():.1%} "
        f"| {there.sum()}, {least.mean():.1%}, {np.median(least):.1%}; "
        f"{ours.mean():.1%}, {np.median(ours):.1%} |"
    )


if __name__ == "__main__":
    main()
