"""Jobs whose duration follows from a large model and its tokens."""

from pathlib import Path

import pytest

from sim import scenario
from sim.errors import ScenarioError
from sim.estimate import estimate
from sim.perf.parallel.layouts import Layout
from sim.workloads import Training, generate

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


@pytest.mark.parametrize(
    ("more", "told"),
    [
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
