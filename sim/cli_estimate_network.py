"""What ``dcplan estimate`` does for a network that learns from images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast, get_args

from rich.text import Text

from sim import catalog, cli_output, units, words
from sim.catalog.machines import USUAL_FABRIC
from sim.catalog.networks import has_network, network, network_names
from sim.catalog.transformers import transformer_names
from sim.errors import PlanError, hint
from sim.estimate import DRAW, HOST_SHARE, HOUR_S, PUE
from sim.estimate_network import (
    RECKONED,
    NetworkEstimate,
    NetworkJob,
    estimate_network,
    network_device,
    smallest_network,
)
from sim.grids import grid
from sim.perf.step_time import Precision

USUAL_BATCH: Final = 256
FOR_TEXT: Final = {
    "sequence": "--sequence", "lora": "--lora", "fit": "--fit", "tp": "--tp", "pp": "--pp", "cp": "--cp",
    "ep": "--ep", "interleave": "--interleave", "micro_batch": "--micro-batch", "recompute": "--recompute",
    "zero": "--zero", "sequence_parallel": "--sequence-parallel", "dp": "--dp",
}  # fmt: skip
"""Options that only a transformer takes."""


def refuse_unknown(model: str) -> None:
    """PlanError with the nearest names for a name that is neither of a network nor of a transformer."""
    if not has_network(model):
        told = hint(model, (*transformer_names(), *network_names()))
        raise PlanError(f'"{model}" is no model of the catalog; {told}, or name a file')


def refuse_search(model: str) -> None:
    """PlanError for a name that is not of a transformer, where ways to split one are asked for."""
    refuse_unknown(model)
    raise PlanError(
        f"{model} is split by its images alone, so there is nothing to search; "
        f"dcplan estimate --model {model} tells how long it takes"
    )


def tell(
    model: str,
    gpus: int | None,
    images: float | None,
    image_size: int | None,
    deadline: str | None,
    price: float | None,
    options: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Estimate one job, or the fewest GPUs that are done in time, and print it."""
    useless = [option for name, option in FOR_TEXT.items() if options.get(name) is not None]
    if useless:
        raise PlanError(f"{model} learns from images and is split by them alone; leave out {useless[0]}")
    job, assumed = _job(model, gpus, image_size, options)
    if deadline is not None:
        if images is None:
            raise PlanError("--deadline needs --images: how many are to be trained on by then, all epochs")
        if gpus is not None:
            raise PlanError("--deadline finds the GPUs; leave out --gpus")
        found = smallest_network(job, images, units.parse(deadline, "s"))
    elif gpus is None:
        raise PlanError("give --gpus, or --deadline to find how many are needed")
    else:
        found = estimate_network(job)
    if as_json:
        cli_output.write_json(_json(found, images, price, assumed))
        return
    with cli_output.stdout() as out:
        for line in _sentences(found, images, price):
            out.print(Text(line))
        out.print()
        rows = [
            (name, units.human_duration(seconds), words.percent(seconds / found.step.step_s))
            for name, seconds in sorted(found.where().items(), key=lambda part: -part[1])
            if seconds >= 0.0005 * found.step.step_s
        ]
        out.print(grid("Where a step goes", ("", "time", "share"), rows))
        out.print()
        out.print(Text("Assumed: " + "; ".join([*assumed, *_always(found, images)]) + "."))


def _job(
    model: str, gpus: int | None, image_size: int | None, options: Mapping[str, Any]
) -> tuple[NetworkJob, list[str]]:
    assumed: list[str] = []
    device, like = network_device(options["gpu"])
    precision = options["number_format"]
    if precision is None:
        precision = device.settings[0].precision
        assumed.append(f"{precision} (--precision)")
    if precision not in get_args(Precision):
        raise PlanError(
            f'"{precision}" is not a number format of networks; {hint(precision, get_args(Precision))}'
        )
    setting = device.setting(cast("Precision", precision))
    batch = options["batch"]
    if batch is None:
        each = int(min(max(USUAL_BATCH, setting.batch.low), setting.batch.high))
        assumed.append(f"{words.count(each, 'image')} of a step on each GPU (--batch, of all together)")
    else:
        each, rest = divmod(batch, gpus or 1)
        if rest or not each:
            over = words.count(gpus or 1, "GPU")
            raise PlanError(f"a batch of {words.count(batch, 'image')} does not divide over {over}")
    fabric = USUAL_FABRIC
    if options["fabric"] is not None:
        fabric = units.parse(options["fabric"], "byte/s")
    elif (gpus or 0) > options["gpus_per_node"]:
        assumed.append("400 Gbit/s of fabric for each GPU (--fabric)")
    return (
        NetworkJob(
            network(model, image_size), device, gpus or 1, each, cast("Precision", precision), None,
            options["gpus_per_node"], fabric, like,
        ),
        assumed,
    )  # fmt: skip


def _sentences(found: NetworkEstimate, images: float | None, price: float | None) -> Iterator[str]:
    job, model, step = found.job, found.job.model, found.step
    yield (
        f"{model.name}: {model.parameters / 1e6:,.4g} million parameters, {model.macs / 1e9:,.4g} billion"
        f" multiply-accumulates for an image of {model.input_shape[-1]} pixels."
    )
    each = "" if job.gpus == 1 else f" on each, {job.batch * job.gpus:,} in all"
    yield (
        f"On {words.count(job.gpus, 'GPU')} {job.device.name}, {job.precision}, {job.setting.layout}:"
        f" {words.count(job.batch, 'image')} in a step{each}."
    )
    mfu = "" if found.mfu is None else f"; MFU {found.mfu:.1%}"
    low, high = units.human_duration(step.low_s), units.human_duration(step.high_s)
    yield (
        f"A step takes {units.human_duration(step.step_s)} (80 % between {low} and {high}):"
        f" {words.compact(found.images_per_s)} images/s, {found.images_per_s / job.gpus:,.0f} a GPU{mfu}."
    )
    asked = found.traffic()
    sends = f"each GPU sends {units.human_size(asked.data_bytes)}, " if job.gpus > 1 else ""
    yield (
        f"In a step {sends}{units.human_size(asked.input_bytes)} of images are read; a checkpoint has"
        f" {units.human_size(asked.checkpoint_bytes)}."
    )
    measured = "" if job.setting.peak_memory else ", reckoned, not measured"
    there = "" if job.device.gpu is None else f" of {catalog.gpu(job.device.gpu).memory / 1e9:,.0f} GB"
    verdict = "" if found.verdict == "unknown" else f"; {found.verdict}"
    yield f"Memory: about {found.memory_bytes / 1e9:,.1f} GB{there}{measured}{verdict}."
    if images is not None:
        time_s, factor = found.time_s(images), step.high_s / step.step_s
        hours = time_s / HOUR_S * job.gpus
        energy = found.energy_kwh(images)
        used = "" if energy is None else f", about {energy:,.0f} kWh"
        yield (
            f"{words.compact(images)} images are {found.steps(images):,} steps:"
            f" {units.human_duration(time_s)} (80 % between {units.human_duration(time_s / factor)} and"
            f" {units.human_duration(time_s * factor)}), {hours:,.1f} GPU hours{used}."
        )
        if price is not None:
            yield f"At {price:g} a GPU hour that costs {hours * price:,.2f}."
    if job.like is not None:
        yield (
            f"No run on {job.device.name} was in the fit: {job.like}, at the ratio of their data sheets,"
            " stands in."
        )
    for fault in step.outside:
        yield f"Outside the measured range: {fault}."
    for judged in job.setting.quality:
        if judged.left_out != "one row":
            yield (
                f"With {judged.left_out} left out of the fit, steps were off by {judged.median:.0%} in the"
                f" median and {judged.mape:.0%} on average (n {judged.n})."
            )


def _always(found: NetworkEstimate, images: float | None) -> list[str]:
    told = ["no failures, no evaluation, images never waited for"]
    if images is not None and found.energy_kwh(images) is not None:
        told.append(f"energy: {DRAW:.0%} of rated power, times {HOST_SHARE} for the node, PUE {PUE}")
    return told


def _json(
    found: NetworkEstimate, images: float | None, price: float | None, assumed: list[str]
) -> dict[str, Any]:
    job = found.job
    told: dict[str, Any] = {
        "model": job.model.name,
        "parameters": job.model.parameters,
        "macs": job.model.macs,
        "image_size": job.model.input_shape[-1],
        "gpu": job.device.name,
        "judged_by": job.like,
        "gpus": job.gpus,
        "batch": job.batch * job.gpus,
        "precision": job.precision,
        "layout": job.setting.layout,
        "step_s": found.step.step_s,
        "step_s_80": [found.step.low_s, found.step.high_s],
        "images_per_s": found.images_per_s,
        "mfu": found.mfu,
        "memory_bytes": found.memory_bytes,
        "memory_measured": (job.setting.peak_memory or RECKONED) is not RECKONED,
        "verdict": found.verdict,
        "where_s": found.where(),
        "bytes": found.traffic().as_dict(),
        "outside": list(found.step.outside),
        "assumed": [*assumed, *_always(found, images)],
    }
    if images is not None:
        hours = found.time_s(images) / HOUR_S * job.gpus
        told |= {
            "images": images,
            "steps": found.steps(images),
            "time_s": found.time_s(images),
            "gpu_hours": hours,
            "energy_kwh": found.energy_kwh(images),
            "cost": None if price is None else hours * price,
        }
    return told
