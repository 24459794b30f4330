"""What arguments of the command line mean: the fleet of a check, names for runs, entries of the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim import catalog, scenario
from sim.catalog import transformers
from sim.errors import PlanError, hint, listed
from sim.reports import REPORTS
from sim.trace_check import Fleet

if TYPE_CHECKING:
    from sim.catalog import GpuType, Kind, NodeType, StoreType
    from sim.perf.transformer import Transformer

    Shown = GpuType | NodeType | StoreType | Transformer
    """What the catalog describes."""

KINDS: dict[str, Kind] = {"gpus": "gpu", "nodes": "node", "stores": "store"}
LOOK_UPS: Mapping[str, Callable[[str], GpuType | NodeType | StoreType]] = {
    "gpu": catalog.gpu,
    "node": catalog.node,
    "store": catalog.store,
}
TRANSFORMERS = "transformers"
PARTS = (*KINDS, TRANSFORMERS)


def fleet(scenario_file: Path | None, gpus: Sequence[str]) -> Fleet:
    """What a log is checked against: the fleet of a scenario, GPUs (`512`, `a100=512`), or nothing."""
    if scenario_file is not None and gpus:
        raise PlanError("--fleet and --gpus both say what the fleet is; give one of them")
    if scenario_file is not None:
        return _fleet_of(scenario.load(scenario_file))
    counted: Counter[str | None] = Counter()
    for written in gpus:
        kind, equals, number = written.rpartition("=")
        if not number.isdecimal() or int(number) == 0 or (equals and not kind):
            raise PlanError(f'--gpus "{written}" is not a number of GPUs; write 512 or h100-sxm5-80gb=512')
        counted[kind or None] += int(number)
    return Fleet(dict(counted), {}, None)


def _fleet_of(wanted: scenario.Scenario) -> Fleet:
    gpus: Counter[str | None] = Counter()
    clusters: Counter[str] = Counter()
    for pool in wanted.fleet.pools:
        gpus[pool.gpu] += pool.gpus
        if pool.virtual_cluster is not None:
            clusters[pool.virtual_cluster] += pool.gpus
    stated = {t.name: clusters[t.virtual_cluster] for t in wanted.tenants if t.virtual_cluster}
    return Fleet(dict(gpus), {**clusters, **stated}, max(pool.gpus_per_node for pool in wanted.fleet.pools))


def named_runs(folders: Sequence[Path]) -> dict[str, Path]:
    """Names for runs: of their folders where these differ, otherwise their paths."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    for name, count in Counter(names).items():
        if count > 1:
            raise PlanError(f"{name} is given {count} times; a run is compared with others")
    return dict(zip(names, folders, strict=True))


def file_report(name: str) -> str:
    """The name of a report that is written to a file; PlanError for any other."""
    names = [known for known in REPORTS if known != "terminal"]
    if name not in names:
        raise PlanError(f'"{name}" is not a report that can be written; {hint(name, names)}')
    return name


def catalog_entries(what: str | None, name: str | None) -> tuple[Shown, ...]:
    """Entries of the catalog: all, all of a kind, or the one of a name; a transformer of a file too."""
    if what == TRANSFORMERS:
        names = transformers.transformer_names() if name is None else (name,)
        return tuple(map(transformers.transformer, names))
    if what in KINDS:
        kind = KINDS[what]
        names = catalog.names(kind) if name is None else (name,)
        return tuple(LOOK_UPS[kind](each) for each in names)
    if what is None:
        return (*catalog.entries(), *map(transformers.described, transformers.transformer_names()))
    if name is not None:
        raise PlanError(f'"{what}" is not a part of the catalog; choose {listed(PARTS)}')
    return (_any_entry(what),)


def _any_entry(name: str) -> Shown:
    if Path(name).suffix in transformers.FILES:
        return transformers.transformer(name)
    look_ups: tuple[Callable[[str], Shown], ...] = (*LOOK_UPS.values(), transformers.transformer)
    for look_up in look_ups:
        try:
            return look_up(name)
        except PlanError:
            continue
    hardware = [name for kind in KINDS.values() for name in catalog.names(kind)]
    names = (*hardware, *transformers.transformer_names())
    everything = (*PARTS, *names)
    raise PlanError(f'the catalog has no "{name}"; {hint(name, everything)}')
