"""Recipes: read with all their faults told, written back, and shipped in working order."""

from pathlib import Path

import pytest

from sim.errors import PlanError, ScenarioError
from train import config
from train.config import Recipe

BAD = """\
name: bad
data: minst
batch: 0
optimiser: {kind: sgd, learning_rat: 0.1}
epochs: many
channels: 3
"""


def faults(folder: Path, text: str, *settings: str) -> str:
    path = folder / "bad.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ScenarioError) as raised:
        config.load(str(path), settings)
    return str(raised.value).replace(f"{folder}/", "")


def test_every_fault_is_told_with_its_line_and_the_remedy(tmp_path: Path) -> None:
    told = faults(tmp_path, BAD)
    assert 'bad.yaml:2: data: "minst" is not a data set; did you mean "mnist"?' in told
    assert "bad.yaml:3: batch: 0 must not be less than 1" in told
    assert 'bad.yaml:4: optimiser.learning_rat: unknown field; did you mean "learning_rate"?' in told
    assert 'bad.yaml:5: epochs: "many" is not a whole number' in told
    assert "bad.yaml:6: channels: unknown field" in told


def test_a_setting_that_is_wrong_is_told_as_such(tmp_path: Path) -> None:
    assert faults(tmp_path, "name: x\n", "batch=-1").startswith("bad.yaml: --set batch=-1")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("data: synthetic_tokens", "2: data: synthetic_tokens data are for a model of kind gpt"),
        ("model: gpt", "2: model: digits data are for a model of kind textbook, resnet or torchvision"),
        ("accumulate: 3", "2: accumulate: a batch of 100 does not divide into 3 parts"),
        ("transfer: {frozen_epochs: 1}", "2: transfer: needs a trained body"),
        ("start: pretrained", "2: start: only models of kind torchvision come with trained weights"),
        (
            "data: {kind: digits, validation: 0}\nearly_stopping: {patience: 1}",
            "3: early_stopping: needs a validation",
        ),
    ],
)
def test_parts_that_contradict_one_another_are_refused(tmp_path: Path, lines: str, told: str) -> None:
    assert f"bad.yaml:{told}" in faults(tmp_path, f"name: x\n{lines}\n")


def test_they_are_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="accumulate"):
        Recipe(name="x", accumulate=3)


@pytest.mark.parametrize("name", config.names())
def test_a_shipped_recipe_is_read_back_from_what_is_written_of_it(name: str, tmp_path: Path) -> None:
    recipe = config.load(name)
    (tmp_path / "again.yaml").write_text(config.dump(recipe), "utf-8")
    assert config.load(str(tmp_path / "again.yaml")) == recipe
    assert config.parse(config.plain(recipe)) == recipe
    assert recipe.description


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PlanError, match='did you mean "digits"'):
        config.load("digit")
    with pytest.raises(PlanError, match="there is no such file"):
        config.load("none.yaml")


PATHS = "name: x\ndata: {kind: folder, path: images}\nstart: {kind: checkpoint, path: runs/a}\n"


def test_a_path_is_relative_to_its_file_and_one_set_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x.yaml").write_text(PATHS, "utf-8")
    monkeypatch.chdir(tmp_path / "here")
    recipe = config.load("../there/x.yaml", ["distil={teacher: runs/b}", "start.path=c"])
    assert recipe.data.path.resolve() == tmp_path / "there" / "images"
    assert recipe.start.path == tmp_path / "here" / "c"
    assert recipe.distil is not None
    assert recipe.distil.teacher == tmp_path / "here" / "runs" / "b"
    assert config.load("digits_distilled").distil.teacher == tmp_path / "here" / "runs" / "digits"


def test_a_recipe_means_the_same_files_wherever_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(PATHS, "utf-8")
    recipe = config.load(str(tmp_path / "x.yaml"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(config.dump(recipe), "utf-8")
    assert config.load(str(tmp_path / "run" / "recipe.yaml")) == recipe


def test_a_short_form_is_a_kind_alone(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: x\ndata: mnist\nschedule: one_cycle\n", "utf-8")
    recipe = config.load(str(tmp_path / "x.yaml"), ["optimiser=adamw"])
    assert (recipe.data.kind, recipe.schedule.kind, recipe.optimiser.kind) == ("mnist", "one_cycle", "adamw")


def test_schedules_begin_and_end_where_they_say() -> None:
    recipe = Recipe(name="x", schedule={"kind": "one_cycle"})
    assert recipe.schedule.factor(1.0) == pytest.approx(0.0001)
    cosine = Recipe(name="x", schedule={"kind": "cosine", "warm_up": 0.1, "end": 0.2}).schedule
    assert (cosine.factor(0.0), cosine.factor(0.1), cosine.factor(1.0)) == (0.0, 1.0, pytest.approx(0.2))
    assert Recipe(name="x", schedule={"kind": "steps"}).schedule.factor(0.8) == pytest.approx(0.01)
