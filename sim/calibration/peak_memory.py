"""Peak memory of training steps, from rows that say it."""

from collections.abc import Sequence

import numpy as np

from sim.calibration.least_squares import Floats, minimise
from sim.calibration.measured import Measured, network_of
from sim.perf.device import Memory, Quality, largest_tensor_bytes, written_bytes

FEWEST = 6
START = np.log([1e7, 12.0, 0.7, 0.5])
SPREAD = np.array([4.0, 0.7, 0.7, 2.0])


def fit_memory(rows: Sequence[Measured]) -> Memory | None:
    """What each part of a step takes; None where too few rows say it."""
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
    return found.model_copy(update={"quality": Quality.of("one network", off)})


def _fit(told: Sequence[Measured]) -> Memory:
    steps = [row.step for row in told]
    parts = np.array(
        [[1.0, step.model.parameters, written_bytes(step), largest_tensor_bytes(step)] for step in steps]
    )
    measured = np.log([row.peak_memory_bytes or 1.0 for row in told])

    def misses(at: Floats) -> Floats:
        return np.asarray(np.log(parts @ np.exp(at)) - measured)

    found = minimise(misses, START, SPREAD, np.full(len(START), np.inf), noise=0.05)
    fixed, weights, kept, largest = (float(f"{value:.4g}") for value in np.exp(found.values))
    return Memory(
        fixed_bytes=fixed,
        bytes_per_parameter=weights,
        activations_kept=kept,
        largest_tensors=largest,
        spread=float(f"{np.std(misses(found.values)):.3g}"),
    )
