"""The folder of a training: the recipe with all its defaults, the checkpoint, and what came of it.

    recipe.yaml       what was asked for; `dcplan train recipe.yaml` does it again
    checkpoint.pt     the last state, to go on from with --resume
    metrics.csv       a line for each epoch
    curves.svg        loss and accuracy by epoch
    predictions.csv   the class of each sample of the test split
    savings.csv       accuracy, size and speed before and after compression, distillation or transfer
    compressed.pt     the weights after compression
    summary.json      the result, and what made it
    tensorboard/      events, if asked for

Each file is written whole or not at all, so a training that is killed leaves none half written.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sim.errors import RunFolderError
from train import checkpoint, config, plots
from train.config import Recipe
from train.loop import Predictions

RECIPE, METRICS, CURVES = "recipe.yaml", "metrics.csv", "curves.svg"
PREDICTIONS, SAVINGS, SUMMARY = "predictions.csv", "savings.csv", "summary.json"
EVENTS = "tensorboard"
OURS = {RECIPE, METRICS, CURVES, PREDICTIONS, SAVINGS, SUMMARY, EVENTS, checkpoint.FILE, "compressed.pt"}
COLUMNS = (
    "epoch",
    "learning_rate",
    "training_loss",
    "validation_loss",
    "validation_accuracy",
    "samples_per_s",
)

Row = Mapping[str, float]


def check(folder: Path, *, resume: bool = False, force: bool = False) -> set[str]:
    """The names of what is in a folder; RunFolderError if that must not be lost."""
    try:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be used: {error.strerror or error}") from error
    if held and RECIPE not in held:
        raise RunFolderError(f"{folder} exists and is no training; it is left alone, choose another")
    if held and not resume and not force:
        raise RunFolderError(
            f"{folder} holds an earlier training; go on with --resume, replace it with --force, "
            f"or choose another folder with --out"
        )
    return held


def begin(folder: Path, recipe: Recipe, *, resume: bool = False, force: bool = False) -> None:
    """Make the folder, or take it up again; RunFolderError if it cannot be used."""
    held = check(folder, resume=resume, force=force)
    try:
        if held and not resume:
            _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be used: {error.strerror or error}") from error
    write(folder / RECIPE, config.dump(recipe))


def _clear(folder: Path) -> None:
    """Remove the files of an earlier training, and nothing else."""
    for name in OURS - {EVENTS}:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / EVENTS, ignore_errors=True)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error


def write_history(folder: Path, title: str, history: Sequence[dict[str, float]]) -> None:
    """The epochs so far as a table and as a picture."""
    write(folder / METRICS, table(history, COLUMNS))
    write(folder / CURVES, plots.curves(title, history))


def write_predictions(folder: Path, found: Predictions) -> None:
    """The class of each sample of the test split; not for sequences, which have one for each token."""
    if found.labels.dim() > 1:
        return
    columns = zip(found.labels.tolist(), found.predicted.tolist(), found.confidence.tolist(), strict=True)
    rows = [
        {"sample": number, "label": label, "predicted": predicted, "confidence": round(confidence, 6)}
        for number, (label, predicted, confidence) in enumerate(columns)
    ]
    write(folder / PREDICTIONS, table(rows, ("sample", "label", "predicted", "confidence")))


def write_savings(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The figures before and after, if anything was changed."""
    if rows:
        write(folder / SAVINGS, table(rows, tuple(rows[0])))


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """The result for programs."""
    write(folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV; what a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def events(folder: Path, *, wanted: bool, epoch: int = 0) -> Iterator[Callable[[Row], None]]:
    """A place for the metrics of each epoch in TensorBoard, from an epoch on; nowhere if it is not wanted."""
    if not wanted:
        yield lambda _: None
        return
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - only if asked for

    writer = SummaryWriter(str(folder / EVENTS), purge_step=epoch + 1)

    def note(row: Row) -> None:
        for name in row.keys() & set(COLUMNS[1:]):
            writer.add_scalar(name, row[name], int(row["epoch"]))

    try:
        yield note
    finally:
        writer.close()
