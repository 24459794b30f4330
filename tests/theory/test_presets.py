"""Presets reproduce what was published of five GPU clusters.

The published figures are those of the summary in InternLM/AcmeTrace (commit 6d6ac9c, CC BY 4.0), written out
here once more so that the presets' own copies are checked too.
"""

import math
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pytest
from scipy import optimize, stats

from sim.workloads import Preset
from sim.workloads.preset import Name
from sim.workloads.published import Cluster, cluster


class Row(NamedTuple):
    mean_run_s: float
    median_run_s: float
    longest_run_s: float
    mean_gpus: float
    median_gpus: float
    most_gpus: int
    gpu_s_per_job: float | None


PUBLISHED: dict[Name, Row] = {
    "philly": Row(18006.055, 874.0, 4240676.0, 1.928, 1.0, 128, 6894717531 / 112956),
    "helios": Row(6651.681, 206.0, 4320009.0, 3.716, 1.0, 2048, 77997740147 / 1580464),
    "pai": Row(4787.109, 480.667, 626371.0, 0.683, 0.5, 8, None),
    "seren": Row(1414.335, 122.0, 1209604.0, 5.68, 1.0, 1024, 21510624587 / 663813),
    "kalos": Row(1259.689, 124.0, 625740.0, 26.77, 1.0, 1024, 5333180061 / 19907),
}
NAMES: tuple[Name, ...] = get_args(Name)
SAMPLES = 400_000


def share_within(preset: Cluster, seconds: float) -> float:
    """Share of the jobs that run no longer, by the normal distribution of each size's logarithms."""
    z = np.log(seconds / preset.median_run_s(preset.gpus)) / preset.durations.sigma
    return float(np.dot(preset.shares, stats.norm.cdf(z)))


def mean_run_s(preset: Cluster) -> float:
    return float(np.dot(preset.shares, preset.gpu_s(np.ones(len(preset.gpus)))))


def gpu_s_per_job(preset: Cluster) -> float:
    return float(np.dot(preset.shares, preset.gpu_s(preset.gpus)))


@pytest.mark.parametrize("name", NAMES)
def test_the_preset_holds_the_published_figures(name: Name) -> None:
    held, published = cluster(name).published, PUBLISHED[name]
    for field, figure in published._asdict().items():
        assert getattr(held, field) == (None if figure is None else pytest.approx(figure, rel=1e-12)), field


@pytest.mark.parametrize("name", NAMES)
def test_mean_and_median_run_time_and_gpu_time_are_exactly_those_published(name: Name) -> None:
    preset, published = cluster(name), PUBLISHED[name]
    assert mean_run_s(preset) == pytest.approx(published.mean_run_s, rel=1e-6)
    assert share_within(preset, published.median_run_s) == pytest.approx(0.5, abs=1e-6)
    if published.gpu_s_per_job is not None:
        assert gpu_s_per_job(preset) == pytest.approx(published.gpu_s_per_job, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_have_the_published_mean_median_and_maximum(name: Name) -> None:
    preset, published = cluster(name), PUBLISHED[name]
    assert preset.shares.sum() == pytest.approx(1, abs=1e-9)
    assert np.dot(preset.gpus, preset.shares) == pytest.approx(published.mean_gpus, rel=1e-4)
    assert preset.gpus[np.searchsorted(np.cumsum(preset.shares), 0.5)] == published.median_gpus
    assert preset.gpus[-1] == published.most_gpus


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_are_the_solution_of_the_published_figures(name: Name) -> None:
    """Solved once more, from the figures alone: three equations, two where no GPU time is published."""
    preset, published = cluster(name), PUBLISHED[name]

    def distances(unknowns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
        log_median, log_sigma, growth = unknowns
        trial = preset.model_copy(
            update={
                "durations": preset.durations.model_copy(
                    update={
                        "median_one_gpu_s": math.exp(log_median),
                        "sigma": math.exp(log_sigma),
                        "growth": growth,
                    }
                )
            }
        )
        wide = (
            growth if published.gpu_s_per_job is None else gpu_s_per_job(trial) / published.gpu_s_per_job - 1
        )
        return [
            share_within(trial, published.median_run_s) - 0.5,
            mean_run_s(trial) / published.mean_run_s - 1,
            wide,
        ]

    found = optimize.root(distances, [math.log(published.median_run_s), math.log(2.0), 0.3], tol=1e-12)
    assert found.success, found.message
    held = preset.durations
    assert [math.exp(found.x[0]), math.exp(found.x[1]), found.x[2]] == pytest.approx(
        [held.median_one_gpu_s, held.sigma, held.growth], rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_drawn_jobs_show_the_published_figures(name: Name) -> None:
    """Means lie within five standard errors (heavy tails make these wide), medians within 3 %."""
    published = PUBLISHED[name]
    jobs = Preset(preset=name, count=SAMPLES, fractions="round_up").jobs(0, None, Path()).jobs
    run_s, gpus = jobs["duration_s"].to_numpy(), jobs["gpu_fraction"].to_numpy()
    for drawn, mean in (
        (run_s, published.mean_run_s),
        (gpus, published.mean_gpus),
        (run_s * gpus, published.gpu_s_per_job),
    ):
        if mean is not None:
            assert drawn.mean() == pytest.approx(mean, abs=5 * drawn.std() / math.sqrt(SAMPLES) + 1e-4 * mean)
    assert run_s.mean() == pytest.approx(published.mean_run_s, rel=0.05)
    assert gpus.mean() == pytest.approx(published.mean_gpus, rel=0.02)
    assert np.median(run_s) == pytest.approx(published.median_run_s, rel=0.03)
    assert np.median(gpus) == published.median_gpus
    assert gpus.max() == published.most_gpus
    assert run_s.max() <= published.longest_run_s


@pytest.mark.parametrize(
    ("name", "sizes", "low", "high"),
    [
        # Measured on the Philly digest (siasosp23/artifacts, commit aaf7a0d): 18 % and 62 %.
        ("philly", (1, 1), 0.15, 0.21),
        ("philly", (8, 128), 0.59, 0.67),
        # Recalled from Hu et al. 2021: single-GPU jobs use 3 to 12 % of the GPU time, by cluster.
        ("helios", (1, 1), 0.03, 0.12),
        # Recalled from Hu et al. 2024: less than 2 % for single-GPU jobs; over 96 % for 256 GPUs and more.
        ("seren", (1, 1), 0.0, 0.02),
        ("kalos", (1, 1), 0.0, 0.02),
        ("kalos", (256, 1024), 0.88, 1.0),
    ],
)
def test_the_gpu_time_of_sizes_that_was_not_fitted_comes_out_near_what_is_known(
    name: Name, sizes: tuple[int, int], low: float, high: float
) -> None:
    preset = cluster(name)
    gpu_s = preset.shares * preset.gpu_s(preset.gpus)
    chosen = (preset.gpus >= sizes[0]) & (preset.gpus <= sizes[1])
    assert low <= gpu_s[chosen].sum() / gpu_s.sum() <= high
