"""A scenario file: loaded with its units, or refused with every fault, its line and the remedy."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from sim import scenario
from sim.errors import PlanError, ScenarioError
from sim.scenario import Fleet, Objective, Pool, Scenario, Tenant
from sim.scheduler import SchedulerSpec
from sim.workloads import Synthetic, TraceWorkload

ROOT = Path(__file__).resolve().parents[2]

SOUND = """\
name: chat
horizon: 7 d
fleet:
  pools:
    - name: new
      node: dgx-h100
      nodes: 4
    - name: old
      gpu: t4
      gpus_per_node: 8
      nodes: 2
tenants:
  - name: nlp
    quota: 16
    borrow: unlimited
scheduler:
  order: fifo
workloads:
  - kind: synthetic
    tenant: nlp
    arrivals: {kind: poisson, rate: 12 per h}
    gpus: 8
    duration: 3 h
objectives:
  - {metric: wait_p95_s, at_most: 30 min}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "chat.yaml"
    path.write_text(text, "utf-8")
    return path


def refused(folder: Path, text: str, *overrides: str) -> list[str]:
    """The lines that a user sees, without the folder."""
    with pytest.raises(PlanError) as refusal:
        scenario.load(write(folder, text), overrides)
    return str(refusal.value).replace(f"{folder}/", "").splitlines()


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1
    return SOUND.replace(old, new)


# ---- what is sound


def test_a_scenario_is_read_with_its_units(tmp_path: Path) -> None:
    read = scenario.load(write(tmp_path, SOUND))
    assert read.horizon == 7 * 86_400
    assert read.objectives[0].at_most == 1800
    assert isinstance(read.workloads[0], Synthetic)
    assert read.workloads[0].arrivals.rate_per_s == pytest.approx(12 / 3600)


def test_the_catalog_fills_what_a_pool_leaves_out(tmp_path: Path) -> None:
    new, old = scenario.load(write(tmp_path, SOUND)).fleet.pools
    assert (new.gpu, new.gpus_per_node, new.scale_up_gpus) == ("h100-sxm5-80gb", 8, 8)
    assert (new.cpus_per_node, new.memory_per_node) == (224, 2e12)
    assert (old.gpu, old.cpus_per_node, old.memory_per_node) == ("t4", None, None)
    assert (old.scale_up_gpus, old.nodes_per_rack) == (8, 4)


def test_what_a_pool_says_itself_goes_before_the_catalog() -> None:
    pool = Pool(name="a", node="DGX H100", nodes=1, cpus_per_node=64, gpu="H100-SXM5-80GB")  # type: ignore[call-arg]
    assert (pool.node, pool.gpu, pool.cpus_per_node) == ("dgx-h100", "h100-sxm5-80gb", 64)


def test_a_rack_of_an_nvl72_is_one_scale_up_domain() -> None:
    pool = Pool(name="a", node="gb200-nvl72-tray", nodes=36)  # type: ignore[call-arg]
    assert (pool.gpus_per_node, pool.nodes_per_rack, pool.scale_up_gpus, pool.gpus) == (4, 18, 72, 144)


def test_dump_writes_all_defaults_and_loads_as_an_equal_scenario(tmp_path: Path) -> None:
    read = scenario.load(write(tmp_path, SOUND))
    text = scenario.dump(read)
    assert "warm_up: 0 s" in text
    assert "at_most: 30 min" in text
    assert "rate: 12 per h" in text
    assert scenario.load(write(tmp_path, text)) == read
    assert scenario.dump(scenario.load(write(tmp_path, text))) == text


@given(
    name=st.text(min_size=1, max_size=100).filter(lambda text: text.isprintable()),
    seed=st.integers(0, 2**63 - 1),
    warm_up=st.floats(0, 604_799),
    quota=st.none() | st.integers(0, 48),
)
def test_any_scenario_survives_being_written(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    seed: int,
    warm_up: float,
    quota: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("dump")
    plain = scenario.load(write(folder, SOUND))
    written = plain.model_copy(
        update={
            "name": name,
            "seed": seed,
            "warm_up": warm_up,
            "tenants": (Tenant(name="nlp", quota=quota),),
        }
    )
    assert scenario.load(write(folder, scenario.dump(written))) == written


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    read = scenario.load(write(tmp_path, changed("name: chat", "name: no\ndescription: 2020-01-01")))
    assert (read.name, read.description) == ("no", "2020-01-01")


def test_objectives_are_held_in_the_unit_of_their_metric(tmp_path: Path) -> None:
    text = changed(
        "  - {metric: wait_p95_s, at_most: 30 min}",
        "  - {metric: goodput_gpu_h, at_least: 2 GPU d}\n"
        "  - {metric: occupancy, at_least: 50 %}\n"
        "  - {metric: slowdown_mean, at_most: 3}\n"
        "  - {metric: offered_load, at_most: 1.2}",
    )
    read = scenario.load(write(tmp_path, text))
    bounds = [objective.at_least or objective.at_most for objective in read.objectives]
    assert bounds == [48.0, 0.5, 3.0, 1.2]
    assert scenario.load(write(tmp_path, scenario.dump(read))) == read


# ---- what is set on the command line


def test_a_setting_goes_before_the_file(tmp_path: Path) -> None:
    settings = ["seed=7", "fleet.pools.1.nodes=5", "horizon=1 d", "scheduler.blocking=easy", "tenants=[]"]
    read = scenario.load(write(tmp_path, SOUND), settings)
    assert (read.seed, read.fleet.pools[1].nodes, read.horizon) == (7, 5, 86_400)
    assert (read.scheduler.blocking.kind, read.tenants) == ("easy", ())


def test_a_setting_may_reach_into_what_the_file_writes_short_or_not_at_all(tmp_path: Path) -> None:
    settings = [
        "scheduler.order=las",
        "scheduler.order.thresholds=[1 GPU h]",
        "scheduler.preemption.restart=30 s",
    ]
    read = scenario.load(write(tmp_path, SOUND), settings)
    assert read.scheduler.order.thresholds == (3600.0,)
    assert read.scheduler.preemption.restart == 30


def test_a_path_on_the_command_line_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenarios").mkdir()
    monkeypatch.chdir(tmp_path)
    text = changed("objectives:\n  - {metric: wait_p95_s, at_most: 30 min}\n", "")
    text = text[: text.index("workloads:")] + "workloads:\n  - {kind: trace, path: in_file.csv}\n"
    path = write(tmp_path / "scenarios", text)
    assert scenario.load(path).workloads[0].path == Path("in_file.csv")  # type: ignore[union-attr]
    read = scenario.load(path, ["workloads.0.path=logs/jobs.csv"])
    assert read.workloads[0].path == Path("../logs/jobs.csv")  # type: ignore[union-attr]
    absolute = scenario.load(path, ["workloads.0.path=/logs/jobs.csv"])
    assert absolute.workloads[0].path == Path("/logs/jobs.csv")  # type: ignore[union-attr]


def test_a_path_on_the_command_line_is_found_from_a_folder_that_is_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `deep/er` the way up is not the one that the link's own place suggests."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "scenarios").symlink_to(tmp_path / "deep" / "er")
    (tmp_path / "jobs.csv").write_text("job_id,submit_s,duration_s,gpus\na,0,1,1\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    text = changed("objectives:\n  - {metric: wait_p95_s, at_most: 30 min}\n", "")
    text = text[: text.index("workloads:")] + "workloads:\n  - {kind: trace, path: in_file.csv}\n"
    path = write(Path("scenarios"), text)
    replayed = scenario.load(path, ["workloads.0.path=jobs.csv"]).workloads[0]
    assert isinstance(replayed, TraceWorkload)
    assert replayed.path == Path("../../jobs.csv")
    assert replayed.jobs(0, None, path.parent).jobs.height == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "write it as field=value, for example seed=7"),
        ("=7", "write it as field=value, for example seed=7"),
        ("seed=-1", "-1 must not be less than 0"),
        ("sed=7", 'unknown field; did you mean "seed"?'),
        ("horizon=3 GiB", '"3 GiB" is not a time; write "3 h" or "90 s"'),
        (
            "horizon=3600",
            '3600 has no unit; write "3600 s" or "1 h" if that is what you mean',
        ),
        ("workloads.0.gpu=4", 'unknown field; did you mean "gpus"?'),
        ("workloads.1.gpus=4", 'workloads has 1 entry, counted from 0: "1" is none of them'),
        ("fleet.pools.x.nodes=4", 'fleet.pools has 2 entries, counted from 0: "x" is none of them'),
        ("name.first=a", 'name is "chat" and has no field "first"'),
        ("scheduler.order=fifoo", None),
        ("fleet.pools.0={name: a, nods: 4}", None),
        ("tenants=[a: 1, a: 2", None),
        (
            "objectives=[{metric: occupancy, at_most: 1, at_most: 1}]",
            "repeated field; it stands on line 1 already",
        ),
    ],
)
def test_a_fault_in_a_setting_names_the_setting(tmp_path: Path, setting: str, message: str | None) -> None:
    lines = refused(tmp_path, SOUND, setting)
    assert lines[0].startswith(f"chat.yaml: --set {setting}: ")
    if message is not None:
        assert lines == [f"chat.yaml: --set {setting}: {message}"]


def test_a_fault_inside_a_setting_says_where(tmp_path: Path) -> None:
    assert refused(tmp_path, SOUND, "fleet.pools.1={name: a, gpus_per_node: 1, nods: 4}") == [
        (
            "chat.yaml: --set fleet.pools.1={name: a, gpus_per_node: 1, nods: 4}: fleet.pools.1.nodes: "
            "is missing (number of nodes)"
        ),
        (
            "chat.yaml: --set fleet.pools.1={name: a, gpus_per_node: 1, nods: 4}: fleet.pools.1.nods: "
            'unknown field; did you mean "nodes"?'
        ),
    ]


# ---- what is refused, word for word

ORDERS = "fifo, sjf, srtf, srsf, las, priority or fair_share"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("name: chat", "nam: chat", ["1: name: is missing (heads the report)", '1: nam: unknown field; did you mean "name"?']),
        ("name: chat", "name: 7", ["1: name: 7 is not text; write it in quotes"]),
        ("name: chat", "name:", ["1: name: has no value; give text"]),
        ("order: fifo", "order:", [f"17: scheduler.order: has no value; choose {ORDERS}"]),
        ("name: chat", "name: ''", ["1: name: must not be empty"]),
        ("horizon: 7 d", "horizon: 3 GiB", ['2: horizon: "3 GiB" is not a time; write "3 h" or "90 s"']),
        ("horizon: 7 d", "horizon: -3 h", ['2: horizon: "-3 h" must be more than 0']),
        (
            "horizon: 7 d",
            "horizon: 3600",
            ['2: horizon: 3600 has no unit; write "3600 s" or "1 h" if that is what you mean'],
        ),
        ("horizon: 7 d", "horizon: 7 d\nwarm_up:", ['3: warm_up: has no value; write "3 h" or "90 s"']),
        ("horizon: 7 d", "horizon: .nan", ['2: horizon: .nan is not a time; write "3 h" or "90 s"']),
        ("horizon: 7 d", "horizon: .inf", ['2: horizon: .inf is not a time; write "3 h" or "90 s"']),
        ("horizon: 7 d", "horizon: 1 d\nhorizon: 7 d", ["3: horizon: repeated field; it stands on line 2 already"]),
        (
            "horizon: 7 d",
            "horizon: 7 d\nwarm_up: 8 d",
            ['3: warm_up: "8 d" must be shorter than the horizon, "1 week"'],
        ),
        ("horizon: 7 d\n", "", ["18: workloads.0: would never end; give it a count or until, or the scenario a horizon"]),
        ("horizon: 7 d", "horizon: 7 d\nseed: true", ["3: seed: true is not a whole number"]),
        ("horizon: 7 d", "horizon: 7 d\nseed: '7'", ['3: seed: "7" is not a whole number']),
        ("horizon: 7 d", "horizon: !wait 7 d", ['2: horizon: the tag "!wait" is not allowed; write a plain value']),
        (
            "node: dgx-h100",
            "node: dgx-h10",
            ['6: fleet.pools.0.node: "dgx-h10" is not a node of the catalog; did you mean "dgx-h100"?'],
        ),
        ("gpu: t4", "gpu: h10", ['9: fleet.pools.1.gpu: "h10" is not a GPU of the catalog; did you mean "h100-hbm2e-96gb", "h100-pcie-80gb" or "h100-sxm5-80gb"?']),
        ("gpus_per_node: 8", "gpus_per_node: 0", ["10: fleet.pools.1.gpus_per_node: 0 must be more than 0"]),
        ("gpus_per_node: 8", "gpus_per_node: 1025", ["10: fleet.pools.1.gpus_per_node: 1025 must not be more than 1,024"]),
        (
            "      gpus_per_node: 8\n",
            "",
            ["8: fleet.pools.1.gpus_per_node: is missing (GPUs in each node; a node type of the catalog knows it)"],
        ),
        (
            "gpus_per_node: 8",
            "gpus_per_node: 8\n      scale_up_gpus: 12",
            ["8: fleet.pools.1: scale_up_gpus is 12, which neither divides nor is a multiple of the 8 GPUs of a node"],
        ),
        ("nodes: 2", "nodes: 2.5", ["11: fleet.pools.1.nodes: 2.5 is not a whole number"]),
        ("name: old", "name: new", ['8: fleet.pools.1.name: "new" is the name of fleet.pools.0 too; names must differ']),
        ("quota: 16", "quota: lots", ['14: tenants.0.quota: "lots" is not a whole number']),
        ("quota: 16", "quota: 49", ["14: tenants.0.quota: with it the quotas add up to 49 GPUs, but the fleet has 48"]),
        ("borrow: unlimited", "borrow: lots", ['15: tenants.0.borrow: "lots" is not a whole number or "unlimited"']),
        ("    quota: 16\n", "", ['13: tenants.0: tenant "nlp" has no quota to borrow beyond; give it a quota']),
        (
            "borrow: unlimited",
            "virtual_cluster: a",
            ['15: tenants.0.virtual_cluster: "a" is not a virtual cluster of the fleet; no pool of the fleet has one'],
        ),
        ("borrow: unlimited", "weight: 0", ["15: tenants.0.weight: 0 must be more than 0"]),
        ("borrow: unlimited", "weight: .nan", ["15: tenants.0.weight: .nan is not a finite number"]),
        (
            "order: fifo",
            "order: fifoo",
            [f'17: scheduler.order: "fifoo" is not a queue order; did you mean "fifo"? choose {ORDERS}'],
        ),
        (
            "order: fifo",
            "order: {kind: las, thresholds: 3}",
            ['17: scheduler.order.thresholds: 3 is not a list; start each entry with "- "'],
        ),
        ("order: fifo", "order: {kind: fifo, x: 1}", ["17: scheduler.order.x: unknown field; this kind has no settings"]),
        ("order: fifo", "order: 3", [f"17: scheduler.order: 3 is not a queue order; choose {ORDERS}"]),
        (
            "order: fifo",
            "preemption: {checkpoint_evry: 30 min}",
            ['17: scheduler.preemption.checkpoint_evry: unknown field; did you mean "checkpoint_every"?'],
        ),
        (
            "order: fifo",
            "estimates: {from: usr}",
            ['17: scheduler.estimates.from: "usr" is not a choice; did you mean "user"? choose exact or user'],
        ),
        (
            "kind: synthetic",
            "kind: trainning",
            ['19: workloads.0: "trainning" is not a workload; choose trace, synthetic or preset'],
        ),
        (
            "workloads:",
            "workloads:\n  - {kind: preset, preset: phily, rate: 1 per h, count: 5}",
            ['19: workloads.0.preset: "phily" is not a preset; did you mean "philly"? choose philly, helios, pai, seren or kalos'],
        ),
        ("- kind: synthetic", "- name: a", ["19: workloads.0: needs a kind; choose trace, synthetic or preset"]),
        (
            "tenant: nlp",
            "tenant: npl",
            ['20: workloads.0.tenant: "npl" is not a tenant of this scenario; did you mean "nlp"?'],
        ),
        ("gpus: 8", "gpu: 8", ["19: workloads.0.gpus: is missing (GPUs of a job: a number or a distribution)", '22: workloads.0.gpu: unknown field; did you mean "gpus"?']),
        ("gpus: 8", "gpus: 0", ["22: workloads.0.gpus: 0 must not be less than 1"]),
        (
            "gpus: 8",
            "gpus: 33",
            ["22: workloads.0.gpus: a job of 33 GPUs can never start: the largest pool that it may use has 32"],
        ),
        (
            "gpus: 8",
            "gpus: 32\n    gpu_kind: t4",
            ["22: workloads.0.gpus: a job of 32 GPUs can never start: the largest pool that it may use has 16"],
        ),
        (
            "gpus: 8",
            "gpus: 8\n    gpu_kind: T4",
            ['23: workloads.0.gpu_kind: "T4" is not a GPU kind of the fleet; did you mean "t4"?'],
        ),
        ("rate: 12 per h", "rate: 12 h", ['21: workloads.0.arrivals.rate: "12 h" is not a rate; write "12 per h" or "0.5 per s"']),
        ("duration: 3 h", "duration: {kind: exponential}", ["23: workloads.0.duration.mean: is missing (mean time, before the limits)"]),
        (
            "metric: wait_p95_s",
            "metric: wait_p95",
            ['25: objectives.0.metric: "wait_p95" is not a metric; did you mean "wait_p95_s"?'],
        ),
        (", at_most: 30 min", "", ["25: objectives.0: an objective needs either at_most or at_least"]),
        ("at_most: 30 min", "at_most: 30", ['25: objectives.0.at_most: 30 has no unit; write "30 s" if that is what you mean']),
        (
            "at_most: 30 min",
            "at_most: 30 min, tenant: vision",
            ['25: objectives.0.tenant: "vision" is not a tenant of this scenario; choose nlp'],
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_and_its_remedy(
    tmp_path: Path, old: str, new: str, lines: list[str]
) -> None:
    assert refused(tmp_path, changed(old, new)) == [f"chat.yaml:{line}" for line in lines]


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        SOUND.replace("7 d", "soon")
        .replace("nodes: 4", "nodes: four")
        .replace("nlp\n    quota: 16", "nlp\n    quota: 4900")
    )
    assert refused(tmp_path, text.replace("gpus: 8", "gpus: -8"), "sed=4") == [
        'chat.yaml:2: horizon: "soon" is not a time; write "3 h" or "90 s"',
        'chat.yaml:7: fleet.pools.0.nodes: "four" is not a whole number',
        "chat.yaml:22: workloads.0.gpus: -8 must not be less than 1",
        'chat.yaml: --set sed=4: unknown field; did you mean "seed"?',
    ]


def test_parts_that_are_sound_are_checked_against_one_another_although_others_are_not(tmp_path: Path) -> None:
    text = changed("horizon: 7 d", "horizon: soon").replace("quota: 16", "quota: 4900")
    assert refused(tmp_path, text) == [
        'chat.yaml:2: horizon: "soon" is not a time; write "3 h" or "90 s"',
        "chat.yaml:14: tenants.0.quota: with it the quotas add up to 4,900 GPUs, but the fleet has 48",
    ]


def test_tenants_run_in_the_virtual_cluster_of_their_name(tmp_path: Path) -> None:
    text = SOUND.replace("nodes: 2\n", "nodes: 2\n      virtual_cluster: nlp\n")
    assert refused(tmp_path, text.replace("quota: 16", "quota: 17")) == [
        'chat.yaml:15: tenants.0.quota: with it the quotas add up to 17 GPUs, but virtual cluster "nlp" has 16'
    ]
    assert refused(tmp_path, text.replace("gpus: 8\n", "gpus: 32\n")) == [
        (
            "chat.yaml:23: workloads.0.gpus: a job of 32 GPUs can never start: "
            "the largest pool that it may use has 16"
        )
    ]


def test_a_tenant_needs_a_pool_that_is_open_to_it(tmp_path: Path) -> None:
    text = SOUND.replace("nodes: 2\n", "nodes: 2\n      virtual_cluster: a\n")
    text = text.replace("nodes: 4\n", "nodes: 4\n      virtual_cluster: b\n")
    assert refused(tmp_path, text) == [
        (
            'chat.yaml:15: tenants.0.virtual_cluster: "nlp" has no virtual cluster, '
            "but every pool is in one; choose b or a"
        )
    ]


def test_a_workload_needs_a_pool_that_is_open_to_it(tmp_path: Path) -> None:
    text = SOUND.replace("nodes: 2\n", "nodes: 2\n      virtual_cluster: a\n")
    text = text.replace("nodes: 4\n", "nodes: 4\n      virtual_cluster: b\n")
    text = text.replace("tenants:\n  - name: nlp\n    quota: 16\n    borrow: unlimited\n", "")
    assert refused(tmp_path, text) == [
        (
            'chat.yaml:18: workloads.0.tenant: "nlp" would run on the nodes that are in no virtual cluster, '
            "where there is no pool"
        )
    ]


def test_workloads_and_tenants_have_names_of_their_own(tmp_path: Path) -> None:
    text = SOUND.replace("- kind: synthetic\n", "- kind: synthetic\n    name: a\n")
    twice = text.replace(
        "objectives:", text[text.index("  - kind: synthetic") : text.index("objectives:")] + "objectives:"
    )
    assert refused(tmp_path, twice) == [
        'chat.yaml:26: workloads.1.name: "a" is the name of workloads.0 too; names must differ'
    ]


# ---- files that are no scenario


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "chat.yaml:1: the file is empty"),
        ("# nothing\n", "chat.yaml:1: the file is empty"),
        ("- a\n", "chat.yaml:1: the file must hold fields (name: value), not a list"),
        ("chat\n", "chat.yaml:1: the file must hold fields (name: value), not a single value"),
        ("name: a\n---\nname: b\n", "chat.yaml:2: not YAML: expected a single document in the stream, but found another document"),
        ("name: [a\nseed: 1\n", "chat.yaml:2: not YAML: expected ',' or ']', but got ':' while parsing a flow sequence"),
        ("name: a\n\tseed: 1\n", "chat.yaml:2: not YAML: found character '\\t' that cannot start any token while scanning for the next token"),
        ("name: *who\n", "chat.yaml:1: not YAML: found undefined alias 'who'"),
        ("[" * 2000, "chat.yaml:1: not usable: nested too deeply"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_fields_is_told_so(tmp_path: Path, content: str, message: str) -> None:
    assert refused(tmp_path, content) == [message]


def test_a_null_byte_is_told_with_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, "name: a\n\x00: b\n")[0].startswith(
        "chat.yaml:2: not YAML: unacceptable character"
    )


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_bytes(b"name: a\ndescription: caf\xe9\n")
    with pytest.raises(ScenarioError, match=r"chat.yaml:2: the file is not UTF-8 text: byte 0xe9"):
        scenario.load(path)


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, SOUND)
    with pytest.raises(PlanError, match=r'caht.yaml: there is no such file; did you mean "chat.yaml"\?'):
        scenario.load(tmp_path / "caht.yaml")
    with pytest.raises(PlanError, match=r"chat.yaml: there is no such file$"):
        scenario.load(tmp_path / "nowhere" / "chat.yaml")


def test_a_folder_is_no_scenario(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="this is a folder; name a scenario file in it"):
        scenario.load(tmp_path)


def test_a_file_that_cannot_be_opened_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: not a directory"):
        scenario.load(write(tmp_path, SOUND) / "inner.yaml")


def test_aliases_may_repeat_but_not_contain_themselves(tmp_path: Path) -> None:
    shared = SOUND.replace("arrivals: {", "arrivals: &often {")
    assert scenario.load(write(tmp_path, shared)).seed == 0
    lines = refused(tmp_path, changed("horizon: 7 d", "horizon: 7 d\ntenants_of: &us [*us]"))
    assert lines[0] == "chat.yaml:3: tenants_of.0: an alias must not refer to what it is part of"


def test_a_file_that_grows_without_bound_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    assert refused(tmp_path, f"a0: &a0 [x]\n{levels}\n") == ["chat.yaml:1: more than 200,000 values"]


def test_field_names_are_text(tmp_path: Path) -> None:
    lines = refused(tmp_path, changed("horizon: 7 d", "horizon: 7 d\n? [a]\n: b"))
    assert lines == ["chat.yaml:3: the name of a field must be text"]


def test_a_number_too_long_for_one_is_text(tmp_path: Path) -> None:
    lines = refused(tmp_path, changed("horizon: 7 d", f"horizon: 7 d\nseed: {'9' * 5000}"))
    assert lines == [f'chat.yaml:3: seed: "{"9" * 57}..." is not a whole number']


# ---- scenarios made in Python


def made(**fields: Any) -> Scenario:
    parts: dict[str, Any] = {
        "name": "made",
        "horizon": 3600.0,
        "fleet": Fleet(pools=(Pool(name="a", gpus_per_node=8, nodes=2),)),  # type: ignore[call-arg]
        "scheduler": SchedulerSpec(),
        "workloads": (
            {"kind": "synthetic", "arrivals": {"kind": "poisson", "rate": 1.0}, "gpus": 1, "duration": 60.0},
        ),
    }
    return Scenario(**(parts | fields))


def test_a_scenario_can_be_made_in_python_with_si_numbers() -> None:
    assert made().horizon == 3600.0


def test_parts_that_disagree_are_refused_in_python_too() -> None:
    with pytest.raises(ValidationError, match=r"warm_up: .* must be shorter than the horizon"):
        made(warm_up=7200.0)


def test_an_objective_is_in_the_unit_of_its_metric_in_python() -> None:
    assert Objective(metric="goodput_gpu_h", at_least=48.0).model_dump(mode="json")["at_least"] == "2 GPU d"


@given(gpu_s=st.integers(1, 10**12))
def test_a_bound_in_gpu_time_survives_being_written(gpu_s: int) -> None:
    bound = Objective.model_validate({"metric": "goodput_gpu_h", "at_most": f"{gpu_s} GPU s"})
    assert Objective.model_validate(bound.model_dump(mode="json")) == bound


# ---- the schema and the reference


def test_the_committed_schema_and_reference_are_those_of_the_models() -> None:
    schema = json.loads((ROOT / "docs" / "scenario.schema.json").read_text("utf-8"))
    assert schema == scenario.json_schema(), "write docs/scenario.schema.json anew"
    assert (ROOT / "docs" / "scenario.md").read_text("utf-8") == scenario.reference(), (
        "write docs/scenario.md anew"
    )


def test_the_schema_is_valid_and_accepts_sound_files_short_and_written_out(tmp_path: Path) -> None:
    schema = scenario.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    yaml = YAML(typ="safe", pure=True)
    jsonschema.validate(yaml.load(SOUND), schema)
    jsonschema.validate(yaml.load(scenario.dump(scenario.load(write(tmp_path, SOUND)))), schema)


def test_every_shipped_scenario_loads_and_is_accepted_by_the_schema() -> None:
    schema = jsonschema.Draft202012Validator(scenario.json_schema())
    shipped = sorted((ROOT / "scenarios").glob("*.yaml"))
    assert shipped
    for path in shipped:
        assert scenario.load(path).name
        schema.validate(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("horizon: 7 d", "horizon: 3600"),
        ("node: dgx-h100", "nod: dgx-h100"),
        ("order: fifo", "order: fifoo"),
        ("kind: synthetic", "kind: trainning"),
        ("gpus: 8", "gpus: 0"),
        ("quota: 16", "quota: lots"),
    ],
)
def test_the_schema_refuses_what_load_refuses(tmp_path: Path, old: str, new: str) -> None:
    text = changed(old, new)
    assert refused(tmp_path, text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(YAML(typ="safe", pure=True).load(text), scenario.json_schema())


def test_every_field_of_every_group_is_explained() -> None:
    schema = scenario.json_schema()
    for name, group in [("Scenario", schema), *schema["$defs"].items()]:
        assert group.get("description"), name
        for field, about in group.get("properties", {}).items():
            assert field == "kind" or about.get("description"), f"{name}.{field}"


def test_the_reference_has_a_row_for_every_field() -> None:
    page = scenario.reference()
    for group in (Scenario, Fleet, Pool, Tenant, Objective, SchedulerSpec):
        for name, info in group.model_fields.items():
            assert f"| `{info.alias or name}` |" in page


def test_links_in_the_reference_lead_to_its_headings() -> None:
    page = scenario.reference()
    headings = [line[3:].lower() for line in page.splitlines() if line.startswith("## ")]
    anchors = {
        "".join(c if c.isalnum() or c in "_-" else "-" if c == " " else "" for c in text) for text in headings
    }
    links = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert links
    assert links <= anchors
