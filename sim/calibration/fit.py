"""Fit the parameters of a device to step times, and find out how wrong it is on what it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sim.calibration.least_squares import Fit, minimise
from sim.calibration.measured import Key, Measured, batch_of, network_of, seconds
from sim.calibration.peak_memory import fit_memory
from sim.perf.device import NORMAL_80, Quality, Range, Setting
from sim.perf.step_time import GROUPS, INDEX, NAMES, OFF, PARAMETERS, Floats, groups_s, step_s, work

FOLDS = 8
NOISE = 0.05
"""Standard deviation of the logarithm of a step time that a fit starts from."""
LEAST_SPREAD = 0.01
HELD = 0.15
"""Standard deviation of the logarithm of a rate from a data sheet: boards and clocks differ by so much."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Where the logarithms of the parameters are expected, and how far off that may be (0: not at all)."""

    centre: Floats
    spread: Floats

    def with_rates(self, compute_rate: float, memory_rate: float, spread: float = HELD) -> Prior:
        """The same prior for a device whose peak rates are known."""
        centre, width = self.centre.copy(), self.spread.copy()
        for name, rate in (("compute_rate", compute_rate), ("memory_rate", memory_rate)):
            centre[INDEX[name]], width[INDEX[name]] = math.log(rate), spread
        return Prior(centre, width)


def general_prior() -> Prior:
    """What is true of any device, before anything is known of this one."""
    return Prior(
        np.log([parameter.start for parameter in PARAMETERS]),
        np.log([parameter.spread for parameter in PARAMETERS]),
    )


ON_A_CPU: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "half_columns": (8.0, 2.5),
        "half_length": (16.0, 2.5),
        "half_tiles": (0.02, 2.0),
        "misaligned": (1.1, 1.3),
        "kernel_s": (5e-6, 2.5),
        "convolution_s": (3e-5, 3.0),
        "image": (2.0, 2.0),
        "weight_s": (1e-5, 2.5),
        "host_s": (1e-6, 1.01),
        "step_s": (3e-5, 1.5),
        "traffic.convolution_weights": (3.0, 4.0),
        "traffic.depthwise": (2.0, 3.0),
        "traffic.depthwise_taps": (OFF, 1.0),
        "traffic.softmax": (3.0, 4.0),
        "traffic.copy": (0.5, 2.0),
        "traffic.pooling": (1.2, 2.0),
        "traffic.activation": (0.7, 2.0),
        "traffic.pooling_window": (4.0, 4.0),
        "traffic.wide_depthwise": (20.0, 3.0),
        "traffic.wide_depthwise_taps": (0.5, 3.0),
        "traffic.wide_depthwise_weights": (200.0, 3.0),
        "traffic.fresh": (1.0, 3.0),
    }
)
"""What is expected otherwise where a CPU computes, with the factor by which it may be off.

A few wide cores are busy with small products already, and nothing launches kernels ahead of them, so all
overhead is the kernels'.
"""


def cpu_prior() -> Prior:
    """What is true of any CPU."""
    general = general_prior()
    centre, spread = general.centre.copy(), general.spread.copy()
    for name, (start, factor) in ON_A_CPU.items():
        for place, parameter in enumerate(NAMES):
            of_kind = parameter.startswith(f"{name}.") and not parameter.endswith(".matrix_product")
            if parameter == name or of_kind:
                centre[place], spread[place] = math.log(start), math.log(factor)
    return Prior(centre, spread)


def like(setting: Setting, spread: float = 0.2) -> Prior:
    """What is expected of a device that works like a known one: its parameters, give or take a little."""
    general = general_prior()
    return Prior(setting.logarithms, np.minimum(general.spread, spread))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Predictions for configurations by fits that had not seen them, with their 80 % intervals."""

    key: str
    rows: tuple[Measured, ...]
    predicted_s: Floats
    low_s: Floats
    high_s: Floats

    @property
    def errors(self) -> Floats:
        """Relative errors, positive where the prediction is too long."""
        return np.asarray(self.predicted_s / seconds(self.rows) - 1.0)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which measurements lie in their interval."""
        measured = seconds(self.rows)
        return np.asarray((self.low_s <= measured) & (measured <= self.high_s))

    def quality(self) -> Quality:
        """The figures of merit."""
        return Quality.of(self.key, self.errors, self.inside)


def fit(rows: Sequence[Measured], prior: Prior, begin: Floats | None = None) -> Fit:
    """The parameters of a device from step times; ``begin`` is where to look first."""
    todo, whole_s = work([row.step for row in rows]), seconds(rows)
    looked = np.array([bool(row.groups_s) for row in rows])
    inside_s = np.array([row.groups_s for row in rows if row.groups_s]).reshape(-1, len(GROUPS))
    largest = np.log([parameter.largest for parameter in PARAMETERS])
    start = _scaled(prior, rows)

    def misses(at: Floats) -> Floats:
        groups = groups_s(at, todo)
        whole = np.log(step_s(at, todo, groups) / whole_s)
        parts = (groups[looked] - inside_s) / whole_s[looked, np.newaxis]
        return np.concatenate((whole, parts[inside_s > 0]))

    return minimise(misses, start.centre, start.spread, largest, noise=NOISE, begin=begin)


def _scaled(prior: Prior, rows: Sequence[Measured]) -> Prior:
    """A prior that knows nothing of the rates starts where the measurements are in the middle."""
    rates = [INDEX["compute_rate"], INDEX["memory_rate"]]
    if (prior.spread[rates] < 1).any():
        return prior
    centre = prior.centre.copy()
    for _ in range(3):
        todo = work([row.step for row in rows])
        centre[rates] += float(np.median(np.log(step_s(centre, todo) / seconds(rows))))
    return replace(prior, centre=centre)


def left_out(
    rows: Sequence[Measured], prior: Prior, key: Key, name: str, aids: Sequence[Measured] = ()
) -> LeftOut:
    """Predict each configuration by a fit without all those of its kind, in at most eight fits.

    The interval of a prediction comes from the errors of the other fits, so nothing of it was seen either.
    ``aids`` are configurations that only help to fit: nobody asks how well they are predicted.
    """
    kinds = np.array([key(row) for row in rows])
    order = np.random.default_rng(0).permutation(np.unique(kinds))
    folds = [np.isin(kinds, order[place::FOLDS]) for place in range(min(FOLDS, len(order)))]
    predicted, variance = np.zeros(len(rows)), np.zeros(len(rows))
    whole = fit([*rows, *aids], prior).values
    for fold in folds:
        unseen = set(kinds[fold])
        known = [row for row in (*rows, *aids) if key(row) not in unseen]
        steps = [row.step for row, out in zip(rows, fold, strict=True) if out]
        setting = setting_of(known, fit(known, prior, whole), with_memory=False)
        predicted[fold] = step_s(setting.logarithms, work(steps))
        variance[fold] = setting.variance(steps) - setting.spread**2
    misses = np.log(seconds(rows) / predicted)
    width = np.zeros(len(rows))
    for fold in folds:
        spread = spread_for_coverage(misses[~fold], variance[~fold])
        width[fold] = NORMAL_80 * np.sqrt(spread**2 + variance[fold])
    return LeftOut(name, tuple(rows), predicted, predicted / np.exp(width), predicted * np.exp(width))


def spread_for_coverage(misses: Floats, variance: Floats) -> float:
    """The spread beside the parameters' own with which 80 % of the misses lie inside."""
    excess = (misses / NORMAL_80) ** 2 - variance
    return math.sqrt(max(float(np.quantile(excess, 0.8)), LEAST_SPREAD**2))


def setting_of(
    rows: Sequence[Measured],
    fitted: Fit,
    spread: float | None = None,
    *,
    with_memory: bool = True,
    aids: Sequence[Measured] = (),
) -> Setting:
    """A setting of a device from a fit of its rows, and of others that only help."""
    free = np.flatnonzero(np.diag(fitted.covariance) > 0)
    lower = fitted.covariance[np.ix_(free, free)][np.tril_indices(len(free))]
    first, steps = rows[0], [row.step for row in rows]
    every = [*steps, *(row.step for row in aids)]
    ratios = seconds(rows) / step_s(fitted.values, work(steps))
    return Setting(
        precision=first.step.precision,
        layout=first.layout,
        compiled=first.compiled,
        parameters={name: _digits(value) for name, value in zip(NAMES, np.exp(fitted.values), strict=True)},
        uncertain=tuple(NAMES[place] for place in free),
        covariance=tuple(_digits(value, 3) for value in lower),
        spread=_digits(spread or max(fitted.residual_spread, LEAST_SPREAD)),
        measured=len(rows) + len(aids),
        residual_deciles=tuple(_digits(value, 4) for value in np.quantile(ratios, np.linspace(0, 1, 11))),
        batch=_range(step.batch for step in steps),
        macs=_range(step.model.macs for step in steps),
        weights=_range(step.model.parameters for step in steps),
        kinds=tuple(sorted({operator.kind for step in every for operator in step.model.operators})),
        peak_memory=fit_memory(rows) if with_memory else None,
    )


def calibrate(
    rows: Sequence[Measured],
    prior: Prior,
    keys: Sequence[tuple[Key, str]] = (),
    aids: Sequence[Measured] = (),
) -> tuple[Setting, list[LeftOut]]:
    """One setting with its errors on networks and batch sizes left out, from which its intervals come.

    ``aids`` are in every fit and in no error.
    """
    chosen = keys or ((network_of, "one network"), (batch_of, "one batch size"))
    tried = [
        left_out(rows, prior, key, name, aids) for key, name in chosen if len({key(row) for row in rows}) > 1
    ]
    setting = setting_of(rows, fit([*rows, *aids], prior), aids=aids)
    if not tried:
        return setting, tried
    steps = [row.step for row in rows]
    misses = np.log(seconds(rows) / tried[0].predicted_s)
    spread = spread_for_coverage(misses, setting.variance(steps) - setting.spread**2)
    quality = tuple(one.quality() for one in tried)
    return setting.model_copy(update={"spread": _digits(spread), "quality": quality}), tried


def _range(values: Iterable[float]) -> Range:
    found = list(values)
    return Range(low=float(min(found)), high=float(max(found)))


def _digits(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")
