"""The profile file: JSON with its format, version and checksum, written whole or not at all."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sim import document, wording
from sim.errors import Fault, ProfileError
from sim.parts import Part
from sim.perf.operators import Model
from sim.profile.machine import Machine
from sim.profile.rows import (
    CheckpointRow,
    CollectiveRow,
    HostToDeviceRow,
    InferenceRow,
    LoaderRow,
    Row,
    StorageRow,
    TrainingRow,
)

FORMAT = "dcplan-profile"
VERSION = 1
"""Number of the format; raised when a file of before could not be read any more."""

AGAIN = "measure again with dcplan profile"


class Profile(Part):
    """All that a sweep measured on one machine."""

    format: Literal["dcplan-profile"] = "dcplan-profile"
    version: Literal[1] = 1
    checksum: str | None = Field(None, description="of all else in the file; shows an edit by hand")
    command: str = Field("", description="what made the file")
    started: str = Field("", description="date and time, ISO 8601")
    elapsed_s: float = Field(0.0, ge=0)
    seed: int = Field(0, ge=0, description="of the order of the configurations in each pass")
    quick: bool = False
    complete: bool = Field(True, description="false: interrupted, what was measured until then")
    machine: Machine
    models: dict[str, Model] = Field({}, description="what the models compute, by name")
    training: tuple[TrainingRow, ...] = ()
    inference: tuple[InferenceRow, ...] = ()
    loader: tuple[LoaderRow, ...] = ()
    storage: tuple[StorageRow, ...] = ()
    checkpoint: tuple[CheckpointRow, ...] = ()
    host_to_device: tuple[HostToDeviceRow, ...] = ()
    collectives: tuple[CollectiveRow, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Everything that was measured, training first."""
        return (
            *self.training,
            *self.inference,
            *self.loader,
            *self.storage,
            *self.checkpoint,
            *self.host_to_device,
            *self.collectives,
        )


def read(path: Path) -> Profile:
    """The profile in a file; ProfileError with every fault if it is not one, or is not as it was measured."""
    tree = _tree(path)
    _check_version(path, tree)
    try:
        profile = Profile.model_validate(tree)
    except ValidationError as error:
        lines = document.read(path)
        raise ProfileError(str(path), wording.faults(error.errors(), lines, Profile)) from None
    if profile.checksum is not None and profile.checksum != checksum(tree):
        edited = (
            f"the file was changed after it was measured; {AGAIN}, or take this line out if the edit is meant"
        )
        raise ProfileError(str(path), [Fault(_line(path, '"checksum"'), "checksum", edited)])
    return profile


def write(profile: Profile, path: Path) -> None:
    """Write the file whole or not at all, so that a reader never meets half of one."""
    tree = profile.model_dump(mode="json", exclude={"checksum"})
    tree |= {"checksum": checksum(tree)}
    beside = path.with_name(f".{path.name}.writing")
    try:
        try:
            with beside.open("w", encoding="utf-8") as out:
                out.write(_text(tree) + "\n")
                out.flush()
                os.fsync(out.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(str(path), [Fault(None, "", f"cannot be written: {error.strerror}")]) from error


def checksum(tree: dict[str, Any]) -> str:
    """Hash of what a file says, not of how it is laid out; the checksum itself left out."""
    rest = {name: value for name, value in tree.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of profile files."""
    return Profile.model_json_schema(mode="serialization")


def _tree(path: Path) -> dict[str, Any]:
    """The values of a JSON file."""
    try:
        tree = json.loads(path.read_text("utf-8"))
    except OSError as error:
        fault = Fault(None, "", f"cannot be read: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError:
        fault = Fault(None, "", f"the file is not text, so no profile; {AGAIN}")
    except json.JSONDecodeError as error:
        fault = Fault(
            error.lineno, "", f"not JSON ({error.msg.lower()}): the file is cut or damaged; {AGAIN}"
        )
    except RecursionError:
        fault = Fault(1, "", "not usable: nested too deeply")
    else:
        if isinstance(tree, dict):
            return tree
        fault = Fault(1, "", "the file must hold a profile, not a list or a single value")
    raise ProfileError(str(path), [fault])


def _check_version(path: Path, tree: dict[str, Any]) -> None:
    """Refuse what is no profile, or one of another version, before looking for faults in it."""
    if tree.get("format") != FORMAT:
        message = f'the file is no profile of dcplan: "format" is not "{FORMAT}"'
        raise ProfileError(str(path), [Fault(_line(path, '"format"'), "format", message)])
    if tree.get("version") != VERSION:
        message = f"this is version {tree.get('version')} and this dcplan reads version {VERSION}; {AGAIN}"
        raise ProfileError(str(path), [Fault(_line(path, '"version"'), "version", message)])


def _line(path: Path, word: str) -> int:
    """The first line with a word, or 1."""
    lines = path.read_text("utf-8").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if word in line), 1)


def _text(tree: object, indent: str = "\n") -> str:
    """JSON with each field on a line of its own, but plain lists, such as times, on one."""
    inner = f"{indent} "
    if isinstance(tree, dict) and tree:
        fields = (f"{json.dumps(name)}: {_text(value, inner)}" for name, value in tree.items())
        return f"{{{inner}{f',{inner}'.join(fields)}{indent}}}"
    if isinstance(tree, list) and any(isinstance(value, dict | list) for value in tree):
        return f"[{inner}{f',{inner}'.join(_text(value, inner) for value in tree)}{indent}]"
    return json.dumps(tree, ensure_ascii=False, allow_nan=False)
