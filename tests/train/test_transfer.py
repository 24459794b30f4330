"""Transfer learning: the body stays as it is while it is frozen, and learns afterwards."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from tests.train import small
from train import checkpoint, experiment, loop, transfer
from train.training import Training

RESNET = {"kind": "resnet", "widths": (4, 8)}
LOW = {"kind": "digits", "classes": (0, 1, 2, 3, 4), "samples": 160, "validation": 0.2}
HIGH = {"kind": "digits", "classes": (5, 6, 7), "samples": 80, "validation": 0.2}


@pytest.fixture(scope="module")
def low_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet that knows the digits 0 to 4."""
    folder = tmp_path_factory.mktemp("low")
    training = small.trained(small.recipe(model=RESNET, data=LOW, epochs=2))
    checkpoint.write(folder / checkpoint.FILE, experiment.trainings.state(training))
    return folder


def adapted(low_digits: Path, epochs: int, **changes: Any) -> Training:
    """A training for other digits; its body is frozen in the first two epochs."""
    start = {"kind": "checkpoint", "path": low_digits}
    wanted = {"model": RESNET, "data": HIGH, "start": start, "transfer": {"frozen_epochs": 2}, **changes}
    return small.trained(small.recipe(epochs=epochs, **wanted))


def body(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith("head.")}


def changed(training: Training, folder: Path) -> set[str]:
    """Names in the body, running statistics included, that are not the same bits any more."""
    before, after = body(checkpoint.trained(folder)[2]), body(training.model.state_dict())
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_frozen_body_keeps_every_bit(low_digits: Path) -> None:
    assert changed(adapted(low_digits, 2), low_digits) == set()


def test_the_head_is_new_and_learns_while_the_body_is_frozen(low_digits: Path) -> None:
    first, second = (adapted(low_digits, epochs).model.head.weight for epochs in (1, 2))
    assert first.shape == (3, 8)
    assert not torch.equal(first, second)


def test_the_body_learns_when_it_is_not_frozen_any_more(low_digits: Path) -> None:
    training = adapted(low_digits, 3)
    assert changed(training, low_digits) == body(training.model.state_dict()).keys()


def test_the_body_learns_more_slowly_than_the_head(low_digits: Path) -> None:
    training = adapted(low_digits, 3, transfer={"frozen_epochs": 2, "body_learning_rate": 0.25})
    head, rest = training.optimiser.param_groups
    assert rest["lr"] == pytest.approx(0.25 * head["lr"])
    assert sum(weights.numel() for weights in head["params"]) == 3 * 8 + 3


def test_a_trained_body_helps_where_samples_are_few(low_digits: Path) -> None:
    few = {"data": {**HIGH, "samples": 40}, "batch": 8, "epochs": 4}
    helped = small.trained(
        small.recipe(
            model=RESNET,
            start={"kind": "checkpoint", "path": low_digits},
            transfer={"frozen_epochs": 1, "body_learning_rate": 1.0},
            **few,
        )
    )
    alone = small.trained(small.recipe(model=RESNET, **few))
    right = [loop.evaluate(each.model, each.splits.test, each.setting).loss for each in (helped, alone)]
    assert right[0] < right[1]


def test_the_head_of_a_model_is_its_last_layer() -> None:
    training = small.training(small.recipe())
    assert transfer.head(training.model)[0] == "classifier.2"


def test_what_transfer_saves_is_reported(low_digits: Path, tmp_path: Path) -> None:
    wanted = small.recipe(
        model=RESNET,
        data=HIGH,
        start={"kind": "checkpoint", "path": low_digits},
        transfer={"frozen_epochs": 1},
        epochs=2,
    )
    rows = experiment.carry_out(wanted, experiment.Options(tmp_path / "out"), small.HERE)["savings"]
    assert [row["stage"] for row in rows] == ["before", "new head", "whole model"]
    assert all(row["training_samples_per_s"] > 0 < row["inference_samples_per_s"] for row in rows)
