"""Hardware that is known by name: one YAML file per GPU, node or store, each number with its source.

A file is read when it is asked for. Unknown hardware is refused, never replaced by a default.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from ruamel.yaml import YAML

from sim.catalog.hardware import Entry, Evidence, GpuType, NodeType, Source, StoreType
from sim.errors import PlanError, hint
from sim.parts import FROM_TEXT

Kind = Literal["gpu", "node", "store"]
_FOLDERS: Mapping[Kind, str] = {"gpu": "gpus", "node": "nodes", "store": "stores"}
_CALLED: Mapping[Kind, str] = {"gpu": "GPU", "node": "node", "store": "store"}
_Kind = TypeVar("_Kind", bound=Entry)


def gpu(name: str) -> GpuType:
    """A GPU type, by its catalog name in any case: ``h100-sxm5-80gb`` or ``H100-SXM5-80GB``.

    Raises PlanError with the nearest names when the catalog has none of that name.
    """
    return _gpu(_known("gpu", name))


def node(name: str) -> NodeType:
    """A node type, by its catalog name in any case: ``dgx-h100`` or ``DGX H100``.

    Raises PlanError with the nearest names when the catalog has none of that name.
    """
    return _node(_known("node", name))


def store(name: str) -> StoreType:
    """A kind of store, by its catalog name in any case: ``lustre-ai400x2t``.

    Raises PlanError with the nearest names when the catalog has none of that name.
    """
    return _store(_known("store", name))


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """The names of all GPUs, nodes or stores, sorted; reads no file."""
    folder = files(__package__) / _FOLDERS[kind]
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir()))


def entries() -> tuple[GpuType | NodeType | StoreType, ...]:
    """All hardware of the catalog: GPUs, then nodes, then stores, by name."""
    return (*map(_gpu, names("gpu")), *map(_node, names("node")), *map(_store, names("store")))


def _known(kind: Kind, name: str) -> str:
    wanted = "-".join(name.lower().replace("_", " ").split())
    if wanted not in names(kind):
        raise PlanError(f'"{name}" is not a {_CALLED[kind]} of the catalog; {hint(wanted, names(kind))}')
    return wanted


@cache
def _gpu(name: str) -> GpuType:
    return _read(GpuType, "gpu", name)


@cache
def _node(name: str) -> NodeType:
    return _read(NodeType, "node", name)


@cache
def _store(name: str) -> StoreType:
    return _read(StoreType, "store", name)


def _read(entry: type[_Kind], kind: Kind, name: str) -> _Kind:
    """One file: ``field: text`` or ``field: {value: text with unit, source: ..., evidence: ...}``."""
    text = (files(__package__) / _FOLDERS[kind] / f"{name}.yaml").read_text("utf-8")
    written: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    figures = {field: dict(value) for field, value in written.items() if isinstance(value, dict)}
    values = written | {field: figure.pop("value") for field, figure in figures.items()}
    return entry.model_validate(values | {"sources": figures}, context=FROM_TEXT)


__all__ = [
    "Entry", "Evidence", "GpuType", "Kind", "NodeType", "Source", "StoreType", "entries", "gpu", "names",
    "node", "store",
]  # fmt: skip
