"""Weights in 8 bits, and activations too where the CPU can compute with them.

Weights are scaled by output channel, activations by layer, as far as they were seen to reach on training
data. On CPUs the integer kernels of oneDNN multiply; elsewhere weights are stored in 8 bits and widened.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_WEIGHT = 127
PLAIN: tuple[object, ...] = (1.0, 0, torch.float32, "none", [], "")
"""The kernels' wish for results in 32 bits, without an activation after them."""


class Int8(nn.Module):
    """A linear layer or a convolution with weights in 8 bits."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        self.layer = [layer]
        self.scales = largest_by_output(layer.weight) / LARGEST_WEIGHT
        wide = self.scales.view(-1, *[1] * (layer.weight.dim() - 1))
        self.register_buffer("weight", (layer.weight.detach() / wide).round().to(torch.int8))
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.step = max(high - low, 1e-8) / levels()
        self.zero = min(max(round(-low / self.step), 0), levels())
        self.no_zeros = torch.zeros_like(self.scales, dtype=torch.int32)
        self.packed: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """What the layer gives, up to rounding."""
        if not computes_in_int8(inputs.device):
            return _run(self.layer[0], inputs, self.widened(), self.bias)
        whole = inputs.div(self.step).round_().add_(self.zero).clamp_(0, levels()).to(torch.uint8)
        if isinstance(self.layer[0], nn.Conv2d):
            return self._convolved(self.layer[0], whole)
        return self._multiplied(whole.flatten(0, -2)).view(*whole.shape[:-1], -1)

    def widened(self) -> Tensor:
        """The weights as numbers of 32 bits."""
        weights = torch.as_tensor(self.weight).float()
        return weights * self.scales.view(-1, *[1] * (weights.dim() - 1))

    def _convolved(self, layer: nn.Conv2d, whole: Tensor) -> Tensor:
        form = (list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups)
        if self.packed is None:
            self.packed = torch.ops.onednn.qconv_prepack(
                self.weight, self.scales, self.step, self.zero, *form, list(whole.shape)
            )
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(*self._factors(whole), *form, *PLAIN)
        return result

    def _multiplied(self, whole: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        result: Tensor = torch.ops.onednn.qlinear_pointwise(*self._factors(whole), *PLAIN)
        return result

    def _factors(self, whole: Tensor) -> tuple[object, ...]:
        """Both factors with their scales and zeros, and the bias, as the kernels want them."""
        return (whole, self.step, self.zero, self.packed, self.scales, self.no_zeros, self.bias)


def quantised(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A model whose linear layers and convolutions are now in 8 bits, for the range of these inputs."""
    for name, (low, high) in _ranges(model.eval(), batches).items():
        parent, _, last = name.rpartition(".")
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            setattr(model.get_submodule(parent), last, Int8(layer, low, high))
    return model


def computes_in_int8(device: torch.device) -> bool:
    """Whether there are integer kernels here; else weights are widened before each use."""
    return device.type == "cpu" and hasattr(torch.ops.onednn, "qconv2d_pointwise")


def levels() -> int:
    """The largest 8-bit activation; half as many where products of 8 bits may overflow 16 when added."""
    return 127 if torch.backends.cpu.get_cpu_capability() in {"DEFAULT", "AVX2"} else 255


def largest_by_output(weights: Tensor) -> Tensor:
    """The largest weight, without its sign, of each output."""
    return weights.detach().abs().flatten(1).amax(1).clamp(min=1e-12)


@torch.no_grad()
def _ranges(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, tuple[float, float]]:
    """The least and largest input, and 0, of each layer that can be quantised, by name."""
    seen: dict[str, tuple[float, float]] = {}

    def watch(name: str) -> None:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = seen.get(name, (0.0, 0.0))
            seen[name] = (min(low, inputs[0].min().item()), max(high, inputs[0].max().item()))

        hooks.append(model.get_submodule(name).register_forward_pre_hook(look))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    for name, layer in model.named_modules():
        if _can(layer):
            watch(name)
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    return seen


def _can(layer: nn.Module) -> bool:
    """Whether a layer is one that is called as such: not part of an attention layer, nor oddly padded."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def _run(layer: nn.Linear | nn.Conv2d, inputs: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, weights, bias)
    return functional.conv2d(inputs, weights, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
