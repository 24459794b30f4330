"""Bounded robust least squares with a prior: Levenberg and Marquardt's steps, Huber's weights.

Few measurements and many parameters is the rule here, so every parameter has a prior (a start and a spread),
which joins the measurements as one more residual. That keeps the problem regular, and where nothing was
measured the answer is the prior, with the prior's width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEP = 1e-4
_ITERATIONS = 40
_TOLERANCE = 2e-3
_HUBER = 1.345
"""Residuals beyond so many standard deviations count linearly (95 % efficient if all are normal)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The most plausible parameters, their covariance, and the spread of the measurements around them."""

    values: Floats
    covariance: Floats
    residual_spread: float


def minimise(
    residuals: Callable[[Floats], Floats],
    start: Floats,
    spread: Floats,
    largest: Floats,
    *,
    noise: float,
    begin: Floats | None = None,
    slopes_of: Callable[[Floats], Floats] | None = None,
) -> Fit:
    """Fit parameters to residuals that should be zero and scatter by about ``noise``.

    ``start`` is the prior's centre, ``spread`` its standard deviation for each parameter (0 fixes one), and
    ``largest`` the upper bounds. ``begin`` is where to look first if not there, and ``slopes_of`` gives the
    slopes of the residuals where it knows them better than differences do. The noise is estimated anew from
    the residuals as the fit goes on.
    """
    free = np.flatnonzero(spread > 0)
    values, scale, damping = np.minimum(start if begin is None else begin, largest), noise, 1e-2
    current = residuals(values)

    def slopes_at(at: Floats, value: Floats) -> Floats:
        return jacobian(residuals, at, value, free) if slopes_of is None else slopes_of(at)[:, free]

    for _ in range(_ITERATIONS):
        weights = _weights(current, scale)
        slopes = slopes_at(values, current)
        pull = (values - start)[free] / spread[free] ** 2
        gradient = slopes.T @ (weights * current) / scale**2 + pull
        curvature = (slopes.T * weights) @ slopes / scale**2 + np.diag(spread[free] ** -2.0)
        moved = 0.0
        for _ in range(12):
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial = values.copy()
            trial[free] = np.minimum(values[free] - step, largest[free])
            there = residuals(trial)
            if _loss(there, trial, start, spread, scale) < _loss(current, values, start, spread, scale):
                moved = float(np.abs(trial - values).max())
                values, current, damping = trial, there, damping / 5
                break
            damping *= 4
        scale = max(noise / 10, _spread(current))
        if moved < _TOLERANCE:
            break
    slopes = slopes_at(values, current)
    weights = _weights(current, scale)
    precision = (slopes.T * weights) @ slopes / scale**2 + np.diag(spread[free] ** -2.0)
    covariance = np.zeros((len(start), len(start)))
    covariance[np.ix_(free, free)] = np.linalg.inv(precision)
    return Fit(values, covariance, scale)


def jacobian(
    function: Callable[[Floats], Floats],
    at: Floats,
    value: Floats | None = None,
    free: NDArray[np.int64] | None = None,
) -> Floats:
    """Slopes of a function of many parameters, one column for each parameter that is free."""
    base = function(at) if value is None else value
    columns = range(len(at)) if free is None else free
    slopes = np.empty((len(base), len(columns)))
    for place, parameter in enumerate(columns):
        beside = at.copy()
        beside[parameter] += _STEP
        slopes[:, place] = (function(beside) - base) / _STEP
    return slopes


def _weights(residuals: Floats, scale: float) -> Floats:
    size = np.abs(residuals) / scale
    return np.where(size <= _HUBER, 1.0, _HUBER / np.maximum(size, _HUBER))


def _loss(residuals: Floats, values: Floats, start: Floats, spread: Floats, scale: float) -> float:
    """Huber's loss of the measurements and the square loss of the prior."""
    size = np.abs(residuals) / scale
    measured = np.where(size <= _HUBER, size**2 / 2, _HUBER * (size - _HUBER / 2)).sum()
    free = spread > 0
    return float(measured + (((values - start)[free] / spread[free]) ** 2).sum() / 2)


def _spread(residuals: Floats) -> float:
    """Standard deviation, judged by the middle of the residuals so that outliers do not widen it."""
    return float(np.median(np.abs(residuals)) / 0.6745) if len(residuals) else 0.0
