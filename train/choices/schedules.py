"""The learning rate over a training: pure functions of how much of it is done; nothing has to be stored."""

import math
from typing import Literal

from pydantic import Field

from sim.parts import Fraction, Part


class Constant(Part):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(self, done: float) -> float:  # noqa: ARG002 - as all schedules
        """Part of the learning rate when this part of the training is done."""
        return 1.0


class Steps(Part):
    """A learning rate that falls by a factor at given moments."""

    kind: Literal["steps"] = "steps"
    at: tuple[Fraction, ...] = Field((0.5, 0.75), description="parts of the training after which it falls")
    by: Fraction = Field(0.1, description="what remains each time")

    def factor(self, done: float) -> float:
        """Part of the learning rate when this part of the training is done.

        >>> Steps().factor(0.6)
        0.1
        """
        return float(self.by ** sum(done >= moment for moment in self.at))


class Cosine(Part):
    """A linear warm-up, then half a cosine down to the end."""

    kind: Literal["cosine"] = "cosine"
    warm_up: Fraction = Field(0.0, lt=1, description="part of the training in which it rises")
    end: Fraction = Field(0.0, description="what remains at the end")

    def factor(self, done: float) -> float:
        """Part of the learning rate when this part of the training is done.

        >>> Cosine(warm_up=0.2).factor(0.1), round(Cosine().factor(0.5), 6)
        (0.5, 0.5)
        """
        if done < self.warm_up:
            return done / self.warm_up
        return _cosine(1.0, self.end, (done - self.warm_up) / (1 - self.warm_up))


class OneCycle(Part):
    """Up from a small learning rate and down to almost nothing, both along a cosine (Smith, 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    rise: Fraction = Field(0.3, gt=0, lt=1, description="part of the training in which it rises")
    start: Fraction = Field(0.04, description="part of the learning rate at the start")
    end: Fraction = Field(0.0001, description="what remains at the end")

    def factor(self, done: float) -> float:
        """Part of the learning rate when this part of the training is done.

        >>> round(OneCycle().factor(0.0), 6), OneCycle().factor(0.3)
        (0.04, 1.0)
        """
        if done < self.rise:
            return _cosine(self.start, 1.0, done / self.rise)
        return _cosine(1.0, self.end, (done - self.rise) / (1 - self.rise))


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
