"""The operator list of a network, from the shapes that go through it: no device, no memory, no second run.

Each operator that PyTorch dispatches is seen once, with its tensors. On meta tensors, which have a shape and
no storage, this takes milliseconds for any size of model:

    model = torchvision.models.resnet50().to("meta")
    operators = trace(model, torch.empty(2, 3, 224, 224, device="meta"))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sim.perf.operators import Operator, OperatorKind, merged

if TYPE_CHECKING:
    from torch import Tensor, nn

_NORMALISATION = ("batch_norm", "instance_norm")
_LAYER_NORMALISATION = ("layer_norm", "group_norm", "rms_norm", "linalg_vector_norm", "norm")
_LOSS = ("_log_softmax", "nll_loss", "binary_cross_entropy", "mse_loss")
_ACTIVATION = (
    "relu", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu",
    "mish", "softplus", "prelu", "clamp", "exp", "relu6",
)  # fmt: skip
_POOLING = ("pool", "mean", "sum", "amax", "max", "upsample", "avg", "var", "topk", "sort", "cumsum")
_COPY = (
    "copy", "clone", "cat", "stack", "pad", "roll", "index", "gather", "repeat", "flip", "im2col", "fill",
    "unfold", "shuffle", "contiguous", "scatter",
)  # fmt: skip
_WIDE = (
    "native_layer_norm", "native_group_norm", "_softmax", "_log_softmax", "norm", "linalg_vector_norm", "exp",
    "pow", "log", "rsqrt", "reciprocal", "sum", "prod", "cumsum", "softplus",
)  # fmt: skip
"""Operators that mixed precision keeps in 4 bytes (PyTorch's list for autocast on CUDA)."""
_PRODUCTS = ("convolution", "mm", "addmm", "bmm", "baddbmm")
_NOT_A_KERNEL = (
    "detach", "empty", "_unsafe_view", "view", "lift_fresh", "alias", "sym_size", "_reshape_alias", "arange",
    "zeros", "ones", "full", "new_empty", "scalar_tensor", "empty_like", "linspace",
)  # fmt: skip


def trace(module: nn.Module, sample: Tensor) -> tuple[Operator, ...]:
    """The distinct operators of ``module(sample)``, per sample; its first dimension is the batch.

    Give at least two samples where the network normalises over the batch. Module and sample stay as they are
    on meta tensors; on other tensors, training mode moves the running statistics as any forward pass does.
    """
    recorder = _Recorder(sample.shape[0], [*module.parameters(), *module.buffers()])
    with _whole_attention(recorder), _whole_lstm(recorder), recorder:
        module(sample)
    return merged(recorder.operators)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operator that is dispatched while it is entered."""

    def __init__(self, batch: int, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch = batch
        self.operators: list[Operator] = []
        self.paused = False
        self._weights = {_storage(tensor) for tensor in weights}
        self._kept: list[Tensor] = list(weights)
        self._narrow: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's own signature, here and below
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the operator and note it, unless it only looks at a tensor in another way."""
        result = func(*args, **(kwargs or {}))
        read, written = tensors((args, kwargs)), tensors(result)
        if written and not self.paused:
            self._note(func, args, read, written)
        return result

    def _note(self, func: Any, args: tuple[Any, ...], read: list[Tensor], written: list[Tensor]) -> None:  # noqa: ANN401
        name = func._schema.name.removeprefix("aten::").rstrip("_")  # noqa: SLF001 - the only place of it
        activations = [tensor for tensor in read if _storage(tensor) not in self._weights]
        if not activations:
            self._weights |= {_storage(tensor) for tensor in written}
            self._kept += written
        self._note_width(name, read, written)
        if name in _NOT_A_KERNEL or is_view(func, read, written):
            return
        self.operators.append(self._operator(name, args, read, activations, written[0]))

    def _note_width(self, name: str, read: list[Tensor], written: list[Tensor]) -> None:
        """Whether new tensors have two bytes an element in mixed precision, as autocast decides."""
        known = {_storage(tensor) for tensor in read}
        new = {_storage(tensor) for tensor in written} - known
        inputs = read[:1] if "batch_norm" in name else [tensor for tensor in read if tensor.dim() > 0]
        narrow = name in _PRODUCTS or (
            name not in _WIDE and all(_storage(tensor) in self._narrow for tensor in inputs)
        )
        self._narrow = self._narrow | new if narrow else self._narrow - new

    def _operator(
        self, name: str, args: tuple[Any, ...], read: list[Tensor], activations: list[Tensor], output: Tensor
    ) -> Operator:
        weights = sum(tensor.numel() for tensor in read if _storage(tensor) in self._weights)
        if not activations:
            return Operator(kind="element_wise", count=1, weight_elements=weights)
        wide = [tensor.numel() for tensor in activations if _storage(tensor) not in self._narrow]
        sizes = {
            "input_elements": self._each(sum(tensor.numel() for tensor in activations)),
            "output_elements": self._each(output.numel()),
            "weight_elements": weights,
            "wide_input_elements": self._each(sum(wide)),
            "wide_output_elements": 0 if _storage(output) in self._narrow else self._each(output.numel()),
        }
        product = _as_product(name, args, output)
        if product is None:
            return Operator(kind=_memory_kind(name), count=1, taps=_window(name, args), **sizes)
        kind, rows, columns, length, groups = product
        if kind == "attention" and weights:
            kind = "matrix_product"
        if kind == "attention":
            groups = self._each(groups)
        else:
            rows = self._each(rows)
        return Operator(
            kind=kind, count=1, macs=groups * rows * columns * length, **sizes,
            gemm_m=rows, gemm_n=columns, gemm_k=length, groups=max(groups, 1),
            taps=math.prod(args[1].shape[2:]) if name == "convolution" else 1,
        )  # fmt: skip

    def attention(self, query: Tensor, key: Tensor, value: Tensor, output: Tensor) -> None:
        """Note a fused attention: two products a head, and nothing of them in memory."""
        heads, queries, size = math.prod(query.shape[:-2]), query.shape[-2], query.shape[-1]
        length = size + value.shape[-1]
        groups = max(self._each(heads), 1)
        self._narrow.add(_storage(output))
        self.operators.append(
            Operator(
                kind="attention", count=1, macs=groups * queries * key.shape[-2] * length,
                input_elements=self._each(query.numel() + key.numel() + value.numel()),
                output_elements=self._each(output.numel()),
                gemm_m=queries, gemm_n=key.shape[-2], gemm_k=length, groups=groups,
            )
        )  # fmt: skip

    def recurrence(self, sequence: Tensor, weights: list[Tensor], steps: int, output: Tensor) -> None:
        """Note the products of each layer and direction of an LSTM; its weights come in lists of matrices."""
        self._narrow.add(_storage(output))
        rows = self._each(sequence.numel() // sequence.shape[-1])
        for order, weight in enumerate(weight for weight in weights if weight.dim() > 1):
            columns, length = weight.shape
            recurrent = bool(order % 2)  # input and recurrent matrices take turns
            count, each = (steps, max(rows // steps, 1)) if recurrent else (1, rows)
            self.operators.append(
                Operator(
                    kind="matrix_product", count=count, macs=each * columns * length,
                    input_elements=each * length, output_elements=each * columns,
                    weight_elements=columns * length, gemm_m=each, gemm_n=columns, gemm_k=length,
                )
            )  # fmt: skip

    def _each(self, elements: int) -> int:
        """A number of elements of the whole batch, per sample."""
        return round(elements / self.batch)


@contextmanager
def _whole_attention(recorder: _Recorder) -> Iterator[None]:
    """Note calls of scaled_dot_product_attention before PyTorch takes them apart."""
    original = functional.scaled_dot_product_attention

    def noted(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        recorder.paused = True
        output = original(query, key, value, *args, **kwargs)
        recorder.paused = False
        recorder.attention(query, key, value, output)
        return output

    functional.scaled_dot_product_attention = noted
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


@contextmanager
def _whole_lstm(recorder: _Recorder) -> Iterator[None]:
    """Note an LSTM as devices run it: one product for all inputs, one for each step of the recurrence."""
    original = torch._VF.lstm  # noqa: SLF001 - what nn.LSTM calls

    def noted(*args: Any) -> Any:  # noqa: ANN401 - PyTorch's own signature
        recorder.paused = True
        results = original(*args)
        recorder.paused = False
        if isinstance(args[2], list):  # a padded batch; packed sequences stay as they are dispatched
            recorder.recurrence(args[0], args[2], steps=args[0].shape[1 if args[8] else 0], output=results[0])
        return results

    torch._VF.lstm = noted  # type: ignore[assignment]  # noqa: SLF001 - as above
    try:
        yield
    finally:
        torch._VF.lstm = original  # noqa: SLF001 - as above


def _as_product(
    name: str, args: tuple[Any, ...], output: Tensor
) -> tuple[OperatorKind, int, int, int, int] | None:
    """Kind, rows of the whole batch, columns, length and groups of an operator that multiplies."""
    if name == "convolution":
        weight, groups = args[1], args[8]
        pixels = output.numel() // output.shape[1]
        columns, length = weight.shape[0] // groups, math.prod(weight.shape[1:])
        if args[6]:  # transposed: each input pixel is multiplied, and the weight is in x out
            pixels = args[0].numel() // args[0].shape[1]
            columns, length = math.prod(weight.shape[1:]), weight.shape[0] // groups
        kind: OperatorKind = "convolution"
        if groups > 1:
            kind = "depthwise_convolution" if weight.shape[1] == 1 else "grouped_convolution"
        return kind, pixels, columns, length, groups
    if name in {"mm", "addmm"}:
        left, right = args[-2:]
        return "matrix_product", left.shape[0], right.shape[1], left.shape[1], 1
    if name in {"bmm", "baddbmm"}:
        left, right = args[-2:]
        return "attention", left.shape[1], right.shape[2], left.shape[2], left.shape[0]
    return None


def _window(name: str, args: tuple[Any, ...]) -> int:
    """Positions of the window of a pooling."""
    if name not in {"max_pool2d_with_indices", "avg_pool2d"}:
        return 1
    sides = args[1] if len(args[1]) > 1 else args[1] * 2
    return int(math.prod(sides))


def kind(func: Any, args: tuple[Any, ...]) -> OperatorKind:  # noqa: ANN401 - an operator
    """The kind of a dispatched operator, be it of the forward or of the backward pass."""
    name = func._schema.name.removeprefix("aten::").rstrip("_")  # noqa: SLF001 - as above
    backward = name.endswith("_backward")
    name = name.removesuffix("_backward")
    if name == "convolution":
        weight, groups = (args[2], args[9]) if backward else (args[1], args[8])
        if groups == 1:
            return "convolution"
        return "depthwise_convolution" if weight.shape[1] == 1 else "grouped_convolution"
    if "attention" in name:
        return "attention"
    product = _as_product(name, args, args[0]) if not backward else None
    return product[0] if product else "activation" if name == "threshold" else _memory_kind(name)


def _memory_kind(name: str) -> OperatorKind:
    """The kind of an operator whose time goes into reading and writing."""
    if name == "embedding":
        return "embedding"
    if name.startswith(_LOSS):
        return "loss"
    if any(word in name for word in _NORMALISATION):
        return "normalisation"
    if "softmax" in name:
        return "softmax"
    if any(word in name for word in _LAYER_NORMALISATION):
        return "layer_normalisation"
    if name in _ACTIVATION:
        return "activation"
    if any(word in name for word in _POOLING):
        return "pooling"
    return "copy" if any(word in name for word in _COPY) else "element_wise"


def is_view(func: Any, read: list[Tensor], written: list[Tensor]) -> bool:  # noqa: ANN401 - an operator
    """Whether the result shares its memory with an argument and nothing was written to it."""
    if func._schema.is_mutable:  # noqa: SLF001 - PyTorch has no other name for it
        return False
    return {_storage(tensor) for tensor in written} <= {_storage(tensor) for tensor in read}


def tensors(tree: Any) -> list[Tensor]:  # noqa: ANN401 - arguments of any operator
    """The tensors anywhere in a tree of arguments or results."""
    return [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: Tensor) -> int:
    """What identifies the memory of a tensor; also meta tensors have one."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - data_ptr is 0 on meta
