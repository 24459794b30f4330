"""Power, energy and clocks of a GPU, by the management library of its maker (NVML) where it is there.

A reading takes well under a millisecond and is taken before and after the steps, never among them: energy
comes from a counter in the device, so nothing has to sample while it works. Without NVML all are absent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

THROTTLING: Mapping[int, str] = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "synchronised boost with a slower GPU",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Bits of nvmlDeviceGetCurrentClocksThrottleReasons that mean slower than asked for (nvml.h)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device says of itself at one moment; None for what it does not know."""

    energy_j: float | None = None
    power_w: float | None = None
    clock_mhz: float | None = None
    throttled_by: tuple[str, ...] = ()


Meter = Callable[[], Reading]


def absent() -> Reading:
    """The reading of a device without a meter, such as a CPU."""
    return Reading()


def meter(uuid: str | None) -> Meter:
    """The meter of the GPU with this UUID; one that reads nothing where there is no GPU or no NVML."""
    if uuid is None or find_spec("pynvml") is None:
        return absent
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return absent
    return NvmlMeter(nvml, handle)


@dataclass(frozen=True, slots=True)
class NvmlMeter:
    """One GPU, asked through NVML; not every device answers every question."""

    nvml: Any
    handle: Any

    def __call__(self) -> Reading:
        """Energy since the driver was loaded, power and clock now, and why it is throttled."""
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        power_mw = self._ask("nvmlDeviceGetPowerUsage")
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return Reading(
            energy_j=None if energy_mj is None else energy_mj / 1000,
            power_w=None if power_mw is None else power_mw / 1000,
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", self.nvml.NVML_CLOCK_SM),
            throttled_by=tuple(reason for bit, reason in THROTTLING.items() if bits & bit),
        )

    def _ask(self, question: str, *more: Any) -> Any:  # noqa: ANN401 - numbers of NVML
        try:
            return getattr(self.nvml, question)(self.handle, *more)
        except self.nvml.NVMLError:
            return None


def spent(before: Reading, after: Reading, elapsed_s: float, steps: int) -> dict[str, Any]:
    """Fields of a row from the readings on both sides of so many steps.

    >>> found = spent(Reading(100.0), Reading(400.0, clock_mhz=1410.0), elapsed_s=2.0, steps=10)
    >>> found["power_w"], found["energy_j"], found["clock_mhz"]
    (150.0, 30.0, 1410.0)
    """
    power_w = after.power_w
    if before.energy_j is not None and after.energy_j is not None:
        power_w = (after.energy_j - before.energy_j) / elapsed_s
    return {
        "power_w": power_w,
        "energy_j": None if power_w is None else power_w * elapsed_s / steps,
        "clock_mhz": after.clock_mhz,
        "throttled_by": after.throttled_by,
    }
