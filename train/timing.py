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
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

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


class Watch(Protocol):
    """Notes when the phases of a step end."""

    def start(self) -> None:
        """A step begins."""

    def mark(self, phase: Phase) -> None:
        """A phase ends; it began where the one before ended."""

    def phases_s(self) -> dict[Phase, float]:
        """Seconds of each phase of the step that was marked last; the device has come to rest."""


@dataclass(slots=True)
class HostWatch:
    """The clock of the host: for a CPU, which is done with an operator when the call returns."""

    moments: list[tuple[Phase | None, float]] = field(default_factory=list)

    def start(self) -> None:
        """A step begins."""
        self.moments = [(None, time.perf_counter())]

    def mark(self, phase: Phase) -> None:
        """A phase ends."""
        self.moments.append((phase, time.perf_counter()))

    def phases_s(self) -> dict[Phase, float]:
        """Seconds of each phase."""
        return _sums(
            (phase, now - before)
            for (_, before), (phase, now) in zip(self.moments, self.moments[1:], strict=False)
        )


@dataclass(slots=True)
class CudaWatch:
    """Events in the stream of a GPU: nobody waits between the phases, so they overlap as they always do."""

    moments: list[tuple[Phase | None, torch.cuda.Event]] = field(default_factory=list)

    def start(self) -> None:
        """A step begins."""
        self.moments = [(None, self._event())]

    def mark(self, phase: Phase) -> None:
        """A phase ends as soon as the GPU has done what was asked of it until now."""
        self.moments.append((phase, self._event()))

    def phases_s(self) -> dict[Phase, float]:
        """Seconds of each phase."""
        return _sums(
            (phase, before.elapsed_time(now) / 1000)
            for (_, before), (phase, now) in zip(self.moments, self.moments[1:], strict=False)
        )

    def _event(self) -> torch.cuda.Event:
        import torch  # noqa: PLC0415 - a CPU needs none of this

        event = torch.cuda.Event(enable_timing=True)
        event.record()  # type: ignore[no-untyped-call]
        return event


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
        for phase, time_s in watch.phases_s().items():
            seconds[phase].append(time_s)
    return {phase: tuple(times_s) for phase, times_s in seconds.items()}


def unmarked(_phase: Phase) -> None:
    """Where nobody wants to know of the phases."""


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Seconds since the block began, asked at any time."""
    start_s = time.perf_counter()
    yield lambda: time.perf_counter() - start_s


def _sums(phases: Iterator[tuple[Phase | None, float]]) -> dict[Phase, float]:
    """Seconds of each phase, those of one name added."""
    sums: dict[Phase, float] = {}
    for phase, time_s in phases:
        assert phase is not None, "only the start has no phase"
        sums[phase] = sums.get(phase, 0.0) + max(time_s, 0.0)
    return sums
