"""Training steps on one device: the bare step, its phases, and what it computes, moves and holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.profile import TrainingRow
from train import telemetry
from train.measure.case import Case, TrainingStep, why_not
from train.measure.job import passes
from train.measure.trace import Clock, Trace
from train.timing import Repeats, phases_s, stopwatch, timed_s

if TYPE_CHECKING:
    from train.measure.case import InferencePass
    from train.measure.device import Device

LONG_S = 8.0
"""A step that takes longer is measured once in a pass, and not looked into."""
PHASES_SHARE = 0.25
"""Part of the time that is spent on looking into the step."""
MOST_LOOKS = 3
"""Steps in a pass whose operators are timed one by one."""


@dataclass(frozen=True, slots=True)
class Training:
    """Steps of one model on one device."""

    case: Case
    device: Device

    def measure(self, budget_s: float, *, first: bool) -> Iterator[TrainingRow]:
        """One row."""
        fields: dict[str, Any]
        try:
            fields = self._measured(budget_s, first=first)
        except (RuntimeError, ValueError, MemoryError) as error:
            fields = why_not(error)
        self.device.tidy()
        yield TrainingRow(**self.case.fields(), **fields)

    def _measured(self, budget_s: float, *, first: bool) -> dict[str, Any]:
        self.device.prepare(self.case.precision)
        step = TrainingStep(self.case, self.device)
        (warm_s,) = timed_s(step, 1, self.device.synchronise)
        if warm_s > LONG_S:
            times_s = timed_s(step, 1, self.device.synchronise)
            return {"step_s": tuple(times_s), "pass_index": passes(times_s)}
        fixed = traced(step) if first else {}
        fields = fixed | timed(step, self.device, budget_s * (1 - PHASES_SHARE))
        often = Repeats.within(budget_s * PHASES_SHARE, fields["step_s"][0], most=10).repetitions
        fields["phases_s"] = phases_s(step, often, self.device.watch(), self.device.synchronise)
        if self.device.kind == "cpu":
            fields["operators_s"] = operators_s(step, min(often, MOST_LOOKS))
        return fields


def operators_s(step: TrainingStep, repetitions: int) -> dict[str, tuple[float, ...]]:
    """Seconds by kind of operator in each of some steps."""
    clocks = []
    for _ in range(repetitions):
        with Clock() as clock:
            step(clock.mark)
        clocks.append(clock.seconds_by_kind)
    kinds = sorted(set().union(*clocks))
    return {kind: tuple(clock[kind] for clock in clocks) for kind in kinds}


def traced(step: TrainingStep | InferencePass) -> dict[str, Any]:
    """What a step computes, moves and holds, from a warm-up; the first step made the optimiser's memory."""
    step()
    with Trace(step.held()) as trace:
        step(trace.mark)
    return {
        "flops_per_step": float(trace.flops),
        "kernels_per_step": trace.kernels,
        "bytes_per_step": dict(sorted(trace.bytes_by_kind.items())),
        "peak_memory_bytes": float(trace.peak_bytes),
    }


def timed(step: TrainingStep | InferencePass, device: Device, budget_s: float) -> dict[str, Any]:
    """The times of bare steps after two of warm-up, and what the device says of power and clock."""
    _, warm_s = timed_s(step, 2, device.synchronise)
    repeats = Repeats.within(budget_s, warm_s)
    meter = device.meter()
    before = meter()
    with stopwatch() as elapsed_s:
        times_s = repeats.time_s(step, device.synchronise)
        spent = telemetry.spent(before, meter(), elapsed_s(), repeats.repetitions * repeats.steps)
    peak_bytes = device.peak_memory_bytes()
    return {
        "step_s": tuple(times_s),
        "pass_index": passes(times_s),
        **({} if peak_bytes is None else {"peak_memory_bytes": peak_bytes}),
        **spent,
    }
