"""The first weights of a model, by kind; `train.models` initialises with them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sim.parts import Part


class RandomStart(Part):
    """Weights drawn with the seed of the recipe."""

    kind: Literal["random"] = "random"


class PretrainedStart(Part):
    """Weights that torchvision's authors trained on ImageNet."""

    kind: Literal["pretrained"] = "pretrained"


class CheckpointStart(Part):
    """Weights of an earlier training."""

    kind: Literal["checkpoint"] = "checkpoint"
    path: Path = Field(description="checkpoint, or the folder of a training")
