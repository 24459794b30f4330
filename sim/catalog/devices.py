"""Devices that were fitted to measurements: by their name in the catalog, or from a file of one's own."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from sim import document, wording
from sim.errors import PlanError, ScenarioError, hint
from sim.perf.device import Device


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
