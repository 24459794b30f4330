"""How much of each shared resource was in use over time, at equal steps that grow with the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.flows import Fluid

FIRST_STEP_S: Final = 30.0
MOST: Final = 600
"""Samples; when there are more, every second is dropped and the step doubled."""


@dataclass(slots=True)
class Meter:
    """Samples of what resources have carried in all, taken while anything runs."""

    fluid: Fluid
    watched: Sequence[int]
    """The resources that are looked at."""
    call_at: Callable[[float, Callable[[float], None]], None]
    is_needed: Callable[[], bool]
    """Whether anything still runs."""
    step_s: float = FIRST_STEP_S
    times_s: list[float] = field(default_factory=list)
    carried: list[list[float]] = field(default_factory=list)
    _ticks: bool = False

    def begin(self, now_s: float) -> None:
        """Something runs now: look from now on, if nobody does yet."""
        if not self._ticks and self.watched:
            self._ticks = True
            self.sample(now_s)
            self.call_at(now_s + self.step_s, self._tick)

    def _tick(self, now_s: float) -> None:
        self.sample(now_s)
        if len(self.times_s) > MOST:
            del self.times_s[1::2], self.carried[1::2]
            self.step_s *= 2
        self._ticks = self.is_needed()
        if self._ticks:
            self.call_at(now_s + self.step_s, self._tick)

    def sample(self, now_s: float) -> None:
        """Note what each has carried until now."""
        if self.times_s and now_s <= self.times_s[-1]:
            return
        self.times_s.append(now_s)
        self.carried.append([self.fluid.moved(resource, now_s) for resource in self.watched])
