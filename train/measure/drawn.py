"""Networks drawn at random, of one kind of operator each, so that a profile tells the kinds apart.

Published networks mix what a fit wants to know one by one: all that have depthwise convolutions over 5 x 5
pixels have some over 3 x 3 too. A drawn network is a stem, a row of blocks of one theme, and a classifier;
its channels, and where it halves its pixels, are random, the same for the same name everywhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from sim.profile import DRAWN

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10
CHANNELS = (16, 24, 32, 40, 48, 58, 64, 96, 116, 128, 192, 256)
COLOURS = 3
FEWEST_PIXELS = 6
BLOCKS = (3, 7)
GROUP_SIZES = (4, 8, 16, 24, 29)
SELDOM, EVENLY, OFTEN = 0.3, 0.5, 0.7


class Dense(nn.Module):
    """Some new channels beside all that there were."""

    def __init__(self, channels: int, more: int) -> None:
        super().__init__()
        self.new = nn.Conv2d(channels, more, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Old and new."""
        return torch.cat([images, self.new(images)], 1)


class Gate(nn.Module):
    """Each channel times what a small network makes of the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.less = nn.Conv2d(channels, max(channels // 4, 4), 1)
        self.more = nn.Conv2d(max(channels // 4, 4), channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images, gated."""
        means = images.mean((2, 3), keepdim=True)
        return images * torch.sigmoid(self.more(torch.relu(self.less(means))))


class Around(nn.Module):
    """A layer and a way around it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both ways."""
        return images + torch.as_tensor(self.layer(images))


class Shuffle(nn.Module):
    """A 1 x 1 convolution whose results change places among two groups."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The same channels in another order."""
        mixed = self.layer(images)
        count, channels, height, width = mixed.shape
        apart = mixed.view(count, 2, channels // 2, height, width).transpose(1, 2)
        return torch.as_tensor(apart.contiguous().view(count, channels, height, width))


class Tokens(nn.Module):
    """Pixels as tokens: normalised, through two linear layers, and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 3 * channels),
            nn.GELU(),
            nn.Linear(3 * channels, channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images of the same size."""
        tokens = images.permute(0, 2, 3, 1)
        return torch.as_tensor((tokens + self.layers(tokens)).permute(0, 3, 1, 2))


class Hidden(nn.Module):
    """Wide linear layers over all pixels, as the classifiers of old had them."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features as images of one pixel."""
        return torch.as_tensor(self.layers(images))[:, :, None, None]


Made = tuple[nn.Module, int]
"""A block, and the channels that come out."""
Draw = random.Random


def _spatial(channels: int, draw: Draw) -> Made:
    after, kernel = draw.choice(CHANNELS), draw.choice((3, 3, 5))
    return nn.Sequential(
        nn.Conv2d(channels, after, kernel, padding=kernel // 2), nn.ReLU(inplace=True)
    ), after


def _pointwise(channels: int, draw: Draw) -> Made:
    after = draw.choice(CHANNELS)
    return nn.Sequential(nn.Conv2d(channels, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()), after


def _residual(channels: int, draw: Draw) -> Made:
    kernel = draw.choice((1, 3))
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
    return Around(nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))), channels


def _depthwise(kernel: int) -> Callable[[int, Draw], Made]:
    def made(channels: int, draw: Draw) -> Made:
        biased = draw.random() < EVENLY
        layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=biased)
        return layer, channels

    return made


def _grouped(channels: int, draw: Draw) -> Made:
    each = draw.choice(
        [size for size in (4, 8, 16, 24, 29) if channels % size == 0 and size < channels] or [1]
    )
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels // each, bias=False), channels


def _dense(channels: int, draw: Draw) -> Made:
    more = draw.choice((12, 16, 32, 48))
    return Dense(channels, more), channels + more


def _gate(channels: int, draw: Draw) -> Made:  # noqa: ARG001 - as the others
    return Gate(channels), channels


def _pool(channels: int, draw: Draw) -> Made:
    layer = nn.MaxPool2d(3, 1, 1) if draw.random() < OFTEN else nn.AvgPool2d(3, 1, 1)
    return layer, channels


def _normalised(channels: int, draw: Draw) -> Made:
    active = draw.choice((nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU))
    return nn.Sequential(nn.BatchNorm2d(channels), active()), channels


def _shuffle(channels: int, draw: Draw) -> Made:  # noqa: ARG001 - as the others
    return Shuffle(channels), channels


def _tokens(channels: int, draw: Draw) -> Made:  # noqa: ARG001 - as the others
    return Tokens(channels), channels


THEMES: Mapping[str, Callable[[int, Draw], Made]] = {
    "spatial": _spatial,
    "pointwise": _pointwise,
    "residual": _residual,
    "depthwise3x3": _depthwise(3),
    "depthwise5x5": _depthwise(5),
    "depthwise7x7": _depthwise(7),
    "grouped": _grouped,
    "dense": _dense,
    "gate": _gate,
    "pool": _pool,
    "normalised": _normalised,
    "shuffle": _shuffle,
    "tokens": _tokens,
    "linear": _pool,
}


def is_drawn(name: str) -> bool:
    """Whether a network of that name can be drawn: ``drawn_THEME_NUMBER``."""
    theme, _, number = name.removeprefix(DRAWN).rpartition("_")
    return name.startswith(DRAWN) and theme in THEMES and number.isdecimal()


def network(name: str, pixels: int) -> nn.Module:
    """The network of a name for images of so many pixels on a side."""
    theme = name.removeprefix(DRAWN).rpartition("_")[0]
    draw = random.Random(name)  # noqa: S311 - networks, not secrets
    channels, pixels = draw.choice(CHANNELS), math.ceil(pixels / 2)
    layers: list[nn.Module] = [nn.Conv2d(COLOURS, channels, 3, stride=2, padding=1)]
    for _ in range(draw.randint(*BLOCKS)):
        block, channels = THEMES[theme](channels, draw)
        layers.append(block)
        if draw.random() < SELDOM and pixels >= 2 * FEWEST_PIXELS:
            layers.append(nn.MaxPool2d(2))
            pixels //= 2
    if theme == "linear":
        width = draw.choice((512, 1024, 2048))
        layers += [nn.AdaptiveAvgPool2d(4), Hidden(16 * channels, width)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))
