"""What the profiler costs: images/s as it reports them, beside a bare training loop written out here.

    python benchmarks/profiler_overhead.py [--rounds 15] [--threads 1]

The two take turns, with another order in each round, on the same models and batches; the ratio of a round is
that of its neighbours in time, so that a machine that gets slower does not look like a cost. Printed is the
median of the ratios with its quartiles; 1.00 is free, and 0.98 is the least that is wanted.
"""

from __future__ import annotations

import argparse
import random
import time
from statistics import median, quantiles

import torch
from torch.nn import functional

from train.measure.case import Case, TrainingStep
from train.measure.device import Device, find
from train.measure.subject import Subject
from train.measure.training import timed

CASES = (("textbook", 64), ("resnet", 16), ("squeezenet1_1@64", 8), ("resnet18@64", 4))
BUDGET_S = 1.0


def profiled_images_per_s(case: Case, device: Device) -> float:
    return case.batch / median(timed(TrainingStep(case, device), device, BUDGET_S)["step_s"])


def bare_images_per_s(case: Case, device: Device) -> float:
    torch.manual_seed(0)
    model = case.module(device).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    batches = case.batches(device)
    steps_s: list[float] = []
    until_s = 0.0
    while len(steps_s) < 5 or time.perf_counter() < until_s:
        device.synchronise()
        start_s = time.perf_counter()
        images, labels = (tensor.to(device.torch, non_blocking=True) for tensor in next(batches))
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        device.synchronise()
        steps_s.append(time.perf_counter() - start_s)
        if len(steps_s) == 2:
            until_s = time.perf_counter() + BUDGET_S
    return case.batch / median(steps_s[2:])


def compared(case: Case, device: Device, rounds: int) -> list[float]:
    """Profiled over bare images/s, for each round."""
    order = random.Random(0)  # noqa: S311 - an order, not a secret
    ratios = []
    for _ in range(rounds):
        found = {}
        for who in order.sample(("profiled", "bare"), 2):
            found[who] = (
                profiled_images_per_s(case, device) if who == "profiled" else bare_images_per_s(case, device)
            )
        ratios.append(found["profiled"] / found["bare"])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    device = find(wanted.device)
    print("| model | batch | profiled / bare | quartiles |\n|---|---:|---:|---:|")
    for name, batch in CASES:
        ratios = compared(Case(Subject.parse(name), batch), device, wanted.rounds)
        low, _, high = quantiles(ratios, n=4)
        print(f"| {name} | {batch} | {median(ratios):.3f} | {low:.3f} to {high:.3f} |", flush=True)


if __name__ == "__main__":
    main()
