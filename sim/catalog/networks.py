"""Neural networks that are known by name: their operator lists, made by ``benchmarks/operator_lists.py``.

``models/models.csv`` has a line for each network and image size, ``models/operators.parquet`` the operators.
"""

import re
from functools import cache
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

import polars as pl

from sim.errors import PlanError, hint
from sim.perf.operators import Model, Operator

SCALED_TWICE = ("attention", "softmax")
"""Kinds whose work grows with the square of the number of pixels, as every patch looks at every other."""


def network(name: str, image_size: int | None = None) -> Model:
    """A network by name, ``resnet50`` or ``torchvision/resnet50``, at its own image size or at another.

    At a size that was not traced, its operators are those of the nearest size, with their work scaled by the
    number of pixels. Raises PlanError with the nearest names when there is none of that name.
    """
    known = _known()
    found = known.filter(pl.col("model") == _listed(name))
    size = image_size or int(found["image_size"][0])
    nearest = int(found.sort((pl.col("image_size") - size).abs())["image_size"][0])
    model = _read(str(found["model"][0]), nearest)
    return model if nearest == size else _resized(model, size)


def network_names() -> tuple[str, ...]:
    """Every network of the catalog, by name."""
    return tuple(_known()["model"].unique().sort())


def most_like(macs: float, parameters: float) -> Model:
    """The network with about as many multiply-accumulates and parameters."""
    away = (pl.col("macs") / macs).log().abs() + (pl.col("parameters") / parameters).log().abs()
    found = _known().sort(away).row(0, named=True)
    return _read(found["model"], found["image_size"])


def has_network(name: str) -> bool:
    """Whether the catalog has a network of that name, in any spelling."""
    return _spelled(name) is not None


def _listed(name: str) -> str:
    spelled = _spelled(name)
    if spelled is None:
        raise PlanError(f'"{name}" is not a network of the catalog; {hint(name, network_names())}')
    return spelled


def _spelled(name: str) -> str | None:
    """The catalog's spelling; tables write ``se-resnext101-32x4d`` for ``seresnext101_32x4d``."""
    plain = name.lower().replace("-", "_")
    short = plain.replace("se_resnext", "seresnext").replace("efficientnetv2_s", "tf_efficientnetv2_s")
    names = frozenset(network_names())
    recipe = re.sub(r"_(hnf|ols|in22k|miil|ns|ap)$", "", plain)
    choices = (name, plain, short.replace("tf_tf_", "tf_"), recipe, f"torchvision/{plain}")
    return next((choice for choice in choices if choice in names), None)


@cache
def _known() -> pl.DataFrame:
    return pl.read_csv(_folder().joinpath("models.csv").read_bytes())


@cache
def _read(name: str, image_size: int) -> Model:
    with as_file(_folder().joinpath("operators.parquet")) as path:
        mine = (pl.col("model") == name) & (pl.col("image_size") == image_size)
        rows = pl.scan_parquet(path).filter(mine).drop("model", "image_size").collect()
    about = _known().row(by_predicate=mine, named=True)
    return Model(
        name=name,
        family=about["family"],
        parameters=about["parameters"],
        buffers=about["buffers"],
        input_shape=(3, image_size, image_size),
        operators=tuple(Operator.model_validate(row) for row in rows.iter_rows(named=True)),
    )


def _folder() -> Traversable:
    return files(__package__) / "models"


def _resized(model: Model, image_size: int) -> Model:
    """The same network on images of another size."""
    factor = (image_size / model.input_shape[-1]) ** 2
    operators = tuple(_scaled(operator, factor) for operator in model.operators)
    return model.model_copy(update={"input_shape": (3, image_size, image_size), "operators": operators})


def _scaled(operator: Operator, factor: float) -> Operator:
    """An operator with its work times a factor; a layer after the last pooling keeps its one row."""
    if operator.kind == "matrix_product" and operator.gemm_m == 1:
        return operator
    work = factor**2 if operator.kind in SCALED_TWICE else factor
    fields = (
        "macs",
        "input_elements",
        "output_elements",
        "wide_input_elements",
        "wide_output_elements",
        "gemm_m",
    )
    changed = {
        name: max(round(getattr(operator, name) * work), min(getattr(operator, name), 1)) for name in fields
    }
    if operator.kind == "attention":
        changed["gemm_m"] = round(operator.gemm_m * factor)
        changed["gemm_n"] = round(operator.gemm_n * factor)
        changed["macs"] = operator.groups * changed["gemm_m"] * changed["gemm_n"] * operator.gemm_k
    elif operator.macs:
        changed["macs"] = operator.groups * changed["gemm_m"] * operator.gemm_n * operator.gemm_k
    return operator.model_copy(update=changed)
