"""Whether a profile can be fitted: what forbids it, and what to bear in mind."""

import math
from collections import Counter
from statistics import median

from sim.profile.file import Profile
from sim.profile.rows import Row, TrainingRow

FEWEST_CONFIGURATIONS = 4
FEWEST_REPETITIONS = 3
DRIFT_NOTED = 0.05
DRIFT_REFUSED = 0.25
SPREAD_NOTED = 0.15
PHASES_OFF = 0.5


def faults(profile: Profile) -> list[str]:
    """Why this profile must not be fitted, each in a sentence; none if it may."""
    return _impossible_times(profile) or [*_too_few(profile), *_too_much_drift(profile)]


def warnings(profile: Profile) -> list[str]:
    """What a fit of this profile, which has no faults, should be told with, each in a sentence."""
    return [
        *_origin(profile),
        *_drifted(profile),
        *_throttled(profile),
        *_noisy(profile),
        *_left_out(profile),
        *_disagreeing_phases(profile),
        *_repeated(profile),
    ]


def drift(profile: Profile) -> float:
    """How much slower the last pass was than the first, as a fraction; the median over configurations."""
    ratios = [ratio for row in _measured(profile) if (ratio := _last_over_first(row)) is not None]
    return median(ratios) - 1.0 if ratios else 0.0


def _last_over_first(row: Row) -> float | None:
    """Median of the last pass over median of the first; None with a single pass."""
    first, last = min(row.pass_index), max(row.pass_index)
    if first == last:
        return None
    return _median_of_pass(row, last) / _median_of_pass(row, first)


def _median_of_pass(row: Row, index: int) -> float:
    return median(time_s for time_s, of in zip(row.repetitions_s, row.pass_index, strict=True) if of == index)


def _measured(profile: Profile) -> list[TrainingRow]:
    return [row for row in profile.training if row.status == "ok"]


def _too_few(profile: Profile) -> list[str]:
    found = len({row.configuration for row in _measured(profile)})
    if found >= FEWEST_CONFIGURATIONS:
        return []
    counted = {0: "no configuration", 1: "one configuration"}.get(found, f"{found} configurations")
    return [f"{counted} of training was measured; a fit needs {FEWEST_CONFIGURATIONS} or more"]


def _impossible_times(profile: Profile) -> list[str]:
    """Files with such times cannot be read; profiles made in Python are checked here."""
    wrong = [row for row in profile.rows if any(not _possible(time_s) for time_s in row.repetitions_s)]
    return [f"{row.configuration}: a time is not a positive number" for row in wrong]


def _possible(time_s: float) -> bool:
    return math.isfinite(time_s) and time_s > 0


def _too_much_drift(profile: Profile) -> list[str]:
    found = drift(profile)
    if abs(found) <= DRIFT_REFUSED:
        return []
    return [f"{_drift_told(found)}; the device was not in a steady state, measure again on a quiet machine"]


def _drift_told(found: float) -> str:
    return f"the last pass was {abs(found):.0%} {'slower' if found > 0 else 'faster'} than the first"


def _origin(profile: Profile) -> list[str]:
    """What the file says of how it came about."""
    told = []
    if profile.checksum is None:
        told.append("the file has no checksum: it was not made by the profiler alone, or was edited")
    if not profile.complete:
        told.append("the sweep was interrupted; the profile holds what was measured until then")
    if profile.machine.load_average > 0.5 * profile.machine.cores:
        told.append(
            f"the machine was busy when the sweep began: load {profile.machine.load_average:.1f} "
            f"on {profile.machine.cores} cores"
        )
    return told


def _drifted(profile: Profile) -> list[str]:
    found = drift(profile)
    return [_drift_told(found)] if DRIFT_NOTED < abs(found) <= DRIFT_REFUSED else []


def _throttled(profile: Profile) -> list[str]:
    reasons = sorted({reason for row in _measured(profile) for reason in row.throttled_by})
    return [f"the device ran below its clock: {', '.join(reasons)}"] if reasons else []


def _noisy(profile: Profile) -> list[str]:
    rows = _measured(profile)
    noisy = [row for row in rows if (row.spread or 0.0) > SPREAD_NOTED]
    few = [row for row in rows if len(row.step_s) < FEWEST_REPETITIONS]
    told = []
    if noisy:
        worst = max(noisy, key=lambda row: row.spread or 0.0)
        told.append(
            f"the quartiles of {len(noisy)} of {len(rows)} configurations of training are more than "
            f"{SPREAD_NOTED:.0%} apart, most of all {worst.configuration}"
        )
    if few:
        told.append(f"configurations of training with less than {FEWEST_REPETITIONS} repetitions: {len(few)}")
    return told


def _left_out(profile: Profile) -> list[str]:
    counts = Counter(row.status for row in profile.rows if row.status != "ok")
    words = {"out_of_memory": "did not fit in memory", "failed": "failed"}
    return [f"configurations that {words[status]}: {count}" for status, count in sorted(counts.items())]


def _disagreeing_phases(profile: Profile) -> list[str]:
    """Phases are measured in a pass of their own: far from the step, one of the two is wrong."""
    rows = [row for row in _measured(profile) if row.phases_s]
    off = [row for row in rows if abs(_phases_over_step(row) - 1.0) > PHASES_OFF]
    first = f", first {off[0].configuration}" if off else ""
    return [f"configurations whose phases do not add up to their step: {len(off)}{first}"] if off else []


def _phases_over_step(row: TrainingRow) -> float:
    return sum(row.median_phases_s.values()) / (row.median_s or math.inf)


def _repeated(profile: Profile) -> list[str]:
    counts = Counter(row.configuration for row in profile.rows)
    return [f"{name} stands there {count} times" for name, count in counts.items() if count > 1]
