"""How long jobs run and how many GPUs they ask for, as distributions that a user can write down.

Each distribution is a frozen part with a ``kind``. It draws whole arrays, and it knows its mean in closed
form, so the load that a workload offers is known before anything is simulated.

Times can be limited: a draw under ``at_least`` becomes ``at_least``, one over ``at_most`` becomes
``at_most``. That is what a site's time limit does to its jobs (a job is killed there, having used that much),
and it is not the same as drawing again until a draw fits. Means include the limits.
"""

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.parts import Part, PositiveSeconds, Seconds

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Weight = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Times(Part):
    """A distribution of times, in seconds, with the limits that the site sets."""

    kind: str
    at_least: Seconds = Field(0.0, description="shorter draws become this long")
    at_most: PositiveSeconds | None = Field(
        None, description="longer draws become this long, as of a job that is killed at a time limit"
    )

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError("at_most is less than at_least")
        return self

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """Independent draws, in seconds; more draws from an equal generator begin with the same ones."""
        return np.clip(self._draw(rng, count), self.at_least, self.at_most)

    def mean_s(self, up_to_s: float = math.inf) -> float:
        """Mean of the draws in seconds, each counted up to ``up_to_s`` at most; exact, limits included."""
        low = min(self.at_least, up_to_s)
        high = min(math.inf if self.at_most is None else self.at_most, up_to_s)
        return low + self._limited_mean(high) - self._limited_mean(low)

    @abstractmethod
    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Draws before the limits."""

    @abstractmethod
    def _limited_mean(self, limit_s: float) -> float:
        """E[min(X, limit)] before the limits: the area under the survival function up to there."""


class Fixed(Times):
    """Every job takes the same time."""

    kind: Literal["fixed"] = "fixed"
    value: Seconds = Field(description="the time that every job takes")

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:  # noqa: ARG002 - nothing is random here
        return np.full(count, self.value)

    def _limited_mean(self, limit_s: float) -> float:
        return min(self.value, limit_s)


class Uniform(Times):
    """Every time between two is as likely as any other."""

    kind: Literal["uniform"] = "uniform"
    low: Seconds = Field(description="the shortest time")
    high: Seconds = Field(description="the longest time")

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Self:
        if self.high < self.low:
            raise ValueError("high is less than low")
        return self

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.uniform(self.low, self.high, count)

    def _limited_mean(self, limit_s: float) -> float:
        return _uniform_limited_mean(self.low, self.high, limit_s)


class Exponential(Times):
    """Jobs that end at a constant rate, whatever their age: the M of queueing theory."""

    kind: Literal["exponential"] = "exponential"
    mean: PositiveSeconds = Field(description="mean time, before the limits")

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.exponential(self.mean, count)

    def _limited_mean(self, limit_s: float) -> float:
        return -self.mean * math.expm1(-limit_s / self.mean)


class Lognormal(Times):
    """Many short jobs and a few very long ones; the usual shape of training jobs.

    Give the median and either ``sigma``, the standard deviation of the logarithm, or the mean, from which
    sigma follows. Half of the jobs take less than the median; about 16 % take over exp(sigma) times as long.
    """

    kind: Literal["lognormal"] = "lognormal"
    median: PositiveSeconds = Field(description="half of the jobs take less than this, before the limits")
    sigma: Weight | None = Field(None, description="standard deviation of the natural logarithm of the time")
    mean: PositiveSeconds | None = Field(None, description="mean time before the limits, in place of sigma")

    @model_validator(mode="after")
    def _one_width_is_given(self) -> Self:
        if (self.sigma is None) == (self.mean is None):
            raise ValueError("give either sigma or mean, beside the median")
        if self.mean is not None and self.mean <= self.median:
            raise ValueError("the mean of a lognormal is greater than its median")
        return self

    @property
    def width(self) -> float:
        """Sigma, given or derived: the mean of a lognormal is its median x exp(sigma²/2)."""
        return self.sigma or math.sqrt(2 * math.log((self.mean or self.median) / self.median))

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        return self.median * np.exp(self.width * rng.standard_normal(count))

    def _limited_mean(self, limit_s: float) -> float:
        if limit_s <= 0:
            return 0.0
        unlimited = self.median * math.exp(self.width**2 / 2)
        if math.isinf(limit_s):
            return unlimited
        z = math.log(limit_s / self.median) / self.width
        return unlimited * _normal_cdf(z - self.width) + limit_s * _normal_cdf(-z)


class Weibull(Times):
    """Jobs that end ever less (shape < 1) or ever more likely (shape > 1) the longer they have run."""

    kind: Literal["weibull"] = "weibull"
    scale: PositiveSeconds = Field(description="time within which 63 % of the jobs end")
    shape: Weight = Field(description="below 1: the longer it has run, the longer it will; 1 is exponential")

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        drawn: Floats = self.scale * rng.weibull(self.shape, count)
        return drawn

    def _limited_mean(self, limit_s: float) -> float:
        ended = _gamma_cdf(1 / self.shape, math.pow(limit_s / self.scale, self.shape))
        return self.scale * math.gamma(1 + 1 / self.shape) * ended


class Pareto(Times):
    """A power law between two times: the share of jobs longer than t falls as t to the power -alpha."""

    kind: Literal["pareto"] = "pareto"
    low: PositiveSeconds = Field(description="the shortest time")
    high: PositiveSeconds = Field(
        description="the longest time; the law is cut off there and made to sum to 1"
    )
    alpha: Weight = Field(description="how steeply long jobs become rare; at 1 or less the longest dominate")

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Self:
        if self.high <= self.low:
            raise ValueError("high must be greater than low")
        return self

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        longest = (self.high / self.low) ** -self.alpha
        drawn: Floats = self.low * (1 - rng.random(count) * (1 - longest)) ** (-1 / self.alpha)
        return drawn.clip(max=self.high)

    def _limited_mean(self, limit_s: float) -> float:
        if limit_s <= self.low:
            return limit_s
        times = min(limit_s, self.high) / self.low
        longest = math.pow(self.high / self.low, -self.alpha)
        under_the_law = _power_integral(self.alpha, times)
        return self.low * (1 + (under_the_law - longest * (times - 1)) / (1 - longest))


class Gamma(Times):
    """A time of given mean and spread: steadier than exponential for cv < 1, burstier for cv > 1."""

    kind: Literal["gamma"] = "gamma"
    mean: PositiveSeconds = Field(description="mean time, before the limits")
    cv: float = Field(ge=0.01, description="standard deviation divided by the mean; 1 is exponential")

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.gamma(self.cv**-2, self.mean * self.cv**2, count)

    def _limited_mean(self, limit_s: float) -> float:
        shape = self.cv**-2
        if math.isinf(limit_s):
            return self.mean
        scaled = limit_s * shape / self.mean
        return self.mean * _gamma_cdf(shape + 1, scaled) + limit_s * (1 - _gamma_cdf(shape, scaled))


class Empirical(Times):
    """Quantiles that were measured; between two of them every time is as likely as any other."""

    kind: Literal["empirical"] = "empirical"
    quantiles: tuple[tuple[Share, Seconds], ...] = Field(
        min_length=2,
        description="pairs of a share of the jobs, from 0 to 1, and the time that this share stays within",
    )

    @model_validator(mode="after")
    def _quantiles_are_in_order(self) -> Self:
        shares = [share for share, _ in self.quantiles]
        times = [time for _, time in self.quantiles]
        if shares[0] != 0 or shares[-1] != 1:
            raise ValueError("the first share must be 0 (the shortest job) and the last 1 (the longest)")
        if any(a >= b for a, b in pairwise(shares)) or any(a > b for a, b in pairwise(times)):
            raise ValueError("shares must grow from one pair to the next, and times must not fall")
        return self

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        shares, times = np.transpose(self.quantiles)
        drawn: Floats = np.interp(rng.random(count), shares, times)
        return drawn

    def _limited_mean(self, limit_s: float) -> float:
        return math.fsum(
            (later - share) * _uniform_limited_mean(low, high, limit_s)
            for (share, low), (later, high) in pairwise(self.quantiles)
        )


Component = Annotated[
    Fixed | Uniform | Exponential | Lognormal | Weibull | Pareto | Gamma | Empirical,
    Field(discriminator="kind"),
]


class Mixture(Times):
    """Several kinds of job in one: quick debugging runs and long trainings, for instance."""

    kind: Literal["mixture"] = "mixture"
    weights: tuple[Weight, ...] = Field(
        min_length=1, description="how often each component is drawn, in proportion"
    )
    components: tuple[Component, ...] = Field(min_length=1, description="the distributions that are mixed")

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        _refuse_unequal_lengths("components", len(self.components), len(self.weights))
        return self

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        chooser, *streams = rng.spawn(1 + len(self.components))
        chosen = _choose(chooser, self.weights, count)
        drawn = [part.sample(own, count) for part, own in zip(self.components, streams, strict=True)]
        return np.stack(drawn)[chosen, np.arange(count)]

    def _limited_mean(self, limit_s: float) -> float:
        means = [part.mean_s(limit_s) for part in self.components]
        return float(np.average(means, weights=self.weights))


TIMES = Fixed | Uniform | Exponential | Lognormal | Weibull | Pareto | Gamma | Empirical | Mixture
"""Every distribution of times, for a field to choose from by its kind."""


class FixedSize(Part):
    """Every job asks for the same number of GPUs."""

    kind: Literal["fixed"] = "fixed"
    value: int = Field(ge=1, description="GPUs of every job")

    def sample(self, rng: np.random.Generator, count: int) -> Counts:  # noqa: ARG002 - nothing is random here
        """The number of GPUs of each of ``count`` jobs."""
        return np.full(count, self.value)

    def mean_gpus(self) -> float:
        """Mean number of GPUs of a job."""
        return float(self.value)

    def each(self) -> tuple[int, ...]:
        """Every number of GPUs that a job may ask for."""
        return (self.value,)

    def largest(self) -> int:
        """GPUs of the widest job that can come."""
        return self.value


class Choice(Part):
    """Jobs of a few sizes, each with its share."""

    kind: Literal["choice"] = "choice"
    values: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="the numbers of GPUs asked for"
    )
    weights: tuple[Weight, ...] | None = Field(
        None, description="how often each is asked for, in proportion; left out, all are as likely"
    )

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        _refuse_unequal_lengths("values", len(self.values), len(self._weights))
        return self

    @property
    def _weights(self) -> tuple[float, ...]:
        return self.weights or (1.0,) * len(self.values)

    def sample(self, rng: np.random.Generator, count: int) -> Counts:
        """The number of GPUs of each of ``count`` jobs."""
        return np.array(self.values)[_choose(rng, self._weights, count)]

    def mean_gpus(self) -> float:
        """Mean number of GPUs of a job."""
        return float(np.average(self.values, weights=self._weights))

    def each(self) -> tuple[int, ...]:
        """Every number of GPUs that a job may ask for."""
        return self.values

    def largest(self) -> int:
        """GPUs of the widest job that can come."""
        return max(self.values)


SIZES = FixedSize | Choice
"""Every distribution of numbers of GPUs, for a field to choose from by its kind."""


def plain_is_fixed(value: Any) -> Any:  # noqa: ANN401 - whatever the user wrote
    """``gpus: 8`` and ``duration: 3 h`` are short for the distribution that is always that."""
    return {"kind": "fixed", "value": value} if isinstance(value, (int, float, str)) else value


def _choose(rng: np.random.Generator, weights: tuple[float, ...], count: int) -> Counts:
    """Which of the weighted things each draw is, as an index; one uniform number per draw."""
    steps = np.cumsum(weights)
    return np.searchsorted(steps[:-1] / steps[-1], rng.random(count), side="right")


def _refuse_unequal_lengths(noun: str, things: int, weights: int) -> None:
    if things != weights:
        raise ValueError(f"{things} {noun} need as many weights, not {weights}")


def _uniform_limited_mean(low: float, high: float, limit: float) -> float:
    """E[min(X, limit)] of a uniform X: half of what the limit cuts off comes on top of nothing."""
    if limit >= high:
        return (low + high) / 2
    return limit - max(limit - low, 0.0) ** 2 / (2 * (high - low))


def _power_integral(alpha: float, end: float) -> float:
    """The integral of x to the power -alpha from 1 to ``end``."""
    if alpha == 1:
        return math.log(end)
    return math.expm1((1 - alpha) * math.log(end)) / (1 - alpha)


def _normal_cdf(z: float) -> float:
    """Share of a standard normal below ``z``, exact in both tails."""
    return math.erfc(-z / math.sqrt(2)) / 2


def _gamma_cdf(shape: float, x: float) -> float:
    """Share of a gamma of scale 1 below ``x``: the regularised lower incomplete gamma function.

    Below the bulk the power series is summed (NIST Digital Library of Mathematical Functions, 8.7.1), above
    it the continued fraction (8.9.2) is evaluated by Lentz's method; both converge there to the last digits.
    """
    if x <= 0 or math.isinf(x):
        return 0.0 if x <= 0 else 1.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    return front * _series(shape, x) if x < shape + 1 else 1 - front * _fraction(shape, x)


def _series(shape: float, x: float) -> float:
    term = total = 1 / shape
    step = shape
    while term > total * 1e-17:
        step += 1
        term *= x / step
        total += term
    return total


def _fraction(shape: float, x: float) -> float:
    b = x + 1 - shape
    ratio, inverse = math.inf, 1 / b
    value, change, step = inverse, 0.0, 0
    while abs(change - 1) > 1e-15:  # noqa: PLR2004 - a few units in the last place
        step += 1
        a = step * (shape - step)
        b += 2
        inverse = 1 / (b + a * inverse)
        ratio = b + a / ratio
        change = ratio * inverse
        value *= change
    return value
