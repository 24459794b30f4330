"""How many accelerators a storage system feeds."""

import math

import pytest

from sim.errors import PlanError
from sim.feeding import Result, demand, fed, processes_per_host


def test_a_store_feeds_as_many_as_its_bytes_do() -> None:
    """Ten H100 show at least 31.8 and less than 34.9 GB/s: 20 A100 of 1.614 GB/s."""
    shown = Result("unet3d", "h100", 10, 1)
    assert shown.bandwidth == pytest.approx(10.5 * 3.177e9)
    assert fed(shown, "a100") == 20
    assert fed(shown, "h100") == 10


def test_a_host_runs_no_more_than_it_has_cores_for() -> None:
    shown = Result("resnet50", "h100", 128, 1)
    assert fed(shown, "a100") == 249
    assert fed(shown, "a100", per_host=144) == 144
    assert fed(Result("resnet50", "h100", 250, 10), "a100", per_host=144) == 486


def test_what_a_host_runs_is_the_most_that_was_seen() -> None:
    assert processes_per_host([]) == math.inf
    assert processes_per_host([Result("unet3d", "a100", 40, 10), Result("unet3d", "h100", 13, 1)]) == 13


def test_unknown_demands_are_refused() -> None:
    with pytest.raises(PlanError, match="known are unet3d on h100"):
        demand("bert", "h100")
