"""How fast layouts are evaluated: step time and memory of every layout of GPT-3 on 1,024 GPUs, and in bulk.

    python benchmarks/layouts.py

On one core, with the whole search (enumeration, memory, step time, ranking) beside it.
"""

import time
from dataclasses import replace

import numpy as np

from sim.catalog.training_fit import training_fit
from sim.catalog.transformers import transformer
from sim.estimate import Job, search, verdicts
from sim.perf.parallel.layouts import Layouts, all_layouts

ROUNDS = 7


def main() -> None:
    job = Job(transformer("gpt-3-175b"), "a100-sxm4-80gb", 1024, 2048, 1536)
    fitted = training_fit().fitted
    seconds = [timed(lambda: search(job)) for _ in range(ROUNDS)]
    every = all_layouts(job.model, job.gpus, job.batch, job.sequence, job.domain)
    print(f"search of {len(every):,} layouts: {min(seconds) * 1e3:.1f} ms")
    many = Layouts(*(np.tile(getattr(every, name), 40) for name in every.__dataclass_fields__))
    shape, machine = job.shape(len(many)), job.machine(len(many))

    def evaluate() -> None:
        fitted.times(shape, many, machine)
        verdicts(job, many)

    best = min(timed(evaluate) for _ in range(ROUNDS))
    print(f"step time and memory: {len(many) / best:,.0f} layouts a second")
    larger = replace(job, gpus=16384, batch=16384)
    print(f"search on 16,384 GPUs: {min(timed(lambda: search(larger)) for _ in range(3)) * 1e3:.1f} ms")


def timed(run) -> float:  # noqa: ANN001 - any function without arguments
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
