"""Optimisers by kind; `train.loop` makes them from the arguments that torch takes."""

from typing import Any, Literal

from pydantic import Field

from sim.parts import Fraction, Part


class Rated(Part):
    """What all optimisers have."""

    learning_rate: float = Field(0.001, gt=0, description="largest of the schedule")
    weight_decay: float = Field(0.0, ge=0, description="pull of the weights to zero")

    def arguments(self) -> dict[str, Any]:
        """What torch's optimiser of this kind is called with."""
        named = self.model_dump(exclude={"kind", "learning_rate"})
        return {"lr": self.learning_rate, **named}


class Sgd(Rated):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: Fraction = Field(0.9, description="part of the last update that is kept")
    nesterov: bool = Field(False, description="look ahead along the momentum")


class Adam(Rated):
    """Steps scaled by the moments of the gradient (Kingma and Ba, 2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[float, float] = Field((0.9, 0.999), description="memory of both moments")


class AdamW(Adam):
    """Adam with weight decay that the moments do not scale (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: float = Field(0.01, ge=0, description="pull of the weights to zero")


class RmsProp(Rated):
    """Steps scaled by the size of recent gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    momentum: Fraction = Field(0.0, description="part of the last update that is kept")
    alpha: Fraction = Field(0.99, description="memory of the gradient's size")
