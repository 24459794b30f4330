"""Data sets by kind; `train.data` reads them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sim.parts import Fraction, Part


class Samples(Part):
    """What all data sets have: a part of the training data is held out to validate."""

    validation: Fraction = Field(0.1, lt=1, description="part of the training data held out to validate")
    samples: int | None = Field(None, ge=1, description="use no more training samples than these")


class Images(Samples):
    """Labelled images, of which some classes or another size may be wanted."""

    classes: tuple[int, ...] | None = Field(None, min_length=2, description="use these classes only")
    resize: int | None = Field(None, ge=1, description="pixels of each side, instead of the data's own")


class Mnist(Images):
    """Handwritten digits: 60,000 and 10,000 of 28x28 pixels."""

    kind: Literal["mnist"] = "mnist"


class FashionMnist(Images):
    """Clothes in the format of MNIST."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"


class Cifar10(Images):
    """Small colour photographs in ten classes: 50,000 and 10,000 of 32x32 pixels."""

    kind: Literal["cifar10"] = "cifar10"


class Folder(Images):
    """Image files by class: ``PATH/train/CLASS/*.jpg`` and ``PATH/test/CLASS/*.jpg``."""

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="the folder that holds train and test")
    resize: int | None = Field(224, ge=1, description="pixels of each side; files may have any size")


class Digits(Images):
    """Handwritten digits of 8x8 pixels that come with scikit-learn: 1,797, a fifth of them to test."""

    kind: Literal["digits"] = "digits"


class SyntheticImages(Images):
    """Noise with a little of each class in it, for throughput: no disk is read."""

    kind: Literal["synthetic_images"] = "synthetic_images"
    samples: int | None = Field(1024, ge=1, description="training images; a quarter as many to test")
    channels: int = Field(3, ge=1, description="3 for colour")
    size: int = Field(224, ge=1, description="pixels of each side")
    number_of_classes: int = Field(1000, ge=2, description="labels to choose from")


class SyntheticTokens(Samples):
    """Sequences of numbers that count on by a fixed step, for transformers."""

    kind: Literal["synthetic_tokens"] = "synthetic_tokens"
    samples: int | None = Field(1024, ge=1, description="training sequences; a quarter as many to test")
    length: int = Field(64, ge=2, description="tokens of a sequence")
    vocabulary: int = Field(256, ge=2, description="different tokens")
