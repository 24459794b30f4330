"""Power and clocks, read through a library that answers as NVML does."""

from typing import Any

from train.telemetry import NvmlMeter, Reading, absent, meter, spent


class Nvml:
    """A GPU that has used 500 J, draws 300 W and is too hot; it does not tell its clock."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: Any) -> int:  # noqa: N802 - NVML's own name
        return 500_000

    def nvmlDeviceGetPowerUsage(self, _handle: Any) -> int:  # noqa: N802 - as above
        return 300_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _handle: Any) -> int:  # noqa: N802 - as above
        return 0x40 | 0x04 | 0x01

    def nvmlDeviceGetClockInfo(self, _handle: Any, _kind: int) -> int:  # noqa: N802 - as above
        raise self.NVMLError


def test_a_reading_is_in_si_units_and_says_why_it_is_throttled() -> None:
    assert NvmlMeter(Nvml(), "gpu 0")() == Reading(
        500.0, 300.0, None, ("software power cap", "hardware thermal slowdown")
    )


def test_energy_comes_from_the_counter_where_there_is_one() -> None:
    found = spent(Reading(100.0, 250.0), Reading(400.0, 260.0), elapsed_s=3.0, steps=6)
    assert (found["power_w"], found["energy_j"]) == (100.0, 50.0)


def test_without_a_counter_energy_is_power_times_time() -> None:
    found = spent(Reading(), Reading(power_w=200.0), elapsed_s=3.0, steps=6)
    assert (found["power_w"], found["energy_j"]) == (200.0, 100.0)


def test_a_cpu_has_no_meter_and_all_is_absent() -> None:
    assert meter(None) is absent
    assert spent(absent(), absent(), 1.0, 1) == {
        "power_w": None,
        "energy_j": None,
        "clock_mhz": None,
        "throttled_by": (),
    }
