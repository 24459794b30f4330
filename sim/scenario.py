"""What the user wrote: a fleet, who uses it, how it is scheduled, and the jobs that will come.

``load`` reports every fault of a scenario file at once, each with its line, what was written, what was
expected and the nearest valid name. ``dump`` writes a scenario with all its defaults, and that loads as an
equal one.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML

from sim import catalog, document, metrics, reference_page, units, wording
from sim.blocking import BLOCKING
from sim.document import Document, Location, dotted
from sim.errors import Fault, PlanError, ScenarioError, hint
from sim.parts import FROM_TEXT, Bytes, Part, PositiveSeconds, Seconds
from sim.placement import PLACEMENT
from sim.policies import POLICIES
from sim.scheduler import SchedulerSpec
from sim.workloads import Workload

Name = Annotated[str, Field(min_length=1, max_length=100)]

METRICS = {
    name: {"s": "s", "GPU h": "gpu_s", "fraction": "fraction"}.get(unit, "number")
    for name, unit in metrics.UNITS.items()
}
"""What an objective may bound, and how that is written: a time, GPU time, a fraction or a bare number."""

SHORT_FORMS: Mapping[str, Mapping[str, Any]] = {
    "order": POLICIES,
    "blocking": BLOCKING,
    "placement": PLACEMENT,
}
"""Fields of the scheduler where a kind may stand alone: ``order: fifo`` for ``order: {kind: fifo}``."""


class Pool(Part):
    """Equal nodes with equal GPUs. What the catalog knows of a node need not be written out."""

    name: Name = Field(description="how the report calls these nodes")
    node: str | None = Field(None, description="node type of the catalog; gives what is not written out")
    gpu: str | None = Field(None, description="GPU type of the catalog")
    gpus_per_node: int = Field(
        gt=0, le=1024, description="GPUs in each node; a node type of the catalog knows it"
    )
    nodes: int = Field(gt=0, le=1_000_000, description="number of nodes")
    nodes_per_rack: int = Field(4, gt=0, description="nodes that share a rack")
    scale_up_gpus: int = Field(
        gt=0,
        description="GPUs in one scale-up domain, joined by fast links; left out, those of one node",
        json_schema_extra={"x-default": "gpus_per_node"},
    )
    cpus_per_node: float | None = Field(
        None, gt=0, description="CPUs that jobs share in a node; left out, jobs are not limited by them"
    )
    memory_per_node: Bytes | None = Field(
        None, description="host memory that jobs share in a node; left out, jobs are not limited by it"
    )
    virtual_cluster: Name | None = Field(
        None, description="a hard partition: only its own tenants use these nodes"
    )
    price_per_gpu_hour: float | None = Field(None, ge=0, description="cost of one GPU for one hour")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_catalog(cls, written: Any) -> Any:  # noqa: ANN401 - whatever the user wrote
        """What the node type says, under what the user says; unknown names are refused by other checks."""
        if not isinstance(written, dict):
            return written
        filled = _node_fields(written.get("node")) | {k: v for k, v in written.items() if v is not None}
        width = filled.get("gpus_per_node")
        filled.setdefault("scale_up_gpus", width if isinstance(width, int) and width > 0 else 1)
        return filled

    @field_validator("node")
    @classmethod
    def _node_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known(catalog.node, name)

    @field_validator("gpu")
    @classmethod
    def _gpu_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known(catalog.gpu, name)

    @model_validator(mode="after")
    def _domains_are_whole(self) -> Self:
        small, large = sorted((self.scale_up_gpus, self.gpus_per_node))
        if large % small:
            raise ValueError(
                f"scale_up_gpus is {self.scale_up_gpus}, which neither divides "
                f"nor is a multiple of the {self.gpus_per_node} GPUs of a node"
            )
        return self

    @property
    def gpus(self) -> int:
        """GPUs of the whole pool."""
        return self.nodes * self.gpus_per_node


def _known(look_up: Any, name: str) -> str:  # noqa: ANN401 - catalog.gpu or catalog.node
    try:
        return str(look_up(name).name)
    except PlanError as error:
        raise ValueError(str(error)) from None


def _node_fields(name: object) -> dict[str, Any]:
    """What a node type of the catalog says about a pool, as a user would write it."""
    if not isinstance(name, str):
        return {}
    try:
        node = catalog.node(name)
    except PlanError:
        return {"gpus_per_node": 1}  # the name is refused by its own field; nothing else is missing
    fields = {
        "gpu": node.gpu,
        "gpus_per_node": node.gpus,
        "scale_up_gpus": node.scale_up_gpus,
        "nodes_per_rack": node.nodes_per_rack,
        "cpus_per_node": node.cpus,
        "memory_per_node": None if node.memory is None else units.format_si(node.memory, "byte"),
    }
    return {name: value for name, value in fields.items() if value is not None}


class Fleet(Part):
    """All nodes, in pools of equal ones."""

    pools: tuple[Pool, ...] = Field(min_length=1, description="groups of equal nodes")

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return sum(pool.gpus for pool in self.pools)


class Tenant(Part):
    """A team that shares the fleet. Tenants that only a trace names need not be declared."""

    name: Name = Field(description="as jobs name it")
    weight: float = Field(
        1.0, gt=0, description="share of the fleet it should have, against the other tenants'"
    )
    quota: int | None = Field(
        None, ge=0, description="GPUs guaranteed; left out, there is no quota and no limit"
    )
    borrow: Annotated[int, Field(ge=0)] | Literal["unlimited"] = Field(
        0, description="GPUs it may hold beyond its quota while others leave them free"
    )
    virtual_cluster: Name | None = Field(
        None, description="where its jobs run; left out, the virtual cluster of its own name if there is one"
    )

    @model_validator(mode="after")
    def _borrowing_needs_a_quota(self) -> Self:
        if self.quota is None and self.borrow != 0:
            raise ValueError(f'tenant "{self.name}" has no quota to borrow beyond; give it a quota')
        return self


def _read_bound(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - whatever the user wrote
    """A bound in the unit of its metric; text has units, and a number is in that unit already."""
    if "metric" not in info.data:
        return 0.0  # the metric is refused by its own field, and so is the objective
    dimension = METRICS[info.data["metric"]]
    from_text = isinstance(value, str) or bool((info.context or {}).get("from_text"))
    if value is None or dimension == "number" or not from_text:
        return value
    return units.parse(value, dimension) / (metrics.GPU_H if dimension == "gpu_s" else 1.0)


Bound = Annotated[
    float,
    BeforeValidator(_read_bound),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30 min", "95 %", 1.5]}),
]


class Objective(Part):
    """What the fleet must achieve: a run that misses it ends with exit code 1."""

    metric: str = Field(description="a metric of the summary, such as wait_p95_s or occupancy")
    tenant: Name | None = Field(None, description="of this tenant only; left out, of all")
    at_most: Bound | None = Field(None, description="the largest value that will do, with its unit")
    at_least: Bound | None = Field(None, description="the smallest value that will do, with its unit")

    @field_validator("metric")
    @classmethod
    def _metric_exists(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f'"{metric}" is not a metric; {hint(metric, METRICS)}')
        return metric

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective needs either at_most or at_least")
        return self

    @field_serializer("at_most", "at_least", when_used="json")
    def _write_bound(self, value: float | None) -> str | float | None:
        dimension = METRICS[self.metric]
        if value is None or dimension in {"number", "fraction"}:
            return value
        si = float(f"{value * metrics.GPU_H:.15g}") if dimension == "gpu_s" else value
        return units.format_si(si, dimension)


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
    objectives: tuple[Objective, ...] = Field((), description="what the fleet must achieve")

    @model_validator(mode="after")
    def _parts_agree(self, info: ValidationInfo) -> Self:
        """Parts that contradict one another; from a file, ``load`` tells the same faults with their lines."""
        if not (info.context or {}).get("from_text"):
            disagreements = [f"{dotted(place)}: {message}" for place, message in _disagreements(_draft(self))]
            if disagreements:
                raise ValueError("; ".join(disagreements))
        return self


def load(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a YAML file, with ``field.inner=value`` settings laid over it.

    Raises ScenarioError, which lists every fault with its line; PlanError if there is no such file. A path
    in ``overrides`` is relative to the current folder, as users of a command line expect; one in the file is
    relative to the folder of the file.
    """
    read = document.read(Path(path))
    _expand_short_forms(read.values)
    for setting in overrides:
        document.override(read, setting)
        _expand_short_forms(read.values)
    _rebase_set_paths(read)
    scenario, faults = _validate(read)
    faults = read.faults + faults
    if scenario is None or faults:
        raise ScenarioError(
            str(path), sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
        )
    return scenario


def dump(scenario: Scenario) -> str:
    """The scenario as YAML, all defaults written out; ``load`` makes an equal scenario of it."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    text = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json", by_alias=True), text)
    return text.getvalue()


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
    """Paths set on the command line, seen from the folder of the scenario."""
    for location in read.settings:
        value = read.at(location)
        if location[-1] == "path" and isinstance(value, str) and value and not Path(value).is_absolute():
            holder = read.at(location[:-1])
            holder["path"] = Path(os.path.relpath(value, read.path.parent)).as_posix()


@dataclass(slots=True)
class _Draft:
    """The parts of a scenario that are sound by themselves, None for the others, so that all are checked."""

    horizon: float | None = None
    warm_up: float | None = None
    fleet: Fleet | None = None
    tenants: tuple[Tenant, ...] | None = None
    workloads: tuple[Workload, ...] | None = None
    objectives: tuple[Objective, ...] | None = None
    unsound: set[str] = field(default_factory=set)


def _draft(scenario: Scenario) -> _Draft:
    return _Draft(**{name: getattr(scenario, name) for name in _Draft.__slots__ if name != "unsound"})


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


def _sound_parts(read: Document) -> _Draft:
    draft = _Draft()
    for name in _Draft.__slots__:
        if name == "unsound":
            continue
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


def _located(read: Document, draft: _Draft) -> list[Fault]:
    return [read.fault(location, message) for location, message in _disagreements(draft)]


def _disagreements(draft: _Draft) -> Iterator[tuple[Location, str]]:
    """Where parts contradict one another, each with the place and the remedy."""
    yield from _repeated_names(draft)
    yield from _times_in_order(draft)
    yield from _tenants_fit_the_fleet(draft)
    yield from _workloads_fit_the_fleet(draft)
    yield from _objectives_name_tenants(draft)


def _repeated_names(draft: _Draft) -> Iterator[tuple[Location, str]]:
    pools = [pool.name for pool in draft.fleet.pools] if draft.fleet else []
    tenants = [tenant.name for tenant in draft.tenants or ()]
    workloads = [workload.name for workload in draft.workloads or ()]
    places: Mapping[Location, Sequence[str | None]] = {
        ("fleet", "pools"): pools,
        ("tenants",): tenants,
        ("workloads",): workloads,
    }
    for place, names in places.items():
        for position, name in enumerate(names):
            first = names.index(name)
            if first < position and name is not None:
                other = dotted((*place, first))
                yield (*place, position, "name"), f'"{name}" is the name of {other} too; names must differ'


def _times_in_order(draft: _Draft) -> Iterator[tuple[Location, str]]:
    if draft.horizon is not None and draft.warm_up is not None and draft.warm_up >= draft.horizon:
        warm_up, horizon = (units.format_si(value, "s") for value in (draft.warm_up, draft.horizon))
        yield ("warm_up",), f'"{warm_up}" must be shorter than the horizon, "{horizon}"'
    for position, workload in enumerate(draft.workloads or ()):
        ends = draft.horizon is not None or "horizon" in draft.unsound
        endless = all(getattr(workload, limit, 0) is None for limit in ("count", "until"))
        if not ends and endless and hasattr(workload, "count"):
            yield (
                ("workloads", position),
                "would never end; give it a count or until, or the scenario a horizon",
            )


def _tenants_fit_the_fleet(draft: _Draft) -> Iterator[tuple[Location, str]]:
    if draft.fleet is None or draft.tenants is None:
        return
    gpus = _gpus_by_virtual_cluster(draft.fleet)
    promised: dict[str | None, int] = {}
    for position, tenant in enumerate(draft.tenants):
        cluster = tenant.virtual_cluster or (tenant.name if tenant.name in gpus else None)
        if cluster is not None and cluster not in gpus:
            remedy = hint(cluster, _names(gpus)) if _names(gpus) else "no pool of the fleet has one"
            yield (
                ("tenants", position, "virtual_cluster"),
                f'"{cluster}" is not a virtual cluster of the fleet; {remedy}',
            )
            continue
        if cluster is None and None not in gpus:
            message = (
                f'"{tenant.name}" has no virtual cluster, but every pool is in one; {hint("", _names(gpus))}'
            )
            yield ("tenants", position, "virtual_cluster"), message
            continue
        before = promised.get(cluster, 0)
        promised[cluster] = before + (tenant.quota or 0)
        if before <= gpus.get(cluster, 0) < promised[cluster]:
            whose = f'virtual cluster "{cluster}"' if cluster else "the fleet"
            has = f"{promised[cluster]:,} GPUs, but {whose} has {gpus.get(cluster, 0):,}"
            yield ("tenants", position, "quota"), f"with it the quotas add up to {has}"


def _gpus_by_virtual_cluster(fleet: Fleet) -> dict[str | None, int]:
    """GPUs of each virtual cluster; under None, those of pools that are in none."""
    gpus: dict[str | None, int] = {}
    for pool in fleet.pools:
        gpus[pool.virtual_cluster] = gpus.get(pool.virtual_cluster, 0) + pool.gpus
    return gpus


def _names(gpus: Mapping[str | None, int]) -> list[str]:
    return [name for name in gpus if name is not None]


def _workloads_fit_the_fleet(draft: _Draft) -> Iterator[tuple[Location, str]]:
    for position, workload in enumerate(draft.workloads or ()):
        here: Location = ("workloads", position)
        tenant = getattr(workload, "tenant", None)
        declared = [declared.name for declared in draft.tenants or ()]
        named = tenant not in (None, type(workload).model_fields["tenant"].default)
        if declared and named and tenant not in declared:
            remedy = hint(str(tenant), declared)
            yield (*here, "tenant"), f'"{tenant}" is not a tenant of this scenario; {remedy}'
        if draft.fleet is not None:
            yield from _kind_and_size_fit(here, workload, draft)


def _kind_and_size_fit(here: Location, workload: Workload, draft: _Draft) -> Iterator[tuple[Location, str]]:
    """The GPU kind asked for exists, and some pool that the tenant may use is as wide as the widest job."""
    pools = draft.fleet.pools if draft.fleet else ()
    kind = getattr(workload, "gpu_kind", None)
    kinds = {pool.gpu: None for pool in pools if pool.gpu is not None}
    if kind is not None and kind not in kinds:
        remedy = hint(kind, kinds) if kinds else "no pool of the fleet states its GPU"
        yield (*here, "gpu_kind"), f'"{kind}" is not a GPU kind of the fleet; {remedy}'
        return
    largest = getattr(getattr(workload, "gpus", None), "largest", None)
    cluster = _virtual_cluster_of(workload.tenant, draft)
    widths = [pool.gpus for pool in pools if kind in (None, pool.gpu) and pool.virtual_cluster == cluster]
    if largest is not None and widths and largest() > max(widths):
        limit = f"the largest pool that it may use has {max(widths):,}"
        yield (*here, "gpus"), f"a job of {largest():,} GPUs can never start: {limit}"
    declared = [tenant.name for tenant in draft.tenants or ()]
    if workload.tenant is not None and workload.tenant not in declared and not widths:
        where = f'virtual cluster "{cluster}"' if cluster else "the nodes that are in no virtual cluster"
        what = f'"{kind}"' if kind and cluster else "pool"
        yield (*here, "tenant"), f'"{workload.tenant}" would run on {where}, where there is no {what}'


def _virtual_cluster_of(tenant: object, draft: _Draft) -> str | None:
    """The virtual cluster in which a tenant's jobs run, None for the pools that are in none."""
    clusters = {pool.virtual_cluster for pool in draft.fleet.pools} if draft.fleet else set()
    for declared in draft.tenants or ():
        if declared.name == tenant and declared.virtual_cluster is not None:
            return declared.virtual_cluster
    return str(tenant) if tenant in clusters and tenant is not None else None


def _objectives_name_tenants(draft: _Draft) -> Iterator[tuple[Location, str]]:
    """Tenants of objectives are declared, or at least named by a workload or hidden in a trace."""
    if draft.workloads is None or draft.tenants is None:
        return
    named = [workload.tenant for workload in draft.workloads]
    if None in named:
        return
    known = list(dict.fromkeys([*(tenant.name for tenant in draft.tenants), *map(str, named)]))
    for position, objective in enumerate(draft.objectives or ()):
        if objective.tenant is not None and objective.tenant not in known:
            remedy = hint(objective.tenant, known)
            message = f'"{objective.tenant}" is not a tenant of this scenario; {remedy}'
            yield ("objectives", position, "tenant"), message
