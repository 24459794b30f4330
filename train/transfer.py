"""Transfer learning: the body of a trained model, a new head, and only later both together."""

from typing import Any

from torch import nn

from train.config import Recipe


def head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last layer with weights, which gives the logits, and its name in the model."""
    layers = [
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return layers[-1]


def with_new_head(model: nn.Module, classes: int) -> nn.Module:
    """A model whose last layer is a new one for so many classes."""
    name, old = head(model)
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, _like(old, classes))
    return model


def _like(old: nn.Linear | nn.Conv2d, classes: int) -> nn.Module:
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes, bias=old.bias is not None)
    return nn.Conv2d(old.in_channels, classes, kernel_size=1)


def set_frozen(model: nn.Module, *, frozen: bool) -> None:
    """Let the body of a model learn, or not; the head always does."""
    _, last = head(model)
    for weights in model.parameters():
        weights.requires_grad_(not frozen)
    last.requires_grad_(True)


def set_training(model: nn.Module, *, frozen: bool) -> None:
    """Put a model in training mode; a frozen body keeps its running statistics."""
    model.train(not frozen)
    head(model)[1].train()


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The weights as an optimiser takes them, each with its part of the learning rate."""
    if recipe.transfer is None:
        return [{"params": list(model.parameters()), "part": 1.0}]
    own = {id(weights) for weights in head(model)[1].parameters()}
    body = [weights for weights in model.parameters() if id(weights) not in own]
    return [
        {"params": list(head(model)[1].parameters()), "part": 1.0},
        {"params": body, "part": recipe.transfer.body_learning_rate},
    ]


def is_frozen(recipe: Recipe, epoch: int) -> bool:
    """Whether only the head learns in an epoch."""
    return recipe.transfer is not None and epoch < recipe.transfer.frozen_epochs
