"""Devices that were fitted to measurements: by their name in the catalog, or from a file of one's own."""

import math
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from sim import catalog, document, wording
from sim.catalog.hardware import GpuType
from sim.errors import PlanError, ScenarioError, hint
from sim.perf.device import Device, Setting
from sim.perf.step_time import NARROW, SIZES, SIZES_BY_PEAK, Precision

MIDDLE_OF_NORMAL = 0.6745
"""Median of the absolute deviations of a normal distribution, in its standard deviations."""


def device(name: str | Path, folder: Path = Path()) -> Device:
    """A fitted device: a name of the catalog, or a YAML file that ``dcplan calibrate`` wrote.

    Relative files start at ``folder``. Raises PlanError with the nearest names or the faults of the file.
    """
    if Path(name).suffix in {".yaml", ".yml"}:
        return read(folder / name)
    wanted = "-".join(str(name).lower().replace("_", " ").split())
    if wanted not in device_names():
        raise PlanError(f'"{name}" is not a fitted device; {hint(wanted, device_names())}, or name a file')
    return _known(wanted)


@cache
def device_of(gpu: str) -> tuple[Device, str | None]:
    """The fitted device of a GPU of the catalog; without one, the device most like it at their rates' ratio.

    With it, which device that is and nothing where it is the GPU's own. Products go with the peak rates of
    the data sheets, bytes with their memory bandwidths, products reach their rates at sizes that grow with
    these (``SIZES_BY_PEAK``), and the interval is as wide as for GPUs left out of the fit. Raises PlanError
    for an unknown GPU.
    """
    wanted = catalog.gpu(gpu)
    if wanted.name in device_names():
        return _known(wanted.name), None
    fitted = [_known(name) for name in device_names() if name in catalog.names("gpu")]
    fitted = [device for device in fitted if any(setting.precision in NARROW for setting in device.settings)]
    like = min(fitted, key=lambda device: _unlike(wanted, catalog.gpu(device.name)))
    there = catalog.gpu(like.name)
    settings = tuple(
        _at_rates(setting, _peak(wanted, setting.precision) / _peak(there, setting.precision),
                  wanted.memory_bandwidth / there.memory_bandwidth)
        for setting in like.settings
        if _peak(wanted, setting.precision) and _peak(there, setting.precision)
    )  # fmt: skip
    if not settings:
        raise PlanError(
            f"{wanted.name} has no number format in which {like.name}, most like it, was measured"
        )
    told = {"name": wanted.name, "gpu": wanted.name, "settings": settings, "links": ()}
    return like.model_copy(update=told), like.name


def _peak(gpu: GpuType, precision: Precision) -> float:
    """Operations a second of products in a precision, by the data sheet; 0 where it says none."""
    rates = {"fp32": gpu.fp32, "tf32": gpu.tf32, "fp16": gpu.fp16, "bf16": gpu.bf16 or gpu.fp16}
    return rates[precision] or 0.0


def _unlike(one: GpuType, other: GpuType) -> float:
    """How far apart two GPUs are in the rates that steps depend on."""
    rates = [(one.memory_bandwidth, other.memory_bandwidth), (_peak(one, "fp16"), _peak(other, "fp16"))]
    return sum(abs(math.log(mine / theirs)) if mine and theirs else 5.0 for mine, theirs in rates)


def _at_rates(setting: Setting, compute: float, memory: float) -> Setting:
    parameters = dict(setting.parameters)
    parameters["compute_rate"] *= compute
    parameters["memory_rate"] *= memory
    for name in SIZES:
        parameters[name] *= compute**SIZES_BY_PEAK
    elsewhere = [each.median for each in setting.quality if each.left_out == "one GPU"]
    spread = max([setting.spread, *(median / MIDDLE_OF_NORMAL for median in elsewhere)])
    return setting.model_copy(update={"parameters": parameters, "spread": spread, "peak_memory": None})


def read(path: Path) -> Device:
    """The device in a file."""
    found = document.read(path)
    try:
        return Device.model_validate(found.values)
    except ValidationError as error:
        raise ScenarioError(str(path), wording.faults(error.errors(), found, Device)) from None


def text(fitted: Device) -> str:
    """A device as YAML, with lists of numbers on one line each."""
    from io import StringIO  # noqa: PLC0415 - only where one is written

    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 110
    out = StringIO()
    yaml.dump(fitted.model_dump(mode="json", exclude_defaults=True), out)
    return out.getvalue()


@cache
def device_names() -> tuple[str, ...]:
    """The fitted devices of the catalog, sorted; reads no file."""
    folder = files(__package__) / "devices"
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    )


@cache
def _known(name: str) -> Device:
    written = YAML(typ="safe", pure=True).load(
        (files(__package__) / "devices" / f"{name}.yaml").read_text("utf-8")
    )
    return Device.model_validate(written)
