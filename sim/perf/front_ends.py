"""What makes tokens of images and of sound before the first layer of a transformer: weights, tokens, work."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.parts import Part, PositiveSeconds

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Patches(Part):
    """An image cut into squares, each a token (Dosovitskiy et al., arXiv:2010.11929)."""

    kind: Literal["patches"] = "patches"
    image: Positive = Field(description="side of the square image in pixels")
    patch: Positive = Field(description="side of a patch in pixels")
    channels: Positive = 3
    class_token: bool = Field(True, description="whether a learned token joins the patches")
    bias: bool = True

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> Self:
        if self.image % self.patch:
            raise ValueError(f"patches of {self.patch} pixels do not tile an image of {self.image}")
        return self

    @property
    def tokens(self) -> int:
        """Tokens of one image."""
        return (self.image // self.patch) ** 2 + self.class_token

    def parameters(self, hidden: int) -> int:
        """Weights from pixels to tokens."""
        return hidden * (self.channels * self.patch**2 + self.bias + self.class_token)

    def forward_flops(self, hidden: int) -> int:
        """Floating-point operations of one image."""
        return 2 * self.channels * self.image**2 * hidden


class Convolution(Part):
    """One convolution over time."""

    channels: Positive = Field(description="channels that it writes")
    kernel: Positive
    stride: Positive = 1
    padding: Count = 0
    groups: Positive = 1
    bias: bool = True

    def length(self, steps: int) -> int:
        """Time steps that it writes of so many that it reads."""
        return (steps + 2 * self.padding - self.kernel) // self.stride + 1


class Convolutions(Part):
    """Sound as frames that convolutions shorten to tokens, as in Whisper and wav2vec 2.0."""

    kind: Literal["convolutions"] = "convolutions"
    channels: Positive = Field(description="channels of the input: mel bands, or 1 for the wave itself")
    steps: Positive = Field(description="time steps of one window of the input")
    window: PositiveSeconds = Field(description="how long a window is")
    layers: tuple[Convolution, ...] = Field(min_length=1)
    projection: bool = Field(False, description="whether a matrix takes their output to the hidden size")
    other_parameters: Count = Field(0, description="weights of norms, masks and positions between them")

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.tokens < 1:
            raise ValueError(f"no token is left of a window of {self.steps} steps")
        return self

    @property
    def tokens(self) -> int:
        """Tokens of one window."""
        steps = self.steps
        for layer in self.layers:
            steps = layer.length(steps)
        return steps

    def parameters(self, hidden: int) -> int:
        """Weights from the window to its tokens."""
        total, width = self.other_parameters, self.channels
        for layer in self.layers:
            total += layer.channels * (width // layer.groups * layer.kernel + layer.bias)
            width = layer.channels
        return total + (hidden * (width + 1) if self.projection else 0)

    def forward_flops(self, hidden: int) -> int:
        """Floating-point operations of one window."""
        total, width, steps = 0, self.channels, self.steps
        for layer in self.layers:
            steps = layer.length(steps)
            total += 2 * steps * layer.channels * (width // layer.groups) * layer.kernel
            width = layer.channels
        return total + (2 * steps * width * hidden if self.projection else 0)
