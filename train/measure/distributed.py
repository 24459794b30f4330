"""Training on several devices with averaged gradients (DDP), and on one of them alone to compare with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed import GradBucket  # type: ignore[attr-defined]  # torch does export it
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from sim.profile import Row, TrainingRow
from train.measure.case import Case, TrainingStep, why_not
from train.measure.device import Device
from train.measure.job import passes
from train.measure.processes import Group, ProcessesFailedError, agreed, smallest
from train.measure.training import PHASES_SHARE, traced
from train.timing import Repeats, Watch, phases_s, timed_s


@dataclass(frozen=True, slots=True)
class Distributed:
    """Steps of some models in one group of processes."""

    group: Group
    cases: tuple[Case, ...]

    def measure(self, budget_s: float, *, first: bool) -> Iterator[TrainingRow]:
        """A row for each case."""
        done = 0
        try:
            for row in self.group.rows(_in_each_process, self.group, self.cases, budget_s, first):
                assert isinstance(row, TrainingRow)  # noqa: S101 - what its own function yields
                yield row
                done += 1
        except ProcessesFailedError as error:
            for case in self.cases[done:]:
                yield _row(case, self.group, {"status": "failed", "reason": str(error)})


def _row(case: Case, group: Group, fields: dict[str, Any]) -> TrainingRow:
    together = {"world_size": group.size, "threads": group.threads}
    backend = {"backend": group.backend} if group.size > 1 else {}
    return TrainingRow(**case.fields(), **together, **backend, **fields)


def _in_each_process(
    rank: int,
    group: Group,
    cases: tuple[Case, ...],
    budget_s: float,
    first: bool,  # noqa: FBT001 - crosses to another process
) -> Iterator[Row]:
    device = Device(group.kind, rank if group.kind == "cuda" else 0)
    for case in cases:
        fields = _fixed(case, device, group, first=first)
        if fields.get("status", "ok") == "ok":
            fields |= _timed(case, device, group, budget_s / len(cases))
        device.tidy()
        yield _row(case, group, fields)


def _fixed(case: Case, device: Device, group: Group, *, first: bool) -> dict[str, Any]:
    """What does not depend on the others, from a step that each device takes alone.

    If it fits in memory on all of them, they go on together; if not, none of them waits for the others.
    """
    fields: dict[str, Any] = {}
    try:
        device.prepare(case.precision)
        step = TrainingStep(case, device)
        if first:
            fields = traced(step)
            fields["peak_memory_bytes"] += _bytes_of_buckets(step.module) if group.size > 1 else 0.0
        else:
            step()
    except (RuntimeError, ValueError, MemoryError) as error:
        fields = why_not(error)
    sound = smallest(float(fields.get("status", "ok") == "ok"), device.kind)
    if not sound and "status" not in fields:
        return {"status": "out_of_memory", "reason": "did not fit on another device of the group"}
    return fields


def _timed(case: Case, device: Device, group: Group, budget_s: float) -> dict[str, Any]:
    """Bare steps and, with a model of its own that looks at the all-reduce, their phases."""
    together = (lambda module: _ddp(module, device)) if group.size > 1 else None
    step = TrainingStep(case, device, together)
    warm_s = agreed(timed_s(step, 3, device.synchronise)[-1], device.kind)
    times_s = Repeats.within(budget_s * (1 - PHASES_SHARE), warm_s).time_s(step, device.synchronise)
    del step
    watch = device.watch()
    looking = (lambda module: _ddp(module, device, watch)) if group.size > 1 else None
    step = TrainingStep(case, device, looking)
    timed_s(step, 2, device.synchronise)
    often = Repeats.within(budget_s * PHASES_SHARE, warm_s, most=10).repetitions
    peak_bytes = device.peak_memory_bytes()
    return {
        "step_s": tuple(times_s),
        "pass_index": passes(times_s),
        "phases_s": phases_s(step, often, watch, device.synchronise),
        **({} if peak_bytes is None else {"peak_memory_bytes": peak_bytes}),
    }


def _bytes_of_buckets(module: nn.Module) -> float:
    """Gradients are copied into buckets that DDP keeps from step to step."""
    return float(sum(weight.nbytes for weight in module.parameters()))


def _ddp(module: nn.Module, device: Device, watch: Watch | None = None) -> nn.Module:
    """The model with averaged gradients; a watch is told when the backward pass itself is done.

    That is when the last bucket of gradients is ready. What then still passes until the step goes on is the
    part of the all-reduce that nothing hides.
    """
    ddp = DistributedDataParallel(module, device_ids=[device.index] if device.kind == "cuda" else None)
    if watch is not None:
        ddp.register_comm_hook(watch, _marking_allreduce)
    return ddp


def _marking_allreduce(watch: Watch, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    if bucket.is_last():
        watch.mark("backward")
    everybody = distributed.group.WORLD
    assert everybody is not None  # noqa: S101 - it was made before the model
    return allreduce_hook(everybody, bucket)
