"""What a training asks of network and storage in each step, and of storage for each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

CHECKPOINT_BYTES: Final = 14.0
"""Of each weight that learns, in mixed precision with Adam: the weight in 2 bytes and, in 4 each, the weight,
its mean and its variance. Gives MLPerf Storage's 105, 912 and 5,290 GiB for 8, 70 and 405 billion weights."""
CHECKPOINT_BYTES_FP32: Final = 12.0
"""The same in 4 bytes throughout: weight, mean, variance."""
CHECKPOINT_BYTES_MOMENTUM: Final = 8.0
"""Weight and momentum in 4 bytes each, as networks of images are trained."""
TOKEN_BYTES: Final = 4.0
"""A token of a prepared data set: 2 bytes up to 65,536 words, 4 beyond; the larger is reckoned with."""
IMAGE_BYTES_PER_PIXEL: Final = 0.55
"""Of stored JPEG images for each pixel: ImageNet's 1.28 million take 140 GB, 110 KB each."""
STORED_PIXELS: Final = 4.0
"""Pixels stored for each that is used: ImageNet's have 200,000 on average, and 224 x 224 are used."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one step, unless said otherwise.

    The first four are what each GPU sends, and receives as much: over the links of its scale-up domain as far
    as the group reaches, over the fabric beyond.
    """

    tensor_bytes: float = 0.0
    """Activations, added up or gathered among the GPUs that share each layer."""
    expert_bytes: float = 0.0
    """Tokens on their way to experts and back."""
    pipeline_bytes: float = 0.0
    """Activations and their gradients between stages."""
    data_bytes: float = 0.0
    """Gradients and sharded weights among replicas."""
    input_bytes: float = 0.0
    """Samples that all GPUs together read from the data set."""
    checkpoint_bytes: float = 0.0
    """Size of one checkpoint, all GPUs together; one replica writes it."""
    weight_bytes: float = 0.0
    """Weights that are loaded once, at the start, where training goes on from some."""

    @property
    def sent_bytes(self) -> float:
        """What each GPU sends to others in a step."""
        return self.tensor_bytes + self.expert_bytes + self.pipeline_bytes + self.data_bytes

    def as_dict(self) -> dict[str, float]:
        """By name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def image_bytes(pixels: int) -> float:
    """Bytes of a stored image of which so many pixels a side are used.

    >>> round(image_bytes(224), -3)
    110000.0
    """
    return IMAGE_BYTES_PER_PIXEL * STORED_PIXELS * pixels**2
