"""The second step: a model and its first weights, drawn at random, published, or of an earlier run."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from sim.errors import PlanError
from train import checkpoint, models, transfer
from train.choices.models import Torchvision
from train.choices.starts import CheckpointStart, PretrainedStart
from train.config import Recipe
from train.data import Task

IMAGENET_CLASSES = 1000


def initialise(recipe: Recipe, task: Task, folder: Path, *, download: bool = False) -> nn.Module:
    """The model of a recipe with its first weights; the seed fixes all that is drawn."""
    torch.manual_seed(recipe.seed)
    if isinstance(recipe.start, CheckpointStart):
        return _from_checkpoint(recipe, task, recipe.start.path)
    if isinstance(recipe.start, PretrainedStart) and isinstance(recipe.model, Torchvision):
        return _pretrained(recipe, recipe.model, task, folder, download=download)
    return models.build(recipe.model, task)


def _from_checkpoint(recipe: Recipe, task: Task, path: Path) -> nn.Module:
    """A model with the weights of an earlier training, and a new head if this is for transfer."""
    earlier, its_task, weights = checkpoint.trained(path)
    if earlier.model != recipe.model or its_task.shape != task.shape:
        raise PlanError(
            f"start.path: {path} is a {_told(earlier, its_task)}, not a {_told(recipe, task)}; "
            f"set model and data.resize as there"
        )
    model = models.build(recipe.model, its_task)
    load(model, weights, str(path))
    if recipe.transfer:
        return transfer.with_new_head(model, task.classes)
    if its_task.classes != task.classes:
        raise PlanError(
            f"start.path: {path} knows {its_task.classes} classes, these data have {task.classes}; "
            f"add transfer to train a new head"
        )
    return model


def _told(recipe: Recipe, task: Task) -> str:
    settings = recipe.model.model_dump(exclude={"kind"})
    return f"{recipe.model.kind} {settings} for inputs of {'x'.join(map(str, task.shape))}"


def _pretrained(
    recipe: Recipe, wanted: Torchvision, task: Task, folder: Path, *, download: bool
) -> nn.Module:
    """A model of torchvision with its published weights, and a new head unless the classes are ImageNet's."""
    model = models.build(wanted, Task(task.shape, IMAGENET_CLASSES))
    path = _published(wanted.name, folder, download=download)
    weights = {f"model.{name}": value for name, value in _weights_in(path).items()}
    known = model.state_dict().keys()
    load(model, {name: value for name, value in weights.items() if name in known}, str(path))
    if recipe.transfer or task.classes != IMAGENET_CLASSES:
        return transfer.with_new_head(model, task.classes)
    return model


def _published(name: str, folder: Path, *, download: bool) -> Path:
    """The file of the published weights of a model: in the data folder, or where torch keeps such files."""
    from torchvision import models as published  # noqa: PLC0415 - slow to import

    url: str = published.get_model_weights(name).DEFAULT.url
    file = url.rpartition("/")[2]
    kept = Path(torch.hub.get_dir()) / "checkpoints" / file
    found = next((path for path in (folder / file, kept) if path.exists()), None)
    if found is None and not download:
        raise PlanError(f"start: {file} is not there; fetch it with --download, or put {url} into {folder}")
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(folder / file), file.rpartition("-")[2].partition(".")[0])
    except (OSError, RuntimeError) as error:
        raise PlanError(f"start: {url} cannot be downloaded: {error}") from error
    return folder / file


def _weights_in(path: Path) -> dict[str, Tensor]:
    """Weights by name; those of densenets were published under names of before."""
    weights: dict[str, Tensor] = checkpoint.tensors(path)
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name): weights[name] for name in weights}


def load(model: nn.Module, weights: dict[str, Tensor], place: str) -> None:
    """Give weights to a model; PlanError if they are those of another one."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise PlanError(
            f"{place}: its weights do not fit the model: {str(error).splitlines()[-1].strip()}"
        ) from None
