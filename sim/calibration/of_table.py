"""Devices from a published table, and how wrong the table's rows are predicted when left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.calibration import published
from sim.calibration.fit import FOLDS, LeftOut, fit, setting_of, spread_for_coverage
from sim.calibration.least_squares import Fit
from sim.calibration.measured import seconds
from sim.calibration.published import Joint, Row
from sim.errors import PlanError
from sim.perf.device import NORMAL_80, Device, Link, Piece, Quality, Range, Setting
from sim.perf.step_time import INDEX, NAMES, NARROW, SIZES, Layout, Precision, step_s, work

Key = tuple[str, Precision, Layout]
USUAL = "pytorch"
"""The framework that a fitted device stands for."""


@dataclass(frozen=True, slots=True)
class TableFit:
    """A whole table as fitted: settings with many networks, and everything else in one fit.

    ``known`` are the settings that the rest starts from, and ``harnesses`` who measured those of this table.
    """

    references: Mapping[Key, tuple[Setting, list[LeftOut]]]
    known: Mapping[Key, Setting]
    harnesses: Mapping[Key, str]
    rest: Joint
    fitted: Fit
    left_out: tuple[LeftOut, ...]
    unused: tuple[str, ...]

    @property
    def framework(self) -> str:
        """The framework that the devices of GPUs with few networks stand for."""
        count = Counter(row.framework for row in self.rest.rows)
        return USUAL if USUAL in count or not count else count.most_common(1)[0][0]


def fit_table(path: Path) -> TableFit:
    """Fit all rows of a table, from the catalog's GPU with many networks if no GPU of the table has many.

    Raises PlanError if no row can be used, with the reason.
    """
    rows, unused = published.read(path)
    if not rows:
        raise PlanError(f"no row of {path} can be used{': ' + unused[0] if unused else ''}")
    references, members = published.references(rows), published.many_networks(rows)
    many = {id(row) for own in members.values() for row in own}
    rest = [row for row in rows if id(row) not in many]
    known = {key: setting for key, (setting, _) in references.items()} or published.catalog_reference()
    data = published.joint(rest, known)
    fitted = published.fit_joint(data)
    keys = (
        ("one row", [str(number) for number in range(len(rest))]),
        ("one network", [row.measured.name for row in rest]),
        ("one GPU", [row.gpu for row in rest]),
    )
    left_out = tuple(
        published.joint_left_out(data, kinds, name) for name, kinds in keys if len(set(kinds)) > 1
    )
    harnesses = {key: own[0].harness for key, own in members.items()}
    return TableFit(references, known, harnesses, data, fitted, left_out, tuple(unused))


def devices(found: TableFit, source: str) -> list[Device]:
    """Every GPU of a table as a fitted device, in the framework most people use.

    Settings in half precision come first, then those with most rows: a scenario that leaves the choice open
    gets the first.
    """
    settings: dict[str, list[Setting]] = {}
    for (gpu, _, _), (setting, _) in found.references.items():
        settings.setdefault(gpu, []).append(setting)
    rows = [row for row in found.rest.rows if row.framework == found.framework]
    count = Counter(row.setting for row in rows)
    for key in sorted(count, key=lambda key: (key[1] not in NARROW, -count[key], key)):
        if key not in found.references:
            settings.setdefault(key[0], []).append(_setting(found, key))
    return [
        Device(
            name=gpu,
            gpu=gpu,
            source=source,
            evidence="fitted to published tables",
            settings=tuple(own),
            links=_links([row for row in rows if row.gpu == gpu and row.world > 1]),
            waiting=_waiting(found, gpu),
            overlap=1 + float(np.exp(found.fitted.values[found.rest.shifts.names.index("overlap")])),
        )
        for gpu, own in sorted(settings.items())
    ]


def _waiting(found: TableFit, gpu: str) -> float:
    """How much longer steps get with each doubling of the GPUs, in the runs of this GPU."""
    places = [
        place
        for place, row in enumerate(found.rest.rows)
        if row.framework == found.framework and row.gpu == gpu
    ]
    return float(f"{np.exp(found.rest.waiting[places[0]] @ found.fitted.values):.3g}") if places else 0.0


def _setting(found: TableFit, key: Key) -> Setting:
    """One setting of a GPU with few networks: the reference's parameters, its own two rates."""
    data, at = found.rest, found.fitted.values
    group = next(
        number for number, members in enumerate(data.members) if data.rows[members[0]].setting == key
    )
    places = [place for place in data.members[group] if data.rows[place].framework == found.framework]
    first = places[0]
    logarithms = data.bases[group].copy()
    code = published.code_of(data, first)
    directions = np.stack([acts[first] * ~code for acts in data.acts[:2]])
    rates, ceilings = directions @ at, data.ceilings[:, first]
    logarithms[[INDEX["compute_rate"], INDEX["memory_rate"]]] += published.below(rates, ceilings)
    logarithms[INDEX["efficiency.spatial"]] += data.acts[2][first] @ at
    logarithms[[INDEX[name] for name in SIZES]] += data.acts[4][first] @ at
    directions *= published.bend(rates, ceilings)[:, np.newaxis]
    covariance = directions @ found.fitted.covariance @ directions.T
    rows = [data.rows[place].measured for place in places]
    ratios = seconds(rows) / data.step_s(at)[places]
    return Setting(
        precision=key[1],
        layout=key[2],
        parameters={
            name: float(f"{value:.5g}") for name, value in zip(NAMES, np.exp(logarithms), strict=True)
        },
        uncertain=("compute_rate", "memory_rate"),
        covariance=tuple(float(f"{value:.3g}") for value in covariance[np.tril_indices(2)]),
        spread=float(f"{_setting_spread(found):.3g}"),
        measured=len(rows),
        quality=tuple(one.quality() for one in found.left_out),
        residual_deciles=tuple(float(f"{value:.4g}") for value in np.quantile(ratios, np.linspace(0, 1, 11))),
        batch=_range([row.step.batch for row in rows]),
        macs=_range([row.step.model.macs for row in rows]),
        weights=_range([row.step.model.parameters for row in rows]),
        kinds=tuple(sorted({operator.kind for row in rows for operator in row.step.model.operators})),
    )


def _links(rows: Sequence[Row]) -> tuple[Link, ...]:
    """All-reduce at the rate of the data sheet for each number of GPUs in the table."""
    found = []
    for world in sorted({row.world for row in rows}):
        row = next(row for row in rows if row.world == world)
        nodes = max(1, world // published.NODE_GPUS)
        rate = published.link_rate(row.gpu, world)
        latency_s = published.ALL_REDUCE_LATENCY_S * float(np.log2(world))
        found.append(Link(world=world, nodes=nodes, pieces=(Piece(latency_s=latency_s, rate=rate),)))
    return tuple(found)


def _range(values: Sequence[float]) -> Range:
    return Range(low=float(min(values)), high=float(max(values)))


def qualities(found: TableFit) -> list[tuple[str, Quality]]:
    """Every error figure of a table with what it is of."""
    told = []
    for (gpu, precision, layout), (_, tried) in found.references.items():
        told += [(f"{gpu}, {precision}, {layout}", one.quality()) for one in tried]
        told.append(
            (f"{gpu}, {precision}, {layout}", beyond_convolutions(tried[0], gpu, precision).quality())
        )
    worlds = np.array([row.world for row in found.rest.rows])
    networks = {(row.harness, row.measured.name) for row in found.rest.rows}
    several = Counter(harness for harness, _ in networks)
    kin = np.array([several[row.harness] > 1 for row in found.rest.rows])
    for one in found.left_out:
        told.append(("all other rows", one.quality()))
        if one.key == "one network" and kin.any():
            told.append(("of them whose harness ran other networks too", part(one, kin).quality()))
        told += [
            (f"of them on {noun}", part(one, chosen).quality())
            for noun, chosen in (("one GPU", worlds == 1), ("several GPUs", worlds > 1))
            if chosen.any()
        ]
    scaling = scaling_left_out(found.rest)
    return told if scaling is None else [*told, ("scaling to several GPUs", scaling)]


def against(found: TableFit, path: Path) -> list[tuple[str, Quality]]:
    """How wrong the fit of one table is about the rows of another, by the kinds of rows there are."""
    rows, _ = published.read(path)
    told, used = [], set()
    for key, (setting, _) in found.references.items():
        members = [
            row
            for row in rows
            if row.world == 1 and (row.setting, row.harness) == (key, found.harnesses[key])
        ]
        used |= {id(row) for row in members}
        if members:
            measured = tuple(row.measured for row in members)
            steps = [row.step for row in measured]
            predicted = step_s(setting.logarithms, work(steps))
            factor = np.exp(NORMAL_80 * np.sqrt(setting.variance(steps)))
            one = LeftOut("this table", measured, predicted, predicted / factor, predicted * factor)
            told.append((", ".join(key), one.quality()))
    rest = [row for row in rows if id(row) not in used]
    if not rest:
        return told
    data = published.joint([*found.rest.rows, *rest], found.known)
    keep = np.arange(len(data.rows)) < len(found.rest.rows)
    fitted = published.fit_joint(data, keep)
    slopes = data.slopes(fitted.values)
    spread = _setting_spread(found)
    width = NORMAL_80 * np.sqrt(spread**2 + np.einsum("ij,jk,ik->i", slopes, fitted.covariance, slopes))
    predicted = data.step_s(fitted.values)
    whole = LeftOut(
        "this table", tuple(row.measured for row in data.rows), predicted,
        predicted / np.exp(width), predicted * np.exp(width),
    )  # fmt: skip
    worlds = np.array([row.world for row in data.rows])
    for noun, chosen in (
        ("all other rows", ~keep),
        ("on one GPU", ~keep & (worlds == 1)),
        ("on several GPUs", ~keep & (worlds > 1)),
    ):
        if chosen.any():
            told.append((noun, part(whole, chosen).quality()))
    return told


def _setting_spread(found: TableFit) -> float:
    """Spread of single rows left out of the fit over many GPUs."""
    if not found.left_out:
        return found.fitted.residual_spread
    one = found.left_out[0]
    misses = np.log(seconds(one.rows) / one.predicted_s)
    return spread_for_coverage(misses, np.zeros(len(misses)))


def beyond_convolutions(tried: LeftOut, gpu: str, precision: Precision) -> LeftOut:
    """Transformers, hybrids and perceptrons as a fit of CNNs alone predicts them: how far it carries."""
    known = [row for row in tried.rows if row.step.model.family == "cnn"]
    unseen = tuple(row for row in tried.rows if row.step.model.family != "cnn")
    setting = setting_of(known, fit(known, published.prior_for(gpu, precision)))
    steps = [row.step for row in unseen]
    predicted = step_s(setting.logarithms, work(steps))
    factor = np.exp(NORMAL_80 * np.sqrt(setting.variance(steps)))
    return LeftOut("everything but CNNs", unseen, predicted, predicted / factor, predicted * factor)


def scaling_left_out(data: Joint) -> Quality | None:
    """How wrong steps on several GPUs are, from the same run's step on one: each row by a fit without it.

    None where no run was on one and on several.
    """
    kin = {}
    for place, row in enumerate(data.rows):
        if row.world == 1:
            kin[row.gpu, row.harness, row.measured.step.precision, row.measured.layout, row.measured.name] = (
                place
            )
    pairs = []
    for place, row in enumerate(data.rows):
        key = (row.gpu, row.harness, row.measured.step.precision, row.measured.layout, row.measured.name)
        if row.world > 1 and key in kin:
            pairs.append((place, kin[key]))
    if not pairs:
        return None
    many, one = np.array(pairs).T
    rows = [row.measured for row in data.rows]
    ratio = seconds([rows[place] for place in many]) / seconds([rows[place] for place in one])
    guess = np.zeros(len(pairs))
    whole = published.fit_joint(data).values
    for fold in range(FOLDS):
        out = np.arange(len(pairs)) % FOLDS == fold
        keep = np.ones(len(rows), dtype=bool)
        keep[many[out]] = False
        steps = data.step_s(published.fit_joint(data, keep, whole).values)
        guess[out] = (steps[many] / steps[one])[out]
    return Quality.of("one row, given the same run's step on one GPU", guess / ratio - 1)


def part(whole: LeftOut, chosen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> LeftOut:
    """Some of the predictions."""
    rows = tuple(row for row, wanted in zip(whole.rows, chosen, strict=True) if wanted)
    return LeftOut(whole.key, rows, whole.predicted_s[chosen], whole.low_s[chosen], whole.high_s[chosen])
