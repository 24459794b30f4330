"""Make the operator lists of the catalog: torchvision's classification models, and timm's if installed.

    pip install torchvision "timm==0.6.13"
    python benchmarks/operator_lists.py sim/catalog/models

timm (Apache-2.0) is only a tool here: what is stored are shapes. Version 0.6.13 is the one closest to the
runs of its published benchmark tables. With ``--also-at FILE``, a CSV with columns model and img_size,
networks are traced at those sizes too. A network that cannot be built is named on stderr and left out.
"""

import argparse
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
import torchvision
from torch import Tensor, nn

from sim.perf.operators import MULTIPLYING, Model, ModelFamily, Operator
from train.operators import trace

warnings.filterwarnings("ignore")  # other people's deprecations
COLUMNS = [name for name in Operator.model_fields if name != "kind"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--also-at", type=Path)
    wanted = arguments.parse_args()
    models = list(of_torchvision())
    also = sizes(wanted.also_at) if wanted.also_at else {}
    models += of_timm(also)
    write(models, wanted.folder)


def of_torchvision() -> Iterator[tuple[str, int, Model]]:
    source = f"torchvision {torchvision.__version__.partition('+')[0]}"
    for name in torchvision.models.list_models(torchvision.models):
        size = 299 if name == "inception_v3" else 224
        options = {"init_weights": False} if name in {"inception_v3", "googlenet"} else {}
        module = built(torchvision.models.get_model_builder(name), options)
        yield source, size, described(f"torchvision/{name}", module, size)


def of_timm(also: dict[str, set[int]]) -> Iterator[tuple[str, int, Model]]:
    stand_in_for_inplace_abn()
    try:
        import timm  # noqa: PLC0415 - optional
    except ModuleNotFoundError:
        print("timm is not installed: its models are left out", file=sys.stderr)
        return
    for name in timm.list_models():
        own = timm.models.get_pretrained_cfg_value(name, "input_size") or (3, 224, 224)
        for size in sorted({own[-1]} | also.get(name, set())):
            try:
                module = built(partial(timm.create_model, name), {"img_size": size}, {})
                yield f"timm {timm.__version__}", size, described(name, module, size)
            except (
                RuntimeError,
                NotImplementedError,
                ImportError,
                TypeError,
                AssertionError,
                ValueError,
            ) as error:
                print(f"{name} at {size}: {str(error).splitlines()[0]}", file=sys.stderr)


def built(build: Callable[..., nn.Module], *choices: dict[str, object]) -> nn.Module:
    """A network on meta tensors, with the first options it knows; made on the CPU where it needs numbers."""
    for device in ("meta", "cpu"):
        for options in choices:
            try:
                with torch.device(device), numbers_stay_numbers():
                    return build(**options).to("meta")
            except TypeError:
                continue
            except (RuntimeError, NotImplementedError):
                break
    raise RuntimeError("cannot be built")


class numbers_stay_numbers:  # noqa: N801 - reads as a sentence
    """Drop-path rates are made with linspace and read as numbers, which meta tensors cannot give."""

    def __enter__(self) -> None:
        self.original = torch.linspace
        torch.linspace = lambda *args, **named: self.original(*args, **{"device": "cpu", **named})

    def __exit__(self, *_: object) -> None:
        torch.linspace = self.original


def stand_in_for_inplace_abn() -> None:
    """TResNet asks for a CUDA extension; normalisation and activation have the same shapes."""

    def inplace_abn(x: Tensor, *args: Any) -> Tensor:  # noqa: ANN401 - weight, bias, mean, var, training, ...
        x = nn.functional.batch_norm(x, args[2], args[3], args[0], args[1], *args[4:7])
        return nn.functional.leaky_relu(x, args[8]) if args[7] == "leaky_relu" else x

    package, functions = types.ModuleType("inplace_abn"), types.ModuleType("inplace_abn.functions")
    functions.inplace_abn = functions.inplace_abn_sync = inplace_abn
    sys.modules |= {"inplace_abn": package, "inplace_abn.functions": functions}


def described(name: str, module: nn.Module, size: int) -> Model:
    operators = trace(module.train(), torch.empty(2, 3, size, size, device="meta"))
    return Model(
        name=name,
        family=family(operators),
        parameters=sum(weight.numel() for weight in module.parameters()),
        buffers=sum(buffer.numel() for buffer in module.buffers()),
        input_shape=(3, size, size),
        operators=operators,
    )


def family(operators: tuple[Operator, ...]) -> ModelFamily:
    """By what multiplies: convolutions, attention, both, or neither."""
    macs = {kind: sum(o.count * o.macs for o in operators if o.kind == kind) for kind in MULTIPLYING}
    convolutions = sum(amount for kind, amount in macs.items() if "convolution" in kind) / sum(macs.values())
    if convolutions > 0.8:
        return "cnn"
    if macs["attention"]:
        return "hybrid" if convolutions > 0.2 else "transformer"
    return "mlp" if convolutions < 0.2 else "cnn"


def sizes(table: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, size in pl.read_csv(table, columns=["model", "img_size"]).drop_nulls().unique().iter_rows():
        found.setdefault(name, set()).add(size)
    return found


def write(models: list[tuple[str, int, Model]], folder: Path) -> None:
    """One row a network in models.csv, one row a distinct operator in operators.parquet."""
    folder.mkdir(exist_ok=True)
    pl.DataFrame(
        [
            {"model": m.name, "image_size": size, "family": m.family, "parameters": m.parameters,
             "buffers": m.buffers, "macs": m.macs, "source": source}
            for source, size, m in models
        ]
    ).write_csv(folder / "models.csv")  # fmt: skip
    rows = [
        {"model": m.name, "image_size": size, "kind": o.kind} | {name: getattr(o, name) for name in COLUMNS}
        for _, size, m in models
        for o in m.operators
    ]
    text = {"model": pl.Categorical, "kind": pl.Categorical}
    counts = dict.fromkeys(COLUMNS, pl.Int64) | {"image_size": pl.Int32}
    pl.DataFrame(rows).cast(text | counts).write_parquet(
        folder / "operators.parquet", compression="zstd", compression_level=19, row_group_size=4096
    )
    print(f"{len(models)} networks, {len(rows)} operators")


if __name__ == "__main__":
    main()
