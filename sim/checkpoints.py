"""How jobs save their work, what that costs them, and how often it should be done.

A job works for an interval, then stops while it writes, and so on. Written at once (blocking), a checkpoint
is safe when the job goes on; written in the background, the job stops only for a snapshot and the
checkpoint is safe a while later. What ends a job early takes it back to its last safe checkpoint, which it
must first load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from sim import units
from sim.errors import PlanError
from sim.parts import Bytes, BytesPerSecond, Name, Part, PositiveSeconds, Seconds

EDGE: Final = 1e-12
"""Share of an interval by which rounding may miss its end."""
Optimum = Literal["young", "daly", "optimal"]


@dataclass(frozen=True, slots=True)
class Saving:
    """How one job saves its work. Times are in seconds; without an interval nothing is ever safe."""

    every_s: float = math.inf
    """Work between the end of one checkpoint and the start of the next."""
    stop_s: float = 0.0
    """Time that the job stops for each checkpoint."""
    lag_s: float = 0.0
    """Time after that until the checkpoint is safe, while the job works on."""
    restore_s: float = 0.0
    """Time to load a checkpoint, at the start of every run but the first."""

    def stops(self, work_s: float) -> int:
        """Checkpoints of a run that does so much work: none at its end, where the result itself is kept."""
        if self.every_s == math.inf or work_s <= 0:
            return 0
        return max(0, math.ceil(work_s / self.every_s * (1 - EDGE)) - 1)

    def run_s(self, work_s: float) -> float:
        """Time of a run that does so much work and is never disturbed, without loading.

        >>> Saving(every_s=100.0, stop_s=10.0).run_s(250.0), Saving(every_s=100.0, stop_s=10.0).run_s(200.0)
        (270.0, 210.0)
        """
        return work_s + self.stops(work_s) * self.stop_s

    def split(self, elapsed_s: float) -> tuple[float, float, float]:
        """A run that ends early after so much time: seconds of safe work, of work lost, and of writing.

        >>> Saving(every_s=100.0, stop_s=10.0).split(215.0)
        (100.0, 100.0, 15.0)
        >>> Saving(every_s=100.0, stop_s=10.0).split(225.0)
        (200.0, 5.0, 20.0)
        """
        if self.every_s == math.inf:
            return 0.0, elapsed_s, 0.0
        cycle_s = self.every_s + self.stop_s
        whole = math.floor(elapsed_s / cycle_s * (1 + EDGE))
        rest_s = max(0.0, elapsed_s - whole * cycle_s)
        written_s = whole * self.stop_s + max(0.0, rest_s - self.every_s)
        safe = whole
        if self.lag_s:
            safe = min(whole, max(0, math.floor((elapsed_s - self.lag_s) / cycle_s * (1 + EDGE))))
        kept_s = safe * self.every_s
        return kept_s, elapsed_s - written_s - kept_s, written_s


def young_s(cost_s: float, mean_time_between_failures_s: float) -> float:
    """Work between checkpoints, to first order: sqrt(2 C M) (Young, CACM 17(9), 1974)."""
    return math.sqrt(2 * cost_s * mean_time_between_failures_s)


def daly_s(cost_s: float, mean_time_between_failures_s: float) -> float:
    """Work between checkpoints, to higher order (Daly, FGCS 22(3), 2006); M where C is 2 M or more."""
    m, c = mean_time_between_failures_s, cost_s
    if c >= 2 * m:
        return m
    root = math.sqrt(c / (2 * m))
    return math.sqrt(2 * c * m) * (1 + root / 3 + c / (2 * m) / 9) - c


def optimal_s(cost_s: float, mean_time_between_failures_s: float) -> float:
    """Work between checkpoints that is best for failures at random: M (1 + W(-exp(-(C/M + 1)))).

    The minimum of ``1 / efficiency``; W is the principal branch of Lambert's function.
    """
    m, c = mean_time_between_failures_s, cost_s
    return m * (1 + _lambert_w(-math.exp(-(c / m + 1))))


def efficiency(every_s: float, cost_s: float, restore_s: float, mean_time_between_failures_s: float) -> float:
    """Work over time, for failures at random at any time, restores and checkpoints included.

    tau / (M exp(R/M) (exp((tau + C)/M) - 1)) (Daly, FGCS 22(3), 2006, eq. 13 rearranged).

    >>> round(efficiency(3600.0, 60.0, 300.0, 36000.0), 4)
    0.9267
    """
    m = mean_time_between_failures_s
    return every_s / (m * math.exp(restore_s / m) * math.expm1((every_s + cost_s) / m))


def _lambert_w(x: float) -> float:
    """Principal branch on [-1/e, 0], by Halley's steps from the series about the branch point."""
    p = math.sqrt(max(0.0, 2 * (math.e * x + 1)))
    w = -1 + p - p * p / 3 + 11 / 72 * p**3
    for _ in range(50):
        e = math.exp(w)
        off = w * e - x
        slope = e * (w + 1) - (w + 2) * off / (2 * w + 2) if w != -1 else 0.0
        if slope == 0.0 or abs(off) < 1e-17:  # noqa: PLR2004 - the last digit
            break
        step = off / slope
        w -= step
        if abs(step) <= 1e-15 * abs(w):
            break
    return w


class CheckpointRule(Part):
    """Which jobs save their work, how often, and what each checkpoint costs. The first rule that fits counts.

    Give the time to ``write`` a checkpoint, or its ``size`` and the ``bandwidth`` to storage.
    """

    tenant: Name | None = Field(None, description="jobs of this tenant only")
    gpus_from: Annotated[int, Field(ge=1)] = Field(1, description="jobs of so many GPUs or more")
    every: PositiveSeconds | None = Field(
        None,
        description="work between checkpoints; left out, what suits the job's mean time between failures",
    )
    optimum: Optimum = Field("optimal", description="how that is computed: by Young, Daly, or exactly")
    write: PositiveSeconds | None = Field(None, description="time to write one")
    size: Bytes | None = Field(None, description="bytes of one, of the whole job")
    bandwidth: BytesPerSecond | None = Field(None, description="at which all its GPUs together write it")
    store: Name | None = Field(
        None, description="the store it is written to and loaded from, sharing its bandwidth and the network"
    )
    keep: Annotated[int, Field(ge=1)] = Field(
        1, description="checkpoints that are kept in the store; matters where that has a capacity"
    )
    snapshot: Seconds | None = Field(
        None,
        description="write in the background and stop only this long; left out, the job stops to write",
    )
    restore: Seconds | None = Field(None, description="time to load one; left out, as long as to write it")
    restart: Seconds = Field(0.0, description="time to start all processes again, besides")

    @model_validator(mode="after")
    def _has_a_cost(self) -> Self:
        given = tuple(value is not None for value in (self.write, self.size, self.bandwidth, self.store))
        if given not in ((True, False, False, False), (False, True, True, False), (False, True, False, True)):
            raise ValueError("give either write, or size and bandwidth, or size and store")
        if self.store is not None and self.restore is not None:
            raise ValueError("restore follows from size and store; leave it out")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError("bandwidth must be more than 0")
        if self.every is not None and self.snapshot is not None and self.write_s > self.every:
            raise ValueError(
                f"a checkpoint takes {units.human_duration(self.write_s)} to write, longer than the"
                f" {units.human_duration(self.every)} between two; the next would wait for it"
            )
        return self

    @property
    def write_s(self) -> float:
        """Seconds to write one checkpoint; 0 where a store decides."""
        return self.write_at_s(None)

    def write_at_s(self, store_rate: float | None) -> float:
        """The same with the store to itself, at so many bytes a second."""
        if self.write is not None:
            return self.write
        return (self.size or 0.0) / (self.bandwidth or store_rate or math.inf)

    def fits(self, tenant: str, gpus: int) -> bool:
        """Whether the rule is for such a job."""
        return gpus >= self.gpus_from and self.tenant in (None, tenant)

    def saving(self, mean_time_between_failures_s: float, store_rate: float | None = None) -> Saving:
        """How a job saves that fails so often, with a store to itself at so many bytes a second.

        PlanError where the optimum is asked for and nothing fails, and where there is no progress in sight.
        """
        written_s = self.write_at_s(store_rate)
        stop_s = written_s if self.snapshot is None else self.snapshot
        restore_s = (written_s if self.restore is None else self.restore) + self.restart
        if self.every is not None:
            every_s = self.every
        else:
            if mean_time_between_failures_s == math.inf:
                raise PlanError("checkpoints need every: nothing fails, so that no interval is best")
            best = {"young": young_s, "daly": daly_s, "optimal": optimal_s}[self.optimum]
            every_s = max(best(stop_s, mean_time_between_failures_s), 0.0)
            if self.snapshot is not None:
                every_s = max(every_s, written_s)
            if every_s <= 0:
                raise PlanError("checkpoints: with a snapshot of no time, the interval must be given")
        lag_s = 0.0 if self.snapshot is None else written_s
        if efficiency_is_nothing(every_s, stop_s, restore_s, mean_time_between_failures_s):
            raise PlanError(
                f"jobs that fail every {units.human_duration(mean_time_between_failures_s)} on average"
                f" make no progress with {units.human_duration(every_s)} of work between checkpoints of"
                f" {units.human_duration(stop_s)} and {units.human_duration(restore_s)} to restart"
            )
        return Saving(every_s, stop_s, lag_s, restore_s)


def efficiency_is_nothing(every_s: float, cost_s: float, restore_s: float, mtbf_s: float) -> bool:
    """Whether less than a thousandth of the time would be work: such a run has no end in sight."""
    if mtbf_s == math.inf:
        return False
    exponent = (restore_s + every_s + cost_s) / mtbf_s
    return exponent > 50 or efficiency(every_s, cost_s, restore_s, mtbf_s) < 1e-3  # noqa: PLR2004 - said above


def rule_of(rules: Sequence[CheckpointRule], tenant: str, gpus: int) -> CheckpointRule | None:
    """The first rule that fits such a job; None where none does."""
    return next((rule for rule in rules if rule.fits(tenant, gpus)), None)
