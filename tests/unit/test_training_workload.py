"""Jobs whose duration follows from a large model and its tokens."""

from pathlib import Path

import numpy as np
import pytest

from sim import scenario
from sim.errors import PlanError, ScenarioError
from sim.estimate import estimate
from sim.perf.parallel.layouts import Layout
from sim.workloads import Training, generate
from sim.workloads.training import Halving

FILE = """
name: large
seed: 1
horizon: 10 d
fleet:
  pools:
    - {{name: h100, node: dgx-h100, nodes: 16}}
scheduler: {{order: fifo, blocking: strict, placement: consolidate}}
workloads:
  - kind: synthetic
    name: tune
    count: 2
    arrivals: {{kind: batch, every: 1 d, size: 1}}
    gpus: 64
    duration: {{kind: training, gpu: h100-sxm5-80gb, batch: 256, {more}}}
    estimate: exact
"""


def loaded(tmp_path: Path, more: str) -> scenario.Scenario:
    path = tmp_path / "large.yaml"
    path.write_text(FILE.format(more=more), "utf-8")
    return scenario.load(path, ())


def test_a_job_takes_the_steps_of_its_tokens_at_the_estimated_step(tmp_path: Path) -> None:
    wanted = loaded(tmp_path, "model: llama-3-8b, tokens: 1e10, layout: {tp: 2}")
    made = generate(wanted.workloads, 1, wanted.horizon, tmp_path)
    training = Training(model="llama-3-8b", gpu="h100-sxm5-80gb", batch=256, tokens=1e10, layout=Layout(tp=2))
    found = training.on(64, tmp_path)
    assert found.layout == Layout(tp=2, dp=32)
    assert made.jobs["duration_s"].to_list() == [pytest.approx(found.time_s(1e10))] * 2
    (note,) = made.notes
    assert note.startswith(
        "A step of llama-3-8b on 64 GPUs h100-sxm5-80gb (tp 2, dp 32, micro-batch 1, ZeRO 1)"
    )


def test_without_a_layout_the_fastest_that_fits_is_taken(tmp_path: Path) -> None:
    training = Training(model="llama-3-8b", gpu="h100-sxm5-80gb", batch=256, steps=10)
    found = training.on(64, tmp_path)
    assert found.step_s == estimate(found.job).step_s
    assert training.times_s([64, 64], tmp_path)[0] == pytest.approx(10 * found.step_s)


def test_more_gpus_train_faster(tmp_path: Path) -> None:
    training = Training(model="llama-3-8b", gpu="h100-sxm5-80gb", batch=256, steps=10)
    times = training.times_s([8, 16, 32, 64], tmp_path)
    assert list(times) == sorted(times, reverse=True)


def test_a_model_may_be_a_file_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nlayers: 16\nhidden: 2048\nheads: 16\nvocab: 32000\nsequence: 2048\n", "utf-8"
    )
    wanted = loaded(tmp_path, "model: mine.yaml, steps: 5")
    assert generate(wanted.workloads, 1, wanted.horizon, tmp_path).jobs.height == 2
    (elsewhere := tmp_path / "out").mkdir()
    moved = scenario.moved(wanted, tmp_path, elsewhere)
    assert generate(moved.workloads, 1, moved.horizon, elsewhere).jobs.height == 2


def test_of_trials_that_are_halved_each_third_goes_on_to_three_times_the_tokens(tmp_path: Path) -> None:
    first = Training(model="llama-3-8b", gpu="h100-sxm5-80gb", batch=64, tokens=1e8)
    trials = first.model_copy(update={"halving": Halving(keep_one_of=3, rungs=3)})
    times = trials.times_s([8] * 27, tmp_path) / first.times_s([8], tmp_path)[0]
    assert sorted(set(times.round(1))) == [pytest.approx(each, rel=0.03) for each in (1, 3, 9)]
    assert [int((times.round() == each).sum()) for each in (1, 3, 9)] == [18, 6, 3]
    # steps are whole, and those of the last rung are nine times those of the first before rounding
    step_s = first.on(8, tmp_path).step_s
    steps = trials.times_s([8] * 9, tmp_path) / step_s
    assert list(steps) == pytest.approx(np.round(steps))
    assert steps[8] == pytest.approx(np.ceil(9e8 / (64 * 8192)))


def test_a_teacher_adds_its_forward_passes_to_each_step(tmp_path: Path) -> None:
    alone = Training(model="llama-3.2-1b", gpu="h100-sxm5-80gb", batch=512, sequence=4096, steps=10)
    taught = alone.model_copy(update={"teacher": "llama-3-8b"})
    teacher = Training(model="llama-3-8b", gpu="h100-sxm5-80gb", batch=512, sequence=4096, steps=10)
    found = teacher.on(16, tmp_path)
    added_s = (taught.times_s([16], tmp_path) - alone.times_s([16], tmp_path))[0] / 10
    assert added_s == pytest.approx(found.forward_s)
    assert found.step_s / 3.3 < found.forward_s <= found.step_s / 3  # selectively, scores run once more
    (note,) = taught.notes([16], tmp_path)
    assert "llama-3-8b answers first, in" in note


def test_a_teacher_that_has_no_room_beside_its_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"llama-3.1-405b does not fit beside llama-3.2-1b|fits in no layout"):
        Training(
            model="llama-3.2-1b", gpu="h100-sxm5-80gb", batch=512, steps=10, teacher="llama-3.1-405b"
        ).times_s([8], tmp_path)


def test_what_a_step_and_a_checkpoint_move_is_exposed(tmp_path: Path) -> None:
    training = Training(
        model="llama-3-8b", gpu="h100-sxm5-80gb", batch=256, steps=1, layout=Layout(tp=2, dp=32)
    )
    found = training.on(64, tmp_path)
    traffic = found.traffic()
    weights = found.job.model.parameters
    assert traffic.checkpoint_bytes == 14 * weights
    assert traffic.checkpoint_bytes / 2**30 == pytest.approx(105, rel=0.005)  # MLPerf Storage
    assert traffic.input_bytes == 4 * 256 * 8192
    assert traffic.weight_bytes == 2 * weights
    # gradients of 4 bytes and weights of 2, half of an all-reduce each, of the half that each GPU has
    assert traffic.data_bytes == pytest.approx(2 * 31 / 32 * 3 * weights / 2, rel=0.01)
    # four all-reduces of the activations of each micro-batch in each layer
    activations = 2 * 8192 * 4096
    assert traffic.tensor_bytes == pytest.approx(8 * 32 * 4 * 2 * (1 / 2) * activations, rel=0.01)
    assert traffic.sent_bytes == traffic.tensor_bytes + traffic.data_bytes


def test_checking_a_scenario_tries_every_number_of_gpus(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(
        FILE.format(more="model: llama-3-70b, tokens: 1e9").replace(
            "gpus: 64", "gpus: {kind: choice, values: [4, 7, 64]}"
        )
    )
    scenario.load(path)
    with pytest.raises(ScenarioError) as caught:
        scenario.load(path, thorough=True)
    assert [fault.field for fault in caught.value.faults] == ["workloads.0.duration"] * 2
    assert all(fault.line == 15 for fault in caught.value.faults)
    assert "on 4 GPUs: llama-3-70b fits in no layout" in str(caught.value)
    assert "on 7 GPUs: no layout of llama-3-70b divides evenly" in str(caught.value)
    wanted = scenario.load(path, ["workloads.0.gpus=7"])
    with pytest.raises(PlanError, match="workload tune: "):
        generate(wanted.workloads, 1, wanted.horizon, tmp_path)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("model: llama-3-8b, tokens: 1e9, teacher: llama-3-80b", '"llama-3-80b" is not a transformer'),
        ("model: llama-3-8b, tokens: 1e9, halving: {keep_one_of: 1}", "keep_one_of"),
        ("model: llama-3-8, tokens: 1e9", '"llama-3-8" is not a transformer of the catalog; did you mean'),
        ("model: llama-3-8b", "give either tokens or steps"),
        ("model: llama-3-8b, tokens: 1e9, steps: 3", "give either tokens or steps"),
        ("model: llama-3-8b, tokens: 0", "0 must be more than 0"),
        ("model: llama-3-8b, tokens: 1e9, precision: fp7", "fp7"),
        ("model: llama-3-8b, tokens: 1e9, layout: {tp: 0}", "tp"),
    ],
)
def test_what_cannot_be_trained_is_told_with_its_line(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=r"large.yaml:1\d: workloads.0.duration") as caught:
        loaded(tmp_path, more)
    assert told in str(caught.value)


def test_an_unknown_gpu_is_told() -> None:
    with pytest.raises(ValueError, match='"h100" is not a GPU of the catalog'):
        Training(model="llama-3-8b", gpu="h100", steps=1)


def test_every_fault_of_a_training_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded(tmp_path, "model: llama-3-8, tokens: -1, software: megatrn")
    fields = {fault.field for fault in caught.value.faults}
    assert fields == {f"workloads.0.duration.{name}" for name in ("model", "tokens", "software")}
