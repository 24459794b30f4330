"""How sure a number of a simulation is: intervals, warm-up, averages over time. Pure functions of arrays.

Replications are independent runs, so Student's t applies to them as it is. The jobs of one run are not
independent (they wait for one another), so an interval from one long run goes through batch means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.95
"""Confidence of every interval that does not state another."""

BATCHES = 20
"""Batches of one long run. Schmeiser, Batch size effects in the analysis of simulation output, Operations
Research 30(3), 1982: between 10 and 30 are enough, and more hardly narrow the interval."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the range in which the true mean lies with the stated confidence."""

    mean: float
    low: float
    high: float
    level: float = LEVEL

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean of independent replications with its Student interval; at least two are needed.

    >>> t_interval([1.0, 2.0, 3.0]).mean
    2.0
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:  # noqa: PLR2004 - one value has no spread
        raise ValueError("an interval needs at least two replications")
    mean = float(sample.mean())
    half = t_quantile(level, sample.size - 1) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    return Interval(mean, mean - half, mean + half, level)


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean of `first - second` over replications that had the same seeds.

    Both runs of a pair met the same arrivals (common random numbers), so what they share cancels, and the
    interval is far narrower than that of two independent samples. It holds 0 when the two cannot be told
    apart.
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"{left.size} replications cannot be paired with {right.size}")
    return t_interval(left - right, level)


def batch_means(values: ArrayLike, batches: int = BATCHES, level: float = LEVEL) -> Interval:
    """Mean of one long run in steady state, with an interval that allows for neighbours being alike.

    The values, in order of time and without the warm-up, are cut into batches of equal length (a rest at the
    start is left out); the means of long batches are nearly independent. Law, Simulation Modeling and
    Analysis, section 9.5.3.
    """
    sample = np.asarray(values, dtype=np.float64)
    length = sample.size // batches
    if length == 0:
        raise ValueError(f"{sample.size} values are too few for {batches} batches")
    return t_interval(sample[sample.size - length * batches :].reshape(batches, length).mean(axis=1), level)


def warm_up_length(values: ArrayLike, batch: int = 5) -> int:
    """How many values at the start to leave out before the run counts as steady (MSER-5).

    Means of batches of five; the cut is where the standard error of what remains is least, in the first half
    only. White, Cobb and Spratt, A comparison of five steady-state truncation heuristics for simulation,
    Winter Simulation Conference 2000. A cut at the very middle means that the run is too short to say.
    """
    sample = np.asarray(values, dtype=np.float64)
    means = sample[: sample.size // batch * batch].reshape(-1, batch).mean(axis=1)
    if means.size == 0:
        return 0
    centred = means - means.mean()
    left = np.arange(means.size, 0, -1)
    sums, squares = (np.cumsum(column[::-1])[::-1] for column in (centred, centred**2))
    error = (squares - sums**2 / left) / left**2
    return int(np.argmin(error[: means.size // 2 + 1])) * batch


@lru_cache(maxsize=256)
def t_quantile(level: float, degrees: int) -> float:
    """The t for which Student's distribution has the share `level` between -t and t.

    The probability is the finite sum of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
    and 26.7.4, in the angle whose tangent is t / sqrt(degrees); the angle is found by halving, to the last
    bit of a float.

    >>> round(t_quantile(0.95, 9), 6)
    2.262157
    """
    if not 0.0 < level < 1.0 or degrees < 1:
        raise ValueError(f"no t for a level of {level} and {degrees} degrees of freedom")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _between(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _between(angle: float, degrees: int) -> float:
    """The share of Student's distribution between -t and t, with t given as an angle."""
    odd = degrees % 2
    steps = np.arange(1 + odd, degrees - 2 + odd, 2)
    factors = steps / (steps + 1) * math.cos(angle) ** 2
    series = math.sin(angle) * math.cos(angle) ** odd * (1.0 + float(np.cumprod(factors).sum()))
    if not odd:
        return series
    return 2.0 / math.pi * (angle + (series if degrees > 1 else 0.0))


def percentile(values: ArrayLike, percent: float) -> float:
    """The value below which so many per cent of the sample lie, with linear interpolation between neighbours.

    Definition 7 of Hyndman and Fan, Sample quantiles in statistical packages, The American Statistician
    50(4), 1996: the least value is percentile 0, the largest 100, the others are evenly spaced. NumPy and
    spreadsheets do the same.

    >>> percentile([1.0, 2.0, 4.0], 75)
    3.0
    """
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent))


def integral(times_s: ArrayLike, levels: ArrayLike, from_s: float, until_s: float) -> float:
    """Area under a step function between two times.

    Each level holds from its time until the next; the last one holds on, and before the first there is
    nothing.

    >>> integral([0.0, 2.0], [4.0, 8.0], from_s=1.0, until_s=4.0)
    20.0
    """
    times = np.clip(np.asarray(times_s, dtype=np.float64), from_s, max(from_s, until_s))
    lasted = np.diff(times, append=max(from_s, until_s))
    return float((np.asarray(levels, dtype=np.float64) * lasted).sum())


def time_average(times_s: ArrayLike, levels: ArrayLike, until_s: float, from_s: float | None = None) -> float:
    """Mean of a step function, weighted by how long each level lasted.

    It starts at the first time if no other is given.

    >>> time_average([0.0, 2.0], [4.0, 8.0], until_s=4.0)
    6.0
    """
    begin_s = float(np.asarray(times_s)[0]) if from_s is None else from_s
    if until_s <= begin_s:
        raise ValueError(f"no time passes from {begin_s} s to {until_s} s")
    return integral(times_s, levels, begin_s, until_s) / (until_s - begin_s)


def running_integral(times_s: Floats, levels: NDArray[Any], at_s: ArrayLike) -> Floats:
    """Area under a step function from its first time up to each of the given times.

    >>> running_integral(np.array([0.0, 2.0]), np.array([4.0, 8.0]), [1.0, 3.0]).tolist()
    [4.0, 16.0]
    """
    ends = np.asarray(at_s, dtype=np.float64)
    areas = np.concatenate([[0.0], np.cumsum(levels[:-1] * np.diff(times_s))])
    step = np.maximum(np.searchsorted(times_s, ends, side="right") - 1, 0)
    area: Floats = areas[step] + levels[step] * np.maximum(ends - times_s[step], 0.0)
    return area


def jain_index(shares: Sequence[float] | Floats) -> float:
    """How evenly something is shared: 1 when all have the same, 1/n when one of n has it all.

    The square of the sum over n times the sum of squares. Jain, Chiu and Hawe, A quantitative measure of
    fairness and discrimination for resource allocation in shared computer systems, DEC-TR-301, 1984. Nothing
    at all is shared evenly.

    >>> jain_index([1.0, 1.0]), jain_index([1.0, 0.0])
    (1.0, 0.5)
    """
    held = np.asarray(shares, dtype=np.float64)
    if held.size == 0 or not held.any():
        return 1.0
    held = held / held.max()
    return float(held.sum() ** 2 / (held.size * (held**2).sum()))
