"""The folder of a run: written whole or not at all, the same bytes for the same run, read back as results.

A folder is built beside its place under a hidden name and renamed when it is complete, so an interrupt or a
full disk leaves nothing behind. Its manifest says what made it and holds the hash of every file.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import polars as pl

import sim
from sim import scenario
from sim.errors import PlanError, RunFolderError
from sim.results import Results
from sim.workloads import WorkloadJobs

FORMAT = 2
"""Number of the layout; raised when a folder of before could not be read any more."""

MANIFEST = "manifest.json"
SCENARIO = "scenario.yaml"
SUMMARY = "summary.json"
ARRIVALS = "arrivals.parquet"
ROW_GROUP = 131_072
"""Rows of one group of a Parquet file; fixed, so that the bytes do not depend on the machine."""


def check(folder: Path, *, force: bool = False) -> None:
    """Raise RunFolderError if a run could not be written to a folder; to be asked before a long simulation.

    An empty folder will do. One that holds anything else must be a run folder, and `force` allows to replace
    it. Whether something can be written beside it is tried out.
    """
    place = _resolved(folder)
    try:
        _check_place(folder, place, force=force)
        _try_to_write(folder, place)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error.strerror or error}") from error


def _check_place(folder: Path, place: Path, *, force: bool) -> None:
    if not place.exists():
        return
    if not place.is_dir():
        raise RunFolderError(f"{folder} is a file; choose another folder for the results")
    if place.is_mount():
        raise RunFolderError(f"{folder} is where a disk begins; choose a folder in it, {folder / 'run'}")
    if _is_empty(place):
        return
    if not _is_run_folder(place):
        raise RunFolderError(f"{folder} exists and is not a run folder; it is left alone, choose another")
    if not force:
        raise RunFolderError(
            f"{folder} holds an earlier run; choose another folder, or replace it with --force"
        )


def _try_to_write(folder: Path, place: Path) -> None:
    """Make a folder beside the place and take it away again; OSError if that cannot be done."""
    above = next(parent for parent in place.parents if parent.exists())
    if not above.is_dir():
        raise RunFolderError(f"{folder} cannot be written: {above.name} is a file, not a folder")
    _new_folder(above / place.name, "writing").rmdir()


def write(
    results: Results, folder: Path, *, force: bool = False, extra: Mapping[str, str | bytes] | None = None
) -> None:
    """Write a run to a folder, with further files such as the report in `extra`, by name.

    Nothing is left behind if it fails, and a run that is to be replaced stays until the new one is complete.
    Raises RunFolderError if the folder must not be replaced or cannot be written.
    """
    check(folder, force=force)
    place = _resolved(folder)
    try:
        with _parents(place):
            building = _new_folder(place, "writing")
            try:
                for name, content in files(results, extra or {}):
                    (building / name).write_bytes(content)
                _put_in_place(building, place)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written: {error.strerror or error}; nothing was kept"
        ) from error


def files(results: Results, extra: Mapping[str, str | bytes]) -> Iterator[tuple[str, bytes]]:
    """The files of a run by name, the manifest last."""
    hashes = {}
    for name, content in _contents(results, extra):
        hashes[name] = hashlib.sha256(content).hexdigest()
        yield name, content
    yield MANIFEST, _json(_manifest(results, hashes))


def read(folder: Path) -> Results:
    """The run in a folder.

    Raises RunFolderError if there is none, if another version of dcplan wrote it in a way that this one
    cannot read, or if a file is missing or not what was written.
    """
    manifest = _read_manifest(folder)
    _check_layout(folder, manifest)
    found = _Stored(folder, manifest["files"])
    summary = json.loads(found.content(SUMMARY))
    try:
        found.content(SCENARIO)
        wanted = scenario.load(folder / SCENARIO)
    except PlanError as error:
        raise RunFolderError(f"{folder}: its scenario cannot be read:\n{error}") from error
    tables = {name: found.table(f"{name}.parquet") for name in manifest["tables"]}
    workload = WorkloadJobs(
        found.table(ARRIVALS), summary["arrivals"]["left_out"], tuple(summary["arrivals"]["notes"])
    )
    return Results(wanted, workload, tables, summary, tuple(manifest["seeds"]), tuple(summary["notes"]))


class _Stored:
    """The files of a run folder, each checked against its hash before it is used."""

    def __init__(self, folder: Path, hashes: Mapping[str, str]) -> None:
        self.folder = folder
        self.hashes = hashes

    def content(self, name: str) -> bytes:
        """The bytes of a file as they were written."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise RunFolderError(
                f"{self.folder}: {name} cannot be read: {error.strerror or error}"
            ) from error
        if hashlib.sha256(content).hexdigest() != self.hashes.get(name):
            raise RunFolderError(f"{self.folder}: {name} is damaged or was changed; run the scenario again")
        return content

    def table(self, name: str) -> pl.DataFrame:
        """A Parquet file as a table."""
        return pl.read_parquet(io.BytesIO(self.content(name)))


def _contents(results: Results, extra: Mapping[str, str | bytes]) -> Iterator[tuple[str, bytes]]:
    """Every file but the manifest."""
    yield SCENARIO, scenario.dump(results.scenario).encode()
    yield SUMMARY, _summary(results)
    yield "jobs.csv", _csv(results.tables["jobs"])
    yield ARRIVALS, _parquet(results.arrivals.jobs)
    for name, table in results.tables.items():
        yield f"{name}.parquet", _parquet(table)
    for name, content in extra.items():
        yield name, content.encode() if isinstance(content, str) else content


def _manifest(results: Results, hashes: Mapping[str, str]) -> dict[str, Any]:
    """What made the run, without the time and the place, so that the same run has the same manifest."""
    return {
        "format": FORMAT,
        "dcplan": sim.__version__,
        "versions": {"python": python_version()}
        | {name: version(name) for name in ("numpy", "polars", "simpy")},
        "seeds": list(results.seeds),
        "scenario_sha256": hashes[SCENARIO],
        "arrivals_sha256": hashlib.sha256(_csv(results.arrivals.jobs)).hexdigest(),
        "tables": list(results.tables),
        "files": dict(hashes),
    }


def _summary(results: Results) -> bytes:
    """The summary with where its jobs came from."""
    came = {"left_out": dict(results.arrivals.left_out), "notes": list(results.arrivals.notes)}
    return _json({**results.summary, "arrivals": came})


def _json(content: Mapping[str, Any]) -> bytes:
    """JSON for people and programs: keys in their order, floats in the digits that read back the same."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _csv(table: pl.DataFrame) -> bytes:
    return table.write_csv().encode()


def _parquet(table: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    table.rechunk().write_parquet(content, compression="zstd", row_group_size=ROW_GROUP)
    return content.getvalue()


def _resolved(folder: Path) -> Path:
    """The place itself where a link leads to it."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as error:
        raise RunFolderError(f"{folder} cannot be used: {error}") from error


def _check_layout(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise RunFolderError if this version of dcplan cannot read the folder."""
    if manifest["format"] != FORMAT:
        raise RunFolderError(
            f"{folder} was written by dcplan {manifest['dcplan']} in layout {manifest['format']}; "
            f"this is dcplan {sim.__version__}, which reads layout {FORMAT}"
        )
    if not {"files", "tables", "seeds"} <= manifest.keys():
        raise RunFolderError(f"{folder}: {MANIFEST} is damaged; run the scenario again")


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be used: {error.strerror or error}") from error


def _is_run_folder(folder: Path) -> bool:
    try:
        _read_manifest(folder)
    except RunFolderError:
        return False
    return True


def _read_manifest(folder: Path) -> dict[str, Any]:
    """What made the run; RunFolderError if that cannot be told."""
    if not folder.is_dir():
        raise RunFolderError(
            f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise RunFolderError(f"{folder} is not a run folder: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{folder}: {MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not {"dcplan", "format"} <= manifest.keys():
        raise RunFolderError(f"{folder} is not a run folder: its {MANIFEST} is not dcplan's")
    return manifest


@contextmanager
def _parents(place: Path) -> Iterator[None]:
    """Make the folders above a place; those that were not there go again if something goes wrong."""
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


def _new_folder(place: Path, purpose: str) -> Path:
    """A new hidden folder beside a place."""
    number = 0
    while True:
        folder = place.with_name(f".{place.name}.{purpose}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _put_in_place(building: Path, place: Path) -> None:
    """Rename a complete folder to its place; an earlier run goes when the new one is there, or comes back."""
    if not place.exists():
        building.rename(place)
        return
    earlier = _new_folder(place, "earlier")
    try:
        place.rename(earlier)
        building.rename(place)
    except BaseException:
        if not place.exists():
            earlier.rename(place)
        raise
    finally:
        if place.exists():
            shutil.rmtree(earlier, ignore_errors=True)
