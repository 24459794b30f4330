"""All-reduce, all-gather and broadcast among processes, by size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import distributed

from sim.profile import CollectiveRow
from train.measure.device import Device, Kind
from train.measure.job import passes
from train.measure.processes import Group, ProcessesFailedError, agreed
from train.timing import Repeats, timed_s

OPERATIONS: tuple[str, ...] = get_args(CollectiveRow.model_fields["operation"].annotation)


@dataclass(frozen=True, slots=True)
class Collectives:
    """Every operation with every size, in one group of processes."""

    group: Group
    sizes_bytes: tuple[int, ...]
    seed: int = 0

    def measure(self, budget_s: float, *, first: bool) -> Iterator[CollectiveRow]:  # noqa: ARG002 - nothing is fixed
        """A row for each operation and size, in random order."""
        plan = [(operation, size) for operation in OPERATIONS for size in self.sizes_bytes]
        random.Random(self.seed).shuffle(plan)  # noqa: S311 - an order, not a secret
        each_s = budget_s / len(plan)
        done: set[tuple[str, float]] = set()
        try:
            for row in self.group.rows(_in_each_process, self.group, plan, each_s):
                assert isinstance(row, CollectiveRow)  # noqa: S101 - what its own function yields
                done.add((row.operation, row.size_bytes))
                yield row
        except ProcessesFailedError as error:
            for operation, size in plan:
                if (operation, size) not in done:
                    yield _row(operation, size, self.group, status="failed", reason=str(error))


def _row(operation: str, size_bytes: int, group: Group, **fields: object) -> CollectiveRow:
    what = {"operation": operation, "size_bytes": size_bytes}
    return CollectiveRow.model_validate(what | {"world_size": group.size, "backend": group.backend} | fields)


def _in_each_process(
    rank: int, group: Group, plan: list[tuple[str, int]], each_s: float
) -> Iterator[CollectiveRow]:
    device = Device(group.kind, rank if group.kind == "cuda" else 0)
    for operation, size_bytes in plan:
        times_s = _times_s(_call(operation, size_bytes, group.size, device.torch), each_s, device, group.kind)
        yield _row(operation, size_bytes, group, time_s=times_s, pass_index=passes(times_s))


def _times_s(call: Callable[[], object], budget_s: float, device: Device, kind: Kind) -> tuple[float, ...]:
    """Seconds of each repetition; the first process decides how many there are."""
    distributed.barrier()
    warm_s = agreed(timed_s(call, 3, device.synchronise)[-1], kind)
    return tuple(Repeats.within(budget_s, warm_s).time_s(call, device.synchronise))


def _call(operation: str, size_bytes: int, world_size: int, device: torch.device) -> Callable[[], object]:
    """One collective on a buffer of 32-bit numbers; for all-gather the buffer is the result."""
    numbers = max(world_size, size_bytes // 4)
    whole = torch.ones(numbers - numbers % world_size, device=device)
    if operation == "all_reduce":
        return lambda: distributed.all_reduce(whole)
    if operation == "broadcast":
        return lambda: distributed.broadcast(whole, 0)
    parts = list(whole.chunk(world_size))
    own = parts[0].clone()
    return lambda: distributed.all_gather(parts, own)
