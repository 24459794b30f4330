"""What a neural network computes in one forward pass of one sample, as a list of operators.

The list is all that the simulator knows of a model. It is made once, from the shapes that go through the
network (``train.operators`` does it, on tensors without storage), and is read without torch.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from sim.parts import Name, Part

OperatorKind = Literal[
    "convolution",
    "grouped_convolution",
    "depthwise_convolution",
    "matrix_product",
    "attention",
    "normalisation",
    "layer_normalisation",
    "softmax",
    "activation",
    "element_wise",
    "pooling",
    "copy",
    "embedding",
    "loss",
]
ModelFamily = Literal["cnn", "transformer", "hybrid", "mlp", "other"]
MULTIPLYING: frozenset[OperatorKind] = frozenset(
    ("convolution", "grouped_convolution", "depthwise_convolution", "matrix_product", "attention")
)
"""Kinds whose work is multiplications; the others are bound by memory."""

Count = Annotated[int, Field(ge=0)]


class Operator(Part):
    """One distinct operator of a forward pass, and how often it occurs.

    Multiply-accumulates, activation elements and ``gemm_m`` are of one sample and grow with the batch;
    weights, ``gemm_n`` and ``gemm_k`` do not. As a matrix product it is ``groups`` products of m x k with
    k x n, so macs = groups x m x n x k. An operator that works on weights only has no activation elements.
    """

    kind: OperatorKind
    count: int = Field(ge=1, description="how often it occurs in one forward pass")
    macs: Count = Field(0, description="multiply-accumulates of one sample")
    input_elements: Count = Field(0, description="activation elements read, of one sample")
    output_elements: Count = Field(0, description="activation elements written, of one sample")
    weight_elements: Count = Field(0, description="elements of weights and buffers read, whatever the batch")
    gemm_m: Count = Field(0, description="rows of the matrix product, of one sample")
    gemm_n: Count = Field(0, description="columns of the matrix product, of one group")
    gemm_k: Count = Field(0, description="length of the sums of the matrix product, of one group")
    groups: int = Field(1, ge=1, description="independent matrix products")
    taps: int = Field(1, ge=1, description="positions of the window of a convolution or pooling: 9 for 3 x 3")
    wide_input_elements: Count = Field(
        0, description="of the input elements, those that keep 4 bytes in mixed precision"
    )
    wide_output_elements: Count = Field(
        0, description="of the output elements, those that keep 4 bytes in mixed precision"
    )


class Model(Part):
    """A network as the simulator knows it."""

    name: Name
    family: ModelFamily = "cnn"
    parameters: int = Field(ge=0, description="trainable weights")
    buffers: Count = Field(0, description="elements that are kept and not trained")
    input_shape: tuple[int, ...] = Field(description="shape of one sample, without the batch")
    operators: tuple[Operator, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a forward pass of one sample."""
        return sum(operator.count * operator.macs for operator in self.operators)

    @property
    def activation_elements(self) -> int:
        """Elements that convolutions and matrix products write for one sample.

        This is what the field counts as "activations" (Radosavovic et al., CVPR 2020, and timm's tables).
        """
        return _written(operator for operator in self.operators if operator.kind in MULTIPLYING)

    @property
    def kernels(self) -> int:
        """Operators that run in a forward pass."""
        return sum(operator.count for operator in self.operators)


def _written(operators: Iterable[Operator]) -> int:
    return sum(operator.count * operator.output_elements for operator in operators)


def merged(operators: Iterable[Operator]) -> tuple[Operator, ...]:
    """Equal operators as one with their counts added, in the order in which they first occur.

    >>> relu = Operator(kind="activation", count=1, input_elements=8, output_elements=8)
    >>> [operator.count for operator in merged([relu, relu])]
    [2]
    """
    counts: dict[Operator, int] = {}
    for operator in operators:
        one = operator.model_copy(update={"count": 1})
        counts[one] = counts.get(one, 0) + operator.count
    return tuple(one.model_copy(update={"count": count}) for one, count in counts.items())
