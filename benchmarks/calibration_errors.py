"""How wrong the device models are on what they have not seen, as a page.

    python benchmarks/calibration_errors.py --table training_cnn.csv --devices FOLDER
    python benchmarks/calibration_errors.py --table training_cnn.csv --halves 1

The page goes to docs/calibration-errors.md, or where ``--out`` says; with ``--devices`` the fitted devices
are written too. ``--halves SEED`` fits a random half of the rows and holds it against the other.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

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
    arguments.add_argument("--halves", type=int, metavar="SEED", help="fit one half, ask about the other")
    wanted = arguments.parse_args()
    if wanted.halves is not None:
        with tempfile.TemporaryDirectory() as folder:
            print_against(*halves(wanted.table, wanted.halves, Path(folder)))
        return
    if wanted.against:
        print_against(wanted.table, wanted.against)
        return
    found = of_table.fit_table(wanted.table)
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


def halves(table: Path, seed: int, folder: Path) -> tuple[Path, Path]:
    """The rows of a table in two files, drawn at random."""
    rows = pl.read_csv(table, infer_schema_length=None).sample(fraction=1.0, shuffle=True, seed=seed)
    first, second = folder / "first.csv", folder / "second.csv"
    middle = rows.height // 2
    rows.head(middle).write_csv(first)
    rows.tail(rows.height - middle).write_csv(second)
    return first, second


def print_against(table: Path, other: Path) -> None:
    """How wrong a fit of one table is about the rows of another."""
    found = of_table.fit_table(table)
    print(COLUMNS, end="")
    print("\n".join(line(what, quality) for what, quality in of_table.against(found, other)))


def line(what: str, quality: Quality) -> str:
    inside = "" if quality.coverage is None else f"{quality.coverage:.0%}"
    return (
        f"| {what} | {quality.left_out} | {quality.n} | {quality.mape:.1%} | {quality.median:.1%} "
        f"| {quality.p90:.1%} | {inside} |"
    )


if __name__ == "__main__":
    main()
