"""What the user wrote: a fleet, who uses it, how it is scheduled, and the jobs that will come.

``load`` reports every fault of a scenario file at once, each with its line, what was written, what was
expected and the nearest valid name. ``dump`` writes a scenario with all its defaults, and that loads as an
equal one; ``moved`` makes it one for a file in another folder.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, model_validator
from ruamel.yaml import YAML

from sim import agreement, document, reference_page, units, wording
from sim.blocking import BLOCKING
from sim.checkpoints import CheckpointRule
from sim.document import Document, dotted
from sim.errors import Fault, ScenarioError
from sim.failures import Failures
from sim.fleet import Fleet, Pool, Tenant
from sim.network import Network, Store, TrafficRule
from sim.objectives import Objective
from sim.parts import FROM_TEXT, Name, Part, PositiveSeconds, Seconds
from sim.placement import PLACEMENT
from sim.policies import POLICIES
from sim.power import Power
from sim.scheduler import SchedulerSpec
from sim.workloads import Synthetic, TraceFile, Training, TrainingSteps, Workload

__all__ = [
    "Fleet",
    "Objective",
    "Pool",
    "Scenario",
    "Tenant",
    "Workload",
    "dump",
    "json_schema",
    "load",
    "moved",
    "reference",
]

FILE_FIELDS = ("path", "device", "model", "teacher", "log")
"""Fields that may name a file."""
SHORT_FORMS: Mapping[str, Mapping[str, Any]] = {
    "order": POLICIES,
    "blocking": BLOCKING,
    "placement": PLACEMENT,
}
"""Fields of the scheduler where a kind may stand alone: ``order: fifo`` for ``order: {kind: fifo}``."""


class Scenario(Part):
    """One question to the planner: these jobs on this fleet under this scheduler."""

    name: Name = Field(description="heads the report")
    description: str = Field("", description="what the scenario is to show")
    seed: int = Field(0, ge=0, lt=2**63, description="fixes every random draw: same seed, same results")
    horizon: PositiveSeconds | None = Field(
        None, description="when the simulation ends; left out, when the last job has ended"
    )
    warm_up: Seconds = Field(
        0.0, description="time at the start that no metric counts, until the fleet is in use"
    )
    fleet: Fleet = Field(description="the hardware")
    tenants: tuple[Tenant, ...] = Field((), description="who shares the fleet, with weights and quotas")
    scheduler: SchedulerSpec = Field(description="who runs next, where, and on whose GPUs")
    workloads: tuple[Workload, ...] = Field(min_length=1, description="the jobs that will be submitted")
    network: Network | None = Field(None, description="how nodes reach one another and the stores")
    stores: tuple[Store, ...] = Field((), description="file systems and object stores that jobs share")
    traffic: tuple[TrafficRule, ...] = Field(
        (), description="what jobs send and read while they work; the first that fits a job counts"
    )
    checkpoints: tuple[CheckpointRule, ...] = Field(
        (), description="which jobs save their work, how often and at what cost; the first that fits counts"
    )
    failures: Failures | None = Field(
        None, description="what fails, and who repairs it; left out, nothing does"
    )
    power: Power | None = Field(
        None, description="what nodes draw and energy costs; left out, it is not told"
    )
    objectives: tuple[Objective, ...] = Field((), description="what the fleet must achieve")

    @property
    def is_physical(self) -> bool:
        """Whether more than the scheduler decides how long jobs hold their GPUs."""
        limited = self.power is not None and self.power.limits
        return self.failures is not None or bool(self.checkpoints or self.traffic) or limited

    @model_validator(mode="after")
    def _parts_agree(self, info: ValidationInfo) -> Self:
        """Parts that contradict one another; from a file, ``load`` tells the same faults with their lines."""
        if not (info.context or {}).get("from_text"):
            found = agreement.disagreements(_draft(self))
            faults = [f"{dotted(place)}: {message}" for place, message in found]
            if faults:
                raise ValueError("; ".join(faults))
        return self


def load(path: Path, overrides: Sequence[str] = (), *, thorough: bool = False) -> Scenario:
    """The scenario of a YAML file, with ``field.inner=value`` settings laid over it.

    Raises ScenarioError, which lists every fault with its line; PlanError if there is no such file. A path
    in ``overrides`` is relative to the current folder, as users of a command line expect; one in the file is
    relative to the folder of the file. ``thorough`` also tries every training on every number of GPUs that it
    may have, which takes a moment.
    """
    read = document.read(Path(path))
    _expand_short_forms(read.values)
    for setting in overrides:
        document.override(read, setting)
        _expand_short_forms(read.values)
    _rebase_set_paths(read)
    scenario, faults = _validate(read)
    faults = read.faults + faults
    if thorough and scenario is not None and not faults:
        faults = _impossible_trainings(read, scenario, Path(path).parent)
    if scenario is None or faults:
        raise ScenarioError(
            str(path), sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
        )
    return scenario


def _impossible_trainings(read: Document, scenario: Scenario, folder: Path) -> list[Fault]:
    """Trainings that cannot run on the GPUs that their workload asks for."""
    return [
        read.fault(("workloads", place, "duration"), message)
        for place, workload in enumerate(scenario.workloads)
        if isinstance(workload, Synthetic)
        for message in workload.impossible(folder)
    ]


def dump(scenario: Scenario) -> str:
    """The scenario as YAML, all defaults written out; ``load`` makes an equal scenario of it."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    text = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json", by_alias=True), text)
    return text.getvalue()


def moved(scenario: Scenario, old: Path, new: Path) -> Scenario:
    """The scenario for a file in another folder: relative paths lead from there to the same files."""
    changes: dict[str, object] = {
        "workloads": tuple(_moved(workload, old, new) for workload in scenario.workloads)
    }
    failures = scenario.failures
    if failures is not None and failures.log is not None and not failures.log.is_absolute():
        changes["failures"] = failures.model_copy(update={"log": _seen_from(new, old / failures.log)})
    return scenario.model_copy(update=changes)


def _moved(part: Part, old: Path, new: Path) -> Part:
    """A part with the ways to its log and its device, if it reads them, and with those in its own parts."""
    changes: dict[str, object] = {
        name: _moved(inner, old, new) for name, inner in part if isinstance(inner, Part)
    }
    if isinstance(part, TraceFile) and not part.path.is_absolute():
        changes["path"] = _seen_from(new, old / part.path)
    if isinstance(part, TrainingSteps) and _is_relative_file("device", part.device):
        changes["device"] = _seen_from(new, old / part.device).as_posix()
    if isinstance(part, Training):
        for name in ("model", "teacher"):
            written = getattr(part, name)
            if written is not None and _is_relative_file(name, written):
                changes[name] = _seen_from(new, old / written).as_posix()
    return part.model_copy(update=changes)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario file, for editors and for checks elsewhere."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    groups = schema["$defs"]
    groups["Pool"]["required"] = ["name", "nodes"]
    groups["Pool"]["anyOf"] = [{"required": ["node"]}, {"required": ["gpus_per_node"]}]
    for group in groups.values():
        if "const" in group.get("properties", {}).get("kind", {}):
            group["required"] = ["kind", *(name for name in group.get("required", ()) if name != "kind")]
    groups["Synthetic"]["properties"]["estimate"]["anyOf"].insert(0, {"const": "exact"})
    _allow_plain_values(schema, groups)
    for name, registry in SHORT_FORMS.items():
        full = schema["$defs"]["SchedulerSpec"]["properties"][name]
        about = {key: full.pop(key) for key in ("default", "description", "title") if key in full}
        if isinstance(about.get("default"), dict) and len(about["default"]) == 1:
            about["default"] = about["default"]["kind"]
        schema["$defs"]["SchedulerSpec"]["properties"][name] = {
            "anyOf": [{"enum": list(registry.keys()), "type": "string"}, full],
            **about,
        }
    _write_defaults_as_text(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference() -> str:
    """The reference of scenario files as a Markdown page, generated from the schema."""
    return reference_page.render(json_schema())


def _allow_plain_values(schema: Any, groups: Mapping[str, Any]) -> None:  # noqa: ANN401 - a JSON tree
    """Where a distribution is wanted, the value alone is short for the one that is always that value."""
    if isinstance(schema, list):
        for item in schema:
            _allow_plain_values(item, groups)
    elif isinstance(schema, dict):
        for item in schema.values():
            _allow_plain_values(item, groups)
        fixed = schema.get("discriminator", {}).get("mapping", {}).get("fixed")
        if fixed is not None:
            value = groups[fixed.rpartition("/")[2]]["properties"]["value"]
            plain = {key: part for key, part in value.items() if key not in {"description", "title"}}
            about = {key: schema.pop(key) for key in ("description", "title") if key in schema}
            choice = dict(schema)
            schema.clear()
            schema.update({"anyOf": [plain, choice], **about})


def _write_defaults_as_text(schema: Any) -> None:  # noqa: ANN401 - a JSON tree
    """Defaults of quantities as a user would write them: "30 min", not 1800.0."""
    if isinstance(schema, list):
        for item in schema:
            _write_defaults_as_text(item)
    elif isinstance(schema, dict):
        dimension = schema.get("x-dimension")
        default = schema.get("default")
        if dimension not in (None, "fraction") and isinstance(default, int | float):
            schema["default"] = units.format_si(default, dimension)
        for item in schema.values():
            _write_defaults_as_text(item)


def _expand_short_forms(values: dict[str, Any]) -> None:
    scheduler = values.get("scheduler")
    if isinstance(scheduler, dict):
        for name in SHORT_FORMS:
            if isinstance(scheduler.get(name), str):
                scheduler[name] = {"kind": scheduler[name]}


def _rebase_set_paths(read: Document) -> None:
    """Files set on the command line, seen from the folder of the scenario."""
    for location in read.settings:
        alone = location[-1] in FILE_FIELDS
        holder = read.at(location[:-1] if alone else location)
        for inner in _holders_of_files(holder, deeper=not alone):
            for name in FILE_FIELDS if not alone else (str(location[-1]),):
                value = inner.get(name)
                if isinstance(value, str) and _is_relative_file(name, value):
                    inner[name] = _seen_from(read.path.parent, Path(value)).as_posix()


def _is_relative_file(field: str, value: str) -> bool:
    """Whether a field names a file by a relative path; a device may also be one of the catalog."""
    is_file = field in ("path", "log") or Path(value).suffix in {".yaml", ".yml", ".json"}
    return bool(value) and is_file and not Path(value).is_absolute()


def _holders_of_files(value: Any, *, deeper: bool) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - plain values of any shape
    """The groups of fields that name a file: this one, and where asked for those in it."""
    if isinstance(value, dict) and any(isinstance(value.get(name), str) for name in FILE_FIELDS):
        yield value
    if deeper and isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders_of_files(inner, deeper=True)


def _seen_from(folder: Path, path: Path) -> Path:
    """The way from a folder to a file; links are followed first, as when the system opens the file."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve()))


def _draft(scenario: Scenario) -> agreement.Draft:
    return agreement.Draft(**{name: getattr(scenario, name) for name in agreement.CHECKED})


def _validate(read: Document) -> tuple[Scenario | None, list[Fault]]:
    """The scenario and the faults in it: first each part by itself, then the parts against one another."""
    try:
        scenario = Scenario.model_validate(_frozen(read.values), strict=True, context=FROM_TEXT)
    except ValidationError as error:
        found = wording.faults(error.errors(include_url=False), read, Scenario)
        return None, found + _located(read, _sound_parts(read))
    return scenario, _located(read, _draft(scenario))


def _frozen(value: Any) -> Any:  # noqa: ANN401 - plain values of any shape
    """Plain values with tuples for lists: frozen models hold tuples, and strict types want what is held."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value


def _sound_parts(read: Document) -> agreement.Draft:
    draft = agreement.Draft()
    for name in agreement.CHECKED:
        info = Scenario.model_fields[name]
        if name not in read.values:
            setattr(draft, name, None if info.is_required() else info.default)
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
        try:
            written = _frozen(read.values[name])
            setattr(draft, name, adapter.validate_python(written, strict=True, context=FROM_TEXT))
        except ValidationError:
            draft.unsound.add(name)
    return draft


def _located(read: Document, draft: agreement.Draft) -> list[Fault]:
    return [read.fault(location, message) for location, message in agreement.disagreements(draft)]
