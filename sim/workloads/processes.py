"""When jobs are submitted: arrival processes that a user can write down.

Time 0 is midnight before a Monday, so that hours of the day and weekends have a meaning. A longer horizon or
a larger count only adds jobs: those that were there stay, at the same times.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim.distributions import Floats
from sim.errors import PlanError
from sim.parts import Part, PerSecond, PositiveSeconds, Seconds

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
WEEK_S: Final = 7 * DAY_S
MOST_JOBS: Final = 20_000_000
"""More jobs than a workstation holds; who asks for them has most often mistaken the unit of a rate."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Rate = Annotated[PerSecond, Field(gt=0)]

_CHUNK: Final = 1 << 14
_Chunk = tuple[Floats, float]
"""Times of arrival in order, and the time up to which they are known."""


class Process(Part):
    """A way in which jobs arrive."""

    kind: str

    def times_s(self, rng: np.random.Generator, until_s: float, count: int | None) -> Floats:
        """Times of submission in order, all before ``until_s``; the first ``count`` of them if that is given.

        Raises PlanError if there would be more than twenty million.
        """
        expected = min(self.rate_per_s * until_s, math.inf if count is None else count)
        if expected > MOST_JOBS:
            raise PlanError(f"about {expected:.3g} jobs would be submitted; at most {MOST_JOBS:,} can be")
        return _gather(self._chunks(rng), until_s, MOST_JOBS if count is None else count)

    @property
    @abstractmethod
    def rate_per_s(self) -> float:
        """Jobs per second in the long run."""

    @abstractmethod
    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:
        """Times of arrival, piece by piece, without an end."""


class Poisson(Process):
    """Jobs that know nothing of one another: the M of queueing theory."""

    kind: Literal["poisson"] = "poisson"
    rate: Rate = Field(description="jobs per time, on average")

    @property
    def rate_per_s(self) -> float:
        """Jobs per second."""
        return self.rate

    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:
        return _renewals(lambda: rng.exponential(1 / self.rate, _CHUNK))


class Bursty(Process):
    """Bursts and lulls: independent gaps between jobs with a given spread."""

    kind: Literal["gamma"] = "gamma"
    rate: Rate = Field(description="jobs per time, on average")
    cv: float = Field(
        ge=0.01,
        le=100,
        description="standard deviation of the gaps divided by their mean: 1 is Poisson, 3 is bursty",
    )

    @property
    def rate_per_s(self) -> float:
        """Jobs per second."""
        return self.rate

    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:
        return _renewals(lambda: rng.gamma(self.cv**-2, self.cv**2 / self.rate, _CHUNK))


class Diurnal(Process):
    """People submit jobs: more by day than by night, fewer at weekends.

    A Poisson process whose rate is a cosine over the day, lower on Saturday and Sunday. It is drawn exactly,
    by thinning a process at the highest rate (Lewis and Shedler, 1979).
    """

    kind: Literal["diurnal"] = "diurnal"
    rate: Rate = Field(description="jobs per time, averaged over a whole week")
    amplitude: float = Field(
        0.5,
        ge=0,
        le=1,
        description="how far the day's peak and trough are from its average, as a fraction of it",
    )
    peak_hour: float = Field(15.0, ge=0, lt=24, description="hour of the day with the most jobs")
    weekend_factor: float = Field(1.0, ge=0, description="rate at weekends divided by that on working days")

    @property
    def rate_per_s(self) -> float:
        """Jobs per second, averaged over a whole week."""
        return self.rate

    def rate_at(self, times_s: Floats) -> Floats:
        """Jobs per second at these times."""
        phase = 2 * np.pi * (times_s / HOUR_S - self.peak_hour) / 24
        weekend = times_s % WEEK_S >= 5 * DAY_S
        level = np.where(weekend, self.weekend_factor, 1.0) * self._working_day_rate
        return level * (1 + self.amplitude * np.cos(phase))

    @property
    def _working_day_rate(self) -> float:
        return self.rate * 7 / (5 + 2 * self.weekend_factor)

    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:
        candidates, chances = rng.spawn(2)
        highest = self._working_day_rate * max(1.0, self.weekend_factor) * (1 + self.amplitude)
        for times, known_s in _renewals(lambda: candidates.exponential(1 / highest, _CHUNK)):
            yield times[chances.random(len(times)) * highest < self.rate_at(times)], known_s


class Batch(Process):
    """Many jobs at once and at regular times: a sweep, or the nightly retraining."""

    kind: Literal["batch"] = "batch"
    every: PositiveSeconds = Field(description="time from one batch to the next")
    size: int = Field(ge=1, description="jobs in each batch")
    first: Seconds = Field(0.0, description="time of the first batch")

    @property
    def rate_per_s(self) -> float:
        """Jobs per second in the long run."""
        return self.size / self.every

    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:  # noqa: ARG002 - nothing is random here
        start = 0
        batches = -(-_CHUNK // self.size)
        while True:
            times = self.first + self.every * np.arange(start, start + batches)
            start += batches
            yield np.repeat(times, self.size), float(times[-1])


class Recorded(Process):
    """Jobs at given times, as replayed from a record."""

    kind: Literal["times"] = "times"
    times: tuple[Seconds, ...] = Field(min_length=1, description="when each job is submitted, in order")

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        if any(later < earlier for earlier, later in pairwise(self.times)):
            raise ValueError("times must not go back")
        return self

    @property
    def rate_per_s(self) -> float:
        """Nothing in the long run: the record ends."""
        return 0.0

    def _chunks(self, rng: np.random.Generator) -> Iterable[_Chunk]:  # noqa: ARG002 - nothing is random here
        return [(np.array(self.times), math.inf)]


AnyProcess = Annotated[Poisson | Diurnal | Bursty | Batch | Recorded, Field(discriminator="kind")]


class Hours(Part):
    """The hours in which a tenant submits jobs; outside of them it submits none."""

    opens: float = Field(ge=0, lt=24, description="hour of the day, 9.5 is half past nine")
    closes: float = Field(
        ge=0, le=24, description="hour of the day; at or before the opening hour, it is the next day's"
    )
    days: tuple[Day, ...] = Field(DAYS[:5], min_length=1, description="days on which the hours open")

    @model_validator(mode="after")
    def _days_are_listed_once(self) -> Self:
        if len(set(self.days)) < len(self.days):
            raise ValueError("a day is listed twice")
        return self

    @property
    def open_s(self) -> float:
        """Seconds from opening to closing, more than 0 and up to a day."""
        return ((self.closes - self.opens) % 24 or 24) * HOUR_S

    @property
    def _openings_s(self) -> Floats:
        """When the hours open in the first week, counted from its Monday."""
        opening_days = [day for day, name in enumerate(DAYS) if name in self.days]
        return np.array(opening_days) * DAY_S + self.opens * HOUR_S

    def open_before_s(self, time_s: float) -> float:
        """How long the hours have been open since time 0, up to a time on the clock."""
        if math.isinf(time_s):
            return time_s
        weeks, into_week = divmod(time_s, WEEK_S)
        this_week = np.clip(into_week - self._openings_s, 0, self.open_s)
        still_open = self.open_s - np.clip(into_week + WEEK_S - self._openings_s, 0, self.open_s)
        before = weeks * len(self.days) * self.open_s + this_week.sum() - (still_open.sum() if weeks else 0.0)
        return float(before)

    def on_the_clock(self, times_s: Floats) -> Floats:
        """Times counted while the hours are open only, turned into times on the clock."""
        openings = np.floor(times_s / self.open_s)
        weeks, which = np.divmod(openings, len(self.days))
        opened_s: Floats = weeks * WEEK_S + self._openings_s[which.astype(np.int64)]
        return opened_s + (times_s - openings * self.open_s)


def _renewals(draw_gaps_s: Callable[[], Floats]) -> Iterator[_Chunk]:
    """Sums of independent gaps; each piece goes on from the end of the last."""
    reached_s = 0.0
    while True:
        gaps = draw_gaps_s()
        gaps[0] += reached_s
        times = np.cumsum(gaps)
        reached_s = float(times[-1])
        yield times, reached_s


def _gather(chunks: Iterable[_Chunk], until_s: float, count: int) -> Floats:
    """The first ``count`` times before ``until_s``."""
    gathered, total = [], 0
    for times, known_s in chunks:
        gathered.append(times)
        total += len(times)
        if total >= count or known_s >= until_s:
            break
    times = np.concatenate(gathered)[:count]
    return times[times < until_s]
