"""Devices are recovered from measurements of known ones, and bad measurements are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sim import profile as profiles
from sim.calibration import of_profile
from sim.catalog import devices
from sim.catalog.networks import network
from sim.cli import main
from sim.errors import PlanError, ProfileError
from sim.perf.device import Setting, training_step
from sim.perf.step_time import NAMES, Step, groups_s, step_s, work
from sim.workloads.training_steps import TrainingSteps

sys.path.insert(0, str(Path(__file__).parent))
import synthetic


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> of_profile.ProfileFit:
    path = tmp_path_factory.mktemp("profile") / "known.json"
    profiles.write(synthetic.profile(), path)
    return of_profile.fit_profiles([path], "known")


def test_networks_left_out_of_a_known_device_are_predicted(fitted: of_profile.ProfileFit) -> None:
    by_network, by_batch = fitted.device.settings[0].quality
    assert by_network.mape < 0.05
    assert by_batch.mape < 0.05
    assert by_network.coverage is not None
    assert by_network.coverage > 0.7


def test_a_network_that_was_never_measured_lies_in_its_interval(fitted: of_profile.ProfileFit) -> None:
    for name in ("resnet34", "resnet101", "vgg16", "resnext101_32x4d"):
        model = network(name)
        exact = float(step_s(synthetic.truth(), work([Step(model, 16, "fp32")]))[0])
        found = training_step(model, fitted.device, 16, "fp32")
        width = found.high_s / found.step_s
        assert found.step_s / width**2 < exact < found.step_s * width**2


def test_known_parameters_lie_in_their_intervals(fitted: of_profile.ProfileFit) -> None:
    """Within two standard deviations for nine of ten parameters."""
    setting = fitted.device.settings[0]
    size = len(setting.uncertain)
    triangle = np.zeros((size, size))
    triangle[np.tril_indices(size)] = setting.covariance
    deviation = np.sqrt(np.diag(triangle))
    places = [NAMES.index(name) for name in setting.uncertain]
    misses = np.abs(setting.logarithms[places] - synthetic.truth()[places]) / deviation
    assert np.mean(misses < 2) > 0.9


def test_more_work_never_takes_less_time(fitted: of_profile.ProfileFit) -> None:
    resnets = [network(name) for name in ("resnet18", "resnet50", "resnet101", "resnet152")]
    by_depth = [training_step(model, fitted.device, 16, "fp32").step_s for model in resnets]
    by_batch = [training_step(resnets[1], fitted.device, batch, "fp32").step_s for batch in (1, 2, 8, 64)]
    assert by_depth == sorted(by_depth)
    assert by_batch == sorted(by_batch)


def test_peak_memory_is_predicted(fitted: of_profile.ProfileFit) -> None:
    memory = fitted.device.settings[0].peak_memory
    assert memory is not None
    assert memory.quality is not None
    assert memory.quality.mape < 0.1
    model = network("resnet101")
    step = Step(model, 16, "fp32")
    assert memory.peak_bytes(step) == pytest.approx(synthetic.MEMORY.peak_bytes(step), rel=0.1)


@pytest.fixture(scope="module")
def cpus(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, of_profile.ProfileFit]:
    folder = tmp_path_factory.mktemp("cpu")
    for looks in (False, True):
        profiles.write(synthetic.cpu_profile(looks=looks), folder / f"{looks}.json")
    return {looks: of_profile.fit_profiles([folder / f"{looks}.json"], "cpu") for looks in (False, True)}


def test_looks_into_the_step_make_the_fit_of_a_cpu_better(cpus: dict[bool, of_profile.ProfileFit]) -> None:
    blind, looked = (cpus[looks].device.settings[0] for looks in (False, True))
    assert looked.quality[0].mape < min(0.06, blind.quality[0].mape)
    unseen = ("resnet101", "vgg16", "efficientnet_b2", "densenet169", "mobilenetv3_large_100", "mnasnet_100")
    todo = work([Step(network(name), batch, "fp32") for name in unseen for batch in (8, 16)])
    exact = groups_s(synthetic.cpu_truth(), todo)
    off = [np.abs(groups_s(one.logarithms, todo) - exact).sum() / exact.sum() for one in (blind, looked)]
    assert off[1] < min(0.06, off[0])


def test_the_start_of_a_convolution_is_recovered(cpus: dict[bool, of_profile.ProfileFit]) -> None:
    assert cpus[True].device.settings[0].parameters["convolution_s"] == pytest.approx(8e-5, rel=0.15)


def test_drawn_networks_tell_kinds_apart_and_are_in_no_error_figure(
    tmp_path: Path, cpus: dict[bool, of_profile.ProfileFit]
) -> None:
    """All networks with depthwise convolutions over 5 x 5 have some over 3 x 3 too; two drawn ones do not."""
    path = tmp_path / "drawn.json"
    profiles.write(synthetic.cpu_profile(looks=False, with_drawn=True), path)
    apart = of_profile.fit_profiles([path], "cpu")
    with_them, without = apart.device.settings[0], cpus[False].device.settings[0]
    kinds = ("traffic.depthwise", "traffic.wide_depthwise_weights")
    assert [uncertainty(with_them, kind) < 0.7 * uncertainty(without, kind) for kind in kinds] == [True, True]
    assert with_them.measured == without.measured + 8
    assert [one.n for one in with_them.quality] == [one.n for one in without.quality]
    assert {row.name for rows in apart.rows.values() for row in rows} == set(synthetic.NETWORKS)


def uncertainty(setting: Setting, name: str) -> float:
    """The standard deviation of the logarithm of a parameter."""
    size, place = len(setting.uncertain), setting.uncertain.index(name)
    triangle = np.zeros((size, size))
    triangle[np.tril_indices(size)] = setting.covariance
    return float(np.sqrt(triangle[place, place]))


def test_a_prediction_says_when_it_goes_beyond_the_measurements(fitted: of_profile.ProfileFit) -> None:
    inside = training_step(network("resnet34"), fitted.device, 16, "fp32")
    beyond = training_step(network("vit_base_patch16_224"), fitted.device, 512, "fp32")
    assert inside.outside == ()
    assert any("batch is 512" in told for told in beyond.outside)
    assert any("attention" in told for told in beyond.outside)


def test_what_was_not_measured_is_refused(fitted: of_profile.ProfileFit) -> None:
    with pytest.raises(PlanError, match="not measured in bf16; choose fp32 nchw"):
        training_step(network("resnet18"), fitted.device, 8, "bf16")
    with pytest.raises(PlanError, match="all-reduce"):
        training_step(network("resnet18"), fitted.device, 8, "fp32", world=4)


def test_a_profile_of_one_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    profiles.write(synthetic.profile(networks=("resnet18",), batches=(8,)), path)
    with pytest.raises(ProfileError, match="one configuration"):
        of_profile.fit_profiles([path], "one")


def test_a_profile_of_one_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    profiles.write(synthetic.profile(networks=("resnet18",)), path)
    with pytest.raises(ProfileError, match="2 networks or more"):
        of_profile.fit_profiles([path], "one")


def test_a_device_that_throttled_is_refused_and_a_small_drift_is_told(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    profiles.write(synthetic.profile(drift=0.5), path)
    with pytest.raises(ProfileError, match="slower than the first"):
        of_profile.fit_profiles([path], "drifting")
    profiles.write(synthetic.profile(drift=0.1), path)
    assert any("slower than the first" in note for note in of_profile.fit_profiles([path], "x").notes)


def test_nan_and_truncated_files_are_refused_without_a_traceback(tmp_path: Path) -> None:
    path, out = tmp_path / "bad.json", tmp_path / "bad.yaml"
    profiles.write(synthetic.profile(networks=("resnet18", "vgg11")), path)
    text = path.read_text()
    for damaged in (text[: len(text) // 2], text.replace('"step_s": [', '"step_s": [NaN, ', 1)):
        path.write_text(damaged)
        answer = CliRunner().invoke(main, ["calibrate", str(path), "--out", str(out)])
        assert answer.exit_code == 2
        assert "Traceback" not in answer.output
        assert not out.exists()


def test_the_command_writes_a_device_that_can_be_read_again_and_used(tmp_path: Path) -> None:
    path, out, page = tmp_path / "p.json", tmp_path / "mine.yaml", tmp_path / "page.html"
    profiles.write(synthetic.profile(), path)
    answer = CliRunner().invoke(main, ["calibrate", str(path), "--out", str(out), "--report", str(page)])
    assert answer.exit_code == 0, answer.output
    assert "one network" in answer.output
    assert "Predicted against measured" in page.read_text()
    lasting = TrainingSteps(model="resnet50", device="mine.yaml", batch=16, precision="fp32", steps=100)
    alone = training_step(network("resnet50"), devices.read(out), 16, "fp32").step_s
    assert lasting.times_s(np.array([1, 1]), tmp_path) == pytest.approx([100 * alone] * 2)


def test_all_reduce_times_are_recovered_in_pieces() -> None:
    sizes = np.array([2.0**power for power in range(12, 29)])
    latency, rate = np.where(sizes < 2**18, 2e-5, 8e-5), np.where(sizes < 2**18, 5e10, 2e11)
    link = of_profile.fit_link(8, sizes, latency + 1.75 * sizes / rate)
    assert len(link.pieces) == 2
    assert [link.all_reduce_s(size) for size in sizes] == pytest.approx(
        latency + 1.75 * sizes / rate, rel=0.05
    )


def test_the_devices_of_the_catalog_can_be_read() -> None:
    for name in devices.device_names():
        found = devices.device(name)
        assert found.source
        assert all(setting.quality for setting in found.settings)


def test_a_resnet_on_the_catalogs_devices_takes_what_was_published() -> None:
    """NVIDIA publishes 2,470 images a second or so for ResNet-50 on an A100 in mixed precision."""
    found = training_step(network("resnet50", 224), devices.device("a100-sxm4-80gb"), 256, "fp16")
    assert 256 / found.step_s == pytest.approx(2400, rel=0.2)


def test_what_else_ran_on_a_cpu_does_not_count(tmp_path: Path) -> None:
    """Every third configuration was disturbed in its first pass; a GPU's time would be the median of all."""
    quiet = synthetic.profile(networks=("resnet18", "mobilenetv2_100", "vgg11"))
    cpu = quiet.machine.model_copy(update={"device": "cpu"})
    disturbed = tuple(
        row.model_copy(update={"step_s": tuple(3 * t for t in row.step_s[:3]) + row.step_s[3:]})
        if place % 3 == 0
        else row
        for place, row in enumerate(quiet.training)
    )
    fitted = []
    for name, rows in (("quiet", quiet.training), ("disturbed", disturbed)):
        path = tmp_path / f"{name}.json"
        profiles.write(quiet.model_copy(update={"machine": cpu, "training": rows, "checksum": None}), path)
        fitted.append(of_profile.fit_profiles([path], "cpu").device.settings[0])
    step = Step(network("resnet50"), 8, "fp32")
    quiet_s, disturbed_s = (step_s(setting.logarithms, work([step]))[0] for setting in fitted)
    assert disturbed_s == pytest.approx(quiet_s, rel=0.05)
