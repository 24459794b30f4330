"""Models by kind; `train.models` builds them."""

from typing import Literal

from pydantic import Field

from sim.parts import Name, Part


class Textbook(Part):
    """The convolutional network of textbooks: two 5x5 convolutions with pooling, two linear layers."""

    kind: Literal["textbook"] = "textbook"
    channels: int = Field(32, ge=1, description="of both convolutions")
    hidden: int = Field(128, ge=1, description="features before the last layer")


class Resnet(Part):
    """A small residual network; each stage halves the image."""

    kind: Literal["resnet"] = "resnet"
    widths: tuple[int, ...] = Field((16, 32, 64), min_length=1, description="channels of each stage")
    blocks: int = Field(1, ge=1, description="residual blocks of each stage")


class Torchvision(Part):
    """Any classification model of torchvision, such as resnet50 or vit_b_16."""

    kind: Literal["torchvision"] = "torchvision"
    name: Name = Field(description="as torchvision calls it")


class Gpt(Part):
    """A decoder of a few transformer blocks that predicts the next token."""

    kind: Literal["gpt"] = "gpt"
    layers: int = Field(2, ge=1, description="transformer blocks")
    heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    width: int = Field(128, ge=1, description="features of a token")
