"""Models: their shapes, and where their first weights come from."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError
from tests.train import small
from train import activations, checkpoint, experiment, loop, models, transfer
from train.choices.models import Gpt, Resnet, Textbook, Torchvision
from train.data import Task

GREY = Task((1, 28, 28), 10)
COLOUR = Task((3, 32, 32), 7)


def test_the_classifier_of_the_textbook_network_sees_32x7x7() -> None:
    model = models.build(Textbook(), GREY)
    assert model.features(torch.zeros(2, 1, 28, 28)).shape == (2, 32, 7, 7)
    assert [tuple(layer.weight.shape) for layer in model.classifier if hasattr(layer, "weight")] == [
        (128, 32 * 7 * 7),
        (10, 128),
    ]
    assert models.parameters(model) == 832 + 25_632 + 200_832 + 1_290


@pytest.mark.parametrize(
    ("wanted", "task"),
    [
        (Textbook(), COLOUR),
        (Resnet(), GREY),
        (Resnet(widths=(8, 16), blocks=2), COLOUR),
        (Torchvision(name="resnet18"), GREY),
        (Torchvision(name="mobilenet_v3_small"), COLOUR),
        (Torchvision(name="vit_b_32"), COLOUR),
    ],
)
def test_a_model_gives_a_logit_for_each_class(wanted: Textbook, task: Task) -> None:
    with torch.device("meta"), torch.no_grad():
        inputs, _ = models.sample(task, 2, "meta")
        assert models.build(wanted, task).eval()(inputs).shape == (2, task.classes)


def test_a_gpt_sees_no_later_token() -> None:
    model = models.build(Gpt(), Task((6,), 11)).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torch.tensor([[1, 2, 3, 9, 9, 9]])
    assert model(tokens).shape == (1, 6, 11)
    assert torch.allclose(model(tokens)[:, :3], model(changed)[:, :3], atol=1e-6)
    assert not torch.allclose(model(tokens)[:, 3:], model(changed)[:, 3:], atol=1e-3)


@pytest.mark.parametrize(
    ("wanted", "task", "told"),
    [
        (Torchvision(name="resnet19"), COLOUR, 'did you mean "resnet18"'),
        (Torchvision(name="resnet18"), Task((2, 32, 32), 7), "1 or 3 channels"),
        (Torchvision(name="maxvit_t"), COLOUR, "set data.resize"),
        (Textbook(), Task((1, 3, 3), 10), "at least 4x4 pixels"),
        (Gpt(heads=3), Task((6,), 11), "3 heads do not divide a width of 128"),
    ],
)
def test_models_that_cannot_be_are_refused(wanted: Textbook, task: Task, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        models.build(wanted, task)


def test_random_weights_follow_from_the_seed() -> None:
    first, again = small.training(small.recipe()), small.training(small.recipe())
    assert small.distance(first, again) == 0.0
    assert small.distance(first, small.training(small.recipe(seed=4))) > 0.0


def saved(folder: Path, **changes: object) -> Path:
    """A checkpoint of a training that has just begun."""
    checkpoint.write(
        folder / "checkpoint.pt", experiment.trainings.state(small.training(small.recipe(**changes)))
    )
    return folder


def test_weights_of_an_earlier_training_can_be_the_first(tmp_path: Path) -> None:
    start = {"kind": "checkpoint", "path": saved(tmp_path)}
    later = small.training(small.recipe(seed=9, start=start))
    assert small.distance(later, small.training(small.recipe())) == 0.0


def test_a_checkpoint_of_another_model_is_refused_as_a_start(tmp_path: Path) -> None:
    start = {"kind": "checkpoint", "path": saved(tmp_path)}
    with pytest.raises(PlanError, match=r"is a textbook .*, not a resnet"):
        small.training(small.recipe(model={"kind": "resnet"}, start=start))
    fewer = {"kind": "digits", "classes": (1, 2), "validation": 0.2}
    with pytest.raises(PlanError, match="knows 10 classes, these data have 2; add transfer"):
        small.training(small.recipe(data=fewer, start=start))


IMAGES = {"kind": "synthetic_images", "size": 32, "number_of_classes": 4, "samples": 8}
PUBLISHED = {"model": {"kind": "torchvision", "name": "mobilenet_v3_small"}, "start": {"kind": "pretrained"}}


def test_published_weights_are_read_from_the_data_folder_and_get_a_new_head(tmp_path: Path) -> None:
    from torchvision.models import MobileNet_V3_Small_Weights, mobilenet_v3_small

    published = mobilenet_v3_small().state_dict()
    torch.save(published, tmp_path / MobileNet_V3_Small_Weights.DEFAULT.url.rpartition("/")[2])
    wanted = small.recipe(data=IMAGES, batch=4, transfer={"frozen_epochs": 1}, **PUBLISHED)
    model = small.training(wanted, tmp_path).model
    assert torch.equal(model.state_dict()["model.features.0.0.weight"], published["features.0.0.weight"])
    assert transfer.head(model)[1].weight.shape == (4, 1024)


def test_published_weights_that_are_not_there_are_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(PlanError, match=r"mobilenet_v3_small-.*\.pth is not there; fetch it with --download"):
        small.training(small.recipe(data=IMAGES, batch=4, **PUBLISHED), tmp_path)


@pytest.mark.parametrize("model", [{"kind": "resnet"}, {"kind": "textbook", "channels": 4}])
def test_activations_computed_again_give_the_same_gradients_and_statistics(model: dict[str, object]) -> None:
    plain = small.trained(small.recipe(model=model, epochs=1))
    again = small.trained(small.recipe(model=model, epochs=1, activation_checkpointing=True))
    assert small.distance(plain, again) < 1e-6


def test_fewer_activations_are_kept_when_they_are_computed_again() -> None:
    def kept_bytes(*, again: bool) -> int:
        model = models.build(Resnet(widths=(8, 8), blocks=3), GREY)
        model = activations.recomputed(model) if again else model
        sizes: list[int] = []

        def pack(kept: torch.Tensor) -> torch.Tensor:
            sizes.append(kept.numel() * kept.element_size())
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
            loop.cross_entropy(model(torch.zeros(4, 1, 28, 28)), torch.zeros(4, dtype=torch.long))
        return sum(sizes)

    assert kept_bytes(again=True) < 0.3 * kept_bytes(again=False)


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(PlanError, match="no blocks to compute again"):
        activations.recomputed(torch.nn.Linear(2, 2))
