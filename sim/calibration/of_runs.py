"""The step-time model of large models fitted to measured runs, and how wrong it is on what was left out.

One fit over all runs: what GPUs, formats and kinds of software have in common is shared, what differs pulls
away from it as far as the runs show (a prior on each factor). Errors are on runs left out: one fold of five,
where runs of one model in one layout stay together, one whole source at a time, and one GPU with one kind of
software at a time, which is what an estimate faces where no such run was in the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.calibration.fit import spread_for_coverage
from sim.calibration.least_squares import Fit, jacobian, minimise
from sim.calibration.training_runs import Runs
from sim.catalog.training_fit import TrainingFit
from sim.errors import PlanError
from sim.perf.device import NORMAL_80, Quality
from sim.perf.parallel.fitted import Fitted
from sim.perf.parallel.parameters import SPREAD, START
from sim.perf.parallel.step_time import step_time

Floats = NDArray[np.float64]

GOOD: Final = ("A", "B")
"""Qualities of rows that are fitted and judged; others are estimates, told apart."""
FOLDS: Final = 5
NOISE: Final = 0.1
LARGEST: Final = 50.0
FEWEST: Final = 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Predicted over measured, as logarithms, for runs that the fit had not seen, and their variance."""

    what: str
    misses: Floats
    variance: Floats

    def quality(self, spread: float, chosen: NDArray[np.bool_] | None = None) -> Quality:
        """Errors of them, or of some of them."""
        rows = np.ones(len(self.misses), dtype=bool) if chosen is None else chosen
        return quality(self.what, self.misses[rows], self.variance[rows] + spread**2)


def quality(what: str, misses: Floats, variance: Floats) -> Quality:
    """Errors from logarithms of predicted over measured."""
    return Quality.of(what, np.expm1(misses), np.abs(misses) <= NORMAL_80 * np.sqrt(variance))


def good(runs: Runs) -> NDArray[np.bool_]:
    """Which runs are measured well enough to fit."""
    return np.isin(runs.rows["quality"].to_numpy(), GOOD)


def misses(logarithms: Floats, runs: Runs) -> Floats:
    """Logarithm of predicted over measured step time."""
    predicted = step_time(logarithms, runs.shapes, runs.layouts, runs.machines).step_s
    return np.asarray(np.log(predicted / runs.step_s))


def fit(runs: Runs, begin: Floats | None = None) -> Fit:
    """The most plausible parameters; PlanError if there are too few runs."""
    if len(runs) < FEWEST:
        raise PlanError(f"{len(runs)} runs are too few to fit; {FEWEST} or more")
    return minimise(
        lambda at: -misses(at, runs), START, SPREAD, np.full(len(START), LARGEST), noise=NOISE, begin=begin
    )


def variance(fitted: Fit, runs: Runs) -> Floats:
    """Variance of the logarithm of each prediction that the parameters' own uncertainty makes."""
    slopes = jacobian(lambda at: misses(at, runs), fitted.values)
    return np.asarray(np.einsum("ij,jk,ik->i", slopes, fitted.covariance, slopes))


def left_out(runs: Runs, groups: Sequence[str], what: str, begin: Floats) -> LeftOut:
    """Every group of runs predicted by a fit of the others."""
    names = np.array(groups)
    found, variances = np.empty(len(runs)), np.empty(len(runs))
    for name in np.unique(names):
        out = names == name
        fitted = fit(runs.take(~out), begin)
        found[out] = misses(fitted.values, runs.take(out))
        variances[out] = variance(fitted, runs.take(out))
    return LeftOut(what, found, variances)


def folds(runs: Runs, seed: int = 0) -> list[str]:
    """One of five folds for each run; runs of one model in one layout and source share theirs."""
    columns = ("source", "model", "tp", "pp", "micro_batch", "num_gpus")
    key = pl.concat_str(columns, separator="|", ignore_nulls=True)
    kinds = runs.rows.select(key).to_series().to_numpy()
    names, which = np.unique(kinds, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    return [f"fold {order[place]}" for place in which]


@dataclass(frozen=True, slots=True)
class RunsFit:
    """A fit of runs, with the errors that make it trustworthy or not."""

    fitted: Fitted
    runs: Runs
    left_out: tuple[tuple[LeftOut, float], ...]
    """One fold of five, one source, one GPU with its software; each with the spread that holds 80 %."""


def fit_runs(runs: Runs) -> RunsFit:
    """Fit the good runs of a table, and predict each of them from the others."""
    chosen = runs.take(good(runs))
    whole = fit(chosen)
    machine = chosen.machines
    pairs = zip(machine.gpu.tolist(), machine.software.tolist(), strict=True)
    tried = [
        left_out(chosen, groups, what, whole.values)
        for what, groups in (
            ("one fold of five", folds(chosen)),
            ("one source", chosen.rows["source"].to_list()),
            ("one GPU and software", [f"{gpu}, {software}" for gpu, software in pairs]),
        )
    ]
    spreads = [spread_for_coverage(each.misses, each.variance) for each in tried]
    columns = (machine.gpu.tolist(), machine.number_format.tolist(), machine.software.tolist())
    seen = set(zip(*columns, strict=True))
    like, _, elsewhere = spreads
    fitted = Fitted(whole.values, whole.covariance, like, elsewhere, len(chosen), tuple(sorted(seen)))
    return RunsFit(fitted, chosen, tuple(zip(tried, spreads, strict=True)))


def stored(found: RunsFit, source: str) -> TrainingFit:
    """A fit as it is kept, with its errors: of all runs, of each GPU, and of each source."""
    kinds = [("all", np.ones(len(found.runs), dtype=bool))]
    for column, names in (("gpu", found.runs.machines.gpu), ("source", found.runs.rows["source"].to_numpy())):
        kinds += [(f"{column} {name}", names == name) for name in np.unique(names)]
    quality = [
        (what, left.quality(spread, chosen)) for what, chosen in kinds for left, spread in found.left_out
    ]
    return TrainingFit(found.fitted, source, tuple(quality))
