"""The numbers of the step-time model that measured runs set: what each means and what it is before any run.

All are positive and fitted as logarithms. Where products were measured one by one (matrix products and
attention of A100, H100 and B200 in serving software) the start is that measurement. A number may be
multiplied for a kind of software, a GPU or a format; such factors start at 1 with a narrow spread, so that
what the runs do not tell apart stays common to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.perf.parallel.machines import FORMATS, SOFTWARE, Machines
from sim.perf.step_time import Parameter

Floats = NDArray[np.float64]

FITTED_GPUS: Final = (
    "a100-sxm4-80gb",
    "a100-sxm4-40gb",
    "h100-sxm5-80gb",
    "h100-hbm2e-96gb",
    "h200-sxm5-141gb",
    "h800-sxm5-80gb",
    "b200-sxm-180gb",
    "gb200-gpu-186gb",
    "b300-sxm-288gb",
    "gb300-gpu-279gb",
)
"""GPUs with published runs; others take what these have in common."""
_WASTE: Final[Mapping[str, float]] = {"a": 0.4, "h": 1.0}
"""Waste of generations relative to H100, from products measured one by one; Blackwell and later 1.8."""
LATER: Final = 1.8


def _table() -> tuple[Parameter, ...]:
    found = [
        Parameter("waste", 0.3, 0.5, "time of large products beyond that at the peak rate, as a share of it"),
        Parameter("half_length", 80, 0.3, "length of sums at which products take twice as long"),
        Parameter("half_columns", 40, 0.3, "columns at which they do"),
        Parameter("half_rows", 15, 0.4, "rows at which they do"),
        Parameter("half_tiles", 6, 0.4, "tiles of 128 x 128 at which they do"),
        Parameter("attention", 0.6, 0.2, "rate of fused attention relative to large products"),
        Parameter("attention_backward", 1.0, 0.2, "times 2.5 forward passes of fused attention"),
        Parameter("traffic_hidden", 14, 0.5, "times that a layer moves its hidden activations"),
        Parameter("traffic_inner", 5, 0.7, "times that it moves the outputs of its products"),
        Parameter("traffic_scores", 10, 0.5, "times that it moves scores of attention that is not fused"),
        Parameter("traffic_logits", 6, 0.7, "times that logits are moved, in four bytes"),
        Parameter("traffic_experts", 6, 0.2, "times that what experts read and write is moved"),
        Parameter("traffic_cast", 4, 0.5, "bytes moved to cast an element to 8 bits or fewer"),
        Parameter("kernels", 1.0, 0.25, "times 34 kernels of a layer and pass, or 26 with fused attention"),
        Parameter("host_s", 8e-6, 0.4, "time to launch a kernel"),
        Parameter("step_s", 0.01, 1.0, "time of each step beyond its work"),
        Parameter("scale_up", 0.7, 0.3, "share of the scale-up bandwidth that collectives reach"),
        Parameter("scale_up_s", 6.8e-6, 0.7, "latency of a collective inside a domain before its rounds"),
        Parameter("fabric", 0.6, 0.4, "share of the fabric's bandwidth that collectives reach"),
        Parameter("fabric_s", 60e-6, 0.7, "latency of a hop across the fabric"),
        Parameter("tensor_exposed", 1.0, 0.2, "share of tensor-parallel traffic that is waited for"),
        Parameter("pipeline_exposed", 0.7, 0.5, "share of traffic between stages that is waited for"),
        Parameter("overlap", 1.5, 0.4, "how well gradients hide behind the backward pass; 1 not at all"),
        Parameter("overlap_sharded", 2.5, 0.4, "how well gathered weights hide behind the step"),
        Parameter("update", 30, 0.5, "bytes that a weight moves in an update"),
        Parameter("waiting", 0.01, 0.7, "share by which a step gets longer with each doubling of nodes"),
        Parameter("logit_stage", 0.3, 0.7, "share of the logits that the slowest stage has, in a pipeline"),
        Parameter("experts", 0.75, 0.3, "rate of experts relative to other products"),
        Parameter("expert_kernels", 1.5, 0.3, "times 12 kernels of a layer and 2 of each expert"),
        Parameter("all_to_all", 0.8, 0.4, "share of the bandwidth that exchanges of tokens reach"),
        Parameter("imbalance", 1.1, 0.1, "times the mean that the busiest expert has to do"),
        Parameter("again", 1.0, 0.15, "times a forward pass that full recomputation takes"),
    ]
    for name in SOFTWARE:
        found += [
            Parameter(f"waste:{name}", 1, 0.35, "times the waste, with that software"),
            Parameter(f"host_s:{name}", 1, 0.2, "times the launch, with that software"),
            Parameter(f"traffic:{name}", 1, 0.3, "times the traffic of a layer, with that software"),
            Parameter(f"tensor_exposed:{name}", 1, 0.25, "times that share, with that software"),
            Parameter(f"data_traffic:{name}", 1, 0.3, "times data-parallel traffic, with that software"),
            Parameter(f"fabric:{name}", 1, 0.3, "times that share, with that software"),
        ]
    for gpu in FITTED_GPUS:
        found += [
            Parameter(f"waste:{gpu}", _WASTE.get(gpu[0], LATER), 0.3, "times the waste, on that GPU"),
            Parameter(f"memory:{gpu}", 1, 0.15, "times 0.8 of the memory's rate, on that GPU"),
        ]
    found += [
        Parameter(f"waste:{kind}", 1, 0.15 if kind == "fp16" else 0.35, "times the waste, in that format")
        for kind in FORMATS
        if kind != "bf16"
    ]
    return tuple(found)


PARAMETERS: Final = _table()
NAMES: Final = tuple(parameter.name for parameter in PARAMETERS)
INDEX: Final = {name: place for place, name in enumerate(NAMES)}
START: Final[Floats] = np.log([parameter.start for parameter in PARAMETERS])
SPREAD: Final[Floats] = np.array([parameter.spread for parameter in PARAMETERS])


class Values:
    """Fitted numbers, as the step-time model asks for them: one for all runs, or one for each of them."""

    def __init__(self, logarithms: Floats, machines: Machines) -> None:
        self._values = np.append(np.exp(logarithms), 1.0)
        self._machines = machines

    def __getitem__(self, name: str) -> float:
        """A number that is the same for all."""
        return float(self._values[INDEX[name]])

    def of_software(self, name: str) -> Floats:
        """A factor for each run, by its software."""
        return self._looked_up(name, self._machines.software)

    def of_format(self, name: str) -> Floats:
        """A factor for each run, by its number format."""
        return self._looked_up(name, self._machines.number_format)

    def of_gpu(self, name: str) -> Floats:
        """A factor for each run, by its GPU; for GPUs without runs, what their generation starts with."""
        found = self._looked_up(name, self._machines.gpu)
        if name != "waste":
            return found
        known = np.isin(self._machines.gpu, FITTED_GPUS)
        return (
            found if known.all() else np.where(known, found, [unmeasured(gpu) for gpu in self._machines.gpu])
        )

    def _looked_up(self, name: str, keys: NDArray[np.str_]) -> Floats:
        kinds, which = np.unique(keys, return_inverse=True)
        places = [INDEX.get(f"{name}:{kind}", -1) for kind in kinds]
        return self._values[places][which]


def unmeasured(gpu: str) -> float:
    """Waste of a GPU without runs relative to H100: that of its generation, by its name in the catalog."""
    if gpu.startswith(("a", "v100", "p100", "t4", "quadro")):
        return _WASTE["a"]
    return LATER if gpu.startswith(("b", "gb", "mi3")) else _WASTE["h"]
