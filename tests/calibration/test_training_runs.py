"""Measured runs of large models: read, predicted, fitted again."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sim.calibration import of_runs, training_runs
from sim.catalog.training_fit import from_file, read, text, training_fit
from sim.catalog.transformers import transformer
from sim.cli import main
from sim.errors import PlanError, TraceError
from sim.perf.parallel.memory import LEAN, memory

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "validation" / "training_llm.csv"
WITH_SHARED = pytest.mark.skipif(not SHARED.exists(), reason="the table of published runs is not here")
COLUMNS = [*training_runs.REQUIRED, "interleave", "seq_parallel", "tokens_per_s_per_gpu", "task"]
RUN = {
    "source": "own", "quality": "A", "model": "llama3-8B", "layers": 32, "hidden": 4096, "heads": 32,
    "kv_heads": 8, "head_dim": 128, "ffn": 14336, "vocab": 128256, "gated_mlp": 1, "tied_emb": 0,
    "experts": 0, "topk": 0, "seq_len": 8192, "gpu": "H100-80GB", "num_gpus": 64, "gpus_per_node": 8,
    "tp": 2, "pp": 1,
    "dp": 32, "cp": 1, "ep": 1, "micro_batch": 1, "global_batch": 256, "precision": "bf16",
    "recompute": "none", "zero_stage": 1, "step_time_s": 5.0, "interleave": 1, "seq_parallel": 1,
    "tokens_per_s_per_gpu": "", "task": "pretrain",
}  # fmt: skip


def table(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**RUN, **row} for row in rows)
    return path


def true_runs(path: Path) -> training_runs.Runs:
    """Runs that took exactly what the fit of the catalog says."""
    rows = [
        {"tp": tp, "dp": gpus // tp, "num_gpus": gpus, "micro_batch": micro, "source": f"lab {gpus}"}
        for gpus in (8, 16, 64, 256)
        for tp in (1, 2, 4, 8)
        for micro in (1, 2)
        if 256 % (gpus // tp * micro) == 0
    ]
    runs = training_runs.read(table(path, rows))
    times = training_fit().fitted.times(runs.shapes, runs.layouts, runs.machines).step_s
    for row, time_s in zip(rows, times, strict=True):
        row["step_time_s"] = float(time_s)
    return training_runs.read(table(path, rows))


def test_a_run_is_read_as_its_columns_say(tmp_path: Path) -> None:
    runs = training_runs.read(table(tmp_path / "runs.csv", [{}]))
    assert float(runs.shapes.parameters[0]) == transformer("llama-3-8b").parameters
    assert float(runs.layouts.micro_batches[0]) == 8
    assert float(runs.layouts.global_batch[0]) == 256
    assert runs.machines.gpu[0] == "h100-sxm5-80gb"
    assert runs.assumed == ("",)


def test_tokens_a_second_stand_for_a_missing_step_time(tmp_path: Path) -> None:
    row = {"step_time_s": "", "tokens_per_s_per_gpu": 8192.0}
    runs = training_runs.read(table(tmp_path / "runs.csv", [row, {}]))
    assert runs.step_s[0] == pytest.approx(256 / 64)


def test_what_a_run_leaves_out_is_assumed_and_told(tmp_path: Path) -> None:
    row = {"micro_batch": "", "interleave": "", "pp": 4, "dp": 8, "recompute": "unknown"}
    runs = training_runs.read(table(tmp_path / "runs.csv", [row, {}]))
    assert runs.assumed[0] == "micro-batch 1; 4 virtual stages; no recomputation"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"gpu": "H1000"}, r'runs.csv:3: "H1000" is not a GPU of the catalog'),
        ({"precision": "fp7"}, r'runs.csv:3: "fp7" is not a number format; did you mean'),
        ({"gpu": "A100-80GB", "precision": "fp8"}, r"runs.csv:3: a100-sxm4-80gb has no fp8"),
        ({"step_time_s": -1.0}, r"runs.csv:3: sizes, splits and times must be positive"),
        ({"step_time_s": ""}, r"runs.csv:3: neither step_time_s nor tokens_per_s_per_gpu is given"),
        ({"kv_heads": 5}, r"runs.csv:3: .*32 heads cannot share 5 key-value heads evenly"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, row: dict[str, object], told: str) -> None:
    with pytest.raises(TraceError, match=told):
        training_runs.read(table(tmp_path / "runs.csv", [{}, row]))


def test_a_table_without_a_column_or_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("source,model\nown,llama\n")
    with pytest.raises(PlanError, match="has no column quality, layers"):
        training_runs.read(path)
    with pytest.raises(PlanError, match="has no runs"):
        training_runs.read(table(path, []))
    with pytest.raises(PlanError, match="cannot be read as a table of runs"):
        training_runs.read(tmp_path / "none.csv")


def test_runs_that_took_what_the_fit_says_have_no_error(tmp_path: Path) -> None:
    runs = true_runs(tmp_path / "runs.csv")
    assert np.abs(of_runs.misses(training_fit().fitted.logarithms, runs)).max() < 1e-9


def test_a_fit_of_known_runs_finds_their_times_again(tmp_path: Path) -> None:
    runs = true_runs(tmp_path / "runs.csv")
    fitted = of_runs.fit(runs)
    assert np.abs(of_runs.misses(fitted.values, runs)).mean() < 0.03


def test_too_few_runs_are_not_fitted(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="1 runs are too few to fit; 20 or more"):
        of_runs.fit(training_runs.read(table(tmp_path / "runs.csv", [{}])))


def test_runs_alike_share_a_fold(tmp_path: Path) -> None:
    runs = training_runs.read(table(tmp_path / "runs.csv", [{}, {"step_time_s": 6.0}, {"tp": 1, "dp": 64}]))
    folds = of_runs.folds(runs)
    assert folds[0] == folds[1]


def test_a_fit_is_the_same_after_it_was_written_and_read() -> None:
    kept = training_fit()
    again = read(text(kept), "again")
    assert np.allclose(again.fitted.logarithms, kept.fitted.logarithms, atol=1e-4)
    assert np.allclose(again.fitted.covariance, kept.fitted.covariance, rtol=1e-2, atol=1e-12)
    assert again.fitted.seen == kept.fitted.seen
    assert again.quality == kept.quality


def test_a_damaged_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is not a fit of training runs"):
        read("{", "mine.json")
    with pytest.raises(PlanError, match="not a fit of training runs of version 1"):
        read("[]", "mine.json")
    other = json.loads(text(training_fit()))
    other["parameters"].pop("waste")
    with pytest.raises(PlanError, match="other parameters than this version"):
        read(json.dumps(other), "mine.json")
    with pytest.raises(PlanError, match="cannot be read"):
        from_file(tmp_path / "none.json")


def test_the_command_tells_errors_by_source(tmp_path: Path) -> None:
    true_runs(tmp_path / "runs.csv")
    done = CliRunner().invoke(main, ["validate-model", str(tmp_path / "runs.csv"), "--json"])
    assert done.exit_code == 0, done.output
    told = {row["of"]: row for row in json.loads(done.stdout)}
    assert told["quality A and B"]["mape"] == pytest.approx(0, abs=1e-9)
    assert {"source lab 8", "source lab 256", "GPU h100-sxm5-80gb", "model llama3-8B"} <= set(told)


def test_the_errors_that_the_fit_states_meet_what_is_promised() -> None:
    like, elsewhere, pair = (each for what, each in training_fit().quality if what == "all")
    left_out = (like.left_out, elsewhere.left_out, pair.left_out)
    assert left_out == ("one fold of five", "one source", "one GPU and software")
    assert like.median <= 0.08
    assert like.mape <= 0.12
    assert elsewhere.mape <= 0.20
    for each in (like, elsewhere, pair):
        assert each.coverage is not None
        assert 0.7 <= each.coverage <= 0.9


@WITH_SHARED
def test_every_published_run_can_be_told_and_those_of_good_quality_are_near() -> None:
    runs = training_runs.read(SHARED)
    assert len(runs) == runs.rows.height
    chosen = runs.take(of_runs.good(runs))
    errors = np.abs(np.expm1(of_runs.misses(training_fit().fitted.logarithms, chosen)))
    assert np.median(errors) < 0.08
    assert errors.mean() < 0.12


@WITH_SHARED
def test_memory_is_near_what_was_measured_and_runs_that_ran_are_not_said_to_be_impossible() -> None:
    runs = training_runs.read(SHARED)
    measured = runs.rows["mem_GB_per_gpu"].to_numpy().astype(float) * 1e9
    told = memory(runs.shapes, runs.layouts, runs.machines).total
    known = ~np.isnan(measured)
    assert np.abs(told[known] / measured[known] - 1).mean() < 0.10
    least = memory(runs.shapes, runs.layouts, runs.machines, LEAN).total
    stated = runs.rows["recompute"].to_numpy() != "none"  # "none" also stands where a source does not say
    assert not np.any(stated & (least > runs.machines.memory_bytes) & of_runs.good(runs))
