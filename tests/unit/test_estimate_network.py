"""Networks that learn from images: their time on one GPU and many, memory, and what they ask of the rest."""

import json
import math
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from sim.catalog.devices import device, device_of
from sim.catalog.networks import network
from sim.cli import main
from sim.errors import PlanError
from sim.estimate_network import (
    NetworkJob,
    estimate_network,
    gradients_s,
    network_device,
    smallest_network,
)
from sim.perf.device import training_step

RESNET = NetworkJob(network("resnet50"), device("a100-sxm4-80gb"), 8, 256, "fp16")
IMAGENET = 90 * 1_281_167


def dcplan(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("estimate", *arguments))


def test_one_gpu_takes_what_its_device_says_and_many_take_a_little_longer() -> None:
    one = estimate_network(replace(RESNET, gpus=1))
    assert one.step == training_step(RESNET.model, RESNET.device, 256, "fp16")
    assert one.all_reduce_s == 0.0
    times = [estimate_network(replace(RESNET, gpus=gpus)).step.step_s for gpus in (1, 2, 8)]
    assert times == sorted(times)
    assert times[-1] < 1.1 * times[0]


def test_gradients_that_were_measured_on_as_many_gpus_are_taken_as_measured() -> None:
    (link,) = [link for link in RESNET.device.links if link.world == 8 and link.nodes == 1]
    assert gradients_s(RESNET) == link.all_reduce_s(4 * RESNET.model.parameters)


def test_a_slow_fabric_makes_many_nodes_slower_and_a_fast_one_does_not() -> None:
    alike = replace(RESNET, gpus=64, model=network("vgg16"))
    slow = estimate_network(replace(alike, fabric=1e8))
    fast = estimate_network(replace(alike, fabric=50e9))
    assert slow.step.step_s > 1.5 * fast.step.step_s
    assert slow.alone == fast.alone
    # 2 (n - 1) / n x 4 bytes x 138 million weights over 8 cards of 100 MB/s
    assert slow.all_reduce_s > 2 * 7 / 8 * 4 * 138e6 / (8 * 1e8)


def test_the_parts_of_a_step_add_up() -> None:
    found = estimate_network(RESNET)
    assert sum(found.where().values()) == pytest.approx(found.step.step_s)
    assert found.mfu == pytest.approx(found.images_per_s / 8 * 6 * RESNET.model.macs / 312e12)


def test_what_a_step_asks_of_network_and_storage() -> None:
    traffic = estimate_network(RESNET).traffic()
    weights = RESNET.model.parameters
    assert traffic.data_bytes == pytest.approx(2 * 7 / 8 * 4 * weights)
    assert traffic.input_bytes == pytest.approx(2048 * 110e3, rel=0.01)
    assert traffic.checkpoint_bytes == pytest.approx(8 * weights, rel=0.01)
    assert traffic.sent_bytes == traffic.data_bytes


def test_resnet_with_256_images_fits_a_v100_of_16_gb_as_it_did_and_with_1024_it_does_not() -> None:
    on_v100 = replace(RESNET, device=device("v100-sxm2-16gb"))
    assert estimate_network(on_v100).verdict == "fits"
    assert estimate_network(replace(on_v100, batch=1024)).verdict == "does not fit"


def test_a_gpu_without_measurements_is_judged_by_the_one_most_like_it_with_a_wider_interval() -> None:
    stands_in, like = device_of("mi300x")
    assert like in ("gh200-96gb", "h200-sxm5-141gb", "h100-sxm5-80gb")
    assert stands_in.name == "mi300x"
    mine, theirs = (training_step(RESNET.model, known, 128, "fp16") for known in (stands_in, device(like)))
    assert mine.step_s < theirs.step_s
    assert mine.high_s / mine.step_s > theirs.high_s / theirs.step_s
    assert device_of("A100-SXM4-80GB") == (device("a100-sxm4-80gb"), None)


def test_the_fewest_gpus_for_a_deadline_are_just_enough() -> None:
    found = smallest_network(RESNET, IMAGENET, 3600.0)
    assert found.time_s(IMAGENET) <= 3600.0
    fewer = estimate_network(replace(RESNET, gpus=found.job.gpus - 8))
    assert fewer.time_s(IMAGENET) > 3600.0
    with pytest.raises(PlanError, match="no fleet up to 131,072 GPUs is done in 100 ms"):
        smallest_network(RESNET, IMAGENET, 0.1)


def test_steps_are_counted_up() -> None:
    found = estimate_network(RESNET)
    assert found.steps(2048 * 10) == 10
    assert found.steps(2048 * 10 + 1) == 11
    assert found.time_s(2048 * 10) == pytest.approx(10 * found.step.step_s)


def test_a_device_of_ones_own_needs_no_data_sheet() -> None:
    mine, _ = network_device("cpu-2-cores")
    found = estimate_network(NetworkJob(network("resnet18", 64), mine, 1, 8, "fp32"))
    assert (found.mfu, found.verdict, found.energy_kwh(1e6)) == (None, "unknown", None)
    assert math.isfinite(found.memory_bytes)


def test_an_estimate_tells_time_memory_and_cost() -> None:
    done = dcplan(
        "--model", "resnet50", "--gpu", "a100-sxm4-80gb", "--gpus", "8", "--batch", "2048",
        "--images", str(IMAGENET), "--price", "2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "25.56 million parameters, 4.089 billion multiply-accumulates" in told
    assert "256 images in a step on each, 2,048 in all" in told
    assert "At 2 a GPU hour that costs" in told
    assert "reckoned, not measured; fits" in told
    assert "With one network left out of the fit" in told
    assert "normalisation" in told


def test_the_json_is_consistent() -> None:
    done = dcplan("--model", "resnet50", "--gpu", "mi300x", "--images", "1e8", "--deadline", "2 h", "--json")
    told = json.loads(done.stdout)
    assert told["judged_by"] is not None
    assert told["time_s"] <= 7200
    assert told["gpu_hours"] == pytest.approx(told["gpus"] * told["time_s"] / 3600)
    assert sum(told["where_s"].values()) == pytest.approx(told["step_s"])
    assert told["bytes"]["input_bytes"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--gpus", "8", "--tp", "2"), "leave out --tp"),
        (("--gpus", "8", "--tokens", "1e9"), "write --images in place of --tokens"),
        (("--gpus", "8", "--images", "-1"), "--images -1 is not a number of images"),
        (("--gpus", "4", "--batch", "6"), "a batch of 6 images does not divide over 4 GPUs"),
        (("--gpus", "8", "--precision", "fp8"), '"fp8" is not a number format of networks'),
        (("--gpus", "8", "--precision", "bf16"), "was not measured in bf16"),
        (("--deadline", "2 h"), "--deadline needs --images"),
        (("--deadline", "2 h", "--images", "1e8", "--gpus", "8"), "leave out --gpus"),
        ((), "give --gpus, or --deadline"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    done = dcplan("--model", "resnet50", "--gpu", "a100-sxm4-80gb", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_unknown_models_and_gpus_get_the_nearest_names() -> None:
    assert 'did you mean "resnet50"' in dcplan("--model", "resnet5O", "--gpu", "t4", "--gpus", "1").stderr
    done = dcplan("--model", "resnet50", "--gpu", "a100", "--gpus", "1")
    assert '"a100-pcie-40gb"' in done.stderr
    searched = CliRunner().invoke(
        main, ("search", "--model", "resnet50", "--gpu", "a100-sxm4-80gb", "--gpus", "8")
    )
    assert searched.exit_code == 2
    assert "nothing to search" in searched.stderr
