"""The models that are measured: what they are called, how they are built, what they are fed.

A name is that of a model, and after @ the size of its input: ``resnet18@64`` is ResNet-18 on images of 64 x 64
pixels, ``gpt@256`` the transformer block on 256 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from sim.errors import PlanError, hint
from sim.perf.operators import Model
from train import operators
from train.measure import _own

if TYPE_CHECKING:
    from torch import Tensor

CLASSES, TOKENS = 1000, 8192
OWN: dict[str, tuple[Callable[[int], nn.Module], int, int]] = {
    "textbook": (_own.textbook, 1, 28),
    "resnet": (_own.resnet, 3, 32),
    "vit_small": (_own.vit_small, 3, 64),
    "gpt": (_own.gpt, 0, 128),
}
"""Models of our own: how they are built for a size, the channels of an image (0: tokens), the usual size."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model at an input size."""

    name: str
    size: int

    @classmethod
    def parse(cls, text: str) -> Subject:
        """The model of a name; PlanError if there is none."""
        name, _, size = text.partition("@")
        if size and not (size.isdecimal() and int(size) > 0):
            raise PlanError(f'"{text}": write the size after @ as a number, for example {name}@64')
        from torchvision import models  # noqa: PLC0415 - slow to import, and not always asked for

        known = [*OWN, *models.list_models(module=models)]
        if name not in known:
            raise PlanError(f'"{name}" is not a model that can be measured; {hint(name, known)}')
        return cls(name, int(size) if size else OWN[name][2] if name in OWN else 224)

    def __str__(self) -> str:
        return f"{self.name}@{self.size}"

    @property
    def takes_tokens(self) -> bool:
        """Whether the input is text rather than an image."""
        return self.name in OWN and OWN[self.name][1] == 0

    def build(self) -> nn.Module:
        """The model with random weights, in the memory of the host."""
        if self.name in OWN:
            return OWN[self.name][0](self.size)
        from torchvision import models  # noqa: PLC0415 - as above

        sized = {"image_size": self.size} if self.name.startswith("vit_") else {}
        quiet = (
            {"aux_logits": False, "init_weights": False} if self.name in {"googlenet", "inception_v3"} else {}
        )
        module: nn.Module = models.get_model(self.name, **sized, **quiet)
        return module

    def batch(self, samples: int) -> tuple[Tensor, Tensor]:
        """Random inputs and labels."""
        if self.takes_tokens:
            tokens = torch.randint(0, TOKENS, (samples, self.size + 1))
            return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        channels = OWN[self.name][1] if self.name in OWN else 3
        return torch.rand(samples, channels, self.size, self.size), torch.randint(0, 10, (samples,))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy, for each sample or each token."""
        return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())

    def describe(self) -> Model:
        """The operators of the model, from shapes alone."""
        with torch.device("meta"):
            module = self.build()
        inputs = self.batch(2)[0].to("meta")
        found = operators.trace(module, inputs)
        return Model(
            name=str(self),
            family="transformer" if any(operator.kind == "attention" for operator in found) else "cnn",
            parameters=sum(weight.numel() for weight in module.parameters()),
            buffers=sum(buffer.numel() for buffer in module.buffers()),
            input_shape=tuple(inputs.shape[1:]),
            operators=found,
        )
