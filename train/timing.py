"""Times that can be trusted: of warmed-up steps, from one moment of rest to the next, each repetition kept.

A whole step is timed in a plain loop. Its phases are timed in repetitions of their own, with a watch that is
told where each phase ends, so that looking inside costs the step nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.profile import Phase

    Mark = Callable[[Phase], None]
    """Told that a phase of the step has ended."""

SHORTEST_REPETITION_S = 0.005
"""Shorter steps are timed several at a time, so that the clock and the synchronising weigh less than 1 %."""


def timed_s(
    step: Callable[[], object], repetitions: int, synchronise: Callable[[], None], steps: int = 1
) -> list[float]:
    """Seconds of one step, a figure for each repetition of so many steps."""
    seconds = []
    for _ in range(repetitions):
        synchronise()
        start_s = time.perf_counter()
        for _ in range(steps):
            step()
        synchronise()
        seconds.append((time.perf_counter() - start_s) / steps)
    return seconds


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often a step is repeated, and how many steps are timed as one."""

    repetitions: int
    steps: int

    @classmethod
    def within(cls, budget_s: float, step_s: float, *, fewest: int = 2, most: int = 40) -> Repeats:
        """As many repetitions as fit in the time, but never less than a few."""
        steps = max(1, round(SHORTEST_REPETITION_S / step_s))
        wanted = int(budget_s / (step_s * steps))
        return cls(max(fewest, min(wanted, most)), steps)

    def time_s(self, step: Callable[[], object], synchronise: Callable[[], None]) -> list[float]:
        """Seconds of one step, a figure for each repetition."""
        return timed_s(step, self.repetitions, synchronise, self.steps)


@dataclass(slots=True)
class Watch:
    """Notes when the phases of a step end: `now` gives a moment, `seconds` the time between two."""

    now: Callable[[], Any]
    seconds: Callable[[Any, Any], float]
    phases: list[Phase] = field(default_factory=list)
    moments: list[Any] = field(default_factory=list)

    def start(self) -> None:
        """A step begins."""
        self.phases, self.moments = [], [self.now()]

    def mark(self, phase: Phase) -> None:
        """A phase ends; it began where the one before ended."""
        self.phases.append(phase)
        self.moments.append(self.now())

    def read(self) -> dict[Phase, float]:
        """Seconds of each phase of the last step, those of one name added; the device is at rest."""
        sums: dict[Phase, float] = {}
        for phase, before, after in zip(self.phases, self.moments, self.moments[1:], strict=False):
            sums[phase] = sums.get(phase, 0.0) + max(self.seconds(before, after), 0.0)
        return sums


def host_watch() -> Watch:
    """The clock of the host: for a CPU, which is done with an operator when the call returns."""
    return Watch(time.perf_counter, lambda before, after: after - before)


def cuda_watch() -> Watch:
    """Events in the stream of a GPU: nobody waits between the phases, so they overlap as they always do."""
    import torch  # noqa: PLC0415 - a CPU needs none of this

    def now() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    return Watch(now, lambda before, after: before.elapsed_time(after) / 1000)


def phases_s(
    step: Callable[[Mark], object], repetitions: int, watch: Watch, synchronise: Callable[[], None]
) -> dict[Phase, tuple[float, ...]]:
    """Seconds of each phase in each repetition of a step that marks its phases."""
    seconds: dict[Phase, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        synchronise()
        watch.start()
        step(watch.mark)
        synchronise()
        for phase, time_s in watch.read().items():
            seconds[phase].append(time_s)
    return {phase: tuple(times_s) for phase, times_s in seconds.items()}


def unmarked(_phase: Phase) -> None:
    """Where nobody wants to know of the phases."""


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Seconds since the block began, asked at any time."""
    start_s = time.perf_counter()
    yield lambda: time.perf_counter() - start_s
