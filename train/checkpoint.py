"""A training on disk: written whole or not at all, and read without running anything that is in the file.

A file is written beside its place, brought to the disk, and renamed; whoever is killed meanwhile leaves the
last checkpoint as it was. Files hold tensors, text and numbers only, and `torch.load` is told to refuse more.
"""

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from sim.errors import PlanError
from train import config
from train.config import Recipe
from train.data import Task

FORMAT = "dcplan checkpoint"
VERSION = 1
FILE = "checkpoint.pt"
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    AttributeError,
    TypeError,
    IndexError,
)
"""What torch.load raises for files that are not its own, or were cut or changed."""

CONTENT = {
    "recipe",
    "task",
    "model",
    "optimiser",
    "schedule",
    "scaler",
    "random",
    "sampler",
    "history",
    "stages",
    "best",
}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Put a checkpoint in the place of the last one; PlanError if the disk does not take it."""
    save(path, {"format": FORMAT, "version": VERSION, **content})


def save(path: Path, content: object) -> None:
    """Write a file of torch whole or not at all, so that it is on the disk when this returns."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _settle(path.parent)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise PlanError(f"{path} cannot be written: {error}") from error


def tensors(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """What is in a file of torch, if it is nothing but tensors, text and numbers; else PlanError."""
    try:
        if zipfile.is_zipfile(path) and _has_wrong_checksum(path):
            raise PlanError(f"{path}: is damaged: its checksums do not match; nothing in it was run")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of other kinds of files before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such file") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UNREADABLE:
        raise PlanError(f"{path}: is damaged, or holds more than weights; nothing in it was run") from None


def _has_wrong_checksum(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        return file.testzip() is not None


def read(path: Path) -> dict[str, Any]:
    """A checkpoint that is whole and ours; PlanError, with the reason, for any other file."""
    content = tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PlanError(f"{path}: is not a checkpoint of dcplan; train one, or take start: pretrained")
    if content.get("version") != VERSION:
        raise PlanError(f"{path}: is of version {content.get('version')}, this dcplan reads {VERSION}")
    missing = sorted(CONTENT - content.keys())
    if missing:
        raise PlanError(f"{path}: is damaged: it lacks {', '.join(missing)}")
    checked: dict[str, Any] = content
    return checked


def trained(path: Path) -> tuple[Recipe, Task, dict[str, Tensor]]:
    """What was trained, for what, and its weights, from a checkpoint or the folder of a training."""
    file = path / FILE if path.is_dir() else path
    content = read(file)
    try:
        recipe = config.parse(content["recipe"])
        task = _task(content["task"])
    except (ValidationError, KeyError, TypeError) as error:
        raise PlanError(f"{file}: its recipe cannot be understood: {error}") from error
    best = content["best"]
    return recipe, task, best["model"] if best else content["model"]


def _task(stored: Mapping[str, Any]) -> Task:
    return Task(tuple(stored["shape"]), stored["classes"], tuple(stored["mean"]), tuple(stored["deviation"]))


def _settle(folder: Path) -> None:
    """Bring the new name of a file to the disk as well."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
