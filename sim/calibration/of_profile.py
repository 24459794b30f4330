"""A device from measured profiles of one machine; what must not be fitted is refused, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim import catalog
from sim.calibration.fit import LeftOut, Prior, calibrate, cpu_prior, general_prior
from sim.calibration.least_squares import Floats, minimise
from sim.calibration.measured import Measured, network_of
from sim.errors import Fault, PlanError, ProfileError
from sim.perf.device import Device, Link, Piece, Quality, gradient_bytes, overlapped
from sim.perf.operators import Model
from sim.perf.step_time import GROUPS, Layout, Precision, Step, group, step_s, work
from sim.profile import DRAWN, CollectiveRow, Profile, TrainingRow, faults, read, warnings

FEWEST_NETWORKS = 2
FEWEST_ROWS = 4
QUIET = 0.25
"""Quantile of the repetitions that counts on a CPU: whatever else runs there only makes a step slower."""
SCALING_START = np.log([0.05, 0.3, 0.002, 2e-10])
"""Where scaling starts: 5 % of waiting, all-reduce that hardly hides, 2 ms of each step, copies at 5 GB/s."""
SCALING_SPREAD = np.array([1.0, 1.0, 1.5, 1.5])
SCALING_LARGEST = np.array([0.0, 3.0, 1.0, 0.0])

Kind = tuple[Precision, Layout, bool]


@dataclass(frozen=True, slots=True)
class ProfileFit:
    """A fitted device, its errors on what was left out, and what to bear in mind."""

    device: Device
    left_out: dict[Kind, list[LeftOut]]
    rows: dict[Kind, list[Measured]]
    notes: tuple[str, ...]


def read_sound(paths: Sequence[Path]) -> list[Profile]:
    """Profiles that may be fitted together; ProfileError with every reason why not."""
    profiles = [read(path) for path in paths]
    for path, profile in zip(paths, profiles, strict=True):
        wrong = faults(profile)
        if wrong:
            raise ProfileError(str(path), [Fault(None, "", message) for message in wrong])
    prints = {profile.machine.fingerprint for profile in profiles}
    if len(prints) > 1:
        raise PlanError(
            "the profiles are of different machines or libraries (fingerprints "
            f"{', '.join(sorted(prints))}); calibrate each into a device of its own"
        )
    return profiles


def fit_profiles(paths: Sequence[Path], name: str, gpu: str | None = None) -> ProfileFit:
    """Fit the device that some profiles measured; ``gpu`` names its data sheet in the catalog."""
    profiles = read_sound(paths)
    machine = profiles[0].machine
    known = gpu or _of_catalog(machine.device_name)
    trained = pooled([row for profile in profiles for row in profile.training])
    models = {name: model for profile in profiles for name, model in profile.models.items()}
    rows: dict[Kind, list[Measured]] = {}
    aids: dict[Kind, list[Measured]] = {}
    for row in trained:
        if row.world_size == 1 and row.threads in (None, machine.threads):
            kind = (row.precision, row.layout, row.compiled)
            measured = _measured(row, models, on_cpu=machine.device == "cpu")
            (aids if row.model.startswith(DRAWN) else rows).setdefault(kind, []).append(measured)
    usable = {kind: own for kind, own in rows.items() if _enough(own)}
    if not usable:
        raise ProfileError(
            str(paths[0]),
            [
                Fault(
                    None,
                    "training",
                    f"needs {FEWEST_ROWS} configurations of {FEWEST_NETWORKS} networks or more "
                    "in one precision and layout, on one device",
                )
            ],
        )
    on_cpu = machine.device == "cpu"
    fitted = {
        kind: calibrate(own, _prior(known, kind[0], on_cpu=on_cpu), aids=aids.get(kind, ()))
        for kind, own in sorted(usable.items(), key=lambda one: -len(one[1]))
    }
    links = _links([row for profile in profiles for row in profile.collectives])
    device = Device(
        name=name,
        gpu=known,
        source=f"dcplan calibrate {' '.join(path.name for path in paths)}; measured by "
        f"{profiles[0].command or 'dcplan profile'} on {machine.device_name}, "
        f"fingerprint {machine.fingerprint}",
        settings=tuple(setting for setting, _ in fitted.values()),
        links=links,
        samples_per_s=_loading(profiles),
    )
    device = _with_scaling(device, list(_together(device, trained, models, on_cpu=on_cpu)))
    notes = [note for profile in profiles for note in warnings(profile)]
    notes += [
        f"{kind[0]} {kind[1]} has too few configurations for a fit: {len(own)}"
        for kind, own in rows.items()
        if kind not in usable
    ]
    return ProfileFit(device, {kind: tried for kind, (_, tried) in fitted.items()}, usable, tuple(notes))


def pooled(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """One row for each configuration that ran, with the repetitions of all measurements of it.

    What else runs on a shared machine then rarely disturbs all of them. Passes follow one another; times of
    operators are of those measurements that looked into the same kinds.
    """
    found: dict[tuple[object, ...], TrainingRow] = {}
    for row in rows:
        if row.status != "ok":
            continue
        key = (*_configuration(row), row.optimizer, row.world_size)
        first = found.get(key)
        if first is None:
            found[key] = row
            continue
        after = max(first.pass_index) + 1
        operators_s = first.operators_s or row.operators_s
        if first.operators_s.keys() == row.operators_s.keys():
            operators_s = {
                kind: (*times, *row.operators_s[kind]) for kind, times in first.operators_s.items()
            }
        peaks = [each.peak_memory_bytes for each in (first, row) if each.peak_memory_bytes is not None]
        found[key] = first.model_copy(
            update={
                "step_s": (*first.step_s, *row.step_s),
                "pass_index": (*first.pass_index, *(after + index for index in row.pass_index)),
                "operators_s": operators_s,
                "peak_memory_bytes": max(peaks, default=None),
            }
        )
    return list(found.values())


def _measured(row: TrainingRow, models: Mapping[str, Model], *, on_cpu: bool) -> Measured:
    model = models.get(row.model)
    if model is None:
        raise PlanError(
            f'the profile has no operator list of "{row.model}"; measure again with dcplan profile'
        )
    step_time_s = float(np.quantile(row.step_s, QUIET if on_cpu else 0.5))
    named = model.model_copy(update={"name": row.model})
    step = Step(named, row.batch_per_device, row.precision)
    groups_s = _groups_s(row, step_time_s)
    return Measured(step, row.layout, step_time_s, row.compiled, row.peak_memory_bytes, groups_s)


def _groups_s(row: TrainingRow, step_time_s: float) -> tuple[float, ...]:
    """The step time by groups of operators, as the quietest step that was looked into divides it."""
    if not row.operators_s:
        return ()
    looks = np.array(list(row.operators_s.values()))
    quietest = looks[:, looks.sum(axis=0).argmin()]
    places = [group(kind) for kind in row.operators_s]
    parts = np.bincount(places, quietest, len(GROUPS))
    return tuple(float(part) for part in parts * (step_time_s / parts.sum()))


def _enough(rows: Sequence[Measured]) -> bool:
    return len(rows) >= FEWEST_ROWS and len({network_of(row) for row in rows}) >= FEWEST_NETWORKS


def _of_catalog(device_name: str) -> str | None:
    """The catalog's name of a GPU as its driver calls it: NVIDIA A100-SXM4-80GB."""
    name = device_name.lower().removeprefix("nvidia ").replace(" ", "-")
    return name if name in catalog.names("gpu") else None


def _prior(gpu: str | None, precision: Precision, *, on_cpu: bool) -> Prior:
    if gpu is None:
        return cpu_prior() if on_cpu else general_prior()
    known = catalog.gpu(gpu)
    rate = {"fp16": known.fp16, "bf16": known.bf16, "tf32": known.tf32}.get(precision) or known.fp32
    return general_prior().with_rates(rate, known.memory_bandwidth)


def _loading(profiles: Sequence[Profile]) -> float | None:
    """Images a second of the best number of workers."""
    rates = [row.images_per_s for profile in profiles for row in profile.loader if row.images_per_s]
    return max(rates, default=None)


def _links(rows: Sequence[CollectiveRow]) -> tuple[Link, ...]:
    """Latency and rate of all-reduce for each number of devices, in pieces where one line does not fit."""
    found = []
    for world in sorted({row.world_size for row in rows if row.operation == "all_reduce"}):
        own = [
            row for row in rows if row.world_size == world and row.operation == "all_reduce" and row.median_s
        ]
        sizes, times = (
            np.array([row.size_bytes for row in own]),
            np.array([row.median_s or 0.0 for row in own]),
        )
        if own:
            found.append(fit_link(world, sizes, times))
    return tuple(found)


def fit_link(world: int, size_bytes: Floats, time_s: Floats, nodes: int = 1) -> Link:
    """All-reduce as latency and rate, apart for small and large messages where that halves the error."""
    order = np.argsort(size_bytes)
    sizes, times = size_bytes[order], time_s[order]
    share = 2 * (world - 1) / world
    whole, error = _line(sizes * share, times)
    best: tuple[Piece, ...] = (whole,)
    for cut in range(2, len(sizes) - 1):
        parts = [_line(sizes[piece] * share, times[piece]) for piece in (slice(cut), slice(cut, None))]
        both = (parts[0][1] * cut + parts[1][1] * (len(sizes) - cut)) / len(sizes)
        if both < error / 2:
            error = both
            first, second = (part[0] for part in parts)
            best = (first, second.model_copy(update={"from_bytes": float(sizes[cut])}))
    return Link(world=world, nodes=nodes, pieces=best)


def _line(moved: Floats, times: Floats) -> tuple[Piece, float]:
    """Latency and rate of one piece, with the mean of the absolute errors of the logarithms."""

    def misses(at: Floats) -> Floats:
        return np.asarray(np.log(np.exp(at[0]) + moved / np.exp(at[1])) - np.log(times))

    start = np.array([math.log(times.min()), math.log(moved.max() / times.max())])
    found = minimise(misses, start, np.array([5.0, 5.0]), np.full(2, np.inf), noise=0.05)
    latency_s, rate = (float(f"{value:.4g}") for value in np.exp(found.values))
    return Piece(latency_s=latency_s, rate=rate), float(np.abs(misses(found.values)).mean())


@dataclass(frozen=True, slots=True)
class _Together:
    """A step on several devices: alone, its all-reduce by itself, the bytes of that, and as measured."""

    network: str
    world: int
    alone_s: float
    reduce_s: float
    reduced_bytes: float
    step_s: float


def _with_scaling(device: Device, told: Sequence[_Together]) -> Device:
    """The device with what steps on several of it take besides.

    That is waiting, all-reduce that shows, copies of gradients, and a fixed time. Errors are of the steps of
    one network left out at a time.
    """
    if not told:
        return device
    whole = _fit_scaling(told)
    networks = sorted({row.network for row in told})
    misses: list[float] = []
    for network in networks if len(networks) > 1 else ():
        at = _fit_scaling([row for row in told if row.network != network])
        misses += [_scaled_s(at, row) / row.step_s - 1 for row in told if row.network == network]
    quality = Quality.of("one network, on several devices", np.array(misses)) if misses else None
    waiting, sharpness, sync_s, copy_s_per_byte = np.exp(whole)
    numbers = {
        "waiting": waiting, "overlap": 1 + sharpness, "sync_s": sync_s, "copy_s_per_byte": copy_s_per_byte
    }  # fmt: skip
    scaled = {name: float(f"{value:.4g}") for name, value in numbers.items()} | {"together": quality}
    return device.model_copy(update=scaled)


def _together(
    device: Device, rows: Sequence[TrainingRow], models: Mapping[str, Model], *, on_cpu: bool
) -> Iterator[_Together]:
    """Steps on several devices beside the same on one with as many threads, or as that is predicted."""
    linked = {link.world for link in device.links}
    settings = {(each.precision, each.layout, each.compiled): each for each in device.settings}
    ones = {_configuration(row): row for row in rows if row.world_size == 1}
    for row in rows:
        setting = settings.get((row.precision, row.layout, row.compiled))
        if row.world_size not in linked or setting is None:
            continue
        measured = _measured(row, models, on_cpu=on_cpu)
        alone = ones.get(_configuration(row))
        alone_s = (
            float(step_s(setting.logarithms, work([measured.step]))[0])
            if alone is None
            else _measured(alone, models, on_cpu=on_cpu).step_s
        )
        size = gradient_bytes(measured.step.model)
        reduce_s = device.link(row.world_size).all_reduce_s(size)
        yield _Together(network_of(measured), row.world_size, alone_s, reduce_s, size, measured.step_s)


def _configuration(row: TrainingRow) -> tuple[object, ...]:
    return row.model, row.batch_per_device, row.precision, row.layout, row.compiled, row.threads


def _fit_scaling(rows: Sequence[_Together]) -> Floats:
    """Logarithms of the share of waiting, of how much hides, of the fixed time, and of that of a byte."""

    def misses(at: Floats) -> Floats:
        return np.array([math.log(_scaled_s(at, row) / row.step_s) for row in rows])

    return minimise(misses, SCALING_START, SCALING_SPREAD, SCALING_LARGEST, noise=0.05).values


def _scaled_s(at: Floats, row: _Together) -> float:
    waiting, sharpness, sync_s, copy_s_per_byte = np.exp(at)
    slower_s = row.alone_s * (1 + waiting * math.log2(row.world))
    besides_s = float(sync_s + copy_s_per_byte * row.reduced_bytes)
    return overlapped(slower_s, row.reduce_s, 1 + sharpness) + besides_s
