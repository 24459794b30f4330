"""Peak memory of training steps, from rows that say it."""

from collections.abc import Sequence

import numpy as np

from sim.calibration.least_squares import Floats, minimise
from sim.calibration.measured import Measured, network_of
from sim.perf.device import Memory, Quality, written_bytes

FEWEST = 6
START = np.log([1e8, 16.0, 1.0])
SPREAD = np.array([2.0, 0.7, 0.7])


def fit_memory(rows: Sequence[Measured]) -> Memory | None:
    """Fixed part, bytes of each weight, and share of the activations kept; None where too few rows say it."""
    told = [row for row in rows if row.peak_memory_bytes]
    if len(told) < FEWEST:
        return None
    found = _fit(told)
    kinds = np.array([network_of(row) for row in told])
    off = np.zeros(len(told))
    for kind in np.unique(kinds):
        out = kinds == kind
        known = [row for row, leave in zip(told, out, strict=True) if not leave]
        if known:
            off[out] = [
                _fit(known).peak_bytes(row.step) / (row.peak_memory_bytes or 1.0) - 1
                for row, leave in zip(told, out, strict=True)
                if leave
            ]
    size = np.abs(off)
    quality = Quality(
        left_out="one network",
        n=len(told),
        mape=float(f"{size.mean():.4g}"),
        median=float(f"{np.median(size):.4g}"),
        p90=float(f"{np.quantile(size, 0.9):.4g}"),
    )
    return found.model_copy(update={"quality": quality})


def _fit(told: Sequence[Measured]) -> Memory:
    parts = np.array([[1.0, row.step.model.parameters, written_bytes(row.step)] for row in told])
    measured = np.log([row.peak_memory_bytes or 1.0 for row in told])

    def misses(at: Floats) -> Floats:
        return np.asarray(np.log(parts @ np.exp(at)) - measured)

    found = minimise(misses, START, SPREAD, np.full(3, np.inf), noise=0.05)
    fixed, weights, kept = (float(f"{value:.4g}") for value in np.exp(found.values))
    return Memory(
        fixed_bytes=fixed,
        bytes_per_parameter=weights,
        activations_kept=kept,
        spread=float(f"{np.std(misses(found.values)):.3g}"),
    )
