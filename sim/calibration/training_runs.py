"""Measured training runs of transformers: a table with one line for each, as ``dcplan validate-model`` reads.

Columns are those of published runs as they were gathered: what was trained, on what, how it was split, and
the time of a step or the tokens a second. What a line leaves out is taken as its software would have it, and
that is told in ``assumed``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim import catalog
from sim.catalog.machines import NVL72, NVL72_DOMAIN, USUAL_FABRIC, machine_of
from sim.catalog.transformers import transformer, transformer_names
from sim.errors import Fault, PlanError, TraceError, hint
from sim.perf.parallel.layouts import RECOMPUTE, Layouts
from sim.perf.parallel.machines import FORMATS, SOFTWARE, Machines
from sim.perf.parallel.shapes import Shapes, shapes
from sim.perf.transformer import Transformer

Floats = NDArray[np.float64]

GPUS: Final[Mapping[str, str]] = {
    "A100-80GB": "a100-sxm4-80gb",
    "A100-40GB": "a100-sxm4-40gb",
    "H100-80GB": "h100-sxm5-80gb",
    "H100-96GB-HBM2e-500W": "h100-hbm2e-96gb",
    "H200": "h200-sxm5-141gb",
    "H800": "h800-sxm5-80gb",
    "B200": "b200-sxm-180gb",
    "GB200": "gb200-gpu-186gb",
    "B300": "b300-sxm-288gb",
    "GB300": "gb300-gpu-279gb",
}
"""Names that tables of runs use, and the catalog's."""
SOFTWARE_OF: Final[Mapping[str, str]] = {
    "Megatron-LM": "megatron",
    "Korthikanti": "megatron",
    "MT-NLG": "megatron",
    "MegaScale": "megatron",
    "GPT-NeoX": "megatron",
    "vTrain": "megatron",
    "BigScience": "megatron",
    "NVIDIA NeMo Launcher 23": "megatron",
    "MosaicML": "fsdp",
    "torchtitan": "torchtitan",
    "OPT-175B": "fsdp",
    "NeuSight": "eager",
}
"""Software by how the name of a source begins; others are of Megatron Core."""
UNKNOWN_GPUS: Final = 2048
UNKNOWN_TENSOR: Final = 8
UNKNOWN_BATCH: Final = 2048
TRAINED_BY_LORA: Final = 0.01
REQUIRED: Final = (
    "source", "quality", "model", "layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab",
    "gated_mlp", "tied_emb", "experts", "topk", "seq_len", "gpu", "num_gpus", "gpus_per_node", "tp", "pp",
    "dp", "cp", "ep", "micro_batch", "global_batch", "precision", "recompute", "zero_stage", "step_time_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runs:
    """Measured runs in arrays, one element each."""

    rows: pl.DataFrame
    shapes: Shapes
    layouts: Layouts
    machines: Machines
    step_s: Floats
    """Measured, or from tokens a second."""
    assumed: tuple[str, ...]

    def __len__(self) -> int:
        """How many."""
        return len(self.step_s)

    def take(self, chosen: NDArray[np.bool_]) -> Runs:
        """Some of them."""
        places = np.flatnonzero(chosen)
        return Runs(
            self.rows[places], self.shapes.take(places), self.layouts.take(places),
            self.machines.take(places), self.step_s[places], tuple(self.assumed[place] for place in places),
        )  # fmt: skip


def read(path: Path) -> Runs:
    """The runs of a table; every line that cannot be read is named with its number.

    Raises PlanError for a file that is not such a table, TraceError for lines with faults.
    """
    try:
        rows = pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlanError(f"{path} cannot be read as a table of runs: {error}") from None
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        raise PlanError(f"{path} has no column {', '.join(missing)}; it must have {', '.join(REQUIRED)}")
    if not rows.height:
        raise PlanError(f"{path} has no runs")
    read_rows, found = [], []
    for number, row in enumerate(rows.iter_rows(named=True), start=2):
        try:
            read_rows.append(_read(row))
        except (PlanError, ValueError, TypeError) as error:
            text = str(error).splitlines()[0] if isinstance(error, PlanError) else _first(error)
            found.append(Fault(number, "", text))
    if found:
        raise TraceError(str(path), found[:10], len(found))
    models, sequences, layout, machine, seconds, assumed = zip(*read_rows, strict=True)
    columns = list(zip(*machine, strict=True))
    return Runs(
        rows, shapes(models, sequences), Layouts(*np.array(layout, dtype=float).T),
        Machines(*(np.array(column) for column in columns)), np.array(seconds), tuple(assumed),
    )  # fmt: skip


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[2] if len(lines) > 2 and "validation error" in lines[0] else lines[0]  # noqa: PLR2004


def _read(  # noqa: C901, PLR0915 - one line after the other, each for what one column may leave out
    row: dict[str, Any],
) -> tuple[Transformer, int, tuple[float, ...], tuple[Any, ...], float, str]:
    assumed = []
    model = _model(row)
    sequence = int(row["seq_len"])
    source = str(row["source"])
    software = next(
        (kind for start, kind in SOFTWARE_OF.items() if source.startswith(start)), "megatron-core"
    )
    software = str(row.get("software") or software)
    if software not in SOFTWARE:
        raise PlanError(f'"{software}" is not software that is known; {hint(software, tuple(SOFTWARE))}')
    gpus = row["num_gpus"]
    if gpus is None:
        gpus = UNKNOWN_GPUS
        assumed.append(f"{UNKNOWN_GPUS} GPUs, tp {UNKNOWN_TENSOR}")
    tp = row["tp"] or UNKNOWN_TENSOR
    pp = row["pp"] or 1
    cp, ep = row["cp"] or 1, row["ep"] or 1
    dp = row["dp"] or gpus / (tp * pp * cp)
    batch = row["global_batch"]
    if batch is None:
        batch = max(UNKNOWN_BATCH, dp)
        assumed.append(f"a batch of {batch:.0f} samples")
    micro = row["micro_batch"]
    if micro is None:
        micro = 1
        assumed.append("micro-batch 1")
    micro_batches = max(1.0, round(batch / (micro * dp)))
    if pp > 1 and micro_batches == 1 and software == "torchtitan":
        # torchtitan states the batch of a replica, which its pipeline splits into single samples
        micro, micro_batches = 1, micro
    virtual = row.get("interleave")
    if virtual is None:
        virtual = max(1, math.floor(model.layers / pp / 2)) if pp > 1 else 1
        assumed.append(f"{virtual} virtual stages")
    again = row["recompute"]
    if again not in RECOMPUTE:
        assumed.append("no recomputation")
        again = "none"
    number_format = row["precision"]
    if number_format not in FORMATS:
        raise PlanError(f'"{number_format}" is not a number format; {hint(str(number_format), FORMATS)}')
    gpu = GPUS.get(row["gpu"], row["gpu"])
    fabric = row.get("inter_node_GBps_per_gpu")
    known = catalog.gpu(gpu).name
    machine = machine_of(
        known, number_format, software, float(NVL72_DOMAIN if known in NVL72 else row["gpus_per_node"]),
        USUAL_FABRIC if fabric is None else fabric * 1e9,
        TRAINED_BY_LORA if row.get("task") == "lora" else 1.0,
    )  # fmt: skip
    seconds = row["step_time_s"]
    if seconds is None:
        rate = row.get("tokens_per_s_per_gpu")
        if not rate:
            raise PlanError("neither step_time_s nor tokens_per_s_per_gpu is given")
        seconds = batch * sequence / (rate * gpus)
    layout = (
        tp, pp, dp, cp, ep, virtual, micro, micro_batches, float(row.get("seq_parallel") or 0),
        RECOMPUTE.index(again), row["zero_stage"] or 0,
    )  # fmt: skip
    if min(gpus, tp, pp, dp, cp, ep, virtual, micro, batch, seconds, sequence) <= 0:
        raise PlanError("sizes, splits and times must be positive")
    return model, sequence, layout, machine, float(seconds), "; ".join(assumed)


def _model(row: dict[str, Any]) -> Transformer:
    """A transformer of the catalog where experts are concerned and it has it, else what the columns say."""
    experts = int(row["experts"] or 0)
    if experts and row["model"].lower() in transformer_names():
        return transformer(row["model"])
    return Transformer.model_validate(
        {
            "name": str(row["model"]), "layers": int(row["layers"]), "hidden": int(row["hidden"]),
            "heads": int(row["heads"]), "kv_heads": int(row["kv_heads"]), "head_dim": int(row["head_dim"]),
            "ffn": int(row["ffn"]), "vocab": int(row["vocab"]), "gated": bool(row["gated_mlp"]),
            "tied": bool(row["tied_emb"]), "experts": experts, "experts_per_token": int(row["topk"] or 0),
            "sequence": int(row["seq_len"]),
        }
    )  # fmt: skip
