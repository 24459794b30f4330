"""The folder of a training: what is in it, and what stays when something goes wrong."""

import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError, RunFolderError
from tests.train import small
from train import config, experiment, folder, plots
from train.experiment import Options

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    experiment.carry_out(small.recipe(), Options(out), small.HERE)
    return out


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def test_everything_is_there_and_nothing_else(carried_out: Path) -> None:
    assert {path.name for path in carried_out.iterdir()} == {
        "recipe.yaml", "checkpoint.pt", "metrics.csv", "curves.svg", "predictions.csv", "summary.json",
    }  # fmt: skip


def test_the_recipe_is_the_one_that_was_carried_out(carried_out: Path) -> None:
    assert config.load(str(carried_out / "recipe.yaml")) == small.recipe()


def test_there_are_metrics_of_each_epoch(carried_out: Path) -> None:
    found = rows(carried_out / "metrics.csv")
    assert list(found[0]) == list(folder.COLUMNS)
    assert [float(row["epoch"]) for row in found] == [1, 2, 3]
    summary = json.loads((carried_out / "summary.json").read_text("utf-8"))
    assert float(found[-1]["training_loss"]) == summary["training_loss"]
    assert all(0 <= float(row["validation_accuracy"]) <= 1 for row in found)
    assert all(float(row["samples_per_s"]) > 0 for row in found)


def test_predictions_make_the_accuracy_of_the_summary(carried_out: Path) -> None:
    found = rows(carried_out / "predictions.csv")
    summary = json.loads((carried_out / "summary.json").read_text("utf-8"))
    right = sum(row["label"] == row["predicted"] for row in found)
    assert len(found) == summary["test_samples"] == 359
    assert right / len(found) == pytest.approx(summary["test_accuracy"])


def lines(picture: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """The colour and the points of each line of a picture, which must be well-formed."""
    return [
        (
            line.attrib["stroke"],
            [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()],
        )
        for line in ET.fromstring(picture).iter(f"{SVG}polyline")  # noqa: S314 - our own picture
    ]


def test_the_plot_shows_loss_and_accuracy(carried_out: Path) -> None:
    picture = (carried_out / "curves.svg").read_text("utf-8")
    told = {text.text for text in ET.fromstring(picture).iter(f"{SVG}text")}  # noqa: S314 - our own picture
    assert {"loss", "accuracy, per cent", "training", "validation", "small", "epoch (1 to 3)"} <= told
    assert [len(points) for _, points in lines(picture)] == [3, 3, 3]
    colours = plots.COLOURS
    assert [colour for colour, _ in lines(picture)] == [
        colours["training"], colours["validation"], colours["validation"],
    ]  # fmt: skip


def test_a_smaller_loss_stands_lower_and_names_are_escaped() -> None:
    history = [{"epoch": 1.0, "training_loss": 2.0}, {"epoch": 2.0, "training_loss": 1.0}]
    ((_, points),) = lines(plots.curves("<cats & dogs>", history))
    (first_x, first_y), (second_x, second_y) = points
    assert first_x < second_x
    assert first_y < second_y


def test_one_epoch_and_a_loss_that_stays_can_be_drawn() -> None:
    row = {"epoch": 1.0, "training_loss": 0.5, "validation_loss": 0.5, "validation_accuracy": 1.0}
    assert [len(points) for _, points in lines(plots.curves("one", [row]))] == [1, 1, 1]
    assert [len(points) for _, points in lines(plots.curves("same", [row, row | {"epoch": 2.0}]))] == [
        2,
        2,
        2,
    ]


class Interrupted(BaseException):
    """What a user or the system does to a training, and nothing below may catch."""


def test_an_interrupted_training_keeps_its_checkpoint_and_goes_on(carried_out: Path, tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 2 * 8 + 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        experiment.carry_out(small.recipe(), Options(tmp_path / "run"), small.HERE, interrupt)
    held = {path.name for path in tmp_path.glob("run/*")}
    assert held == {"recipe.yaml", "checkpoint.pt", "metrics.csv", "curves.svg"}
    assert len(rows(tmp_path / "run" / "metrics.csv")) == 2
    experiment.carry_out(small.recipe(), Options(tmp_path / "run", resume=True), small.HERE)
    for name in ("predictions.csv", "recipe.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (carried_out / name).read_bytes()


def test_one_interrupted_before_its_first_checkpoint_begins_again(carried_out: Path, tmp_path: Path) -> None:
    def interrupt(_: int, __: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        experiment.carry_out(small.recipe(), Options(tmp_path / "run"), small.HERE, interrupt)
    assert [path.name for path in tmp_path.glob("run/*")] == ["recipe.yaml"]
    experiment.carry_out(small.recipe(), Options(tmp_path / "run", resume=True), small.HERE)
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (
        carried_out / "predictions.csv"
    ).read_bytes()


@pytest.mark.parametrize(
    "changes", [{"data": {"kind": "mnist"}}, {"batch": 1000}, {"distil": {"teacher": Path("nowhere")}}]
)
def test_what_cannot_begin_leaves_no_folder(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        experiment.carry_out(small.recipe(**changes), Options(tmp_path / "run", tmp_path), small.HERE)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_begin_replaces_no_earlier_training(tmp_path: Path) -> None:
    experiment.carry_out(small.recipe(epochs=1), Options(tmp_path), small.HERE)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(PlanError, match="do not fill a batch"):
        experiment.carry_out(small.recipe(batch=1000), Options(tmp_path, force=True), small.HERE)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine", "utf-8")
    with pytest.raises(RunFolderError, match="cannot be used: Not a directory"):
        experiment.carry_out(small.recipe(), Options(tmp_path / "run"), small.HERE)
    assert (tmp_path / "run").read_text("utf-8") == "mine"


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_for_tensorboard_are_the_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    experiment.carry_out(small.recipe(), Options(tmp_path, tensorboard=True), small.HERE)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(folder.COLUMNS[1:])
    losses = [(event.step, event.value) for event in events.Scalars("training_loss")]
    found = rows(tmp_path / "metrics.csv")
    assert [step for step, _ in losses] == [1, 2, 3]
    assert [value for _, value in losses] == pytest.approx([float(row["training_loss"]) for row in found])


def test_events_without_tensorboard_are_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PlanError, match="needs tensorboard: pip install tensorboard"):
        experiment.carry_out(small.recipe(), Options(tmp_path / "run", tensorboard=True), small.HERE)
    assert list(tmp_path.iterdir()) == []
