"""The steps of training, and every way to take them: what must not change the result does not change it."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError
from tests.train import small
from train import config, loop
from train import training as trainings
from train.choices import Optimiser
from train.training import Training

OPTIMISERS = [
    {"kind": "sgd", "learning_rate": 0.05, "nesterov": True},
    {"kind": "adam", "learning_rate": 0.01},
    {"kind": "adamw", "learning_rate": 0.01},
    {"kind": "rmsprop", "learning_rate": 0.003},
]
ALIKE = [
    {"accumulate": 4},
    {"channels_last": True},
    {"activation_checkpointing": True},
    {"workers": 1, "pin_memory": True},
    {"deterministic": True},
    {"precision": "tf32"},
    {"clip_norm": 1e6},
]


def losses(training: Training) -> list[float]:
    return [row["training_loss"] for row in training.history]


@pytest.fixture(scope="module")
def plain() -> Training:
    return small.trained(small.recipe())


def test_the_eight_steps_are_there_in_their_order() -> None:
    names = ["preprocess", "initialise", "forward", "loss", "backward", "update", "evaluate", "infer"]
    assert loop.__doc__ is not None
    assert [line.split()[0] for line in loop.__doc__.splitlines() if line.startswith("    ")] == names
    assert all(callable(getattr(loop, name)) for name in names)


def test_the_first_step_of_sgd_is_the_gradient_times_the_learning_rate() -> None:
    training = small.training(small.recipe(optimiser={"kind": "sgd", "learning_rate": 0.1}, epochs=1))
    weights = training.model.classifier[2].weight
    before = weights.detach().clone()
    inputs, labels = loop.preprocess(training.splits.train.__getitems__(range(16)), training.setting)
    logits = loop.forward(training.model, inputs, training.setting)
    loop.backward(training, loop.loss(training, inputs, logits, labels))
    gradient = weights.grad.clone()
    loop.update(training)
    assert torch.allclose(weights, before - 0.1 * gradient, atol=1e-7)
    assert weights.grad is None


def test_the_loss_of_equal_logits_is_the_logarithm_of_the_classes() -> None:
    assert loop.cross_entropy(torch.zeros(3, 10), torch.tensor([1, 2, 3])).item() == pytest.approx(
        math.log(10)
    )
    tokens = loop.cross_entropy(torch.zeros(3, 5, 10), torch.zeros(3, 5, dtype=torch.long))
    assert tokens.item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda optimiser: optimiser["kind"])
def test_the_loss_falls(optimiser: Optimiser) -> None:
    found = losses(small.trained(small.recipe(optimiser=optimiser)))
    assert found[-1] < 0.97 * found[0]


@pytest.mark.parametrize("changes", ALIKE, ids=lambda changes: next(iter(changes)))
def test_what_must_not_change_the_result_does_not(plain: Training, changes: dict[str, Any]) -> None:
    assert small.distance(small.trained(small.recipe(**changes)), plain) < 2e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_fewer_bits_learn_nearly_the_same(plain: Training, precision: str) -> None:
    training = small.trained(small.recipe(precision=precision))
    assert losses(training) == pytest.approx(losses(plain), rel=0.1)
    assert all(weights.dtype == torch.float32 for weights in training.model.parameters())
    assert training.scaler.is_enabled() == (precision == "fp16")
    assert (small.distance(training, plain) > 0.0) is True


def test_a_compiled_model_learns_the_same(plain: Training) -> None:
    training = small.trained(small.recipe(compile=True))
    assert small.distance(training, plain) < 2e-4
    assert training.model.state_dict().keys() == plain.model.state_dict().keys()


def test_without_a_compiler_that_works_the_remedy_is_told() -> None:
    torch._dynamo.reset()
    broken = {"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}
    with (
        pytest.raises(PlanError, match=r"^compile: .*C\+\+ compiler that works.*or set compile to false$"),
        torch._inductor.config.patch(broken),
        trainings.compiler_told_of(),
    ):
        small.trained(small.recipe(compile=True))
    torch._dynamo.reset()


def test_long_gradients_are_cut() -> None:
    optimiser = {"kind": "sgd", "learning_rate": 1.0, "momentum": 0.0}
    training = small.training(small.recipe(optimiser=optimiser, clip_norm=0.01))
    before = torch.cat([weights.detach().flatten().clone() for weights in training.model.parameters()])
    loop.step(training, [training.splits.train.__getitems__(range(16))])
    after = torch.cat([weights.detach().flatten() for weights in training.model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_the_learning_rate_follows_the_schedule() -> None:
    training = small.trained(small.recipe(schedule={"kind": "cosine"}, epochs=2))
    rates = [row["learning_rate"] for row in training.history]
    assert rates == [pytest.approx(0.005), pytest.approx(0.0)]


def test_a_training_stops_when_nothing_gets_better_and_keeps_the_best() -> None:
    stopping = {"patience": 2, "metric": "validation_loss"}
    wild = small.recipe(optimiser={"kind": "adam", "learning_rate": 0.05}, epochs=40, early_stopping=stopping)
    training = small.trained(wild)
    assert training.epoch < 40
    assert training.best is not None
    assert training.best["epoch"] == training.epoch - 2
    found = [row["validation_loss"] for row in training.history]
    assert min(found) == found[training.best["epoch"] - 1]
    training.model.load_state_dict(training.best["model"])
    score = loop.evaluate(training.model, training.splits.validation, training.setting)
    assert score.loss == pytest.approx(min(found))


def test_a_loss_that_is_no_number_is_told_with_the_remedy() -> None:
    with pytest.raises(
        PlanError, match=r"not a number any more after epoch 1; try a smaller optimiser\.learn"
    ):
        small.trained(small.recipe(optimiser={"kind": "sgd", "learning_rate": 1e30}))


def test_evaluating_and_inferring_agree_and_leave_the_model_alone(plain: Training) -> None:
    before = {name: value.clone() for name, value in plain.model.state_dict().items()}
    score = loop.evaluate(plain.model, plain.splits.test, plain.setting)
    found = loop.infer(plain.model, plain.splits.test, plain.setting)
    assert found.accuracy == pytest.approx(score.accuracy)
    assert found.labels.tolist() == plain.splits.test.labels.tolist()
    assert found.confidence.min() >= 0.1
    assert all(torch.equal(value, before[name]) for name, value in plain.model.state_dict().items())


def test_a_gpt_learns_to_count() -> None:
    training = small.trained(
        small.recipe(
            data={"kind": "synthetic_tokens", "samples": 200, "length": 12, "vocabulary": 16},
            model={"kind": "gpt", "layers": 1, "heads": 2, "width": 32},
            epochs=4,
        )
    )
    found = losses(training)
    assert found[0] > 2.0
    assert found[-1] < 0.7 * found[0]


def test_the_shipped_recipe_learns_the_digits() -> None:
    wanted = config.load("digits", ["epochs=8"])
    training = small.trained(wanted)
    found = losses(training)
    assert found[-1] < 0.1 * found[0]
    assert loop.infer(training.model, training.splits.test, training.setting).accuracy >= 0.97
