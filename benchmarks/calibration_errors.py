"""How wrong the device models are on what they have not seen, as a page.

    python benchmarks/calibration_errors.py --table training_cnn.csv --devices FOLDER

The page goes to docs/calibration-errors.md, or where ``--out`` says; with ``--devices`` the fitted devices
are written too.
"""

import argparse
from pathlib import Path

from sim.calibration import of_table
from sim.catalog import devices
from sim.perf.device import Quality

HEAD = """# How wrong the device models are

Made by `python benchmarks/calibration_errors.py --table training_cnn.csv`. Every figure is of
configurations that the fit had not seen; intervals come from the errors of other fits still. A network and
its near-duplicates (other weights, other image size, ported names) are left out together. "A family" leaves
out all networks of a design at once, which asks how far the model carries to designs nobody measured.

"""

COLUMNS = """| rows | left out at a time | n | MAPE | median | p90 | inside the 80 % interval |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--table", type=Path, required=True)
    arguments.add_argument("--out", type=Path, default=Path("docs/calibration-errors.md"))
    arguments.add_argument("--devices", type=Path)
    arguments.add_argument("--against", type=Path, help="another table: how wrong is the fit about its rows?")
    wanted = arguments.parse_args()
    found = of_table.fit_table(wanted.table)
    if wanted.against:
        print(COLUMNS, end="")
        print("\n".join(line(what, quality) for what, quality in of_table.against(found, wanted.against)))
        return
    lines = [line(what, quality) for what, quality in of_table.qualities(found)]
    text = HEAD + COLUMNS + "\n".join(lines) + "\n"
    if found.unused:
        text += f"\nRows that could not be used: {len(found.unused)}.\n"
    wanted.out.write_text(text, "utf-8")
    print(text)
    if wanted.devices:
        wanted.devices.mkdir(exist_ok=True)
        source = "published training throughput: timm's benchmark tables, NVIDIA DeepLearningExamples, Lambda"
        for device in of_table.devices(found, source):
            (wanted.devices / f"{device.name}.yaml").write_text(devices.text(device), "utf-8")


def line(what: str, quality: Quality) -> str:
    inside = "" if quality.coverage is None else f"{quality.coverage:.0%}"
    return (
        f"| {what} | {quality.left_out} | {quality.n} | {quality.mape:.1%} | {quality.median:.1%} "
        f"| {quality.p90:.1%} | {inside} |"
    )


if __name__ == "__main__":
    main()
