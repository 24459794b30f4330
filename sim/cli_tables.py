"""What `dcplan trace check` and `dcplan catalog` print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from sim import cli_output, units, words
from sim.catalog import Entry, GpuType, NodeType, StoreType
from sim.catalog.transformers import Description
from sim.grids import grid
from sim.parts import Part
from sim.perf.flops import training_flops_per_token
from sim.perf.transformer import Transformer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sim.errors import Fault
    from sim.perf.device import Quality
    from sim.trace_check import Finding, TraceCheck

MOST_GROUPS = 20
_NONE = "-"
_DIMENSIONS = {
    "memory": "byte",
    "memory_bandwidth": "byte/s",
    "scale_up_bandwidth": "byte/s",
    "network": "byte/s",
    "power": "W",
    "idle_power": "W",
    "int8": "flop/s",
    **dict.fromkeys(("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4"), "flop/s"),
}


def trace_check(found: TraceCheck, faults: Sequence[Fault], out: Console) -> None:
    """What a log holds, how it loads the fleet, and what is wrong with it."""
    first, *rest = found.sentences()
    out.print(Text(first, style="bold"))
    for sentence in rest:
        out.print(Text(sentence))
    for table in (_findings(found.findings), _groups(found), _rows(found, faults)):
        if table is not None:
            out.print()
            out.print(table)


def _findings(findings: Sequence[Finding]) -> Table | None:
    """What was found; the sentences above have explained the warnings, so notes are explained here."""
    if not findings:
        return None
    rows = [
        (
            finding.severity,
            finding.name if finding.severity == "warning" else f"{finding.name}: {finding.explanation}",
            _extent(finding),
            " ".join(str(line) for line in finding.lines) or _NONE,
        )
        for finding in findings
    ]
    return grid("Findings", ("", "found", "how often", "first lines"), rows, texts=4)


def _extent(finding: Finding) -> str:
    """How often, and how much of the log that is."""
    shares = {
        "jobs": finding.jobs_share,
        "GPU time": finding.gpu_time_share,
        "the time": finding.time_share,
    }
    parts = [f"{words.percent(share)} of {what}" for what, share in shares.items() if share is not None]
    return "\n".join([finding.extent, *parts])


def _share(share: float | None) -> str:
    return _NONE if share is None else words.percent(share)


def _groups(found: TraceCheck) -> Table:
    """The load over the whole log: of the fleet, of each GPU kind, and of the tenants that ask for most."""
    totals = found.totals.sort(["scope", "arriving_gpu_s"], descending=[False, True], maintain_order=True)
    rows = [
        (
            str(row["scope"]).replace("_", " "),
            str(row["name"] or "all"),
            f"{row['jobs']:,}",
            f"{row['widest_gpus']:,}",
            words.duration(row["longest_s"]),
            words.significant(row["arriving_gpu_s"] / 3600.0),
            _NONE if row["capacity_gpus"] is None else f"{row['capacity_gpus']:,}",
            _share(row["arriving_load"]),
        )
        for row in totals.iter_rows(named=True)
    ]
    if len(rows) > MOST_GROUPS:
        rows = [*rows[:MOST_GROUPS], (f"and {len(rows) - MOST_GROUPS} more", "", "", "", "", "", "", "")]
    columns = ("", "of", "jobs", "widest job", "longest", "GPU h", "GPUs", "offered load")
    return grid("Offered load over the whole log", columns, rows, texts=2)


def _rows(found: TraceCheck, faults: Sequence[Fault]) -> Table | None:
    """Rows that are no jobs here, the first lines that were skipped, and notes of the reader."""
    rows = [(reason, f"{count:,}") for reason, count in found.left_out.items()]
    rows += [(fault.located(found.path), "") for fault in faults]
    rows += [(note, "") for note in found.notes]
    return grid("Left out, and notes", ("what", "rows"), rows) if rows else None


def catalog(entries: Sequence[GpuType | NodeType | StoreType | Transformer], out: Console) -> None:
    """GPUs, nodes, stores and transformers by name, with what tells them apart."""
    gpus = [
        (e.name, _said("memory", e.memory), _in("GB/s", "byte/s", e.memory_bandwidth),
         _in("TFLOP/s", "flop/s", e.bf16), _in("W", "W", e.power))
        for e in entries if isinstance(e, GpuType)
    ]  # fmt: skip
    nodes = [
        (e.name, e.gpu, str(e.gpus), str(e.scale_up_gpus), _said("cpus", e.cpus), _said("memory", e.memory))
        for e in entries if isinstance(e, NodeType)
    ]  # fmt: skip
    of_gpus = ("name", "memory", "GB/s", "BF16 TFLOP/s, dense", "W")
    of_nodes = ("name", "GPU", "GPUs", "scale-up domain", "CPUs", "memory")
    tables = [
        grid("GPUs", of_gpus, gpus) if gpus else None,
        grid("Nodes", of_nodes, nodes, texts=2) if nodes else None,
        _stores([entry for entry in entries if isinstance(entry, StoreType)]),
        _transformers([entry for entry in entries if isinstance(entry, Transformer)]),
    ]
    for place, table in enumerate(found := [table for table in tables if table is not None]):
        out.print(table)
        if place < len(found) - 1:
            out.print()


def _stores(entries: Sequence[StoreType]) -> Table | None:
    """Stores by name, with what they give."""
    rows = [
        (
            entry.name,
            entry.place,
            words.significant(entry.read / 1e9),
            words.significant(entry.write / 1e9),
            _NONE if entry.requests is None else f"{entry.requests:,.0f}",
        )
        for entry in entries
    ]
    columns = ("name", "place", "reads, GB/s", "writes, GB/s", "requests/s")
    return grid("Stores", columns, rows, texts=2) if rows else None


def _transformers(entries: Sequence[Transformer]) -> Table | None:
    """Transformers by name, with their sizes in the field's terms."""
    rows = [
        (
            entry.name,
            _first_words(entry.source) if isinstance(entry, Description) else _NONE,
            words.significant(entry.parameters / 1e9),
            words.significant(entry.active_parameters / 1e9),
            str(entry.layers + entry.encoder_layers),
            f"{entry.hidden:,}",
        )
        for entry in entries
    ]
    columns = ("name", "source", "parameters, 10^9", "active", "layers", "hidden")
    return grid("Transformers", columns, rows, texts=2) if rows else None


def _first_words(source: str) -> str:
    """Who wrote it, or the file: what stands before the first comma."""
    return source.replace(";", ",").split(",")[0] or _NONE


def _in(unit: str, dimension: str, value: float | None) -> str:
    """A number in the unit that the head of its column states."""
    return _NONE if value is None else f"{value / units.parse(f'1 {unit}', dimension):,.0f}"


def catalog_entry(entry: Entry | Transformer, out: Console) -> None:
    """Everything known of one GPU, node or transformer, each number with its source."""
    if isinstance(entry, Transformer):
        _transformer(entry, out)
        return
    rows = list(_fields(entry))
    out.print(grid(entry.name, ("field", "value", "source", "evidence"), rows, texts=4))
    if entry.notes:
        out.print()
        out.print(Text(entry.notes))


def _transformer(entry: Transformer, out: Console) -> None:
    """What its file states, what is counted from that, and what was published."""
    stated = [name for name in Transformer.model_fields if name in entry.model_fields_set and name != "name"]
    rows = [(name, _sized(getattr(entry, name))) for name in stated]
    out.print(grid(entry.name, ("field", "stated"), rows, texts=2))
    out.print()
    parts = {part: count for part, count in asdict(entry.parameters_by_part).items() if count}
    flops = training_flops_per_token(entry).total
    counted = [(f"parameters: {part.replace('_', ' ')}", f"{count:,}") for part, count in parts.items()]
    counted += [
        ("parameters", f"{entry.parameters:,}"),
        ("active parameters", f"{entry.active_parameters:,}"),
        (f"GFLOP of a training token, {entry.sequence:,} a sample", words.significant(flops / 1e9)),
    ]
    out.print(grid("Counted", ("", "number"), counted))
    if isinstance(entry, Description):
        for sentence in _origin(entry):
            out.print()
            out.print(Text(sentence))


def _origin(entry: Description) -> Iterator[str]:
    """Where a description is from, what was published, and notes."""
    if entry.source:
        yield f"Source: {entry.source} ({entry.evidence or 'no evidence stated'})."
    if entry.checked:
        yield f"Checked against {entry.checked}"
    if entry.published is not None:
        said = f"{entry.published.parameters:,} parameters"
        yield f"Published: {said}, {entry.published.source} ({entry.published.evidence})."
    if entry.notes:
        yield entry.notes


def _sized(value: object) -> str:
    """A field of a transformer for reading; of a group of fields, those that were stated."""
    if isinstance(value, Part):
        stated = [(name, field) for name, field in value if name in value.model_fields_set]
        return ", ".join(f"{name} {_sized(field)}" for name, field in stated)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) if isinstance(value[0], str) else str(len(value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def _fields(entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    for name, value in entry:
        if value is None or name in {"name", "notes", "sources"}:
            continue
        source = entry.sources.get(name)
        where, evidence = (source.source, source.evidence) if source else ("", "")
        yield name, _said(name, value), where, str(evidence)


def _said(name: str, value: object) -> str:
    """A field of the catalog for reading."""
    if value is None:
        return _NONE
    if isinstance(value, float) and name in _DIMENSIONS:
        return units.format_si(value, _DIMENSIONS[name])
    return f"{value:g}" if isinstance(value, float) else str(value)


def catalog_json(entries: Sequence[Entry | Transformer]) -> list[Mapping[str, object]]:
    """Entries with SI numbers, the unit in the name of each field, and the sources."""
    return [_counted(entry) if isinstance(entry, Transformer) else _with_units(entry) for entry in entries]


def _counted(entry: Transformer) -> Mapping[str, object]:
    """A transformer's fields, and what is counted from them."""
    return {
        "kind": "transformer",
        **entry.model_dump(mode="json"),
        "parameters": entry.parameters,
        "active_parameters": entry.active_parameters,
        "parameters_by_part": asdict(entry.parameters_by_part),
        "training_flops_per_token": asdict(training_flops_per_token(entry)),
    }


_SUFFIXES = {"byte": "bytes", "byte/s": "bytes_per_s", "W": "watts", "flop/s": "flop_per_s"}


def _with_units(entry: Entry) -> Mapping[str, object]:
    def named(field: str) -> str:
        unit = _SUFFIXES.get(_DIMENSIONS.get(field, ""))
        return f"{field}_{unit}" if unit else field

    values = {named(name): value for name, value in entry if name != "sources"}
    sources = {named(name): source.model_dump() for name, source in entry.sources.items()}
    return {"kind": "gpu" if isinstance(entry, GpuType) else "node", **values, "sources": sources}


def qualities(found: Sequence[tuple[str, Quality]], *, as_json: bool) -> None:
    """Print how wrong a fit is on what was left out of it, each with what it is the error of."""
    if as_json:
        cli_output.write_json([{"of": what} | quality.model_dump() for what, quality in found])
        return
    rows = [
        (
            what,
            quality.left_out,
            str(quality.n),
            *(f"{value:.1%}" for value in (quality.mape, quality.median, quality.p90)),
            "" if quality.coverage is None else f"{quality.coverage:.0%}",
        )
        for what, quality in found
    ]
    columns = ("of", "left out", "n", "mean error", "median", "90 %", "in the 80 % interval")
    with cli_output.stdout() as out:
        out.print(grid("", columns, rows, texts=2))
