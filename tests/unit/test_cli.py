"""The commands: data on stdout, talk on stderr, exit codes, and nothing half written."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import sim
from sim import catalog, cli_output, run_folder, scenario
from sim.catalog.transformers import transformer_names
from sim.cli import main
from sim.errors import PlanError

SCENARIO = """\
name: small
horizon: 12 h
fleet:
  pools:
    - {name: here, node: dgx-a100, nodes: 2}
tenants:
  - {name: vision}
scheduler: {order: fifo, blocking: greedy}
workloads:
  - kind: synthetic
    name: jobs
    tenant: vision
    arrivals: {kind: poisson, rate: 6 per h}
    gpus: {kind: choice, values: [1, 4, 16], weights: [6, 3, 1]}
    duration: {kind: exponential, mean: 1 h}
objectives:
  - {metric: wait_p95_s, at_most: 10 d}
"""
LOG = "job_id,submit_s,duration_s,gpus,tenant\nlong,0,3600,16,vision\nshort,60,60,8,speech\n"
REPLAY = """\
name: replay
fleet: {pools: [{name: here, gpus_per_node: 8, nodes: 2}]}
scheduler: {order: fifo}
workloads: [{kind: trace, path: jobs.csv}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SCENARIO, "utf-8")
    (tmp_path / "replay.yaml").write_text(REPLAY, "utf-8")
    (tmp_path / "jobs.csv").write_text(LOG, "utf-8")
    yield tmp_path
    hidden = [path.name for path in tmp_path.rglob(".*")]
    assert hidden == [], "something half written was left behind"


def dcplan(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def process(*arguments: str, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sim", *arguments]
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


# ---- run


def test_a_run_prints_its_report_and_writes_its_folder(folder: Path) -> None:
    result = dcplan("run", "small.yaml")
    assert result.stdout.splitlines()[0].startswith("The fleet ")
    assert "run/report.html" in result.stderr
    assert "report.html" not in result.stdout
    written = {path.name for path in (folder / "run").iterdir()}
    assert {
        "scenario.yaml",
        "manifest.json",
        "summary.json",
        "jobs.csv",
        "jobs.parquet",
        "report.html",
    } <= written
    assert "perfetto.json" not in written


def test_the_timeline_is_written_on_request(folder: Path) -> None:
    dcplan("run", "small.yaml", "--perfetto")
    assert json.loads((folder / "run" / "perfetto.json").read_text("utf-8"))["traceEvents"]


def test_the_json_of_a_run_is_its_summary(folder: Path) -> None:
    printed = dcplan("run", "small.yaml", "--json").stdout
    assert json.loads(printed) == json.loads((folder / "run" / "summary.json").read_text("utf-8"))
    assert dcplan("report", "run", "--json").stdout == printed


def test_settings_and_the_seed_are_in_the_written_scenario(folder: Path) -> None:
    dcplan("run", "small.yaml", "--set", "fleet.pools.0.nodes=3", "--seed", "11")
    resolved = scenario.load(folder / "run" / "scenario.yaml")
    assert (resolved.fleet.pools[0].nodes, resolved.seed) == (3, 11)


@pytest.mark.parametrize("setting", [[], ["--set", "workloads.0.path=logs/jobs.csv"]])
def test_a_run_can_be_repeated_from_its_folder(folder: Path, setting: list[str]) -> None:
    """Wherever the folder is, a link or not, its scenario leads to the log; only that way may differ."""
    (folder / "logs").mkdir()
    (folder / "logs" / "jobs.csv").write_text(LOG, "utf-8")
    (folder / "far" / "away").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "far" / "away")
    dcplan("run", "replay.yaml", "--out", "link/run", *setting)
    dcplan("run", "link/run/scenario.yaml", "--out", "again")
    dcplan("run", "again/scenario.yaml", "--out", "link/third")
    told = [(folder / name / "scenario.yaml").read_text("utf-8") for name in ("link/run", "link/third")]
    assert told[0] == told[1]
    assert str(folder) not in told[0]
    for file in ("jobs.csv", "summary.json", "runs.parquet"):
        same = [(folder / name / file).read_bytes() for name in ("link/run", "again", "link/third")]
        assert same[0] == same[1] == same[2]
    dcplan("run", "replay.yaml", "--out", "link/run", "--force", *setting)
    assert (folder / "link" / "run" / "scenario.yaml").read_text("utf-8") == told[0]


def test_a_run_with_sizes_and_durations_of_a_log_can_be_repeated_from_its_folder(folder: Path) -> None:
    (folder / "logs").mkdir()
    (folder / "logs" / "jobs.csv").write_text(LOG, "utf-8")
    drawn = "{kind: trace, path: logs/jobs.csv}"
    text = SCENARIO.replace("{kind: choice, values: [1, 4, 16], weights: [6, 3, 1]}", drawn)
    (folder / "small.yaml").write_text(text.replace("{kind: exponential, mean: 1 h}", drawn), "utf-8")
    dcplan("run", "small.yaml", "--out", "far/away/run")
    dcplan("run", "far/away/run/scenario.yaml", "--out", "again")
    dcplan("run", "small.yaml", "--out", "set", "--set", f"workloads.0.gpus={drawn}")
    for file in ("jobs.csv", "summary.json"):
        assert len({(folder / run / file).read_bytes() for run in ("far/away/run", "again", "set")}) == 1
    assert "path: ../../../logs/jobs.csv" in (folder / "far/away/run/scenario.yaml").read_text("utf-8")
    (folder / "logs" / "jobs.csv").unlink()
    said = dcplan("validate", "far/away/run/scenario.yaml").stderr
    assert said.count("there is no file logs/jobs.csv yet") == 1


def test_settings_lead_to_a_log_from_the_current_folder(folder: Path) -> None:
    """Whether the path is set alone or in a group of fields; the scenario lies elsewhere."""
    (folder / "deep").mkdir()
    (folder / "deep" / "replay.yaml").write_text(REPLAY, "utf-8")
    settings = {"a": "workloads.0.path=jobs.csv", "b": "workloads.0={kind: trace, path: jobs.csv}"}
    for run, setting in settings.items():
        dcplan("run", "deep/replay.yaml", "--out", run, "--set", setting)
    assert (folder / "a" / "jobs.csv").read_bytes() == (folder / "b" / "jobs.csv").read_bytes()


def test_a_run_on_a_device_of_ones_own_can_be_repeated_from_its_folder(folder: Path) -> None:
    (folder / "devices").mkdir()
    known = resources.files("sim.catalog") / "devices" / "v100-sxm2-16gb.yaml"
    (folder / "devices" / "mine.yaml").write_text(known.read_text("utf-8"), "utf-8")
    steps = "{kind: training_steps, model: resnet18, device: devices/mine.yaml, batch: 64, steps: 9000}"
    (folder / "small.yaml").write_text(SCENARIO.replace("{kind: exponential, mean: 1 h}", steps), "utf-8")
    dcplan("run", "small.yaml", "--out", "far/away/run")
    dcplan("run", "far/away/run/scenario.yaml", "--out", "again")
    (folder / "deep").mkdir()
    text = SCENARIO.replace("{kind: exponential, mean: 1 h}", steps.replace("devices/mine.yaml", "none.yaml"))
    (folder / "deep" / "small.yaml").write_text(text, "utf-8")
    setting = "workloads.0.duration.device=devices/mine.yaml"
    dcplan("run", "deep/small.yaml", "--out", "set", "--set", setting)
    for file in ("jobs.csv", "summary.json"):
        assert len({(folder / run / file).read_bytes() for run in ("far/away/run", "again", "set")}) == 1
    missing = dcplan("run", "deep/small.yaml", "--out", "none", code=2)
    assert "none.yaml" in missing.stderr


def test_an_absolute_path_stays_in_the_written_scenario(folder: Path) -> None:
    dcplan("run", "replay.yaml", "--set", f"workloads.0.path={folder / 'jobs.csv'}")
    assert f"path: {folder / 'jobs.csv'}" in (folder / "run" / "scenario.yaml").read_text("utf-8")


def test_the_same_seed_gives_the_same_bytes(folder: Path) -> None:
    dcplan("run", "small.yaml", "--out", "a", "--seed", "3")
    dcplan("run", "small.yaml", "--out", "b", "--seed", "3")
    dcplan("run", "small.yaml", "--out", "c", "--seed", "4")
    a, b, c = ({path.name: path.read_bytes() for path in (folder / name).iterdir()} for name in "abc")
    assert a == b
    assert a["jobs.csv"] != c["jobs.csv"]


def test_a_missed_objective_ends_with_1_and_a_whole_folder(folder: Path) -> None:
    setting = "objectives.0.at_most=1 s"
    result = dcplan("run", "small.yaml", "--set", "fleet.pools.0.nodes=2", "--set", setting, code=1)
    assert "MISSED" in result.stdout
    assert run_folder.read(folder / "run").objectives_met is False


def test_replications_have_intervals_and_seeds_in_a_row() -> None:
    summary = json.loads(dcplan("run", "small.yaml", "--replications", "3", "--json").stdout)
    assert summary["seeds"] == [0, 1, 2]
    occupancy = next(row for row in summary["metrics"] if row["name"] == "occupancy")
    assert occupancy["interval"][0] < occupancy["value"] < occupancy["interval"][1]


def test_replications_of_a_log_are_said_to_be_equal() -> None:
    assert "replications are equal" in dcplan("run", "replay.yaml", "--replications", "2").stderr
    assert "replications" not in dcplan("run", "small.yaml", "--out", "b", "--replications", "2").stderr


# ---- what users get wrong


def test_every_fault_of_a_scenario_is_told_and_nothing_is_written(folder: Path) -> None:
    wrong = SCENARIO.replace("1 h", "1 GiB").replace("blocking", "blokking").replace("dgx-a100", "dgx-a1000")
    (folder / "small.yaml").write_text(wrong, "utf-8")
    result = dcplan("run", "small.yaml", code=2)
    assert result.stdout == ""
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "small.yaml:5",
        "small.yaml:8",
        "small.yaml:15",
    ]
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nothing.yaml"], "nothing.yaml: there is no such file"),
        (["run", "."], ".: this is a folder; name a scenario file in it"),
        (["run", "small.yaml", "--set", "seed"], "--set seed: write it as field=value"),
        (["run", "small.yaml", "--set", "fleet.pools.0.nods=1"], 'unknown field; did you mean "nodes"?'),
        (["run", "small.yaml", "--set", "workloads.0.gpus=17"], "a job of 17 GPUs can never start"),
        (["run", "small.yaml", "--out", "jobs.csv"], "jobs.csv is a file"),
        (["run", "small.yaml", "--out", "other", "--force"], "other exists and is not a run folder"),
        (["run", "small.yaml", "--replications", "0"], "'--replications': 0 is not in the range x>=1"),
        (["run", "small.yaml", "--seed", "-1"], "'--seed': -1 is not in the range x>=0"),
        (["run", "small.yaml", "--workers", "none"], "'--workers': 'none' is not a valid integer"),
        (["run", "small.yaml", "--sead", "1"], "No such option '--sead'"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["runn"], "No such command 'runn'"),
        (["validate", "small.yaml", "--set", "horizon=3 GiB"], '"3 GiB" is not a time'),
        (["trace", "check", "nothing.csv"], "nothing.csv: does not exist"),
        (["trace", "check", "small.yaml"], "is of no known format"),
        (["trace", "check", "jobs.csv", "--format", "slrm"], '"slrm" is not a trace format'),
        (["trace", "check", "jobs.csv", "--gpus", "many"], '--gpus "many" is not a number of GPUs'),
        (["trace", "check", "jobs.csv", "--gpus", "=5"], '--gpus "=5" is not a number of GPUs'),
        (
            ["run", "small.yaml", "--out", "jobs.csv/run"],
            "jobs.csv/run cannot be written: jobs.csv is a file",
        ),
        (
            ["run", "small.yaml", "--set", "workloads.0.arrivals.rate=1e9 per s"],
            "workloads.0: would submit about 4.32e+13 jobs; at most 20,000,000 can be",
        ),
        (["trace", "check", "jobs.csv", "--gpus", "0"], '--gpus "0" is not a number of GPUs'),
        (["trace", "check", "jobs.csv", "--gpus", "8", "--fleet", "small.yaml"], "give one of them"),
        (["report", "nothing"], "there is no folder nothing"),
        (["report", "other"], "other is not a run folder"),
        (["explain", "other", "job"], "other is not a run folder"),
        (["compare", "other", "other"], "other is given 2 times"),
        (["catalog", "h100"], 'did you mean "h100-hbm2e-96gb", "h100-pcie-80gb" or "h100-sxm5-80gb"?'),
        (["catalog", "gpus", "h10000"], '"h10000" is not a GPU of the catalog'),
        (["catalog", "things", "h100"], "choose gpus, nodes, stores or transformers"),
        (["catalog", "transformers", "llama-3-9b"], 'did you mean "llama-3-8b"?'),
        (["catalog", "own.yaml"], "own.yaml: there is no such file"),
    ],
)
def test_a_mistake_is_told_on_stderr_with_exit_code_2(folder: Path, arguments: list[str], said: str) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "thesis.txt").write_text("mine", "utf-8")
    before = sorted(folder.rglob("*"))
    result = dcplan(*arguments, code=2)
    assert said in result.stderr
    assert result.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_an_earlier_run_is_replaced_only_when_asked(folder: Path) -> None:
    dcplan("run", "small.yaml")
    before = (folder / "run" / "jobs.csv").read_bytes()
    assert "--force" in dcplan("run", "small.yaml", "--seed", "5", code=2).stderr
    assert (folder / "run" / "jobs.csv").read_bytes() == before
    dcplan("run", "small.yaml", "--seed", "5", "--force")
    assert (folder / "run" / "jobs.csv").read_bytes() != before


def test_the_folder_is_refused_before_the_simulation_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim import experiment  # noqa: PLC0415 - to be replaced below

    def never(*_: object) -> None:
        raise AssertionError("simulated for nothing")

    dcplan("run", "small.yaml")
    monkeypatch.setattr(experiment, "replicate", never)
    dcplan("run", "small.yaml", code=2)
    assert (folder / "run").exists()


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from sim import experiment  # noqa: PLC0415 - to be replaced below

    def broken(*_: object) -> None:
        raise AssertionError("a GPU was held twice")

    monkeypatch.setattr(experiment, "replicate", broken)
    result = CliRunner().invoke(main, ["run", "small.yaml"])
    assert isinstance(result.exception, AssertionError)


# ---- validate, trace check


def test_validate_says_that_a_scenario_is_sound_and_prints_it_in_full() -> None:
    assert dcplan("validate", "small.yaml").stdout == "small.yaml is sound.\n"
    full = dcplan("validate", "small.yaml", "--full", "--set", "seed=8").stdout
    Path("full.yaml").write_text(full, "utf-8")
    assert scenario.load(Path("full.yaml")) == scenario.load(Path("small.yaml"), ["seed=8"])


def test_validate_mentions_a_log_that_is_not_there_yet(folder: Path) -> None:
    assert dcplan("validate", "replay.yaml").stderr == ""
    (folder / "jobs.csv").unlink()
    assert "there is no file jobs.csv yet" in dcplan("validate", "replay.yaml").stderr


def test_a_log_is_checked_against_gpus_of_a_number_or_of_a_scenario() -> None:
    alone = json.loads(dcplan("trace", "check", "jobs.csv", "--json").stdout)
    assert (alone["jobs"], alone["capacity_gpus"], alone["offered_load"]) == (2, None, None)
    stated = json.loads(
        dcplan("trace", "check", "jobs.csv", "--gpus", "4", "--gpus", "a100=8", "--json").stdout
    )
    assert stated["capacity_gpus"] == 12
    assert stated["offered_load"] == pytest.approx((16 * 3600 + 8 * 60) / (60 * 12))
    of_fleet = json.loads(dcplan("trace", "check", "jobs.csv", "--fleet", "replay.yaml", "--json").stdout)
    assert of_fleet["capacity_gpus"] == 16


def test_virtual_clusters_are_walls_for_the_tenants_that_are_in_them(folder: Path) -> None:
    walled = (
        REPLAY.replace("nodes: 2}", "nodes: 1, virtual_cluster: east}")
        + "tenants: [{name: vision, virtual_cluster: east}]\n"
    )
    (folder / "walled.yaml").write_text(walled, "utf-8")
    found = json.loads(dcplan("trace", "check", "jobs.csv", "--fleet", "walled.yaml", "--json").stdout)
    assert [
        finding["count"]
        for finding in found["findings"]
        if finding["name"] == "wider than their virtual cluster"
    ] == [1]


def test_the_check_of_a_log_is_printed_with_what_was_found() -> None:
    text = dcplan("trace", "check", "jobs.csv", "--gpus", "8").stdout
    assert text.startswith("2 GPU jobs in")
    for said in ("wider than the fleet", "Offered load over the whole log", "tenant  speech"):
        assert said in text


def test_a_bad_line_is_named_and_can_be_skipped(folder: Path) -> None:
    (folder / "jobs.csv").write_text(LOG + "broken,later,60,1,vision\n", "utf-8")
    assert dcplan("trace", "check", "jobs.csv", code=2).stderr.startswith("jobs.csv:4: submit_s: ")
    text = dcplan("trace", "check", "jobs.csv", "--skip-bad-lines").stdout
    assert "malformed line" in text
    assert "jobs.csv:4: submit_s" in text


def test_parts_of_a_gpu_are_rounded_up_only_when_asked(folder: Path) -> None:
    (folder / "jobs.csv").write_text(LOG + "half,70,60,1.5,vision\n", "utf-8")
    assert "round_up" in dcplan("trace", "check", "jobs.csv", code=2).stderr
    assert "part of a GPU" in dcplan("trace", "check", "jobs.csv", "--fractions", "round_up").stdout


def test_one_is_one_job_and_percents_have_a_blank_in_every_report(folder: Path) -> None:
    rows = ["a,0,7200,1,t,,,", "b,100,60,16,t,other,17,5", "c,200000,60,1,t,,,", "d,200000,0,1,u,,,", ""]
    rows += ["bad,bad,0,1,u,,,", "e,200001,60,0.5,t,,,", "f,200000,60,1,t,,,"]
    head = "job_id,submit_s,duration_s,gpus,tenant,gpu_kind,nodes,estimate_s"
    (folder / "jobs.csv").write_text("\n".join([head, *rows]) + "\n", "utf-8")
    small = ["--set", "fleet.pools.0.nodes=1", "--set", "fleet.pools.0.gpus_per_node=1"]
    replay = ["run", "replay.yaml", *small, "--set", "workloads.0.fractions=round_up"]
    replay += ["--set", "workloads.0.on_fault=skip"]
    checks = ["trace", "check", "jobs.csv", "--skip-bad-lines", "--fractions", "round_up", "--gpus"]
    told = [dcplan(*checks, gpus).stdout for gpus in ("1", "8")]
    told += [
        dcplan(*replay, "--out", "a").stdout,
        dcplan(*replay, "--out", "b", "--set", "horizon=1 h").stdout,
    ]
    told += [dcplan("compare", "a", "b").stdout, dcplan("explain", "a", "f").stdout]
    assert "1 job asks for part of a GPU and was rounded up" in told[0].replace("\n", " ")
    for text in told:
        assert not re.findall(r"\b1 (?:jobs|rows|GPUs|gaps|times|nodes|lines|runs|others)\b|\d%", text), text


def test_many_tenants_are_counted_and_not_all_listed(folder: Path) -> None:
    rows = "".join(f"{n},{n},60,1,tenant-{n}\n" for n in range(30))
    (folder / "jobs.csv").write_text("job_id,submit_s,duration_s,gpus,tenant\n" + rows, "utf-8")
    assert "and 11 more" in dcplan("trace", "check", "jobs.csv").stdout


# ---- compare, report, explain


def test_runs_are_compared_for_people_for_programs_and_as_a_page(folder: Path) -> None:
    dcplan("run", "replay.yaml", "--out", "a")
    dcplan("run", "replay.yaml", "--out", "b", "--set", "fleet.pools.0.nodes=3")
    assert dcplan("compare", "a", "b").stdout.startswith("b has the shortest mean completion time")
    found = json.loads(dcplan("compare", "a", "b", "--json").stdout)
    assert found["names"] == ["a", "b"]
    assert found["paired"][0]["mean_s"] == pytest.approx(-3540 / 2)
    result = dcplan("compare", "a", "b", "--html", "both.html")
    assert (result.stdout, result.stderr) == ("", "Written: both.html\n")
    assert (folder / "both.html").read_text("utf-8").startswith("<!doctype html>")


def test_runs_of_one_folder_name_are_called_by_their_paths(folder: Path) -> None:
    for path in ("x/run", "y/run"):
        dcplan("run", "replay.yaml", "--out", path)
    assert json.loads(dcplan("compare", "x/run", "y/run", "--json").stdout)["names"] == ["x/run", "y/run"]
    assert (folder / "x").exists()


def test_a_report_of_a_folder_is_that_of_its_run(folder: Path) -> None:
    printed = dcplan("run", "small.yaml").stdout
    assert dcplan("report", "run").stdout == printed
    dcplan("report", "run", "--html", "again.html", "--perfetto", "time.json", "--as", "html", "third.html")
    page = (folder / "run" / "report.html").read_bytes()
    assert (folder / "again.html").read_bytes() == (folder / "third.html").read_bytes() == page
    assert json.loads((folder / "time.json").read_text("utf-8"))["traceEvents"]
    assert "did you mean" in dcplan("report", "run", "--as", "htm", "x", code=2).stderr
    assert "cannot be written" in dcplan("report", "run", "--html", "no/where.html", code=2).stderr
    assert "the file to write has no name" in dcplan("report", "run", "--html", "", code=2).stderr


def test_a_job_is_explained_and_its_causes_add_up() -> None:
    dcplan("run", "replay.yaml")
    assert dcplan("explain", "run", "short").stdout.startswith("Job short of speech asked for 8 GPUs")
    found = json.loads(dcplan("explain", "run", "short", "--json").stdout)
    assert sum(found["causes"].values()) == found["wait_s"] == 3540.0
    assert "the nearest are short" in dcplan("explain", "run", "shirt", code=2).stderr


# ---- catalog, schema, help


def test_the_catalog_lists_everything_or_shows_one_entry_with_its_sources() -> None:
    everything = dcplan("catalog").stdout
    assert all(name in everything for kind in ("gpu", "node", "store") for name in catalog.names(kind))  # type: ignore[arg-type]
    assert "dgx-h100" not in dcplan("catalog", "gpus").stdout
    assert "b200" not in dcplan("catalog", "nodes").stdout.split("GPU ")[0]
    one = dcplan("catalog", "DGX H100").stdout
    assert "NVIDIA DGX H100 data sheet" in one
    assert dcplan("catalog", "nodes", "dgx-h100").stdout == one


def test_the_catalog_lists_transformers_and_counts_what_a_file_describes(folder: Path) -> None:
    everything = dcplan("catalog", "transformers").stdout
    assert all(name in everything for name in transformer_names())
    assert "dgx-h100" not in everything
    one = dcplan("catalog", "Llama 3 8B").stdout
    assert "8,030,261,248" in one
    assert "arXiv:2407.21783" in one
    assert dcplan("catalog", "transformers", "llama-3-8b").stdout == one
    own = "name: own\nlayers: 2\nhidden: 64\nheads: 4\nffn: 256\nvocab: 100\nsequence: 32\n"
    (folder / "own.yaml").write_text(own, "utf-8")
    (entry,) = json.loads(dcplan("catalog", "own.yaml", "--json").stdout)
    assert entry["kind"] == "transformer"
    assert entry["parameters"] == sum(entry["parameters_by_part"].values()) == 144_192
    assert sum(entry["training_flops_per_token"].values()) == 6 * (144_192 - 6_720) + 6 * 2 * 64 * 32


def test_the_json_of_the_catalog_has_units_in_its_names() -> None:
    (entry,) = json.loads(dcplan("catalog", "h100-sxm5-80gb", "--json").stdout)
    assert (entry["kind"], entry["memory_bytes"], entry["power_watts"]) == ("gpu", 80e9, 700)
    assert entry["sources"]["memory_bytes"]["evidence"] == "read"
    assert entry["bf16_flop_per_s"] == 989.4e12
    hardware, transformers = len(catalog.entries()), len(transformer_names())
    assert len(json.loads(dcplan("catalog", "--json").stdout)) == hardware + transformers


def test_the_schema_and_the_reference_are_printed_as_they_are_committed_after() -> None:
    assert json.loads(dcplan("schema").stdout) == scenario.json_schema()
    assert dcplan("schema", "--reference").stdout == scenario.reference()


def test_the_version_is_that_of_the_package() -> None:
    assert dcplan("--version").stdout == f"dcplan, version {sim.__version__}\n"


def test_help_needs_no_heavy_import() -> None:
    heavy = {"numpy", "polars", "pydantic", "simpy", "rich", "ruamel"}
    code = f"import sys, sim.cli; sys.exit(len({heavy!r} & {{name.split('.')[0] for name in sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), list(commands(main)))
def test_every_command_and_option_has_a_help_sentence(path: tuple[str, ...], command: click.Command) -> None:
    assert dcplan(*path, "--help").stdout.startswith(f"Usage: main {' '.join(path)}")
    assert (command.help or "").rstrip(" ")[:1].isupper()
    assert all(option.help for option in command.params if isinstance(option, click.Option))


# ---- interrupts, pipes, terminals, full disks


def test_an_interrupt_ends_with_130_one_line_and_nothing_written(folder: Path) -> None:
    rows = "".join(f"{n},{n},3000000,1,t{n % 7}\n" for n in range(60_000))
    (folder / "jobs.csv").write_text("job_id,submit_s,duration_s,gpus,tenant\n" + rows, "utf-8")
    started = process("run", "replay.yaml", "--set", "scheduler.order=srtf", "--replications", "2")
    assert started.stderr is not None
    assert "replications are equal" in started.stderr.readline()
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out, err) == (130, "", "\nInterrupted; nothing was kept.\n")
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("stopped_by", "code", "said"),
    [(KeyboardInterrupt, 130, "\nInterrupted; nothing was kept.\n"), (BrokenPipeError, 141, "")],
)
def test_what_stops_a_command_from_outside_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, stopped_by: type[BaseException], code: int, said: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise stopped_by

    monkeypatch.setattr(scenario, "load", stop)
    assert dcplan("validate", "small.yaml", code=code).stderr == said


def test_a_reader_who_leaves_is_no_error_to_talk_about(folder: Path) -> None:
    started = process("schema")
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    assert started.wait(timeout=60) == 141
    assert started.stderr.read() == ""
    started.stderr.close()
    assert folder.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_told() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sim", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "the output cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_a_full_disk_behind_the_help_is_told(arguments: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "sim", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own command
    assert (done.returncode, done.stderr) == (2, "the output cannot be written: No space left on device\n")


def test_without_a_stdout_the_work_is_done_all_the_same(folder: Path) -> None:
    command = f"{sys.executable} -m sim run small.yaml >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S602 - our own command
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert run_folder.read(folder / "run")


def test_a_signal_to_stop_ends_with_143_and_nothing_written(folder: Path) -> None:
    rows = "".join(f"{n},{n},3000000,1,t{n % 7}\n" for n in range(60_000))
    (folder / "jobs.csv").write_text("job_id,submit_s,duration_s,gpus,tenant\n" + rows, "utf-8")
    started = process("run", "replay.yaml", "--set", "scheduler.order=srtf", "--replications", "2")
    assert started.stderr is not None
    assert "replications are equal" in started.stderr.readline()
    started.send_signal(signal.SIGTERM)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out, err) == (143, "", "Stopped; nothing was kept.\n")
    assert not (folder / "run").exists()


def test_progress_is_shown_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with cli_output.progress("simulating") as tell:
        assert tell is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with cli_output.progress("simulating") as tell:
        assert tell is not None
        tell(1, 2)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(folder: Path) -> None:
    (folder / "taken").mkdir()
    with pytest.raises(PlanError, match="taken cannot be written"):
        cli_output.write_file(folder / "taken", "text")


def test_a_broken_pipe_inside_a_command_ends_with_141(folder: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "sim", "validate", "small.yaml"],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")
    assert folder.exists()


def test_a_run_that_cannot_be_played_again_is_explained_without_its_course(folder: Path) -> None:
    (folder / "failures.csv").write_text("time_s,node,repair_s,component\n3600,0,3600,gpu\n", "utf-8")
    (folder / "shared.yaml").write_text(
        """
name: shared
horizon: 1 d
fleet: {pools: [{name: a, nodes: 2, gpus_per_node: 8}]}
scheduler: {order: fifo, blocking: strict}
stores: [{name: nfs, read: 1 GB/s, write: 1 GB/s}]
traffic: [{reads: 1 GB/s, store: nfs}]
failures: {log: failures.csv}
workloads: [{kind: synthetic, name: w, arrivals: {kind: poisson, rate: 1 per h}, gpus: 8, duration: 1 h}]
""",
        "utf-8",
    )
    dcplan("run", "shared.yaml", "--out", "shared")
    assert "What it did" in dcplan("explain", "shared", "w-2").stdout
    (folder / "failures.csv").unlink()
    told = dcplan("explain", "shared", "w-2")
    assert "Job w-2" in told.stdout
    assert "What it did" not in told.stdout
    assert "cannot be played again" in told.stderr
