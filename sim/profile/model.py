"""What a model computes, until `sim/perf/operators.py` is here."""

from sim.parts import Part


class Operator(Part):
    """One distinct operator of a forward pass of one sample."""

    kind: str
    count: int
    macs: float
    input_elements: float
    output_elements: float
    weight_elements: float
    gemm_m: float
    gemm_n: float
    gemm_k: float
    groups: int


class Model(Part):
    """The operators of a model."""

    name: str
    family: str
    parameters: float
    buffers: float
    input_shape: tuple[int, ...]
    operators: tuple[Operator, ...]
