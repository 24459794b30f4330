"""Published tables are read with every fault told, and networks left out of a fit are predicted."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sim import catalog
from sim.calibration import published
from sim.calibration.fit import fit
from sim.calibration.least_squares import jacobian
from sim.calibration.measured import Measured, plain_name, seconds
from sim.catalog import devices
from sim.catalog.networks import network
from sim.cli import main
from sim.errors import PlanError, ScenarioError, TraceError
from sim.perf.step_time import INDEX, SIZES, Step, step_s, work
from sim.scenario import load

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
TABLE = SHARED / "validation" / "training_cnn.csv"
HEADER = ",".join(published.COLUMNS)


def a_row(
    model: str = "resnet50", rate: str = "400", gpu: str = "A100-80GB", figures: str = "4.1,11.1,25.6"
) -> str:
    return f"timm,{model},{gpu},1,amp-fp16,nhwc,pytorch,64,224,{rate},{figures}"


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join([HEADER, a_row(), a_row(rate="nan"), a_row(rate="-1")]))
    with pytest.raises(TraceError) as refused:
        published.read(path)
    assert [fault.line for fault in refused.value.faults] == [3, 4]


def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("model,gpu\nresnet50,A10\n")
    with pytest.raises(PlanError, match="lacks the columns"):
        published.read(path)


def test_a_network_without_a_list_is_known_by_its_figures_and_what_nothing_is_known_of_is_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    others = [a_row("othernet", figures=",,"), a_row(gpu="A1000-90GB")]
    path.write_text("\n".join([HEADER, a_row("somenet"), *others]))
    rows, left_out = published.read(path)
    (row,) = rows
    assert row.approximate
    assert row.measured.step.model.macs == pytest.approx(4.1e9, rel=0.02)
    assert len(left_out) == 2
    assert "othernet" in left_out[0]
    assert "A1000-90GB" in left_out[1]


def test_a_small_table_of_ones_own_starts_from_the_catalog(tmp_path: Path) -> None:
    """What the catalog's A100 does in a framework of one's own: its step is found again from two networks."""
    known = devices.device("a100-sxm4-80gb").setting("fp16", "nhwc")
    lines = [HEADER]
    for name, batch in (("resnet50", 256), ("vgg16", 128), ("densenet121", 128)):
        (time_s,) = step_s(known.logarithms, work([Step(network(name, 224), batch, "fp16")]))
        lines.append(f"me,{name},A100-80GB,1,amp-fp16,nhwc,jax,{batch},224,{batch / time_s},,,")
    path, out = tmp_path / "table.csv", tmp_path / "devices"
    path.write_text("\n".join(lines))
    done = CliRunner().invoke(main, ["calibrate", "--table", str(path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "all start from rtx-3090 of the catalog" in done.stderr
    assert "one network" in done.stdout
    setting = devices.read(out / "a100-sxm4-80gb.yaml").setting("fp16", "nhwc")
    steps = work(
        [Step(network(name, 224), 128, "fp16") for name in ("resnet50", "resnet101", "efficientnet_b0")]
    )
    assert step_s(setting.logarithms, steps) == pytest.approx(step_s(known.logarithms, steps), rel=0.1)


def test_a_table_of_one_row_says_that_it_has_no_errors_and_one_of_none_why(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{HEADER}\n{a_row()}")
    done = CliRunner().invoke(main, ["calibrate", "--table", str(path), "--out", str(tmp_path / "devices")])
    assert done.exit_code == 0, done.output
    assert "no error is told" in done.stderr
    path.write_text(f"{HEADER}\n{a_row('othernet', figures=',,')}")
    done = CliRunner().invoke(main, ["calibrate", "--table", str(path), "--out", str(tmp_path / "devices")])
    assert done.exit_code == 2
    assert "can be used" in done.stderr
    assert "othernet" in done.stderr


@pytest.mark.parametrize(
    ("source", "framework", "gpu", "precision", "told", "layout", "batch"),
    [
        ("Lambda deeplearning-benchmark", "pytorch", "H100-80GB-SXM5", "amp-fp16", "", "nchw", 1280),
        ("Lambda deeplearning-benchmark", "pytorch", "H100-80GB-SXM5", "tf32", "", "nchw", 640),
        ("Lambda deeplearning-benchmark", "pytorch", "V100-16GB", "fp32", "96", "nchw", 96),
        ("FFCV ImageNet", "pytorch+ffcv", "A100-40GB", "amp-fp16", "64", "nhwc", 512),
        ("NVIDIA DeepLearningExamples", "mxnet", "V100-16GB", "fp32", "", "nchw", 192),
        ("NVIDIA DeepLearningExamples", "mxnet", "V100-16GB", "amp-fp16", "", "nhwc", 192),
        ("NVIDIA DeepLearningExamples", "pytorch", "A100-80GB", "tf32", "", "nhwc", 128),
        ("somebody", "mxnet", "V100-16GB", "fp32", "", "nhwc", 128),
    ],
)
def test_what_a_table_leaves_open_is_what_the_scripts_of_its_source_say(
    source: str, framework: str, gpu: str, precision: str, told: str, layout: str, batch: int, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{HEADER}\n{source},resnet50,{gpu},1,{precision},nhwc,{framework},{told},,400,,,\n")
    ((row,), _) = published.read(path)
    assert (row.measured.layout, row.measured.step.batch) == (layout, batch)


def test_no_fitted_gpu_is_faster_than_its_data_sheet() -> None:
    """Boards clock a little higher than it says; only windows in FP32 take fewer multiplications."""
    checked = 0
    for name in devices.device_names():
        device = devices.device(name)
        for setting in device.settings if device.gpu else ():
            found = setting.parameters
            peak, known = published.peak(device.gpu, setting.precision), catalog.gpu(device.gpu)
            products = ("pointwise",) if setting.precision == "fp32" else ("pointwise", "spatial")
            best = max(found[f"efficiency.{kind}"] for kind in products)
            assert found["compute_rate"] * best < 1.2 * peak, (name, setting.precision)
            assert found["memory_rate"] < 1.2 * known.memory_bandwidth, (name, setting.precision)
            checked += 1
    assert checked > 20


SETTINGS = {("rtx-3090", "fp16", each.layout): each for each in devices.device("rtx-3090").settings[:2]}


def some_rows() -> list[published.Row]:
    """Rows of two harnesses on three GPUs, one of them many, whose times nobody asks about."""
    wanted = (
        ("NVIDIA x", "mxnet", "v100-sxm2-16gb", "fp32", "nchw", 1),
        ("NVIDIA x", "tensorflow2+xla", "a100-sxm4-80gb", "fp16", "nhwc", 8),
        ("Lambda x", "pytorch", "h100-sxm5-80gb", "tf32", "nchw", 2),
    )
    return [
        published.Row(
            Measured(Step(network(name, 224), 64, precision), layout, 0.1), source, gpu, world, framework
        )
        for name in ("resnet50", "efficientnet_b0")
        for source, framework, gpu, precision, layout, world in wanted
    ]


def test_the_slopes_of_the_fit_over_many_gpus_are_those_of_its_step_times() -> None:
    data = published.joint(some_rows(), SETTINGS)
    at = data.shifts.centre + np.random.default_rng(1).normal(0, 0.1, len(data.shifts.names))
    differences = jacobian(lambda there: np.log(data.step_s(there)), at)
    assert np.abs(data.slopes(at) - differences).max() < 1e-3
    assert (np.abs(differences).max(axis=1) > 0.1).all()


def test_rates_bend_before_their_ceiling() -> None:
    values = np.linspace(-3, 3, 61)
    bent = published.below(values, 0.5)
    assert (bent < 0.5).all()
    assert bent[0] == pytest.approx(-3.0, abs=1e-6)
    differences = (published.below(values + 1e-6, 0.5) - bent) / 1e-6
    assert published.bend(values, 0.5) == pytest.approx(differences, abs=1e-5)


def test_a_step_at_other_rates_is_that_of_a_device_with_them() -> None:
    """Each factor on the work is the same as on the parameters that it stands for."""
    setting = SETTINGS["rtx-3090", "fp16", "nhwc"]
    todo, one = work([Step(network("efficientnet_b0", 224), 64, "fp16")]), np.ones(1)
    for place, (names, sign) in enumerate(
        (
            (("compute_rate",), 1),
            (("memory_rate",), 1),
            (("efficiency.spatial",), 1),
            (("traffic.activation", "traffic.element_wise", "traffic.scaling", "traffic.gating"), -1),
            (SIZES, 1),
        )
    ):
        at = setting.logarithms.copy()
        at[[INDEX[name] for name in names]] += sign * np.log(1.7)
        factors = [one * (1.7 if place == other else 1.0) for other in range(5)]
        found = step_s(setting.logarithms, todo.at_rates(*factors))
        assert found == pytest.approx(step_s(at, todo), rel=1e-9)
        assert place == 2 or found != pytest.approx(step_s(setting.logarithms, todo), rel=1e-4)


@pytest.mark.skipif(not TABLE.exists(), reason="the table of published step times is not here")
def test_networks_that_a_fit_has_not_seen_are_predicted_within_ten_per_cent() -> None:
    """A fit to half of the networks of the RTX 3090 in NCHW, near-duplicates in the same half."""
    rows, left_out = published.read(TABLE)
    assert left_out == []
    members = published.many_networks(rows)["rtx-3090", "fp16", "nchw"]
    measured = [row.measured for row in members]
    names = sorted({plain_name(row.name) for row in measured})
    known = [row for row in measured if plain_name(row.name) in set(names[::2])]
    unseen = [row for row in measured if plain_name(row.name) not in set(names[::2])]
    found = fit(known, published.prior_for("rtx-3090", "fp16"))
    off = np.abs(step_s(found.values, work([row.step for row in unseen])) / seconds(unseen) - 1)
    assert len(unseen) > 200
    assert off.mean() < 0.10
    assert np.median(off) < 0.07


def test_a_scenario_that_names_an_unknown_network_or_no_end_is_refused_with_its_line(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "scenarios" / "cnn_lab.yaml").read_text()
    path = tmp_path / "lab.yaml"
    for good, bad, told in (
        ("model: resnet50", "model: resnet5", "did you mean"),
        ("steps: 8000", "epochs: 3", "give either steps, or epochs and images"),
        ("device: a100-sxm4-80gb", "device: a100", "not a fitted device"),
    ):
        path.write_text(text.replace(good, bad, 1))
        with pytest.raises(ScenarioError, match=told):
            load(path)
