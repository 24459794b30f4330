"""The first step: from what is stored to what a model takes, on the device that computes.

Random changes are drawn by the main process, batch by batch, so they do not depend on the number of loader
processes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from train.config import Augment
from train.data import Batch, Task


def to_device(batch: Batch, device: torch.device, *, channels_last: bool = False) -> Batch:
    """A batch where it will be used; copies from page-locked memory do not hold up the program."""
    inputs, labels = (part.to(device, non_blocking=True) for part in batch)
    if channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, labels


def scaled(inputs: Tensor, task: Task) -> Tensor:
    """Images as numbers from 0 to 1, in the size that the task has; tokens as they are."""
    if not task.images:
        return inputs
    images = inputs.float() / 255
    if images.shape[-2:] != task.shape[1:]:
        images = functional.interpolate(images, task.shape[1:], mode="bilinear", align_corners=False)
    return images


def normalised(inputs: Tensor, task: Task) -> Tensor:
    """Images with mean 0 and deviation 1 by channel; tokens as they are."""
    if not task.images:
        return inputs
    mean, deviation = (
        torch.tensor(values, device=inputs.device).view(-1, 1, 1) for values in (task.mean, task.deviation)
    )
    return (inputs - mean) / deviation


def augmented(images: Tensor, wanted: Augment | None) -> Tensor:
    """Images, each changed at random: turned, scaled, shifted, mirrored."""
    if wanted is None:
        return images
    moves = _moves(len(images), images.shape[-1], wanted).to(images)
    grid = functional.affine_grid(moves, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _moves(samples: int, size: int, wanted: Augment) -> Tensor:
    """One affine map per image, from where a pixel will be to where it is taken from."""
    angle = _between(samples, math.radians(wanted.rotate_degrees))
    scale = 1 + _between(samples, wanted.scale)
    mirror = torch.where(torch.rand(samples) < 0.5, -1.0, 1.0) if wanted.flip else torch.ones(samples)  # noqa: PLR2004
    across, down = (_between(samples, 2 * wanted.shift_pixels / size) for _ in range(2))
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    first = torch.stack([mirror * cosine, -sine, across], dim=1)
    second = torch.stack([mirror * sine, cosine, down], dim=1)
    return torch.stack([first, second], dim=1)


def _between(samples: int, largest: float) -> Tensor:
    """Even draws from minus to plus the largest value."""
    return (2 * torch.rand(samples) - 1) * largest
