"""How many accelerators a storage system feeds."""

import math

import pytest

from sim.errors import PlanError
from sim.feeding import Result, alone_s, demand, fed, processes_per_host


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


def test_who_reads_small_samples_waits_for_each_even_alone() -> None:
    """20 H100 and 40 A100 on one system: of 1.24 ns a byte in a step of an H100, 0.51 ns are its own.

    Then (1.949 - 0.508) / (1.238 - 0.508) x 20.5 = 40.5 A100 are fed by what feeds 20.5 H100.
    """
    one, other = Result("cosmoflow", "h100", 20, 5), Result("cosmoflow", "a100", 40, 5)
    alone = alone_s([(one, other)])
    assert alone == pytest.approx(1 / 0.808e9 - 20.5 * (1 / 0.513e9 - 1 / 0.808e9) / 20)
    assert fed(one, "a100", alone=alone) == 40
    assert fed(one, "a100") == 32


def test_nothing_is_alone_where_samples_are_large_or_nothing_is_known() -> None:
    assert alone_s([(Result("unet3d", "h100", 2, 1), Result("unet3d", "a100", 7, 1))]) == 0.0
    assert alone_s([]) == 0.0
    assert alone_s([(Result("cosmoflow", "h100", 33, 3), Result("cosmoflow", "a100", 45, 3))]) == 0.0


def test_what_a_host_runs_is_the_most_that_was_seen() -> None:
    assert processes_per_host([]) == math.inf
    assert processes_per_host([Result("unet3d", "a100", 40, 10), Result("unet3d", "h100", 13, 1)]) == 13


def test_unknown_demands_are_refused() -> None:
    with pytest.raises(PlanError, match="known are unet3d on h100"):
        demand("bert", "h100")
