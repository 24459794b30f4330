"""Models by name: built for a task, and given their first weights.

Building is apart from initialising, so that a model can be made on torch's meta device to count it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim.errors import PlanError, hint
from train.choices.models import Gpt, Resnet, Textbook, Torchvision
from train.data import Task

COLOURS = 3
"""Channels that torchvision's models take."""


class TextbookCnn(nn.Module):
    """Two 5x5 convolutions that keep the size, each with ReLU and 2x2 pooling, then two linear layers.

    An image of 28x28 pixels is thus 32x7x7 features when the classifier sees it.
    """

    def __init__(self, task: Task, channels: int = 32, hidden: int = 128) -> None:
        super().__init__()
        colours, height, width = task.shape
        self.features = nn.Sequential(
            nn.Conv2d(colours, channels, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(channels * (height // 4) * (width // 4), hidden),
            nn.ReLU(),
            nn.Linear(hidden, task.classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits by class."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class Residual(nn.Module):
    """Two 3x3 convolutions, and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _normalised(before, after, 3, stride)
        self.second = _normalised(after, after, 3, 1)
        same = before == after and stride == 1
        self.around = nn.Identity() if same else _normalised(before, after, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Features of the images."""
        changed = self.second(functional.relu(self.first(images)))
        return functional.relu(changed + self.around(images))


class SmallResnet(nn.Module):
    """Stages of residual blocks (He et al., 2016); each but the first halves the image."""

    def __init__(self, task: Task, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_normalised(task.shape[0], widths[0], 3, 1), nn.ReLU())
        before = (widths[0], *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                Residual(width if block else narrow, width, 2 if stage and not block else 1)
                for stage, (narrow, width) in enumerate(zip(before, widths, strict=True))
                for block in range(blocks)
            )
        )
        self.head = nn.Linear(widths[-1], task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits by class."""
        logits: Tensor = self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))
        return logits


def _normalised(before: int, after: int, size: int, stride: int) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, and batch normalisation."""
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after))


class Decoder(nn.Module):
    """A transformer block that looks back only: attention, then a feed-forward network four times as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Features of the tokens."""
        samples, length, width = tokens.shape
        mixed = self.queries_keys_values(self.before_attention(tokens))
        queries, keys, values = mixed.view(samples, length, 3 * self.heads, -1).transpose(1, 2).chunk(3, 1)
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        tokens = tokens + self.mixed(seen.transpose(1, 2).reshape(samples, length, width))
        features: Tensor = tokens + self.feed_forward(tokens)
        return features


class SmallGpt(nn.Module):
    """A few decoder blocks between an embedding and a head (Radford et al., 2019)."""

    def __init__(self, task: Task, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.classes, width)
        self.position = nn.Parameter(torch.zeros(task.shape[0], width))
        self.blocks = nn.Sequential(*(Decoder(width, heads) for _ in range(layers)))
        self.normalisation = nn.LayerNorm(width)
        self.head = nn.Linear(width, task.classes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits by next token, for each token of each sequence."""
        features = self.embedding(tokens) + self.position[: tokens.shape[1]]
        logits: Tensor = self.head(self.normalisation(self.blocks(features)))
        return logits


class InColour(nn.Module):
    """A model of torchvision that also takes grey images and gives nothing but logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits by class."""
        given = self.model(images.expand(-1, COLOURS, -1, -1))
        logits: Tensor = given if isinstance(given, Tensor) else given.logits
        return logits


def build(wanted: Textbook | Resnet | Torchvision | Gpt, task: Task) -> nn.Module:
    """A model of a kind for a task, with random weights; PlanError if the two do not fit."""
    return BUILDERS[type(wanted)](wanted, task)


def _textbook(wanted: Textbook, task: Task) -> nn.Module:
    if min(task.shape[1:]) < 4:  # noqa: PLR2004 - it is halved twice
        raise PlanError("model: textbook needs images of at least 4x4 pixels; set data.resize")
    return TextbookCnn(task, wanted.channels, wanted.hidden)


def _resnet(wanted: Resnet, task: Task) -> nn.Module:
    return SmallResnet(task, wanted.widths, wanted.blocks)


def _gpt(wanted: Gpt, task: Task) -> nn.Module:
    if wanted.width % wanted.heads:
        raise PlanError(f"model.heads: {wanted.heads} heads do not divide a width of {wanted.width}")
    return SmallGpt(task, wanted.layers, wanted.heads, wanted.width)


def _torchvision(wanted: Torchvision, task: Task) -> nn.Module:
    from torchvision import models  # noqa: PLC0415 - slow to import

    known = models.list_models(module=models)
    if wanted.name not in known:
        raise PlanError(
            f'model.name: "{wanted.name}" is not a model of torchvision; {hint(wanted.name, known)}'
        )
    if task.shape[0] not in {1, COLOURS}:
        raise PlanError(f"model: torchvision's models take 1 or 3 channels, not {task.shape[0]}")
    try:
        return InColour(models.get_model(wanted.name, weights=None, **_arguments(wanted.name, task)))
    except ValueError as error:
        raise PlanError(
            f"model.name: {wanted.name} does not fit these data: {error}; set data.resize"
        ) from error


def _arguments(name: str, task: Task) -> dict[str, Any]:
    """What the maker of a model of torchvision has to be told, besides the number of classes."""
    known: dict[str, dict[str, Any]] = {
        "googlenet": {"aux_logits": False, "init_weights": True},
        "inception_v3": {"aux_logits": False, "init_weights": True},
        "maxvit_t": {"input_size": tuple(task.shape[1:])},
    }
    sized = {"image_size": task.shape[1]} if name.startswith("vit_") else {}
    return {"num_classes": task.classes, **sized, **known.get(name, {})}


BUILDERS: Mapping[type, Callable[[Any, Task], nn.Module]] = {
    Textbook: _textbook,
    Resnet: _resnet,
    Torchvision: _torchvision,
    Gpt: _gpt,
}


def parameters(model: nn.Module) -> int:
    """How many weights a model has."""
    return sum(weights.numel() for weights in model.parameters())


def sample(task: Task, batch: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Inputs and labels of the right shape with nothing in them, to try a model or to measure it."""
    if task.images:
        return torch.zeros(batch, *task.shape, device=device), torch.zeros(
            batch, dtype=torch.long, device=device
        )
    tokens = torch.zeros(batch, *task.shape, dtype=torch.long, device=device)
    return tokens, tokens.clone()
