"""Faults carry their place and their remedy; a user's mistakes are one family."""

import pytest

from sim.errors import Fault, PlanError, RunFolderError, ScenarioError, TraceError, hint, listed, shown
from sim.units import UnitError


@pytest.mark.parametrize("mistake", [ScenarioError, TraceError, RunFolderError, UnitError])
def test_every_mistake_of_a_user_is_a_plan_error(mistake: type[Exception]) -> None:
    assert issubclass(mistake, PlanError)


def test_a_scenario_error_lists_every_fault_on_its_own_line() -> None:
    faults = [Fault(4, "seed", "is wrong"), Fault(None, "--set a=b", "is wrong"), Fault(1, "", "is empty")]
    error = ScenarioError("chat.yaml", faults)
    assert str(error).splitlines() == [
        "chat.yaml:4: seed: is wrong",
        "chat.yaml: --set a=b: is wrong",
        "chat.yaml:1: is empty",
    ]
    assert error.faults == faults


def test_a_trace_error_shows_ten_faults_and_counts_the_rest() -> None:
    faults = [Fault(line, "gpus", "is wrong") for line in range(1, 21)]
    lines = str(TraceError("jobs.csv", faults, total=12_355)).splitlines()
    assert lines[0] == "jobs.csv:1: gpus: is wrong"
    assert lines[9:] == ["jobs.csv:10: gpus: is wrong", "... and 12,345 more"]


def test_a_trace_error_with_few_faults_counts_nothing() -> None:
    assert (
        str(TraceError("jobs.csv", [Fault(3, "gpus", "is wrong")], total=1)) == "jobs.csv:3: gpus: is wrong"
    )


@pytest.mark.parametrize(
    ("wrong", "choices", "remedy"),
    [
        ("gpu", ["gpus", "nodes"], 'did you mean "gpus"?'),
        ("GPUS", ["gpus", "nodes"], 'did you mean "gpus"?'),
        ("h100", ["a100", "h100-pcie", "h100-sxm"], 'did you mean "h100-pcie" or "h100-sxm"?'),
        ("h100", ["h100-pcie", "h100-sxm"], 'did you mean "h100-pcie" or "h100-sxm"?'),
        ("zebra", ["fifo", "las"], "choose fifo or las"),
        ("zebra", [], "there is none"),
        ("zebra", [f"{n}{n}" for n in range(20)], "choose one of 20, such as 00, 11 or 22"),
    ],
)
def test_a_remedy_names_the_nearest_or_the_choices(wrong: str, choices: list[str], remedy: str) -> None:
    assert hint(wrong, choices) == remedy


def test_choices_read_as_a_sentence() -> None:
    assert listed(["strict", "greedy", "easy"]) == "strict, greedy or easy"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ("a" * 61, f'"{"a" * 57}..."'),
        (True, "true"),
        (None, "nothing"),
        (1.5, "1.5"),
        (float("-inf"), "-.inf"),
        ([], "a list"),
        ((), "a list"),
        ({}, "a group of fields"),
    ],
)
def test_a_value_is_shown_as_it_was_written(value: object, text: str) -> None:
    assert shown(value) == text
