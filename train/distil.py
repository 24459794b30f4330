"""Knowledge distillation: a student learns the outputs of a teacher, not the labels alone.

The loss is (1 - w) x cross entropy + w x T² x the divergence between the outputs of both, softened by a
temperature T; T² keeps the gradients of both parts alike (Hinton, Vinyals and Dean, 2015, section 2).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim.errors import PlanError
from train import checkpoint, loop, models, starts
from train.config import Distil, Recipe
from train.data import Task
from train.ddp import Place
from train.training import Objective


class Teacher(nn.Module):
    """A trained model that sees what the student sees, normalised in its own way."""

    def __init__(self, wanted: Distil, student: Task) -> None:
        super().__init__()
        self.recipe, task, weights = checkpoint.trained(wanted.teacher)
        self.task = task
        if (task.shape, task.classes) != (student.shape, student.classes):
            raise PlanError(
                f"distil.teacher: {wanted.teacher} learnt {task.classes} classes of inputs of "
                f"{task.shape}, the student learns {student.classes} of {student.shape}"
            )
        self.model = models.build(self.recipe.model, task)
        starts.load(self.model, weights, str(wanted.teacher))
        self.requires_grad_(requires_grad=False).eval()
        own, other = (torch.tensor([of.mean, of.deviation]).view(2, -1, 1, 1) for of in (task, student))
        self.factor, self.offset = other[1] / own[1], (other[0] - own[0]) / own[1]

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits for inputs that are normalised for the student."""
        if inputs.is_floating_point():
            inputs = inputs * self.factor.to(inputs) + self.offset.to(inputs)
        logits: Tensor = self.model(inputs)
        return logits


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the softened outputs of a student are from those of its teacher, times T²."""
    theirs, its = (logits.flatten(0, -2).float() / temperature for logits in (teacher, student))
    apart = functional.kl_div(
        its.log_softmax(-1), theirs.log_softmax(-1), reduction="batchmean", log_target=True
    )
    return apart * temperature**2


def objective(recipe: Recipe, teacher: Teacher | None) -> Objective:
    """The loss of a recipe: cross entropy, and the distance from the teacher if there is one."""
    smoothing, wanted = recipe.label_smoothing, recipe.distil
    if teacher is None or wanted is None:
        return lambda _, logits, labels: loop.cross_entropy(logits, labels, smoothing)

    def mixed(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Of labels and teacher, weighted."""
        apart = divergence(logits, teacher(inputs), wanted.temperature)
        return (1 - wanted.weight) * loop.cross_entropy(logits, labels, smoothing) + wanted.weight * apart

    return mixed


def teacher(recipe: Recipe, task: Task, place: Place) -> Teacher | None:
    """The teacher of a recipe on its device; None if it has none."""
    return Teacher(recipe.distil, task).to(place.device) if recipe.distil else None
