"""What a recipe can choose from: each kind declares its own fields; the lists are written out here."""

from typing import Annotated

from pydantic import Field

from train.choices.data import Cifar10, Digits, FashionMnist, Folder, Mnist, SyntheticImages, SyntheticTokens
from train.choices.models import Gpt, Resnet, Textbook, Torchvision
from train.choices.optimisers import Adam, AdamW, RmsProp, Sgd
from train.choices.schedules import Constant, Cosine, OneCycle, Steps
from train.choices.starts import CheckpointStart, PretrainedStart, RandomStart

_BY_KIND = Field(discriminator="kind")

Data = Annotated[
    Mnist | FashionMnist | Cifar10 | Folder | Digits | SyntheticImages | SyntheticTokens, _BY_KIND
]
Model = Annotated[Textbook | Resnet | Torchvision | Gpt, _BY_KIND]
Start = Annotated[RandomStart | PretrainedStart | CheckpointStart, _BY_KIND]
Optimiser = Annotated[Sgd | Adam | AdamW | RmsProp, _BY_KIND]
Schedule = Annotated[Constant | Steps | Cosine | OneCycle, _BY_KIND]

__all__ = ["Data", "Model", "Optimiser", "Schedule", "Start"]
