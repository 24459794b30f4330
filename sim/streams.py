"""Named randomness: one seed in the scenario, and a stream of its own for each purpose.

Two policies then face the same arrivals, and a change to the durations of one workload leaves its arrivals,
and everything that other workloads do, as they were.
"""

from zlib import crc32

import numpy as np


def stream(seed: int, *name: str) -> np.random.Generator:
    """An independent generator for one purpose, the same in every run of this seed.

    Args:
        seed: the seed of the run, 0 or more.
        name: what the numbers are for, from the general to the particular: ``("vision", "arrivals")``.
    """
    key = tuple(crc32(part.encode()) for part in name)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
