"""Distributions of times and sizes: exact means, limits, and what a user may not write."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import integrate, stats

from sim import distributions
from sim.distributions import (
    TIMES,
    Choice,
    Component,
    Empirical,
    Exponential,
    Fixed,
    FixedSize,
    Gamma,
    Lognormal,
    Mixture,
    Pareto,
    Times,
    Uniform,
    Weibull,
)
from sim.parts import FROM_TEXT

SCIPY = [
    (Uniform(low=10.0, high=50.0), stats.uniform(10, 40)),
    (Exponential(mean=100.0), stats.expon(scale=100)),
    (Lognormal(median=100.0, sigma=1.5), stats.lognorm(1.5, scale=100)),
    (Weibull(scale=100.0, shape=0.6), stats.weibull_min(0.6, scale=100)),
    (Weibull(scale=100.0, shape=3.0), stats.weibull_min(3.0, scale=100)),
    (Gamma(mean=100.0, cv=2.0), stats.gamma(0.25, scale=400)),
    (Gamma(mean=100.0, cv=0.05), stats.gamma(400, scale=0.25)),
    (Pareto(low=10.0, high=1000.0, alpha=1.5), stats.truncpareto(1.5, 100, scale=10)),
    (Pareto(low=10.0, high=1000.0, alpha=1.0), stats.truncpareto(1.0, 100, scale=10)),
    (Pareto(low=10.0, high=1000.0, alpha=0.5), stats.truncpareto(0.5, 100, scale=10)),
]
MORE = [
    Fixed(value=60.0),
    Empirical(quantiles=((0, 1.0), (0.5, 30.0), (1, 1000.0))),
    Mixture(
        weights=(3, 1), components=(Exponential(mean=30.0, at_most=50.0), Lognormal(median=600.0, sigma=1))
    ),
]
ALL: list[Component | Mixture] = [distribution for distribution, _ in SCIPY] + MORE


def named(value: object) -> str | None:
    return value.kind if isinstance(value, Times) else None


@pytest.mark.parametrize(("distribution", "reference"), SCIPY, ids=named)
def test_draws_follow_the_distribution_of_that_name(
    distribution: Times, reference: stats.rv_continuous
) -> None:
    draws = distribution.sample(np.random.default_rng(3), 20_000)
    assert stats.kstest(draws, reference.cdf).pvalue > 0.001


@pytest.mark.parametrize(("distribution", "reference"), SCIPY, ids=named)
@pytest.mark.parametrize("limit_s", [5.0, 37.0, 99.0, 400.0, math.inf])
def test_the_limited_mean_is_the_area_under_the_survival_function(
    distribution: Times, reference: stats.rv_continuous, limit_s: float
) -> None:
    if math.isinf(limit_s):
        expected = reference.mean()
    else:
        bends = [10.0, 50.0] if limit_s > 50 else None
        expected, _ = integrate.quad(
            reference.sf, 0, limit_s, epsabs=1e-10, epsrel=1e-10, points=bends, limit=200
        )
    assert distribution.mean_s(limit_s) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("distribution", ALL, ids=named)
@pytest.mark.parametrize("limits", [(0.0, None), (20.0, None), (0.0, 45.0), (20.0, 45.0), (70.0, 70.0)])
def test_the_mean_is_that_of_the_draws_within_their_limits(
    distribution: Times, limits: tuple[float, float | None]
) -> None:
    at_least, at_most = limits
    limited = distribution.model_copy(update={"at_least": at_least, "at_most": at_most})
    draws = limited.sample(np.random.default_rng(11), 200_000)
    assert draws.min() >= at_least
    assert draws.max() <= (at_most or math.inf)
    spread = draws.std() / math.sqrt(len(draws))
    assert limited.mean_s() == pytest.approx(draws.mean(), abs=5 * spread + 1e-9)


@pytest.mark.parametrize("distribution", ALL, ids=named)
def test_more_draws_begin_with_the_same_ones(distribution: Times) -> None:
    few = distribution.sample(np.random.default_rng(5), 100)
    many = distribution.sample(np.random.default_rng(5), 1000)
    assert few.tolist() == many[:100].tolist()


def test_a_lognormal_given_by_its_mean_has_that_mean_and_median() -> None:
    distribution = Lognormal(median=600.0, mean=3600.0)
    assert distribution.mean_s() == pytest.approx(3600.0)
    assert np.median(distribution.sample(np.random.default_rng(0), 100_001)) == pytest.approx(600.0, rel=0.02)


def test_a_mixture_draws_each_component_in_proportion_to_its_weight() -> None:
    mixture = Mixture(weights=(3, 1), components=(Fixed(value=1.0), Fixed(value=5.0)))
    draws = mixture.sample(np.random.default_rng(2), 100_000)
    assert mixture.mean_s() == 2.0
    assert np.mean(draws == 5.0) == pytest.approx(0.25, abs=0.006)
    assert set(draws) == {1.0, 5.0}


def test_quantiles_come_back_as_quantiles() -> None:
    draws = Empirical(quantiles=((0, 1.0), (0.9, 30.0), (1, 1000.0))).sample(
        np.random.default_rng(1), 100_000
    )
    assert np.mean(draws <= 30.0) == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize(
    ("shape", "x"), [(0.3, 0.01), (0.3, 5.0), (1.0, 1.0), (4.0, 3.0), (4.0, 20.0), (2500.0, 2510.0)]
)
def test_the_incomplete_gamma_function_is_right_on_both_sides_of_the_bulk(shape: float, x: float) -> None:
    assert distributions._gamma_cdf(shape, x) == pytest.approx(stats.gamma(shape).cdf(x), rel=1e-11)


def test_every_job_of_a_fixed_size_asks_for_it() -> None:
    size = FixedSize(value=8)
    assert size.sample(np.random.default_rng(0), 3).tolist() == [8, 8, 8]
    assert (size.mean_gpus(), size.largest()) == (8.0, 8)


def test_sizes_are_chosen_in_proportion_to_their_weights() -> None:
    choice = Choice(values=(1, 8, 64), weights=(6, 3, 1))
    draws = choice.sample(np.random.default_rng(0), 100_000)
    assert choice.mean_gpus() == pytest.approx(9.4)
    assert choice.largest() == 64
    assert np.bincount(draws)[[1, 8, 64]] / 100_000 == pytest.approx([0.6, 0.3, 0.1], abs=0.005)


def test_sizes_without_weights_are_all_as_likely() -> None:
    assert Choice(values=(1, 2, 6)).mean_gpus() == 3.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "lognormal", "median": "1 h"}, "give either sigma or mean"),
        ({"kind": "lognormal", "median": "1 h", "sigma": 1, "mean": "2 h"}, "give either sigma or mean"),
        ({"kind": "lognormal", "median": "1 h", "mean": "1 h"}, "greater than its median"),
        ({"kind": "uniform", "low": "2 h", "high": "1 h"}, "high is less than low"),
        ({"kind": "pareto", "low": "1 h", "high": "1 h", "alpha": 1}, "high must be greater than low"),
        (
            {"kind": "exponential", "mean": "1 h", "at_least": "3 h", "at_most": "2 h"},
            "at_most is less than at_least",
        ),
        ({"kind": "exponential", "mean": 3600}, "3600 has no unit"),
        ({"kind": "exponential", "mean": "-1 h"}, "greater than 0"),
        ({"kind": "gamma", "mean": "1 h", "cv": 0}, "greater than or equal to 0.01"),
        ({"kind": "empirical", "quantiles": [[0.1, "1 s"], [1, "2 s"]]}, "the first share must be 0"),
        ({"kind": "empirical", "quantiles": [[0, "2 s"], [1, "1 s"]]}, "times must not fall"),
        ({"kind": "empirical", "quantiles": [[0, "1 s"], [0, "2 s"], [1, "3 s"]]}, "shares must grow"),
        (
            {"kind": "mixture", "weights": [1], "components": [{"kind": "fixed", "value": "1 s"}] * 2},
            "2 components need as many weights, not 1",
        ),
    ],
)
def test_a_distribution_that_cannot_be_is_refused_with_the_reason(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter[object](TIMES).validate_python(wrong, context=FROM_TEXT)


def test_sizes_and_weights_must_match() -> None:
    with pytest.raises(ValidationError, match="2 values need as many weights, not 3"):
        Choice(values=(1, 2), weights=(1, 1, 1))
