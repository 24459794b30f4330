"""The fitted step-time model: its parameters, how sure they are, and which GPUs and formats they saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.perf.device import NORMAL_80
from sim.perf.parallel.layouts import Layouts
from sim.perf.parallel.machines import Machines
from sim.perf.parallel.shapes import Shapes
from sim.perf.parallel.step_time import Step, step_time

Floats = NDArray[np.float64]
SLOPE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Fitted:
    """Parameters as logarithms, their covariance, and the spread of runs around them."""

    logarithms: Floats
    covariance: Floats
    spread: float
    """Standard deviation of the logarithm of a step time, for runs like those of the fit."""
    spread_elsewhere: float
    """The same for runs on a GPU with software that the fit had not seen together."""
    runs: int
    seen: tuple[tuple[str, str, str], ...]
    """GPUs, number formats and software of the runs."""

    def times(self, shape: Shapes, layout: Layouts, machine: Machines) -> Step:
        """Step times and where they go."""
        return step_time(self.logarithms, shape, layout, machine)

    def factors(self, shape: Shapes, layout: Layouts, machine: Machines) -> Floats:
        """What to multiply and divide step times by for the interval that should hold 80 %."""
        base = np.log(self.times(shape, layout, machine).step_s)
        slopes = np.empty((len(base), len(self.logarithms)))
        for place in range(len(self.logarithms)):
            beside = self.logarithms.copy()
            beside[place] += SLOPE
            slopes[:, place] = (np.log(step_time(beside, shape, layout, machine).step_s) - base) / SLOPE
        own = np.einsum("ij,jk,ik->i", slopes, self.covariance, slopes)
        names = zip(
            machine.gpu.tolist(), machine.number_format.tolist(), machine.software.tolist(), strict=True
        )
        like = np.array([name in self.seen for name in names])
        spread = np.where(like, self.spread, self.spread_elsewhere)
        return np.asarray(np.exp(NORMAL_80 * np.sqrt(own + spread**2)))

    def knows(self, gpu: str, number_format: str, software: str) -> bool:
        """Whether runs on such a GPU in such a format with such software were in the fit."""
        return (gpu, number_format, software) in self.seen
