"""What ``dcplan estimate``, ``dcplan search`` and ``dcplan validate-model`` do with their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.text import Text

from sim import catalog, cli_output, cli_tables, units, words
from sim.calibration import of_runs, training_runs
from sim.catalog.machines import USUAL_FABRIC
from sim.catalog.training_fit import TrainingFit, from_file, text, training_fit
from sim.catalog.transformers import FILES, transformer, transformer_names
from sim.errors import PlanError, hint
from sim.estimate import (
    DAY_S,
    DRAW,
    HOST_SHARE,
    HOUR_S,
    PUE,
    Estimate,
    Job,
    Search,
    estimate,
    search,
    smallest,
    usual_batch,
)
from sim.grids import grid
from sim.perf.device import NORMAL_80
from sim.perf.parallel.layouts import Layout
from sim.perf.parallel.machines import FORMATS, SOFTWARE

GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gave, as text and numbers of the command line; None where it was left out."""

    model: str
    gpu: str
    gpus: int | None
    batch: int | None
    sequence: int | None
    number_format: str | None
    software: str
    gpus_per_node: int
    fabric: str | None
    lora: int | None
    fit: Path | None


def is_transformer(model: str) -> bool:
    """Whether a name is of a transformer, or a file that describes one."""
    return Path(model).suffix in FILES or model in transformer_names()


def asked(model: str, gpus: int | None, options: Mapping[str, Any]) -> tuple[Asked, dict[str, Any]]:
    """What the command line says of the model and its fleet, and of the layout."""
    names = (
        "gpu",
        "batch",
        "sequence",
        "number_format",
        "software",
        "gpus_per_node",
        "fabric",
        "lora",
        "fit",
    )
    layout = {name: value for name, value in options.items() if name not in names and value is not None}
    return Asked(model=model, gpus=gpus, **{name: options[name] for name in names}), layout


def job(asked: Asked, gpus: int) -> tuple[Job, list[str]]:
    """The job, and what was assumed for it."""
    model = transformer(asked.model)
    known = catalog.gpu(asked.gpu)
    assumed = []
    sequence = asked.sequence or model.sequence
    batch = asked.batch
    if batch is None:
        batch = usual_batch(sequence)
        assumed.append(f"a batch of {batch:,} samples, {batch * sequence / 1e6:.1f} million tokens (--batch)")
    number_format = asked.number_format
    if number_format is None:
        number_format = "bf16" if known.bf16 else "fp16"
        assumed.append(f"{number_format} (--precision)")
    if number_format not in FORMATS:
        raise PlanError(f'"{number_format}" is not a number format; {hint(number_format, FORMATS)}')
    if asked.software not in SOFTWARE:
        raise PlanError(f'"{asked.software}" is not software that is known; {hint(asked.software, SOFTWARE)}')
    fabric = USUAL_FABRIC
    if asked.fabric is None:
        assumed.append("400 Gbit/s of fabric for each GPU (--fabric)")
    else:
        fabric = units.parse(asked.fabric, "byte/s")
    return (
        Job(
            model, known.name, gpus, sequence, batch, number_format, asked.software,
            asked.gpus_per_node, fabric, asked.lora or 0,
        ),
        assumed,
    )  # fmt: skip


def tell_estimate(
    asked: Asked,
    layout: Mapping[str, Any],
    tokens: float | None,
    deadline: str | None,
    price: float | None,
    *,
    as_json: bool,
) -> None:
    """Estimate one job, or the fewest GPUs that are done in time, and print it."""
    fit = from_file(asked.fit) if asked.fit else training_fit()
    wanted, assumed = job(asked, asked.gpus or asked.gpus_per_node)
    if deadline is not None:
        if tokens is None:
            raise PlanError("--deadline needs --tokens: how much is to be trained by then")
        if asked.gpus is not None or layout:
            raise PlanError("--deadline finds the GPUs and the layout; leave out --gpus and the layout")
        found = smallest(wanted, tokens, units.parse(deadline, "s"), fit)
    else:
        if asked.gpus is None:
            raise PlanError("give --gpus, or --deadline to find how many are needed")
        chosen = _layout(layout, wanted) if layout else None
        found = estimate(wanted, chosen, fit)
    if as_json:
        cli_output.write_json(_json(found, tokens, price, assumed))
        return
    with cli_output.stdout() as out:
        for line in _sentences(found, tokens, price, fit):
            out.print(Text(line))
        out.print()
        parts = [
            (name, seconds) for name, seconds in found.where().items() if seconds >= 0.0005 * found.step_s
        ]
        rows = [
            (name, units.human_duration(seconds), words.percent(seconds / found.step_s))
            for name, seconds in sorted(parts, key=lambda part: -part[1])
        ]
        out.print(grid("Where a step goes", ("", "time", "share"), rows))
        out.print()
        held = [(name, f"{size / GB:,.1f} GB") for name, size in found.memory_parts().items() if size]
        total = float(found.memory.total[0]) / GB
        out.print(grid("Memory of the fullest GPU", ("", ""), [*held, ("together", f"{total:,.1f} GB")]))
        out.print()
        out.print(Text("Assumed: " + "; ".join([*assumed, *_always(tokens)]) + "."))


def _layout(written: Mapping[str, Any], wanted: Job) -> Layout:
    """The layout that was given; data parallelism takes the GPUs that are left."""
    given = dict(written)
    if "dp" not in given:
        others = given.get("tp", 1) * given.get("pp", 1) * given.get("cp", 1)
        if wanted.gpus % others:
            raise PlanError(f"tp x pp x cp = {others} does not divide {words.count(wanted.gpus, 'GPU')}")
        given["dp"] = wanted.gpus // others
    given.setdefault("sequence_parallel", given.get("tp", 1) > 1)
    return Layout(**given)


def _sentences(found: Estimate, tokens: float | None, price: float | None, fit: TrainingFit) -> Iterator[str]:
    wanted, (low, high) = found.job, found.interval_s
    yield (
        f"{wanted.model.name}: {wanted.model.parameters / 1e9:,.4g} billion parameters"
        f"{_active(found)}, samples of {wanted.sequence:,} tokens, {wanted.batch:,} in a step."
    )
    yield (
        f"On {words.count(wanted.gpus, 'GPU')} {wanted.gpu}, {wanted.number_format}, {wanted.software}:"
        f" {found.layout.told()}."
    )
    if wanted.lora_rank:
        yield (
            f"Adapters of rank {wanted.lora_rank} learn, {wanted.trained:.2%} of the weights;"
            " the rest is frozen."
        )
    yield (
        f"A step takes {units.human_duration(found.step_s)} (80 % between {units.human_duration(low)} and"
        f" {units.human_duration(high)}): {words.compact(found.tokens_per_s)} tokens/s,"
        f" {found.tokens_per_s / wanted.gpus:,.0f} a GPU; MFU {found.mfu:.1%}, HFU {found.hfu:.1%}."
    )
    held, there = float(found.memory.total[0]) / GB, catalog.gpu(wanted.gpu).memory / GB
    verdict = {
        "fits": "fits",
        "tight": "is tight: it fits only if little is kept at once (fused losses, a lean allocator)",
        "does not fit": "does not fit",
    }[found.verdict]
    yield f"Memory: about {held:,.0f} GB of {there:,.0f} GB; {verdict}."
    yield _asked_of_network_and_storage(found)
    if tokens is not None:
        time_s = found.time_s(tokens)
        hours = time_s / HOUR_S * wanted.gpus
        yield (
            f"{words.compact(tokens)} tokens are {found.steps(tokens):,} steps: {time_s / DAY_S:,.1f} days"
            f" (80 % between {time_s / found.factor / DAY_S:,.1f} and {time_s * found.factor / DAY_S:,.1f}),"
            f" {hours:,.0f} GPU hours, about {found.energy_kwh(tokens) / 1e3:,.0f} MWh."
        )
        if price is not None:
            yield f"At {price:g} a GPU hour that costs {hours * price:,.0f}."
    if not found.known:
        yield (
            f"No run on {wanted.gpu} in {wanted.number_format} with {wanted.software} was in the fit:"
            " its data sheet and the other runs stand in."
        )
    like, source, pair = (each for what, each in fit.quality if what == "all")
    yield (
        f"Runs that were left out were off by {like.median:.0%} in the median, by {source.median:.0%} where"
        f" their whole source was left out, and by {pair.median:.0%} where all with their GPU and software"
        f" were (n {like.n})."
    )


def _asked_of_network_and_storage(found: Estimate) -> str:
    """Bytes of a step and of a checkpoint, in a sentence."""
    asked = found.traffic()
    kinds = {
        "tensor": asked.tensor_bytes,
        "experts": asked.expert_bytes,
        "stages": asked.pipeline_bytes,
        "data": asked.data_bytes,
    }
    parts = ", ".join(f"{name} {units.human_size(size)}" for name, size in kinds.items() if size)
    sent = f"each GPU sends {units.human_size(asked.sent_bytes)} ({parts}), " if parts else ""
    return (
        f"In a step {sent}{units.human_size(asked.input_bytes)} of tokens are read; a checkpoint has"
        f" {units.human_size(asked.checkpoint_bytes)}."
    )


def _active(found: Estimate) -> str:
    model = found.job.model
    if not model.experts:
        return ""
    return f" ({model.active_parameters / 1e9:,.3g} billion active)"


def _always(tokens: float | None) -> list[str]:
    told = ["no failures, no evaluation, data never waited for"]
    if tokens is not None:
        told.append(f"energy: {DRAW:.0%} of rated power, times {HOST_SHARE} for the node, PUE {PUE}")
    return told


def _json(found: Estimate, tokens: float | None, price: float | None, assumed: list[str]) -> dict[str, Any]:
    wanted = found.job
    told: dict[str, Any] = {
        "model": wanted.model.name,
        "parameters": wanted.model.parameters,
        "active_parameters": wanted.model.active_parameters,
        "gpu": wanted.gpu,
        "gpus": wanted.gpus,
        "batch": wanted.batch,
        "sequence": wanted.sequence,
        "precision": wanted.number_format,
        "software": wanted.software,
        "lora_rank": wanted.lora_rank,
        "layout": found.layout.model_dump(),
        "step_s": found.step_s,
        "step_s_80": list(found.interval_s),
        "tokens_per_s": found.tokens_per_s,
        "mfu": found.mfu,
        "hfu": found.hfu,
        "memory_bytes": float(found.memory.total[0]),
        "memory_parts_bytes": found.memory_parts(),
        "verdict": found.verdict,
        "where_s": found.where(),
        "bytes": found.traffic().as_dict(),
        "in_the_fit": found.known,
        "assumed": [*assumed, *_always(tokens)],
    }
    if tokens is not None:
        hours = found.time_s(tokens) / HOUR_S * wanted.gpus
        told |= {
            "tokens": tokens,
            "steps": found.steps(tokens),
            "time_s": found.time_s(tokens),
            "time_s_80": [found.time_s(tokens) / found.factor, found.time_s(tokens) * found.factor],
            "gpu_hours": hours,
            "energy_kwh": found.energy_kwh(tokens),
            "cost": None if price is None else hours * price,
        }
    return told


def tell_search(asked: Asked, sizes: tuple[int, ...], top: int, plot: Path | None, *, as_json: bool) -> None:
    """Rank the layouts of one fleet, and with several fleets set the fastest of each side by side."""
    fit = from_file(asked.fit) if asked.fit else training_fit()
    found, impossible = [], []
    assumed: list[str] = []
    for gpus in sizes:
        wanted, assumed = job(asked, gpus)
        try:
            found.append(search(wanted, fit))
        except PlanError as error:
            if len(sizes) == 1:
                raise
            impossible.append(f"{gpus:,} GPUs: {error}")
    if not found:
        raise PlanError("; ".join(impossible))
    _show(found, impossible, assumed, top, as_json=as_json)
    if plot is not None:
        from sim.reports import search as page  # noqa: PLC0415 - only where one is drawn

        cli_output.write_file(plot, page.render(found))


def _show(found: list[Search], impossible: list[str], assumed: list[str], top: int, *, as_json: bool) -> None:
    if as_json:
        cli_output.write_json(
            {
                "model": found[0].job.model.name,
                "gpu": found[0].job.gpu,
                "batch": found[0].job.batch,
                "fleets": [_ranked(each, top) for each in found],
                "impossible": impossible,
                "assumed": assumed,
            }
        )
        return
    with cli_output.stdout() as out:
        for each in found:
            out.print(_table(each, top if len(found) == 1 else 1))
            out.print()
        if len(found) > 1:
            out.print(_front(found))
            out.print()
        for line in impossible:
            out.print(Text(line))
        if assumed:
            out.print(Text("Assumed: " + "; ".join(assumed) + "."))


def _ranked(found: Search, top: int) -> dict[str, Any]:
    return {
        "gpus": found.job.gpus,
        "evaluated": found.evaluated,
        "fit": len(found),
        "layouts": [
            found.layouts.one(place).model_dump()
            | {
                "step_s": float(found.step_s[place]),
                "tokens_per_s": found.job.step_tokens / float(found.step_s[place]),
                "memory_bytes": float(found.memory_bytes[place]),
                "tight": bool(found.tight[place]),
            }
            for place in range(min(top, len(found)))
        ],
    }


def _table(found: Search, top: int) -> Any:  # noqa: ANN401 - a table of rich
    rows = []
    for place in range(min(top, len(found))):
        step_s = float(found.step_s[place])
        rows.append(
            (
                found.layouts.one(place).told() + (" (tight)" if found.tight[place] else ""),
                units.human_duration(step_s),
                words.compact(found.job.step_tokens / step_s),
                f"{found.job.step_tokens / step_s / found.job.gpus:,.0f}",
                f"{float(found.memory_bytes[place]) / GB:,.0f} GB",
            )
        )
    title = (
        f"{found.job.model.name} on {words.count(found.job.gpus, 'GPU')} {found.job.gpu}:"
        f" {found.evaluated:,} layouts divide evenly, {len(found):,} fit"
    )
    return grid(title, ("layout", "step", "tokens/s", "a GPU", "memory"), rows)


def _front(found: list[Search]) -> Any:  # noqa: ANN401 - a table of rich
    """Time against GPUs: fleets than which no smaller one is faster."""
    rows, best = [], np.inf
    for each in sorted(found, key=lambda one: one.job.gpus):
        step_s = float(each.step_s[0])
        on_front = step_s < best
        best = min(best, step_s)
        rows.append(
            (
                f"{each.job.gpus:,}",
                units.human_duration(step_s),
                words.compact(each.job.step_tokens / step_s),
                f"{each.job.step_tokens / step_s / each.job.gpus:,.0f}",
                "yes" if on_front else "no: a smaller fleet is as fast",
            )
        )
    columns = ("GPUs", "step", "tokens/s", "a GPU", "worth it")
    return grid("Time against GPUs", columns, rows)


def validate_model(path: Path, fit_out: Path | None, fit: Path | None, *, as_json: bool) -> None:
    """Errors of the step-time model on a user's own runs, or fit them and write the fit."""
    runs = training_runs.read(path)
    if fit_out is not None:
        with cli_output.progress("fitting"):
            made = of_runs.fit_runs(runs)
        kept = of_runs.stored(made, f"{path.name}; dcplan validate-model {path.name} --fit")
        cli_output.write_file(fit_out, text(kept))
        cli_tables.qualities(list(kept.quality), as_json=as_json)
        return
    used = (from_file(fit) if fit else training_fit()).fitted
    missed = of_runs.misses(used.logarithms, runs)
    spread = np.log(used.factors(runs.shapes, runs.layouts, runs.machines)) / NORMAL_80
    good = of_runs.good(runs)
    kinds = [("quality A and B", good), ("others", ~good)]
    for column, names in (
        ("source", runs.rows["source"].to_numpy()),
        ("GPU", runs.machines.gpu),
        ("model", runs.rows["model"].to_numpy()),
    ):
        kinds += [(f"{column} {name}", (names == name) & good) for name in np.unique(names[good])]
    cli_tables.qualities(
        [
            (what, of_runs.quality("nothing", missed[chosen], spread[chosen] ** 2))
            for what, chosen in kinds
            if chosen.any()
        ],
        as_json=as_json,
    )
    assumed = sum(bool(each) for each in runs.assumed)
    if assumed:
        cli_output.say(f"Note: {words.count(assumed, 'run')} left something out; it was assumed as usual.")
