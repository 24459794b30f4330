"""What `dcplan train` prints: a sentence with the result, and a table of what was saved."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sim import units

COLUMNS = ("stage", "test accuracy", "parameters", "stored", "training", "inference")
MEGA = 1e6


def render(summary: Mapping[str, Any], console: Console) -> None:
    """Tell how right the model is and what it took, then what changed it."""
    right = f"{summary['test_accuracy']:.2%} of {summary['test_samples']:,} test samples are right"
    took = f"{summary['epochs']} epochs, {units.human_duration(summary['seconds'])} in all"
    processes = summary["processes"]
    where = summary["device"] + (f" in each of {processes} processes" if processes > 1 else "")
    console.print(
        f"{summary['recipe']}: {right} after {took}, "
        f"{summary['samples_per_s']:,.0f} samples/s in training on {where}."
    )
    if summary["savings"]:
        console.print(_table(summary["savings"]))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Before and after, a line for each stage."""
    table = Table(*COLUMNS, box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["stage"],
            f"{row['test_accuracy']:.2%}",
            f"{row['parameters']:,}",
            f"{row['stored_bytes'] / MEGA:,.2f} MB",
            _rate(row["training_samples_per_s"]),
            _rate(row["inference_samples_per_s"]),
        )
    return table


def _rate(samples_per_s: float | None) -> str:
    return "-" if samples_per_s is None else f"{samples_per_s:,.0f}/s"
