"""The fitted step-time model of large models that comes with dcplan, or that a user fitted to own runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import PlanError
from sim.perf.device import Quality
from sim.perf.parallel.fitted import Fitted
from sim.perf.parallel.parameters import NAMES

VERSION = 1


@dataclass(frozen=True, slots=True)
class TrainingFit:
    """A fit, where its runs are from, and how wrong it was on runs left out."""

    fitted: Fitted
    source: str
    quality: tuple[tuple[str, Quality], ...]
    """What the errors are of (all, one GPU, one source), and the errors."""


def text(found: TrainingFit) -> str:
    """A fit as JSON, numbers with as many digits as they are worth."""
    fitted = found.fitted
    written = {
        "version": VERSION,
        "source": found.source,
        "runs": fitted.runs,
        "spread": _digits(fitted.spread),
        "spread_elsewhere": _digits(fitted.spread_elsewhere),
        "seen": [list(names) for names in fitted.seen],
        "parameters": {
            name: _digits(value) for name, value in zip(NAMES, np.exp(fitted.logarithms), strict=True)
        },
        "quality": [{"of": what} | quality.model_dump() for what, quality in found.quality],
        "covariance": [
            [_digits(value, 3) for value in row[: place + 1]] for place, row in enumerate(fitted.covariance)
        ],
    }
    lines = json.dumps(written, indent=None, separators=(", ", ": "))
    return lines.replace("], [", "],\n[").replace('"covariance"', '\n"covariance"') + "\n"


def read(written: str, name: str) -> TrainingFit:
    """A fit from its JSON; PlanError if it is none, or of another version."""
    try:
        parsed = json.loads(written)
        found: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    except ValueError as error:
        raise PlanError(f"{name} is not a fit of training runs: {error}") from None
    if found.get("version") != VERSION:
        raise PlanError(f"{name} is not a fit of training runs of version {VERSION}")
    if list(found["parameters"]) != list(NAMES):
        raise PlanError(f"{name} has other parameters than this version of dcplan; fit the runs again")
    lower = np.zeros((len(NAMES), len(NAMES)))
    for place, row in enumerate(found["covariance"]):
        lower[place, : place + 1] = row
    fitted = Fitted(
        np.log(list(found["parameters"].values())),
        lower + np.tril(lower, -1).T,
        found["spread"],
        found["spread_elsewhere"],
        found["runs"],
        tuple((gpu, number_format, software) for gpu, number_format, software in found["seen"]),
    )
    quality = tuple(
        (row["of"], Quality.model_validate({name: row[name] for name in row if name != "of"}))
        for row in found["quality"]
    )
    return TrainingFit(fitted, found["source"], quality)


def from_file(path: Path) -> TrainingFit:
    """A fit that ``dcplan validate-model --fit`` wrote."""
    try:
        return read(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from None


@cache
def training_fit() -> TrainingFit:
    """The fit to published runs that comes with dcplan."""
    return read((files(__package__) / "training_fit.json").read_text("utf-8"), "the fit of the catalog")


def _digits(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")
