"""Links fitted to measured times of collectives, and how wrong they are on what was left out.

One fit for all kinds, numbers of GPUs and sizes of one system: what they have in common is the link. Errors
are on every second size left out, and on one kind on one number of GPUs left out at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.calibration.least_squares import Floats, minimise
from sim.errors import PlanError
from sim.perf.collectives import KINDS, CollectiveLink, sent_bytes
from sim.perf.device import NORMAL_80, Quality

NOISE: Final = 0.08
COVERED: Final = 0.8
FEWEST: Final = 8
PRIOR: Final[tuple[tuple[str, float, float], ...]] = (
    ("first_s", 6e-6, 0.7),
    ("round_s", 1e-6, 0.7),
    ("small_rate", 0.25, 0.5),
    ("middle_rate", 0.6, 0.3),
    ("middle_s", 4e-6, 1.0),
    ("bulk_s", 15e-6, 1.0),
    ("bulk_round_s", 2.5e-6, 0.7),
)
"""Where each parameter starts, and how far off its logarithm may be: the constants of NCCL's own choice of
protocols for NVLink (src/graph/tuning.cc: 0.6 to 3.4 us a hop, 6 to 14 us before), widely."""
RATE_SPREAD: Final = 2.0
RATE_BY_GPUS_SPREAD: Final = 0.3
KIND_RATE_SPREAD: Final = 0.15
KIND_LATENCY_SPREAD: Final = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """Times of collectives on one system; arrays of one length."""

    kinds: NDArray[np.str_]
    gpus: Floats
    message_bytes: Floats
    time_s: Floats

    def take(self, chosen: NDArray[np.bool_]) -> Measured:
        """Some of them."""
        return Measured(
            self.kinds[chosen], self.gpus[chosen], self.message_bytes[chosen], self.time_s[chosen]
        )

    def __len__(self) -> int:
        """How many times."""
        return len(self.time_s)


def measured(rows: pl.DataFrame) -> Measured:
    """From a table of ``kind``, ``gpus``, ``message_bytes`` and ``time_s``; the median of repeated ones.

    Raises PlanError for kinds that are not known and times that are none.
    """
    unknown = sorted(set(rows["kind"]) - set(KINDS))
    if unknown:
        raise PlanError(f"{unknown[0]} is no collective that is known; choose of {', '.join(KINDS)}")
    columns = rows["time_s"], rows["message_bytes"]
    if not all((each.is_finite() & (each > 0)).all() for each in columns) or (rows["gpus"] <= 1).any():
        raise PlanError("a measured collective needs a time and a size above 0, and two GPUs or more")
    keys = ["kind", "gpus", "message_bytes"]
    found = rows.group_by(keys).agg(pl.col("time_s").median()).sort(keys)
    return Measured(
        found["kind"].to_numpy().astype(np.str_),
        found["gpus"].to_numpy().astype(np.float64),
        found["message_bytes"].to_numpy().astype(np.float64),
        found["time_s"].to_numpy().astype(np.float64),
    )


def fit_link(rows: Measured, name: str, link: str, source: str) -> CollectiveLink:
    """The link that explains the times best. Raises PlanError where there are too few."""
    if len(rows) < FEWEST:
        raise PlanError(f"{name} has {len(rows)} times of collectives; a fit needs {FEWEST}")
    seen = tuple(kind for kind in KINDS if (rows.kinds == kind).any())
    others = seen[1:]
    start = np.array(
        [math.log(_best_rate(rows)), 0.0, *(math.log(value) for _, value, _ in PRIOR)]
        + [0.0] * (2 * len(others))
    )
    spread = np.array(
        [RATE_SPREAD, RATE_BY_GPUS_SPREAD, *(spread for _, _, spread in PRIOR)]
        + [KIND_RATE_SPREAD] * len(others)
        + [KIND_LATENCY_SPREAD] * len(others)
    )

    def made(at: Floats) -> CollectiveLink:
        names = ("rate", *(name for name, _, _ in PRIOR))
        values = np.exp(np.delete(at, 1))
        of_kinds = values[len(names) :]
        return CollectiveLink.model_construct(
            name=name, link=link, source=source, rate_by_gpus=float(at[1]), spread=NOISE, quality=(),
            rates=dict(zip(others, of_kinds[: len(others)].tolist(), strict=True)),
            latencies=dict(zip(others, of_kinds[len(others) :].tolist(), strict=True)),
            **dict(zip(names, values[: len(names)].tolist(), strict=True)),
        )  # fmt: skip

    found = minimise(
        lambda at: np.log(predicted(made(at), rows) / rows.time_s),
        start, spread, np.full(len(start), np.inf), noise=NOISE,
    )  # fmt: skip
    return CollectiveLink.model_validate(made(found.values).model_dump())


def predicted(link: CollectiveLink, rows: Measured) -> Floats:
    """Seconds of each measured collective on a link."""
    found = np.zeros(len(rows))
    for kind in KINDS:
        chosen = rows.kinds == kind
        if chosen.any():
            found[chosen] = link.time_s(kind, rows.message_bytes[chosen], rows.gpus[chosen])
    return found


def calibrated(rows: Measured, name: str, link: str, source: str) -> CollectiveLink:
    """A fitted link with its errors on what was left out, and the spread that these show."""
    whole = fit_link(rows, name, link, source)
    halves = _sizes_left_out(rows, name)
    others = _kinds_left_out(rows, name)
    told = [("every second size", halves), ("one kind on one number of GPUs", others)]
    widest = others if len(others) else halves
    spread = max(NOISE / 2, float(np.quantile(np.abs(widest), COVERED)) / NORMAL_80)
    quality = tuple(_quality(what, misses, spread) for what, misses in told if len(misses))
    rounded = {
        field: float(f"{value:.4g}")
        for field, value in whole.model_dump().items()
        if isinstance(value, float)
    }
    for table in ("rates", "latencies"):
        rounded[table] = {kind: float(f"{value:.4g}") for kind, value in getattr(whole, table).items()}  # type: ignore[assignment]
    return whole.model_copy(update={**rounded, "spread": float(f"{spread:.3g}"), "quality": quality})


def _best_rate(rows: Measured) -> float:
    """The most bytes a second that any of the measured collectives sent over its link."""
    best = 0.0
    for kind in KINDS:
        chosen = rows.kinds == kind
        if chosen.any():
            sent = sent_bytes(kind, rows.message_bytes[chosen], rows.gpus[chosen])
            best = max(best, float((sent / rows.time_s[chosen]).max()))
    return best


def _sizes_left_out(rows: Measured, name: str) -> Floats:
    misses = []
    for half in (0, 1):
        out = np.arange(len(rows)) % 2 == half
        if (~out).sum() >= FEWEST:
            link = fit_link(rows.take(~out), name, "", "half of the sizes")
            misses.append(np.log(predicted(link, rows.take(out)) / rows.time_s[out]))
    return np.concatenate(misses) if misses else np.zeros(0)


def _kinds_left_out(rows: Measured, name: str) -> Floats:
    misses = []
    groups = {(str(kind), float(gpus)) for kind, gpus in zip(rows.kinds, rows.gpus, strict=True)}
    for kind, gpus in sorted(groups):
        out = (rows.kinds == kind) & (rows.gpus == gpus)
        if (~out).sum() >= FEWEST:
            link = fit_link(rows.take(~out), name, "", "the others")
            misses.append(np.log(predicted(link, rows.take(out)) / rows.time_s[out]))
    return np.concatenate(misses) if misses else np.zeros(0)


def _quality(what: str, misses: Floats, spread: float) -> Quality:
    return Quality.of(what, np.expm1(misses), np.abs(misses) <= NORMAL_80 * spread)
