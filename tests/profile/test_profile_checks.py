"""What forbids a fit, and what a fit must be told with."""

import math

import pytest

from sim.profile import CheckpointRow, TrainingRow, drift, faults, warnings
from tests.support.profiles import MACHINE, profile, row

BATCHES = (2, 4, 8, 16)
UNMARKED = ["the file has no checksum: it was not made by the profiler alone, or was edited"]


def slowed(by: float) -> list[TrainingRow]:
    return [row(batch=batch, slower=by) for batch in BATCHES]


def test_a_sound_profile_has_no_faults() -> None:
    assert faults(profile()) == []
    assert warnings(profile(checksum="0")) == []


def test_a_profile_without_checksum_is_flagged() -> None:
    assert warnings(profile()) == UNMARKED


def test_a_profile_of_one_configuration_cannot_be_fitted() -> None:
    assert faults(profile(row())) == ["one configuration of training was measured; a fit needs 4 or more"]


def test_configurations_that_did_not_run_do_not_count() -> None:
    failed = [row(batch=batch, step_s=(), pass_index=(), status="failed", reason="x") for batch in BATCHES]
    assert faults(profile(*failed)) == ["no configuration of training was measured; a fit needs 4 or more"]


@pytest.mark.parametrize("time_s", [math.nan, -1.0, 0.0, math.inf])
def test_times_made_in_python_are_checked_too(time_s: float) -> None:
    wrong = row().model_copy(update={"step_s": (time_s,) * 6})
    found = faults(profile().model_copy(update={"training": (wrong, *slowed(1.0))}))
    assert any("a time is not a positive number" in fault for fault in found)


def test_drift_is_the_slowing_from_the_first_pass_to_the_last() -> None:
    assert drift(profile(*slowed(1.1))) == pytest.approx(0.1)


def test_a_device_that_gets_slower_is_flagged() -> None:
    assert "the last pass was 10% slower than the first" in warnings(profile(*slowed(1.1)))


def test_a_device_that_gets_much_slower_is_refused() -> None:
    (fault,) = faults(profile(*slowed(1.5)))
    assert fault.startswith(
        "the last pass was 50% slower than the first; the device was not in a steady state"
    )


def test_one_configuration_that_gets_slower_is_not_drift_of_the_device() -> None:
    assert faults(profile(row(batch=32, slower=2.0), *slowed(1.0))) == []


def test_throttling_is_flagged_with_its_reason() -> None:
    hot = row(batch=32, throttled_by=("hardware thermal slowdown",))
    found = warnings(profile(hot, *slowed(1.0)))
    assert "the device ran below its clock: hardware thermal slowdown" in found


def test_scattered_times_are_flagged() -> None:
    found = warnings(profile(*slowed(1.0), row(batch=32, step_s=(0.1, 0.2, 0.3, 0.1, 0.2, 0.3))))
    assert any(text.startswith("the quartiles of 1 of 5 configurations") for text in found)


def test_phases_that_do_not_add_up_are_flagged() -> None:
    off = row(batch=32, phases_s={"forward": (0.5,), "backward": (0.5,)})
    assert any("phases that do not" in text or "do not add up" in text for text in warnings(profile(off)))


def test_an_interrupted_sweep_on_a_busy_machine_is_flagged() -> None:
    busy = MACHINE.model_copy(update={"load_average": 9.0})
    found = warnings(profile(complete=False, machine=busy))
    assert "the sweep was interrupted; the profile holds what was measured until then" in found
    assert "the machine was busy when the sweep began: load 9.0 on 4 cores" in found


def test_what_did_not_fit_is_counted() -> None:
    big = row(batch=512, step_s=(), pass_index=(), status="out_of_memory", reason="out of memory")
    assert "configurations that did not fit in memory: 1" in warnings(profile(big, *slowed(1.0)))


def test_a_configuration_that_stands_there_twice_is_flagged() -> None:
    assert any("stands there 2 times" in text for text in warnings(profile(row(), row())))


def test_a_rate_follows_from_the_median() -> None:
    written = CheckpointRow(
        operation="write", model="a", size_bytes=8e6, time_s=(1.0, 4.0, 2.0), pass_index=(0, 1, 2)
    )
    assert written.bytes_per_s == 4e6


def test_equal_machines_have_equal_fingerprints_however_busy() -> None:
    assert MACHINE.fingerprint == MACHINE.model_copy(update={"load_average": 3.0}).fingerprint
    assert MACHINE.fingerprint != MACHINE.model_copy(update={"cores": 8}).fingerprint
