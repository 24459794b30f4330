"""The models that are measured: what they are called, how they are built, what they are fed.

A name is that of a model, and after @ the size of its input: ``resnet18@64`` is ResNet-18 on images of 64 x
64 pixels, ``gpt@256`` the small transformer on 256 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from sim.errors import PlanError, hint
from sim.perf.operators import Model
from train import models, operators
from train.choices.models import Gpt, Resnet, Textbook, Torchvision
from train.data import Task
from train.loop import cross_entropy
from train.measure import drawn

if TYPE_CHECKING:
    from torch import Tensor, nn

OWN: Mapping[str, tuple[Textbook | Resnet | Gpt, int]] = {
    "textbook": (Textbook(), 28),
    "resnet": (Resnet(), 32),
    "gpt": (Gpt(width=256), 128),
}
"""The trainer's own models, and the size of their input where the name does not say it."""

USUAL_PIXELS, DIGITS, CLASSES, VOCABULARY = 224, 10, 1000, 8192


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
        from torchvision import models as published  # noqa: PLC0415 - slow to import

        known = [*OWN, *published.list_models(module=published)]
        if name not in known and not drawn.is_drawn(name):
            raise PlanError(f'"{name}" is not a model that can be measured; {hint(name, known)}')
        usual = OWN[name][1] if name in OWN else USUAL_PIXELS
        return cls(name, int(size) if size else usual)

    def __str__(self) -> str:
        return f"{self.name}@{self.size}"

    @property
    def task(self) -> Task:
        """What the model is built for."""
        if self.takes_tokens:
            return Task((self.size,), VOCABULARY)
        grey = self.name == "textbook"
        few = self.name in OWN or drawn.is_drawn(self.name)
        return Task((1 if grey else 3, self.size, self.size), DIGITS if few else CLASSES)

    @property
    def takes_tokens(self) -> bool:
        """Whether the input is text rather than an image."""
        return self.name == "gpt"

    def build(self) -> nn.Module:
        """The model with random weights."""
        if drawn.is_drawn(self.name):
            return drawn.network(self.name, self.size)
        return models.build(OWN[self.name][0] if self.name in OWN else Torchvision(name=self.name), self.task)

    def batch(self, samples: int) -> tuple[Tensor, Tensor]:
        """Random inputs and labels."""
        shape = self.task.shape
        if self.takes_tokens:
            tokens = torch.randint(0, VOCABULARY, (samples, shape[0] + 1))
            return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        return torch.rand(samples, *shape), torch.randint(0, self.task.classes, (samples,))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy, as the trainer computes it."""
        return cross_entropy(logits, labels)


@cache
def described(subject: Subject) -> Model:
    """The operators of the model, from shapes alone."""
    module = subject.build().to("meta")
    found = operators.trace(module, subject.batch(2)[0].to("meta"))
    return Model(
        name=str(subject),
        family="transformer" if any(operator.kind == "attention" for operator in found) else "cnn",
        parameters=models.parameters(module),
        buffers=sum(buffer.numel() for buffer in module.buffers()),
        input_shape=subject.task.shape,
        operators=found,
    )
