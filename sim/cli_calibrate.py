"""What ``dcplan calibrate`` does with its arguments."""

import io
from collections.abc import Sequence
from pathlib import Path

from sim import cli_output, cli_tables
from sim.calibration import of_profile, of_table
from sim.calibration.published import MANY
from sim.catalog import devices
from sim.errors import PlanError
from sim.reports import calibration as report


def profiles(
    paths: Sequence[Path], out: Path, name: str, gpu: str | None, report_file: Path | None, *, as_json: bool
) -> None:
    """Fit one device to profiles, write it, and tell its errors."""
    if not paths:
        raise PlanError("name one profile or more, or a table with --table")
    found = of_profile.fit_profiles(paths, name, gpu)
    for note in found.notes:
        cli_output.say(f"Note: {note}.")
    cli_output.write_file(out, devices.text(found.device))
    if report_file is not None:
        page = io.StringIO()
        report.render(found, page)
        cli_output.write_file(report_file, page.getvalue())
    named = [
        (f"{setting.precision} {setting.layout}{' compiled' if setting.compiled else ''}", quality)
        for setting in found.device.settings
        for quality in setting.quality
    ]
    named += [
        (f"peak memory, {setting.precision} {setting.layout}", setting.peak_memory.quality)
        for setting in found.device.settings
        if setting.peak_memory is not None and setting.peak_memory.quality is not None
    ]
    together = found.device.together
    named += [("several devices", together)] if together is not None else []
    cli_tables.qualities(named, as_json=as_json)


def table(path: Path, out: Path, *, as_json: bool) -> None:
    """Fit every GPU of a published table, write the devices to a folder, and tell the errors."""
    found = of_table.fit_table(path)
    for line in found.unused:
        cli_output.say(f"Left out: {line}")
    if not found.references:
        start = ", ".join(sorted({key[0] for key in found.known}))
        cli_output.say(
            f"Note: no GPU of the table has {MANY} networks or more, so all start from {start} of the catalog"
            " and their data sheets."
        )
    out.mkdir(parents=True, exist_ok=True)
    for device in of_table.devices(found, f"dcplan calibrate --table {path.name}"):
        cli_output.write_file(out / f"{device.name}.yaml", devices.text(device))
    qualities = of_table.qualities(found)
    if not qualities:
        cli_output.say("Note: a single row cannot be left out of its own fit, so no error is told.")
    if qualities or as_json:
        cli_tables.qualities(qualities, as_json=as_json)
