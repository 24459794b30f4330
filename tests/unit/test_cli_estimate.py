"""dcplan estimate and dcplan search, as a user runs them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sim.cli import main

LLAMA = ("--model", "llama-3-8b", "--gpu", "h100-sxm5-80gb", "--batch", "256")


def dcplan(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_an_estimate_tells_time_memory_cost_and_what_was_assumed() -> None:
    done = dcplan("estimate", *LLAMA, "--gpus", "64", "--tokens", "1e12", "--tp", "2", "--price", "2")
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "tp 2, dp 32, micro-batch 1, ZeRO 1" in told
    assert "1T tokens are 476,838 steps" in told
    assert "At 2 a GPU hour that costs" in told
    assert "Where a step goes" in told
    assert "Memory of the fullest GPU" in told
    assert "400 Gbit/s of fabric for each GPU (--fabric)" in told


def test_the_json_of_an_estimate_is_consistent() -> None:
    done = dcplan("estimate", *LLAMA, "--gpus", "64", "--tokens", "1e12", "--price", "2", "--json")
    told = json.loads(done.stdout)
    assert sum(told["where_s"].values()) == pytest.approx(told["step_s"])
    assert told["time_s"] == pytest.approx(told["steps"] * told["step_s"])
    assert told["cost"] == pytest.approx(2 * told["gpu_hours"])
    assert told["gpu_hours"] == pytest.approx(64 * told["time_s"] / 3600)
    assert told["step_s_80"][0] < told["step_s"] < told["step_s_80"][1]
    assert told["verdict"] == "fits"


def test_a_deadline_finds_the_gpus() -> None:
    done = dcplan("estimate", *LLAMA, "--tokens", "1e12", "--deadline", "30 d", "--json")
    told = json.loads(done.stdout)
    assert told["time_s"] <= 30 * 86400
    assert told["gpus"] >= 8


def test_a_search_ranks_layouts_and_sets_fleets_side_by_side(tmp_path: Path) -> None:
    page = tmp_path / "search.html"
    done = dcplan("search", *LLAMA, "--gpus", "32", "--gpus", "64", "--plot", str(page))
    assert done.exit_code == 0, done.output
    assert "Time against GPUs" in done.stdout
    assert page.read_text("utf-8").count("<circle") > 100
    told = json.loads(dcplan("search", *LLAMA, "--gpus", "64", "--top", "5", "--json").stdout)
    (fleet,) = told["fleets"]
    assert len(fleet["layouts"]) == 5
    assert [row["step_s"] for row in fleet["layouts"]] == sorted(row["step_s"] for row in fleet["layouts"])


def test_fleets_on_which_a_model_does_not_fit_are_told_beside_those_on_which_it_does() -> None:
    arguments = ("search", "--model", "llama-3-70b", "--gpu", "h100-sxm5-80gb", "--batch", "512")
    done = dcplan(*arguments, "--gpus", "4", "--gpus", "64")
    assert done.exit_code == 0
    assert "4 GPUs: llama-3-70b fits in no layout on 4 GPUs" in " ".join(done.stdout.split())


def test_a_model_of_ones_own_is_estimated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nlayers: 16\nhidden: 2048\nheads: 16\nvocab: 32000\nsequence: 2048\n")
    done = dcplan("estimate", "--model", str(path), "--gpu", "h100-sxm5-80gb", "--gpus", "8")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("mine: 0.9")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--gpus", "64", "--tokens", "0"), "--tokens 0 is not a number of tokens"),
        (("--gpus", "64", "--tokens", "nan"), "--tokens nan is not a number of tokens"),
        ((), "give --gpus, or --deadline to find how many are needed"),
        (("--deadline", "3d"), "--deadline needs --tokens"),
        (("--deadline", "3d", "--tokens", "1e9", "--gpus", "8"), "leave out --gpus and the layout"),
        (("--gpus", "64", "--tp", "3"), "tp x pp x cp = 3 does not divide 64 GPUs"),
        (("--gpus", "64", "--precision", "fp7"), '"fp7" is not a number format; did you mean'),
        (("--gpus", "64", "--software", "megatrn"), '"megatrn" is not software that is known; did you mean'),
        (("--gpus", "64", "--fabric", "fast"), "fast"),
        (("--tokens", "1e15", "--deadline", "1 min"), "no fleet of h100-sxm5-80gb"),
        (("--gpus", "7"), "divides evenly over 7 GPUs"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    done = dcplan("estimate", *LLAMA, *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_unknown_names_get_the_nearest() -> None:
    done = dcplan("estimate", "--model", "llama-3-8", "--gpu", "h100-sxm5-80gb", "--gpus", "8")
    assert done.exit_code == 2
    assert 'did you mean "llama-3-8b"' in done.stderr
    done = dcplan("search", "--model", "llama-3-8b", "--gpu", "h100-sxm", "--gpus", "8")
    assert done.exit_code == 2
    assert "h100-sxm5-80gb" in done.stderr


def test_adapters_are_told() -> None:
    done = dcplan("estimate", *LLAMA, "--gpus", "8", "--lora", "16")
    assert done.exit_code == 0, done.output
    assert "Adapters of rank 16 learn, 0.52% of the weights" in done.stdout
