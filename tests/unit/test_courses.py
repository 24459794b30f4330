"""Jobs that share network and stores, by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import experiment, results, staging
from sim.caches import hit_ratio
from sim.errors import ScenarioError
from sim.log import Log, Outcome
from sim.perf.parallel.layouts import Layout
from sim.reports import answer, explain
from sim.scenario import Scenario, load
from sim.workloads import Training
from sim.workloads.jobs import WorkloadJobs
from tests.support.playing import jobs

GB = 1e9
NFS = {"name": "nfs", "read": 4 * GB, "write": 1 * GB}


def scenario(
    count: int = 4, per_rack: int = 2, placement: str = "consolidate", order: str = "fifo", **parts: Any
) -> Scenario:
    pool = {"name": "p", "nodes": count, "gpus_per_node": 8, "nodes_per_rack": per_rack}
    return Scenario.model_validate(
        {
            "name": "small",
            "fleet": {"pools": [pool]},
            "scheduler": {"order": order, "blocking": "greedy", "placement": {"kind": placement}},
            "workloads": [{"kind": "trace", "path": "jobs.csv"}],
            **parts,
        }
    )


def play(table: pl.DataFrame, **parts: Any) -> Log:
    return staging.simulate(scenario(**parts), table)


def spans(log: Log) -> dict[int, list[tuple[float, float]]]:
    found: dict[int, list[tuple[float, float]]] = {}
    for run in sorted(log.runs, key=lambda run: run[1]):
        found.setdefault(run[0], []).append((pytest.approx(run[1]), pytest.approx(run[2])))  # type: ignore[arg-type]
    return found


def links(log: Log) -> Mapping[str, Sequence[float]]:
    return {name: numbers for name, *numbers in log.links}


def test_two_jobs_share_a_store_and_the_second_speeds_up_when_the_first_has_gone() -> None:
    """Each asks for 4 GB/s of 4: both at half speed until 100 s, then the longer one alone."""
    log = play(jobs((0, 100, 16), (0, 50, 16)), stores=[NFS], traffic=[{"reads": 2 * GB, "store": "nfs"}])
    assert spans(log) == {0: [(0, 150)], 1: [(0, 100)]}
    stalled = {run[0]: run[9] for run in log.runs}
    assert stalled == {0: pytest.approx(50), 1: pytest.approx(50)}
    rate, carried, lost_gpu_s = links(log)["nfs reading"]
    assert (rate, carried, lost_gpu_s) == (4 * GB, pytest.approx(150 * 4 * GB), pytest.approx(16 * 100))


def test_a_ring_inside_a_leaf_leaves_the_spine_alone_and_across_leaves_it_takes_the_way_up() -> None:
    """Two nodes on one leaf are as fast as their cards; on two leaves of one node each half as fast."""
    network = {"card": 10 * GB, "oversubscription": 2.0}
    inside = play(jobs((0, 100, 16)), network=network, traffic=[{"sends": 10 * GB}])
    assert links(inside)["leaf 0 up"][1] == 0.0
    assert links(inside)["p-0 out"][1] == pytest.approx(1000 * GB)
    across = play(
        jobs((0, 100, 16)), network=network, traffic=[{"sends": 10 * GB}], placement="scatter", per_rack=1
    )
    assert spans(across) == {0: [(0, 200)]}  # a leaf of one node has 5 GB/s up


def test_jobs_across_leaves_slow_one_another_and_speed_up_when_one_leaves() -> None:
    """Two gangs of three nodes meet on the middle leaf: each asks for the 10 GB/s of its way up."""
    network = {"card": 10 * GB, "oversubscription": 2.0}
    log = play(jobs((0, 60, 24), (0, 100, 24)), count=6, network=network, traffic=[{"sends": 10 * GB}])
    assert [sorted(node // 2 for node, _ in run[7]) for run in log.runs] == [[0, 0, 1], [1, 2, 2]]
    assert spans(log) == {0: [(0, 120)], 1: [(0, 160)]}
    assert links(log)["leaf 1 up"][1] == pytest.approx(160 * 10 * GB)


def test_all_to_all_sends_what_is_not_for_its_own_leaf_over_the_spine() -> None:
    log = play(
        jobs((0, 10, 32)), network={"card": 10 * GB, "oversubscription": 1.0},
        traffic=[{"sends": 3 * GB, "pattern": "all_to_all"}],
    )  # fmt: skip
    # of what each of two nodes on a leaf sends, two thirds are for the other leaf
    assert links(log)["leaf 0 up"][1] == pytest.approx(2 * 3 * GB * 2 / 3 * 10)
    assert links(log)["leaf 1 down"][1] == pytest.approx(links(log)["leaf 0 up"][1])


def test_what_is_sent_is_received() -> None:
    log = play(
        jobs((0, 30, 24), (5, 20, 8), (8, 50, 16)), network={"card": 4 * GB, "oversubscription": 3.0},
        stores=[NFS], traffic=[{"sends": 3 * GB, "reads": GB, "store": "nfs"}],
    )  # fmt: skip
    told = links(log)
    sent = sum(carried for name, (_, carried, _) in told.items() if name.endswith(" out"))
    received = sum(carried for name, (_, carried, _) in told.items() if name.endswith(" in"))
    assert received == pytest.approx(sent + told["nfs reading"][1], rel=1e-9)
    up, down = (sum(told[f"leaf {n} {way}"][1] for n in (0, 1)) for way in ("up", "down"))
    assert down == pytest.approx(up + told["nfs reading"][1], rel=1e-9)
    work_s = sum(run[4] * len(run[7]) for run in log.runs)
    assert told["nfs reading"][1] == pytest.approx(work_s * GB, rel=1e-9)
    lost = sum(run[9] * sum(gpus for _, gpus in run[7]) for run in log.runs)
    assert sum(each[2] for each in told.values()) == pytest.approx(lost, rel=1e-6)


def test_a_node_gets_no_more_from_a_store_than_its_limit() -> None:
    log = play(
        jobs((0, 100, 8)), stores=[NFS | {"per_node": GB / 2}], traffic=[{"reads": GB, "store": "nfs"}]
    )
    assert spans(log) == {0: [(0, 200)]}
    assert links(log)["limit of a node"][2] == pytest.approx(8 * 100)


def test_checkpoints_to_a_store_share_its_bandwidth() -> None:
    """Ten GB at 1 GB/s: 10 s alone, 20 s where two jobs write at once."""
    rule = {"every": 100.0, "size": 10 * GB, "store": "nfs"}
    alone = play(jobs((0, 200, 8)), stores=[NFS], checkpoints=[rule])
    assert spans(alone) == {0: [(0, 210)]}
    both = play(jobs((0, 200, 8), (0, 200, 8)), stores=[NFS], checkpoints=[rule])
    assert spans(both) == {0: [(0, 220)], 1: [(0, 220)]}
    assert [run[8] for run in both.runs] == [pytest.approx(20)] * 2
    assert links(both)["nfs writing"][1] == pytest.approx(20 * GB)


def test_a_checkpoint_in_the_background_stops_its_job_for_the_snapshot_only() -> None:
    """It stops for a second at 100 s, and the 30 s of writing cost it nothing."""
    log = play(
        jobs((0, 200, 8)), stores=[NFS],
        checkpoints=[{"every": 100.0, "size": 30 * GB, "store": "nfs", "snapshot": 1.0}],
    )  # fmt: skip
    assert spans(log) == {0: [(0, 201)]}
    assert links(log)["nfs writing"][1] == pytest.approx(30 * GB)


def test_the_next_checkpoint_waits_until_the_last_one_is_written() -> None:
    """150 GB at 1 GB/s take 150 s alone and 300 s for two jobs at once, longer than their interval."""
    rule = {"every": 160.0, "size": 150 * GB, "store": "nfs", "snapshot": 1.0}
    both = play(jobs((0, 330, 8), (0, 330, 8)), stores=[NFS], checkpoints=[rule])
    # snapshots until 161 s, both written at 461 s; the next is due at 321 s and waits for 140 s, then 1 s
    assert spans(both) == {0: [(0, 472)], 1: [(0, 472)]}


def failing_at(tmp_path: Path, *times_s: float) -> dict[str, Any]:
    (tmp_path / "log.csv").write_text("time_s,node\n" + "".join(f"{time_s},0\n" for time_s in times_s))
    return {"log": str(tmp_path / "log.csv")}


def test_a_failure_before_a_checkpoint_is_written_goes_back_one_more(tmp_path: Path) -> None:
    """At 250 s the second checkpoint, begun at 202 s, is not written: back to 100 s; loading takes 25 s."""
    rule = {"every": 100.0, "size": 100 * GB, "store": "nfs", "snapshot": 1.0, "restart": 5.0}
    log = play(
        jobs((0, 300, 8)), count=1, stores=[NFS], checkpoints=[rule], failures=failing_at(tmp_path, 250.0)
    )
    first, second = log.runs
    assert first[3] == Outcome.FAILED
    assert first[4:7] + first[8:] == pytest.approx((100, 148, 0, 2, 0))
    # restarts 5 s, loads 100 GB at 4 GB/s, works 200 s with one snapshot
    assert (second[1], second[2]) == (pytest.approx(250), pytest.approx(250 + 5 + 25 + 201))
    assert second[6] == pytest.approx(30)


def test_a_hanging_job_sends_and_reads_nothing(tmp_path: Path) -> None:
    """Struck at 10 s, noticed at 60 s: meanwhile the other has the store for itself."""
    failures = failing_at(tmp_path, 10.0) | {"detection": 50.0}
    log = play(
        jobs((0, 100, 8), (0, 100, 8)), count=2, stores=[NFS | {"read": GB}],
        traffic=[{"reads": GB, "store": "nfs"}], failures=failures,
    )  # fmt: skip
    hit = next(run for run in log.runs if run[3] == Outcome.FAILED)
    other = next(run for run in log.runs if run[0] != hit[0])
    # 5 s of work by 10 s, 50 s more by 60 s, then half speed again
    assert other[2] == pytest.approx(60 + 45 * 2)
    assert hit[5] == pytest.approx(5)
    assert hit[9] == pytest.approx(5 + 50)


def test_preempted_jobs_keep_what_is_safe() -> None:
    rule = {"every": 40.0, "size": 10 * GB, "store": "nfs"}
    log = play(jobs((0, 300, 8), (100, 20, 8)), count=1, order="srtf", stores=[NFS], checkpoints=[rule])
    first = min(log.runs, key=lambda run: run[1])
    assert first[3] == Outcome.PREEMPTED
    assert first[4:7] + first[8:] == pytest.approx((80, 0, 0, 20, 0))
    assert max(run[2] for run in log.runs) == pytest.approx(120 + 2.5 + 220 + 50)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("traffic: [{reads: 1 GB/s, store: nsf}]", '"nsf" is not a store; did you mean "nfs"'),
        ("traffic: [{sends: 1 GB/s}]", "needs a network"),
        ("traffic: [{reads: 1 GB/s}]", "reads and store belong together"),
        ("traffic: [{tenant: a}]", "says nothing"),
        ("network: {}", "the catalog does not know the network cards"),
        ("network: {card: 0 GB/s}", "card must be more than 0"),
        ("network: {card: 1 GB/s, oversubscription: 0}", "oversubscription"),
        ("checkpoints: [{every: 1 h, size: 1 GB, store: lustre}]", '"lustre" is not a store'),
        ("network: {kind: tree, card: 1 GB/s, switches: [{name: a, nodes: 3}]}", "serve 3 nodes, but"),
        ("network: {kind: graph, card: 1 GB/s, switches: [{name: a, nodes: 2}]}", "stores.0.switch"),
        (
            (
                "traffic: [{reads: 1 GB/s, store: nfs}]\n"
                "scheduler: {order: fifo, blocking: greedy, estimates: {on_overrun: kill}}"
            ),
            "has no meaning where jobs share",
        ),
    ],
)
def test_what_is_not_there_is_told(tmp_path: Path, lines: str, told: str) -> None:
    path = tmp_path / "small.yaml"
    scheduler = "" if "scheduler" in lines else "scheduler: {order: fifo, blocking: strict}\n"
    path.write_text(
        "name: small\nhorizon: 1 d\nfleet: {pools: [{name: a, nodes: 2, gpus_per_node: 8}]}\n"
        "stores: [{name: nfs, read: 1 GB/s, write: 1 GB/s}]\n"
        "workloads: [{kind: synthetic, arrivals: {kind: poisson, rate: 2 per d}, gpus: 1, duration: 1 h}]\n"
        f"{scheduler}{lines}\n"
    )
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert told in str(caught.value)


def test_a_store_hangs_on_a_switch_that_is_there() -> None:
    network = {"kind": "tree", "card": GB, "switches": [{"name": "core", "nodes": 4}]}
    with pytest.raises(ValueError, match='"cor" is not a switch of the network; did you mean "core"'):
        scenario(network=network, stores=[NFS | {"switch": "cor"}])
    with pytest.raises(ValueError, match="only a network of kind tree or graph"):
        scenario(network={"card": GB}, stores=[NFS | {"switch": "core"}])
    with pytest.raises(ValueError, match="switch does nothing for disks"):
        scenario(network=network, stores=[NFS | {"switch": "core", "place": "node"}])


def test_jobs_meet_on_the_links_of_a_drawn_graph_and_on_the_way_to_a_store() -> None:
    """Two leaves on two spines, 2.5 GB/s on each link; the store hangs on one of them."""
    network = {
        "kind": "graph", "card": 10 * GB,
        "switches": [{"name": "a", "nodes": 2}, {"name": "b", "nodes": 2}, {"name": "s"}, {"name": "t"}],
        "links": [{"between": [leaf, spine], "rate": 2.5 * GB} for leaf in "ab" for spine in "st"],
    }  # fmt: skip
    sends = {"network": network, "traffic": [{"sends": 10 * GB}], "placement": "scatter"}
    alone = play(jobs((0, 100, 32)), **sends)
    assert spans(alone) == {0: [(0, 200)]}
    assert links(alone)["a to t"][1] == links(alone)["t to b"][1] == pytest.approx(500 * GB)
    wide = NFS | {"read": 100 * GB, "switch": "t"}
    reads = {"network": network, "stores": [wide], "traffic": [{"reads": 5 * GB, "store": "nfs"}]}
    fed = play(jobs((0, 100, 32)), **reads)  # 10 GB/s for each leaf over one link of 2.5 GB/s
    assert spans(fed) == {0: [(0, 400)]}
    lost = {name: numbers[2] for name, numbers in links(fed).items() if numbers[2]}
    assert set(lost) <= {"t to a", "t to b"}
    assert sum(lost.values()) == pytest.approx(32 * 300)


def test_a_store_without_bandwidth_is_refused() -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        scenario(stores=[NFS | {"write": 0.0}])
    with pytest.raises(ValueError, match="is the name of another store"):
        scenario(stores=[NFS, NFS])


def test_the_report_says_what_binds_first_and_more_of_it_is_what_helps() -> None:
    """Gangs of six nodes exchange tokens over a thin spine; over a wide one they lose nothing."""
    parts: dict[str, Any] = {
        "count": 12, "per_rack": 4, "traffic": [{"sends": 10 * GB, "pattern": "all_to_all"}],
    }  # fmt: skip
    table = jobs(*[(100.0 * n, 5_000, 48) for n in range(6)])

    def told(oversubscription: float) -> tuple[str, float]:
        wanted = scenario(network={"card": 10 * GB, "oversubscription": oversubscription}, **parts)
        log = staging.simulate(wanted, table)
        found = results.from_log(wanted, WorkloadJobs(table, {}), log, staging.nodes(wanted))
        links_table = found.tables["links"]
        assert found.metric("contention_gpu_h") == pytest.approx(links_table["lost_gpu_h"].sum())
        return " ".join(answer.sentences(found)), found.metric("makespan_s") or 0.0

    thin, thin_s = told(4.0)
    assert "by waiting for network and stores, 100 % of that for the ways between leaves and spine" in thin
    assert "What binds first: the ways between leaves and spine, not GPUs." in thin
    wide, wide_s = told(1.0)
    assert "network and stores" not in wide
    assert "Add GPUs or admit less work first" in wide
    assert wide_s == pytest.approx(3 * 5_000, rel=0.05)
    assert thin_s > 1.5 * wide_s


TRAINING = """
name: small
horizon: 3 d
fleet: {pools: [{name: h, node: dgx-h100, nodes: 16, nodes_per_rack: 4}]}
scheduler: {order: fifo, blocking: strict, placement: consolidate}
network: {oversubscription: %s}
stores: [{name: nfs, read: 100 GB/s, write: 100 GB/s}]
traffic: [{workload: train, store: nfs}]
workloads:
  - kind: synthetic
    name: train
    count: 1
    arrivals: {kind: batch, every: 1 d, size: 1}
    gpus: 64
    duration: %s
"""
LLAMA = (
    "{kind: training, model: llama-3-8b, gpu: h100-sxm5-80gb, steps: 100, batch: 256, layout: {tp: 2, pp: 2}}"
)
RESNET = (
    "{kind: training_steps, model: resnet50, device: h100-sxm5-80gb, batch: 1280, precision: fp16, steps: 50}"
)


def test_what_a_training_sends_and_reads_follows_from_its_model(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(TRAINING % ("1", LLAMA))
    found = experiment.run(load(path, thorough=True), tmp_path)
    training = Training(
        model="llama-3-8b", gpu="h100-sxm5-80gb", steps=100, batch=256, layout=Layout(tp=2, pp=2)
    )
    told = training.on(64, tmp_path)
    carried = dict(found.tables["links"].select("name", "carried_bytes").rows())
    # every step reads four bytes of each token, over all nodes together
    assert carried["nfs reading"] == pytest.approx(100 * 4 * 256 * 8192)
    # of a quarter of the weights each GPU sends a quarter of 2 x 3/4 of 3 bytes to its like in other nodes,
    # and activations to the next stage
    weights = told.job.model.parameters
    data = 2 * (3 / 4) * 3 * (weights / 4) / 4
    each = data + told.traffic().pipeline_bytes
    assert carried["h-00 out"] == pytest.approx(100 * 8 * each, rel=0.02)
    assert found.metric("contention_gpu_h") == 0.0
    path.write_text(TRAINING % ("400", LLAMA))
    assert (experiment.run(load(path), tmp_path).metric("contention_gpu_h") or 0.0) > 0.0


def test_a_network_of_images_sends_its_gradients_and_reads_its_images(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(TRAINING % ("1", RESNET))
    found = experiment.run(load(path), tmp_path)
    carried = dict(found.tables["links"].select("name", "carried_bytes").rows())
    assert carried["nfs reading"] == pytest.approx(50 * 64 * 1280 * 110e3, rel=0.01)
    assert carried["h-00 out"] == pytest.approx(50 * 2 * 7 / 8 * 4 * 25.56e6, rel=0.01)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{workload: trian, store: nfs}", 'did you mean "train"'),
        ("{workload: train, sends: 1 GB/s}", "sends and reads follow from workload"),
    ],
)
def test_traffic_of_workloads_that_do_not_train_is_refused(tmp_path: Path, rule: str, told: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text((TRAINING % ("1", LLAMA)).replace("{workload: train, store: nfs}", rule))
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert told in str(caught.value)


@pytest.mark.parametrize(("policy", "hits"), [("static", 0.5), ("lru", 0.1534), ("none", 0.0)])
def test_what_is_in_the_cache_is_not_read(policy: str, hits: float) -> None:
    """Two nodes that cache half of their data set and ask for 8 GB/s of a store of 4: min(f, b / (1 - h)).

    The first pass, of 5 s of work, finds nothing.
    """
    rule = {"reads": 4 * GB, "store": "nfs", "data_set": 4e10, "cache": 1e10, "cache_policy": policy}
    log = play(jobs((0, 100, 16)), stores=[NFS], traffic=[rule])
    whole = 10 + max(95.0, 190.0 * (1 - hits))
    assert spans(log) == {0: [(0, pytest.approx(whole, rel=1e-3))]}


def test_a_first_pass_and_checkpoints_do_not_disturb_one_another() -> None:
    """Saved every 8 s of work: caches are full after 5, at half speed, and hold all from then on."""
    rule = {"reads": 4 * GB, "store": "nfs", "data_set": 4e10, "cache": 2e10}
    saved = {"every": 8.0, "write": 2.0}
    log = play(jobs((0, 20, 16)), stores=[NFS], traffic=[rule], checkpoints=[saved])
    assert spans(log) == {0: [(0, 10 + 15 + 2 * 2)]}


IMAGES = {"reads": 4 * GB, "store": "nfs", "data_set": 4e10, "cache": 2e10}
"""Two nodes hold it whole. The first pass, 5 s of work, asks for 8 GB/s of a store of 4."""


def test_promises_move_when_jobs_that_share_a_store_take_longer() -> None:
    """Two jobs of 10 s at a quarter of their speed hold all nodes until 40 s; the third was promised 10 s."""
    log = play(
        jobs((0, 10, 16), (0, 10, 16), (1, 10, 32)), stores=[NFS],
        traffic=[{"reads": 4 * GB, "store": "nfs", "gpus_from": 1}],
        scheduler={"order": "fifo", "blocking": "conservative", "placement": {"kind": "consolidate"}},
    )  # fmt: skip
    assert spans(log) == {0: [(0, 40)], 1: [(0, 40)], 2: [(40, 80)]}
    assert all(moved[1] == 2 for moved in log.moved_reservations)


def test_what_one_job_has_cached_the_next_one_finds() -> None:
    """The second job reads nothing; on other nodes it reads all again."""
    log = play(jobs((0, 20, 16), (0, 20, 16)), count=2, stores=[NFS], traffic=[IMAGES])
    assert spans(log) == {0: [(0, 25)], 1: [(25, 45)]}
    assert links(log)["nfs reading"][1] == pytest.approx(4e10)
    apart = play(jobs((0, 20, 16), (30, 20, 32)), stores=[NFS], traffic=[IMAGES])
    # four nodes, of which two hold the data set whole: nothing is read, as they share what they hold
    assert spans(apart)[1] == [(30, 50)]


def test_an_image_that_nodes_keep_is_loaded_once_to_each(tmp_path: Path) -> None:
    """4 GB to a node from a store of 4 GB/s: two nodes 2 s, then two more, until a node is repaired."""
    rule = {"image": 4 * GB, "store": "nfs"}
    table = jobs((0, 10, 16), (20, 10, 16), (40, 10, 32), (60, 10, 32))
    each = play(table, stores=[NFS], traffic=[rule])
    assert spans(each) == {0: [(0, 12)], 1: [(20, 32)], 2: [(40, 54)], 3: [(60, 74)]}
    kept = play(table, stores=[NFS], traffic=[{**rule, "image_kept": True}])
    assert spans(kept) == {0: [(0, 12)], 1: [(20, 30)], 2: [(40, 52)], 3: [(60, 70)]}
    file = tmp_path / "failures.csv"
    file.write_text("time_s,node,repair_s,component\n55,1,1,it\n")
    rules = [{**rule, "image_kept": True}]
    repaired = play(table, stores=[NFS], traffic=rules, failures={"log": str(file)})
    assert spans(repaired)[3] == [(60, 71)]


def test_a_data_set_is_shared_by_its_name() -> None:
    named = {**IMAGES, "data_set_name": "images"}
    table = jobs((0, 20, 16), (0, 20, 16), tenant=["a", "b"])
    for rules, end_s in (
        ([{**named, "tenant": "a"}, {**named, "tenant": "b"}], 45),
        ([{**IMAGES, "tenant": "a"}, {**IMAGES, "tenant": "b"}], 50),
    ):
        log = play(table, count=2, stores=[NFS], traffic=rules)
        assert spans(log)[1] == [(25, end_s)]


def test_a_pass_that_was_cut_short_has_brought_its_part() -> None:
    """2.5 s of 5 s of the pass: half is there, and the store gives the other half at full speed."""
    log = play(jobs((0, 2.5, 16), (0, 20, 16)), count=2, stores=[NFS], traffic=[IMAGES])
    assert spans(log) == {0: [(0, 5)], 1: [(5, 25)]}
    assert links(log)["nfs reading"][1] == pytest.approx(4e10)


def test_who_starts_on_a_node_while_another_reads_finds_what_that_has_read() -> None:
    """On one node that holds all, 10 s for the pass; the second begins after 5 s of that."""
    rule = {**IMAGES, "cache": 4e10}
    log = play(jobs((0, 30, 4), (5, 30, 4)), count=1, stores=[NFS], traffic=[rule])
    # together they read what is missing once, and neither anything of what the other has brought
    assert links(log)["nfs reading"][1] == pytest.approx(4e10, rel=0.02)
    assert {job: [start_s for start_s, _ in stays] for job, stays in spans(log).items()} == {0: [0], 1: [5]}
    assert all(run[9] < 2.0 for run in log.runs)  # not the 5 s that both lost if the second read all the rest


@pytest.mark.parametrize("readers", [2, 4, 8])
@pytest.mark.parametrize("cache", [4e10, 8e10, 2e10])
def test_a_sweep_on_one_node_reads_its_data_set_once(readers: int, cache: float) -> None:
    """All begin at once and read in orders of their own; later passes read what the cache cannot hold."""
    rule = {**IMAGES, "cache": cache}
    wide = NFS | {"read": 100 * GB}
    one_pass = play(jobs(*[(0, 10, 1)] * readers), count=1, stores=[wide], traffic=[rule])
    kept = min(1.0, cache / 4e10)
    # of what the cache will hold one reads for all; the rest everyone reads
    assert links(one_pass)["nfs reading"][1] == pytest.approx(4e10 * (kept + readers * (1 - kept)), rel=0.02)
    assert all(stays == [(0, 10)] for stays in spans(one_pass).values())
    again = play(jobs(*[(0, 30, 1)] * readers), count=1, stores=[wide], traffic=[rule])
    later = links(again)["nfs reading"][1] - links(one_pass)["nfs reading"][1]
    assert later == pytest.approx(readers * 2 * (1 - kept) * 4e10, abs=1e7)


def test_who_reads_beside_others_from_a_cache_that_drops_finds_more_while_they_are_there() -> None:
    """A cache of half of all, full from the first job on: alone lru finds 15 %, beside another 33 %."""
    rule = {**IMAGES, "cache": 2e10, "cache_policy": "lru"}
    wide = NFS | {"read": 100 * GB}

    def read(*table: Any) -> float:
        first = (0, 50, 1)
        return links(play(jobs(first, *table), count=1, stores=[wide], traffic=[rule]))["nfs reading"][1]

    alone = 4 * GB * 10 * (1 - hit_ratio("lru", 0.5))
    assert read((100, 10, 1)) - read() == pytest.approx(alone)
    both = 80 * GB * (1 - hit_ratio("lru", 0.5, 2))
    assert read((100, 10, 1), (100, 10, 1)) - read() == pytest.approx(both)
    # two beside each other for 5 s, and each alone for 5 s
    apart = alone + both / 2
    assert read((100, 10, 1), (105, 10, 1)) - read() == pytest.approx(apart)


def test_a_gang_finds_part_of_what_others_read_on_one_of_its_nodes() -> None:
    """The gang has one node and half of another, where a third reads the same: less than two data sets go."""
    rule = {**IMAGES, "cache": 4e10}
    wide = NFS | {"read": 100 * GB}
    log = play(jobs((0, 10, 4), (0, 10, 12)), count=2, placement="first_fit", stores=[wide], traffic=[rule])
    assert sorted(tuple(sorted(node for node, _ in run[7])) for run in log.runs) == [(0,), (0, 1)]
    assert 5e10 < links(log)["nfs reading"][1] < 7e10


def test_a_node_comes_back_from_repair_with_nothing_cached(tmp_path: Path) -> None:
    """Stopped at 30 s, the job reads all again on the repaired node, at half speed; not after upkeep."""
    rule = {**IMAGES, "reads": 8 * GB, "cache": 4e10}
    file = tmp_path / "failures.csv"
    file.write_text("time_s,node,repair_s,component\n30,0,10,it\n")
    log = play(
        jobs((0, 40, 8)), count=1, stores=[NFS], traffic=[rule], failures={"log": str(file)},
        checkpoints=[{"every": 1000.0, "write": 1.0}],
    )  # fmt: skip
    assert spans(log) == {0: [(0, 30), (40, 86)]}  # a second to load, and 10 s for the first 5 s of work
    upkeep = {"maintenance": {"first": 30.0, "every": 100.0, "lasts": 10.0, "nodes": 1}}
    kept = play(
        jobs((0, 40, 8)), count=1, stores=[NFS], traffic=[rule], failures=upkeep,
        checkpoints=[{"every": 1000.0, "write": 1.0}],
    )  # fmt: skip
    assert spans(kept) == {0: [(0, 30), (40, 81)]}


def test_what_is_lost_in_the_warm_up_does_not_count() -> None:
    """Both jobs lose half of each second until 100 s; of that 60 s are measured."""
    parts: dict[str, Any] = {"stores": [NFS], "traffic": [{"reads": 2 * GB, "store": "nfs"}]}
    wanted = scenario(warm_up=40.0, **parts)
    log = staging.simulate(wanted, jobs((0, 100, 16), (0, 50, 16)))
    assert links(log)["nfs reading"][2] == pytest.approx(2 * 16 * 30)


def test_a_job_is_explained_by_what_it_did_and_what_held_it_up(tmp_path: Path) -> None:
    """Half speed until 100 s while another reads too, then full speed until 150 s."""
    wanted = scenario(stores=[NFS], traffic=[{"reads": 2 * GB, "store": "nfs"}])
    table = jobs((0, 100, 16), (0, 50, 16))
    log = staging.simulate(wanted, table)
    played = results.from_log(wanted, WorkloadJobs(table, {}), log, staging.nodes(wanted))
    course = experiment.course(played, "0", tmp_path)
    assert course is not None
    told = [(line.from_s, line.to_s, line.phase, line.pace, line.held_by) for line in course.lines]
    assert told == [
        (0, pytest.approx(100), "works", pytest.approx(0.5), "nfs reading"),
        (pytest.approx(100), pytest.approx(150), "works", pytest.approx(1.0), None),
    ]
    found = explain.explain(played, "0", course)
    assert [(span.worked_s, span.waited_s) for span in found.spans] == [
        (pytest.approx(50), {"nfs reading": pytest.approx(50)}),
        (pytest.approx(50), {}),
    ]
    said = " ".join(explain.sentences(found))
    assert "at work 67 % of the time" in said
    assert "It lost 50 s by going slower than it could, 100 % of it on nfs reading." in said
    assert "At full speed its work needs 100 % of nfs reading" in said
    stalls = played.tables["jobs"].select("network_stall_s", "store_stall_s", "power_stall_s").rows()
    assert stalls == [(0, pytest.approx(50), 0), (0, pytest.approx(50), 0)]
    over_time = played.tables["links_over_time"]
    assert over_time["name"].unique().to_list() == ["nfs reading"]
    assert over_time["used"].to_list() == [pytest.approx(1.0)] * over_time.height


def test_a_run_in_which_nothing_is_shared_has_no_courses(tmp_path: Path) -> None:
    wanted, table = scenario(), jobs((0, 100, 16))
    played = results.from_log(
        wanted, WorkloadJobs(table, {}), staging.simulate(wanted, table), staging.nodes(wanted)
    )
    assert experiment.course(played, "0", tmp_path) is None


def test_the_report_names_flows_that_collide() -> None:
    network = {"card": GB, "spines": 8, "flows_per_node": 16}
    wanted, table = scenario(network=network, traffic=[{"sends": GB / 10}]), jobs((0, 100, 16))
    played = results.from_log(
        wanted, WorkloadJobs(table, {}), staging.simulate(wanted, table), staging.nodes(wanted)
    )
    told = " ".join(answer.sentences(played))
    assert "over 8 equal ways by their headers (ECMP)" in told
    assert "leaves of 2 nodes use 57 % of their ways up" in told
