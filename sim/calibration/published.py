"""Published tables of training throughput: one GPU with many networks, and many GPUs with few.

The GPU with many networks is fitted as a profile is. Its parameters are then what is expected of the others:
each GPU may differ in its two rates from what its data sheet says relative to the reference, but not exceed
it, and so may each precision, and each framework in each precision. Where the peak rate is higher, products
must be larger to reach the same share of it; convolutions of a window are faster in FP32; and some frameworks
fuse activations and sums with what comes before. On several GPUs there is the all-reduce, behind which the
backward pass hides, and the data path of the node, which bounds the samples a second. All of that is one fit
over all rows, with priors, as most GPUs have two or three rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim import catalog
from sim.calibration import harnesses
from sim.calibration.fit import (
    FOLDS,
    HELD,
    LEAST_SPREAD,
    LeftOut,
    Prior,
    calibrate,
    general_prior,
    spread_for_coverage,
)
from sim.calibration.least_squares import Fit, jacobian, minimise
from sim.calibration.measured import Measured
from sim.catalog import devices
from sim.catalog.networks import has_network, most_like, network
from sim.errors import Fault, PlanError, TraceError
from sim.perf.device import NORMAL_80, Setting
from sim.perf.operators import Model, Operator
from sim.perf.step_time import INDEX, SIZES_BY_PEAK, Floats, Layout, Precision, Step, Work, step_s, work

COLUMNS = (
    "source", "model", "gpu", "num_gpus", "precision", "layout", "framework", "batch_per_gpu", "img_size",
    "train_img_s", "gmacs", "mactivations", "params_M",
)  # fmt: skip
SettingKey = tuple[str, Precision, Layout]
"""What rows that are fitted together have in common: GPU, precision and layout."""
MANY = 30
"""Networks on one GPU that make a setting which can be fitted on its own."""
REFERENCE = "rtx-3090"

GPUS: Mapping[str, str] = {
    "RTX3090": "rtx-3090",
    "V100-16GB": "v100-sxm2-16gb",
    "V100-32GB": "v100-sxm2-32gb",
    "A100-40GB": "a100-sxm4-40gb",
    "A100-80GB": "a100-sxm4-80gb",
    "A100-80GB-SXM4": "a100-sxm4-80gb",
    "A100-40GB-PCIe": "a100-pcie-40gb",
    "A100-80GB-PCIe": "a100-pcie-80gb",
    "H100-80GB-PCIe": "h100-pcie-80gb",
    "H100-80GB-SXM5": "h100-sxm5-80gb",
    "H200-140GB-SXM": "h200-sxm5-141gb",
    "B200-192GB-SXM5": "b200-sxm-180gb",
    "GH200-80GB": "gh200-96gb",
    "GH200-96GB": "gh200-96gb",
    "RTX-4090": "rtx-4090",
    "RTX-A6000": "rtx-a6000",
    "RTX-6000-Ada": "rtx-6000-ada",
    "Quadro-RTX-8000": "quadro-rtx-8000",
    "A10": "a10",
}
"""Names of tables and of the catalog; a name of the catalog is taken as it is."""
PRECISIONS: Mapping[str, Precision] = {
    "amp-fp16": "fp16", "amp": "fp16", "fp16": "fp16", "bf16": "bf16", "amp-bf16": "bf16",
    "tf32": "tf32", "fp32": "fp32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    measured: Measured
    source: str
    gpu: str
    world: int
    framework: str
    approximate: bool = False

    @property
    def harness(self) -> str:
        """Who measured with which framework: code, libraries and data path come with that."""
        return f"{self.source.split()[0]} {self.framework}"

    @property
    def setting(self) -> SettingKey:
        """What rows that are fitted together have in common."""
        return self.gpu, self.measured.step.precision, self.measured.layout


class UnknownError(PlanError):
    """A row of a table cannot be used: nothing tells what its network computes, or what its GPU can do."""


def read(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a table, and why rows were left out, each in a sentence.

    Raises PlanError for one that is not such a table, with every line that is wrong.
    """
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlanError(f"{path} cannot be read as a table: {error}") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise PlanError(f"{path} lacks the columns {', '.join(missing)}")
    rows, faults, left_out = [], [], []
    for line, row in enumerate(table.iter_rows(named=True), start=2):
        try:
            rows.append(_row(row))
        except UnknownError as error:
            left_out.append(f"{path}:{line}: {error}")
        except PlanError as error:
            faults.append(Fault(line, "", str(error)))
    if faults:
        raise TraceError(str(path), faults, len(faults))
    return rows, left_out


def _row(row: Mapping[str, object]) -> Row:
    rate = _number(row["train_img_s"])
    if rate is None:
        raise PlanError(f"train_img_s is {row['train_img_s']}, not a positive number")
    precision = PRECISIONS.get(str(row["precision"]))
    if precision is None:
        raise PlanError(f'precision "{row["precision"]}" is none of {", ".join(PRECISIONS)}')
    model, approximate = _network(row)
    world = int(_number(row["num_gpus"]) or 1)
    source, framework = str(row["source"]), str(row["framework"])
    gpu = GPUS.get(str(row["gpu"]), str(row["gpu"]).lower())
    if gpu not in catalog.names("gpu"):
        raise UnknownError(f'"{row["gpu"]}" is not a GPU of the catalog, so its peak rates are not known')
    layout = harnesses.layout(source, framework, precision, str(row["layout"]))
    told = None if "ffcv" in framework else _number(row["batch_per_gpu"])
    memory_gb = catalog.gpu(gpu).memory / 1e9
    batch = int(told or harnesses.batch(source, framework, model.name, gpu, precision, memory_gb))
    measured = Measured(Step(model, batch, precision), layout, batch * world / rate)
    return Row(
        measured,
        source,
        gpu,
        world,
        framework.split(maxsplit=1)[0].partition("-")[0],
        approximate,
    )


def _network(row: Mapping[str, object]) -> tuple[Model, bool]:
    """The network of a row: by name or, where the name is not known, the one most like its figures."""
    name = str(row["model"])
    size = int(_number(row["img_size"]) or harnesses.image_size(str(row["framework"]), name))
    if has_network(name):
        return _named(name, size), False
    figures = [_number(row[column]) for column in ("gmacs", "mactivations", "params_M")]
    gmacs, activations, parameters = figures
    if gmacs is None or activations is None or parameters is None:
        raise UnknownError(
            f'"{name}" is not a network of the catalog, and gmacs, mactivations, params_M are not all given'
        )
    return _alike(name, gmacs, activations, parameters), True


def _number(value: object) -> float | None:
    """A positive number, or None for anything else that a table may hold."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


@cache
def _named(name: str, size: int) -> Model:
    return network(name, size).model_copy(update={"name": name})


@cache
def _alike(name: str, gmacs: float, mega_activations: float, mega_parameters: float) -> Model:
    """The network of the catalog with the most similar figures, its operators scaled to these."""
    nearest = most_like(gmacs * 1e9, mega_parameters * 1e6)
    factor = gmacs * 1e9 / nearest.macs
    moved = mega_activations * 1e6 / nearest.activation_elements
    operators = tuple(_stretched(operator, factor, moved) for operator in nearest.operators)
    return nearest.model_copy(
        update={"name": name, "parameters": round(mega_parameters * 1e6), "operators": operators}
    )


def _stretched(operator: Operator, macs: float, elements: float) -> Operator:
    moved = ("input_elements", "output_elements", "wide_input_elements", "wide_output_elements")
    sizes = {name: round(getattr(operator, name) * elements) for name in moved}
    return operator.model_copy(update=sizes | {"macs": round(operator.macs * macs)})


# ---- one GPU with many networks ----------------------------------------------------------------------------


def many_networks(rows: Sequence[Row]) -> dict[SettingKey, list[Row]]:
    """Rows that make settings of their own: many networks on one GPU, measured by one source alike."""
    found: dict[tuple[SettingKey, str], list[Row]] = {}
    for row in rows:
        if row.world == 1:
            found.setdefault((row.setting, row.harness), []).append(row)
    wide = {key: own for key, own in found.items() if len({row.measured.name for row in own}) >= MANY}
    return {setting: own for (setting, _), own in sorted(wide.items(), key=lambda one: len(one[1]))}


def catalog_reference() -> dict[SettingKey, Setting]:
    """The GPU of the catalog with many networks, for tables that have none."""
    device = devices.device(REFERENCE)
    settings = [setting for setting in device.settings if setting.measured >= MANY]
    return {(REFERENCE, setting.precision, setting.layout): setting for setting in settings}


def prior_for(gpu: str, precision: Precision) -> Prior:
    """What the data sheet says of a GPU's rates, and of the rest what is true of any device."""
    known = catalog.gpu(gpu)
    return general_prior().with_rates(peak(gpu, precision), known.memory_bandwidth)


def peak(gpu: str, precision: Precision) -> float:
    """The compute rate of the data sheet in a precision; FP32's where a device lacks it."""
    known = catalog.gpu(gpu)
    return {"fp16": known.fp16, "bf16": known.bf16, "tf32": known.tf32}.get(precision) or known.fp32


def references(rows: Sequence[Row]) -> dict[SettingKey, tuple[Setting, list[LeftOut]]]:
    """Each setting with many networks, fitted, with its errors on networks left out."""
    from sim.calibration.measured import family_of, network_of  # noqa: PLC0415

    keys = ((network_of, "one network"), (family_of, "a family of networks"))
    return {
        setting: calibrate([row.measured for row in members], prior_for(setting[0], setting[1]), keys)
        for setting, members in many_networks(rows).items()
    }


# ---- many GPUs with few networks ---------------------------------------------------------------------------

RATES = ("compute", "memory")
GPU_SPREAD = HELD
BOARD_SPREAD = 0.05
"""Boards of one chip differ in their clocks."""
PRECISION_SPREAD = 0.3
FRAMEWORK_SPREAD = 0.2
HARNESS_SPREAD = 0.15
CODE_SPREAD = 0.1
PEAK_SPREAD = 0.1
"""Of the exponents by which the share of a peak rate that is reached goes with that rate."""
SHARES_OF_PEAK: Mapping[str, float] = {"A100": 0.86, "H100": 0.77, "B200": 0.69}
"""Of the data sheet's rate, in BF16, that products of 4,096 rows or more reach in the median.

Measured on an A100 SXM (vllm 0.14.0), H100 SXM and B200 SXM (vllm 0.24.0); from the tables of
github.com/ai-dynamo/aiconfigurator (Apache-2.0).
"""
WAITING_SPREAD = 0.7
OVER_DATA_SHEET = 1.1
"""Times the peak rate of the data sheet that boards reach, which often clock higher than it says."""
WINOGRAD, WINOGRAD_SPREAD = 1.5, 0.3
"""How much faster convolutions of a window are in FP32, and how far off that may be.

Libraries compute them with up to 2.25 times fewer multiplications (Lavin and Gray, arXiv:1509.09308).
"""
SIZES_SPREAD = 0.3
"""Of the exponent by which products must be larger where the peak rate is higher."""
FUSED, FUSED_SPREAD = 2.0, 0.7
"""How much less activations and sums move where a framework fuses them with other operators."""
BEND = 10.0
"""How sharply rates bend where they come near what is possible."""
CHIPS: Mapping[str, tuple[str, ...]] = {
    "V100": ("v100",),
    "TU102": ("quadro-rtx", "t4"),
    "A100": ("a100", "a800"),
    "GA102": ("rtx-3090", "rtx-a6000", "a10"),
    "AD102": ("rtx-4090", "rtx-6000-ada", "l4"),
    "H100": ("h100", "h200", "h800", "gh200"),
    "B200": ("b200", "b300", "gb200", "gb300"),
}
"""GPUs by chip, by the beginnings of their names in the catalog."""
LOADER_SAMPLES_PER_S = 60_000.0
PCIE_RATE = 12e9
NODE_GPUS = 8
ALL_REDUCE_LATENCY_S = 1e-4


@dataclass(frozen=True, slots=True)
class Shifts:
    """The parameters of the joint fit by name, with where they start and how far they may go."""

    names: tuple[str, ...]
    centre: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Joint:
    """Rows of many GPUs in numbers."""

    rows: tuple[Row, ...]
    shifts: Shifts
    bases: tuple[Floats, ...]
    works: tuple[Work, ...]
    members: tuple[tuple[int, ...], ...]
    acts: tuple[Floats, ...]
    """How shifts act on compute and memory rates, windows, what is fused, and sizes (each rows x shifts)."""
    reduce_s: Floats
    world: Floats
    loader: tuple[int, ...]
    waiting: Floats
    ceilings: Floats
    """How much faster than their base compute and memory rates are at most, as logarithms (2 x rows)."""

    def step_s(self, at: Floats) -> Floats:
        """Seconds of each row's step, for shifts of the joint fit."""
        return self._whole_s(at, self._alone_s([acts @ at for acts in self.acts]))

    def slopes(self, at: Floats) -> Floats:
        """Slopes of the logarithms of the step times: most shifts act through a few rates of a row."""
        little = 1e-4
        rates = [acts @ at for acts in self.acts]
        alone = self._alone_s(rates)
        base = np.log(self._whole_s(at, alone))
        slopes = jacobian(lambda there: np.log(self._whole_s(there, alone)), at, base)
        for place, acts in enumerate(self.acts):
            moved = [rate + little * (place == other) for other, rate in enumerate(rates)]
            by_rate = (np.log(self._whole_s(at, self._alone_s(moved))) - base) / little
            slopes += by_rate[:, np.newaxis] * acts
        return slopes

    def _alone_s(self, rates: Sequence[Floats]) -> Floats:
        """Seconds of each row's step on one GPU, with logarithms of how much faster its rates are."""
        alone = np.empty(len(self.rows))
        times = np.exp([*below(np.array(rates[:2]), self.ceilings), *rates[2:]])
        for base, todo, members in zip(self.bases, self.works, self.members, strict=True):
            place = list(members)
            alone[place] = step_s(base, todo.at_rates(*times[:, place]))
        return alone

    def _whole_s(self, at: Floats, alone: Floats) -> Floats:
        """The same with all-reduce, waiting for one another, and the data path of the node."""
        overlap = 1 + math.exp(at[self.shifts.names.index("overlap")])
        alike = np.minimum(self.world, NODE_GPUS)
        slower = 1 + np.exp(self.waiting @ at) * np.log2(alike)
        whole = _larger(alone * slower, self.reduce_s, overlap)
        batch = np.array([row.measured.step.batch for row in self.rows])
        return _larger(whole, batch * alike / np.exp(at[list(self.loader)]), 4.0)


def joint(rows: Sequence[Row], known: Mapping[SettingKey, Setting]) -> Joint:
    """Everything that does not depend on the parameters of the fit over many GPUs."""
    shifts = _shifts(rows)
    place = {name: column for column, name in enumerate(shifts.names)}
    *acts, waiting = (np.zeros((len(rows), len(place))) for _ in range(6))
    for number, row in enumerate(rows):
        for cause in _waiting(row):
            waiting[number, place[cause]] = 1
        for matrix, causes in zip(acts[2:4], (_windows(row), _fused(row)), strict=True):
            matrix[number, [place[cause] for cause in causes]] = 1
        beyond = _beyond(row.setting, _reference(known, row.measured.layout))
        for matrix, kind, times in zip(acts[:2], RATES, beyond, strict=True):
            matrix[number, [place[cause] for cause in (*_rate(kind, row), _code(row))]] = 1
            matrix[number, place[f"{kind} by peak"]] = math.log(times)
        acts[4][number, place["sizes by peak"]] = math.log(beyond[0])
    bases, works, members = [], [], []
    for key in sorted({row.setting for row in rows}):
        reference = _reference(known, key[2])
        group = tuple(number for number, row in enumerate(rows) if row.setting == key)
        bases.append(_moved_to(key, reference, known[reference]))
        works.append(work([rows[number].measured.step for number in group]))
        members.append(group)
    return Joint(
        tuple(rows), shifts, tuple(bases), tuple(works), tuple(members), tuple(acts),
        np.array([_all_reduce_s(row) for row in rows]),
        np.array([float(row.world) for row in rows]),
        tuple(place[f"loader of {_host(row)}"] for row in rows),
        waiting,
        np.array([_ceilings(row.setting, known) for row in rows]).T,
    )  # fmt: skip


def _shifts(rows: Sequence[Row]) -> Shifts:
    start: dict[str, tuple[float, float]] = {}
    for row in rows:
        for kind in RATES:
            start |= {cause: (0.0, spread) for cause, spread in _rate(kind, row).items()}
        chip = _chip(row.gpu)
        start[f"compute of all {chip}"] = (math.log(SHARES_OF_PEAK.get(chip, 1.0)), GPU_SPREAD)
        start[_code(row)] = (0.0, CODE_SPREAD)
        start |= dict.fromkeys(_windows(row), (math.log(WINOGRAD), WINOGRAD_SPREAD))
        start |= dict.fromkeys(_fused(row), (math.log(FUSED), FUSED_SPREAD))
        harness, *causes = _waiting(row)
        start[harness] = (math.log(0.01), 1.0)
        start |= dict.fromkeys(causes, (0.0, WAITING_SPREAD))
        start[f"loader of {_host(row)}"] = (math.log(LOADER_SAMPLES_PER_S), 1.0)
    start["overlap"] = (0.0, 0.7)
    start |= {f"{kind} by peak": (0.0, PEAK_SPREAD) for kind in RATES}
    start["sizes by peak"] = (SIZES_BY_PEAK, SIZES_SPREAD)
    centre, width = np.array(list(start.values())).T
    return Shifts(tuple(start), centre, width)


def _rate(kind: str, row: Row) -> dict[str, float]:
    """What decides how far a rate is from the data sheet's: each cause, and how far off it may be."""
    precision, framework = row.measured.step.precision, row.framework.partition("+")[0]
    return {
        f"{kind} of all {_chip(row.gpu)}": GPU_SPREAD,
        f"{kind} of {row.gpu}": BOARD_SPREAD,
        f"{kind} in {precision}": PRECISION_SPREAD,
        f"{kind} with {framework} in {precision}": FRAMEWORK_SPREAD,
        f"{kind} with {row.harness} in {precision}": HARNESS_SPREAD,
    }


def _windows(row: Row) -> tuple[str, ...]:
    """What makes convolutions of a window faster than other products."""
    return ("windows in fp32",) if row.measured.step.precision == "fp32" else ()


def _fused(row: Row) -> tuple[str, ...]:
    """What lets less go through memory."""
    precision = row.measured.step.precision
    return (f"fused by {row.framework}",) if harnesses.fuses(row.source, row.framework, precision) else ()


def _waiting(row: Row) -> tuple[str, str, str]:
    """What decides how long the GPUs of a node wait for one another: the code, the precision, the node."""
    precision = row.measured.step.precision
    return f"waiting with {row.harness}", f"waiting in {precision}", f"waiting of {_host(row)}"


def _code(row: Row) -> str:
    """The code of one network in one framework, which may be better or worse than that of others."""
    return f"{row.measured.name} with {row.harness}"


def code_of(data: Joint, number: int) -> NDArray[np.bool_]:
    """Which shift is that of the code of a row's network."""
    return np.array([name == _code(data.rows[number]) for name in data.shifts.names])


def _chip(gpu: str) -> str:
    """What GPUs of one chip are called together; boards of it differ in memory, clocks and links."""
    return next((chip for chip, boards in CHIPS.items() if gpu.startswith(boards)), gpu)


def _host(row: Row) -> str:
    """Nodes whose data paths are alike: by generation of their GPUs, and by loader."""
    loader = " with FFCV" if "ffcv" in row.framework else ""
    return row.gpu.partition("-")[0] + loader


def _reference(known: Mapping[SettingKey, Setting], layout: Layout) -> SettingKey:
    return next((key for key in known if key[2] == layout), next(iter(known)))


def _moved_to(key: SettingKey, reference: SettingKey, setting: Setting) -> Floats:
    """The reference's parameters with the rates of another GPU's data sheet in place of its own."""
    at = setting.logarithms.copy()
    for kind, times in zip(RATES, _beyond(key, reference), strict=True):
        at[INDEX[f"{kind}_rate"]] += math.log(times)
    return at


def _beyond(key: SettingKey, reference: SettingKey) -> tuple[float, float]:
    """How many times the reference's compute and memory rates a setting has, by the data sheets."""
    (gpu, precision, _), (other, usual, _) = key, reference
    memory = catalog.gpu(gpu).memory_bandwidth / catalog.gpu(other).memory_bandwidth
    return peak(gpu, precision) / peak(other, usual), memory


def _ceilings(key: SettingKey, known: Mapping[SettingKey, Setting]) -> tuple[float, float]:
    """How much faster than its base a setting's compute and memory rates are at most, as logarithms.

    None is faster than the data sheet says, but for boards that clock a little higher.
    """
    reference = _reference(known, key[2])
    parameters = known[reference].parameters
    best = max(parameters[f"efficiency.{kind}"] for kind in ("spatial", "pointwise"))
    compute = parameters["compute_rate"] * best / peak(reference[0], reference[1])
    memory = parameters["memory_rate"] / catalog.gpu(reference[0]).memory_bandwidth
    return math.log(OVER_DATA_SHEET / compute), math.log(OVER_DATA_SHEET / memory)


def below(values: Floats, ceiling: Floats | float) -> Floats:
    """Values that bend before a ceiling and never reach it.

    >>> below(np.array([-2.0, 0.0, 2.0]), 0.0).round(3).tolist()
    [-2.0, -0.069, -0.0]
    """
    return np.asarray(ceiling - np.logaddexp(0.0, BEND * (ceiling - values)) / BEND)


def bend(values: Floats, ceiling: Floats | float) -> Floats:
    """The slope of `below`: what is left of a change of a value."""
    return np.asarray(1 / (1 + np.exp(BEND * (values - ceiling))))


def _all_reduce_s(row: Row) -> float:
    """Time to add up the gradients at the rate of the data sheet's link."""
    if row.world == 1:
        return 0.0
    rate = link_rate(row.gpu, row.world, through_the_host=harnesses.through_the_host(row.source))
    moved = 2 * (row.world - 1) / row.world * 4.0 * row.measured.step.model.parameters
    return ALL_REDUCE_LATENCY_S * math.log2(row.world) + moved / rate


def link_rate(gpu: str, world: int, *, through_the_host: bool = False) -> float:
    """Bytes a second between GPUs: the data sheet's scale-up link in a node, the network cards beyond it."""
    rate = PCIE_RATE if through_the_host else catalog.gpu(gpu).scale_up_bandwidth or PCIE_RATE
    return rate if world <= NODE_GPUS else min(rate, NODE_GPUS * PCIE_RATE)


def _larger(left: Floats, right: Floats, sharpness: float) -> Floats:
    return np.asarray((left**sharpness + right**sharpness) ** (1 / sharpness))


def fit_joint(data: Joint, keep: NDArray[np.bool_] | None = None, begin: Floats | None = None) -> Fit:
    """Fit the rows of many GPUs at once; ``keep`` says which rows count."""
    chosen = np.ones(len(data.rows), dtype=bool) if keep is None else keep
    measured = np.log([row.measured.step_s for row in data.rows])
    return minimise(
        lambda at: (np.log(data.step_s(at)) - measured)[chosen],
        data.shifts.centre, data.shifts.spread, np.full(len(data.shifts.names), np.inf), noise=0.06,
        begin=begin, slopes_of=lambda at: data.slopes(at)[chosen],
    )  # fmt: skip


def joint_left_out(data: Joint, keys: Sequence[str], name: str) -> LeftOut:
    """Predict each row by fits that have not seen its kind, with intervals from the errors of other fits."""
    kinds = np.array(keys)
    order = np.random.default_rng(0).permutation(np.unique(kinds))
    folds = [np.isin(kinds, order[place::FOLDS]) for place in range(min(FOLDS, len(order)))]
    predicted, variance = np.zeros(len(data.rows)), np.zeros(len(data.rows))
    whole = fit_joint(data).values
    for fold in folds:
        found = fit_joint(data, ~fold, whole)
        slopes = data.slopes(found.values)
        predicted[fold] = data.step_s(found.values)[fold]
        variance[fold] = np.einsum("ij,jk,ik->i", slopes, found.covariance, slopes)[fold]
    measured = np.array([row.measured.step_s for row in data.rows])
    misses = np.log(measured / predicted)
    width = np.zeros(len(data.rows))
    for fold in folds:
        spread = max(spread_for_coverage(misses[~fold], variance[~fold]), LEAST_SPREAD)
        width[fold] = NORMAL_80 * np.sqrt(spread**2 + variance[fold])
    rows = tuple(row.measured for row in data.rows)
    return LeftOut(name, rows, predicted, predicted / np.exp(width), predicted * np.exp(width))
