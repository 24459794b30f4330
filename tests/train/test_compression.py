"""Compression: how many weights go, how small the file gets, and what that costs in accuracy."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from tests.train import small
from train import checkpoint, compress, config, experiment, int8, loop
from train.config import Compress
from train.training import Training

MODEL = {"kind": "textbook", "channels": 8, "hidden": 32}
PARTS = 0.8


@pytest.fixture(scope="module")
def trained() -> Training:
    data = {"kind": "digits", "validation": 0.1}
    return small.trained(small.recipe(model=MODEL, data=data, epochs=6, batch=32))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a training that was pruned and quantised, and its report."""
    folder = tmp_path_factory.mktemp("compressed")
    data = {"kind": "digits", "validation": 0.1}
    wanted = small.recipe(
        model=MODEL, data=data, epochs=5, batch=32, compress={"prune": PARTS, "retrain_epochs": 2}
    )
    return folder, experiment.carry_out(wanted, experiment.Options(folder), small.HERE)


def zeros(training: Training) -> float:
    """Part of the weights of all layers that are zero."""
    weights = [value for value in training.model.parameters() if value.dim() > 1]
    return sum((value == 0).sum().item() for value in weights) / sum(value.numel() for value in weights)


def accuracy(model: torch.nn.Module, training: Training) -> float:
    return loop.infer(model, training.splits.test, training.setting).accuracy


def test_the_wanted_part_of_the_weights_goes_and_does_not_come_back(trained: Training) -> None:
    training = compress.pruned(alone(trained), Compress(prune=PARTS, retrain_epochs=2))
    assert zeros(training) == pytest.approx(PARTS, abs=1e-3)
    assert accuracy(training.model, training) >= accuracy(trained.model, trained) - 0.05


def alone(training: Training) -> Training:
    """The training once more, for what would change it."""
    return experiment.trainings.twin(training)


def test_the_smallest_weights_of_all_layers_are_the_ones_that_go(trained: Training) -> None:
    masks = compress.smallest(trained.model, 0.5)
    weights = {
        name: value.detach().abs() for name, value in trained.model.named_parameters() if name in masks
    }
    kept = torch.cat([weights[name][masks[name].bool()] for name in masks])
    gone = torch.cat([weights[name][~masks[name].bool()] for name in masks])
    assert gone.max() <= kept.min()
    assert all(bool(mask.all()) for mask in compress.smallest(trained.model, 0.0).values())


def test_weights_are_stored_without_zeros_and_read_back(trained: Training) -> None:
    training = compress.pruned(alone(trained), Compress(prune=PARTS, retrain_epochs=0))
    weights = training.model.state_dict()
    stored = compress.packed(weights, training.masks, {})
    found = compress.unpacked(stored)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    kept = sum(entry["values"].numel() for entry in stored.values() if "kept" in entry)
    assert kept == pytest.approx((1 - PARTS) * sum(mask.numel() for mask in training.masks.values()), abs=2)


def test_eight_bits_give_nearly_the_same_classes(trained: Training) -> None:
    model = int8.quantised(experiment.trainings.copied(trained), compress._inputs(trained))
    layers = [layer for layer in model.modules() if isinstance(layer, int8.Int8)]
    assert [layer.weight.dtype for layer in layers] == [torch.int8] * 4
    assert accuracy(model, trained) == pytest.approx(accuracy(trained.model, trained), abs=0.02)


def test_eight_bits_round_no_weight_by_more_than_half_a_step(trained: Training) -> None:
    model = int8.quantised(experiment.trainings.copied(trained), compress._inputs(trained))
    for name, layer in model.named_modules():
        if isinstance(layer, int8.Int8):
            before = trained.model.get_parameter(f"{name}.weight")
            apart = (layer.widened() - before).abs().flatten(1).amax(1)
            assert bool((apart <= layer.scales / 2 * 1.001).all())


def test_what_compression_saves_is_reported(compressed: tuple[Path, dict[str, Any]]) -> None:
    whole, pruned, small_one = compressed[1]["savings"]
    assert [row["stage"] for row in (whole, pruned, small_one)] == [
        "as trained",
        "80% pruned",
        "pruned, int8",
    ]
    assert whole["test_accuracy"] >= 0.9
    assert pruned["stored_bytes"] < 0.5 * whole["stored_bytes"]
    assert small_one["stored_bytes"] < pruned["stored_bytes"]
    assert small_one["test_accuracy"] == pytest.approx(pruned["test_accuracy"], abs=0.03)
    assert small_one["training_samples_per_s"] is None
    assert all(row["inference_samples_per_s"] > 0 for row in (whole, pruned, small_one))
    assert (compressed[0] / "savings.csv").read_text("utf-8").startswith("stage,test_accuracy,parameters,")


def test_the_compressed_file_holds_the_weights_that_were_measured(
    compressed: tuple[Path, dict[str, Any]],
) -> None:
    folder, summary = compressed
    weights = compress.unpacked(checkpoint.tensors(folder / compress.FILE))
    training = small.training(config.load(str(folder / "recipe.yaml")))
    training.model.load_state_dict(weights)
    assert accuracy(training.model, training) == pytest.approx(
        summary["savings"][2]["test_accuracy"], abs=0.02
    )


def test_eight_bits_take_a_quarter_of_the_space() -> None:
    wide = small.training(small.recipe(model={"kind": "textbook", "channels": 32, "hidden": 512}))
    weights = wide.model.state_dict()
    model = int8.quantised(experiment.trainings.copied(wide), compress._inputs(wide))
    sizes = [
        experiment.savings.stored_bytes(compress.packed(weights, {}, parts))
        for parts in ({}, compress._parts(model))
    ]
    assert sizes[1] / sizes[0] == pytest.approx(0.25, abs=0.03)
