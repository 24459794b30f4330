"""What one more of each thing buys, and that it is what a run with it says."""

from pathlib import Path

import pytest

from sim import experiment
from sim.errors import PlanError
from sim.marginal import Bought, Gain, changes
from sim.reports import answer, marginal
from sim.scenario import load

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"

SMALL = """
name: small
seed: 3
horizon: 1 d
fleet: {pools: [{name: p, node: dgx-h100, nodes: 4, nodes_per_rack: 2}]}
scheduler: {order: fifo, blocking: strict}
network: {nodes_per_leaf: 2, oversubscription: 4}
stores: [{name: nfs, read: 1 GB/s, write: 1 GB/s}, {name: fast, tier: lustre-e1000}]
traffic: [{reads: 1 GB/s, store: nfs}]
failures: {preset: rsc1, technicians: 1}
power: {limit: 33 kW}
workloads:
  - {kind: synthetic, name: w, arrivals: {kind: poisson, rate: 2 per h}, gpus: 8, duration: 1 h}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_every_part_is_enlarged_by_itself(small: Path) -> None:
    scenario = load(small)
    found = {change.name: change.scenario for change in changes(scenario)}
    assert list(found) == [
        "2 more nodes of p", "ways up from leaves a quarter wider", "nfs a quarter faster",
        "one more lustre-e1000 in fast", "one more technician", "a tenth more power of the hall",
    ]  # fmt: skip
    assert found["2 more nodes of p"].fleet.pools[0].nodes == 6
    assert found["nfs a quarter faster"].stores[0].reads == 1.25e9
    assert found["one more lustre-e1000 in fast"].stores[1].reads == 2 * scenario.stores[1].reads
    for changed in found.values():
        assert (
            sum(getattr(changed, name) != getattr(scenario, name) for name in type(scenario).model_fields)
            == 1
        )


def test_what_it_buys_is_what_a_run_with_it_says(small: Path) -> None:
    scenario = load(small)
    found = {each.name: each for each in experiment.marginal(scenario, small.parent)}
    before = experiment.run(scenario, small.parent)
    settings = ["stores.0.read=1.25 GB/s", "stores.0.write=1.25 GB/s"]
    after = experiment.run(load(small, settings), small.parent)
    gain = found["nfs a quarter faster"].gain("contention_gpu_h")
    assert gain is not None
    assert (gain.before, gain.after) == (before.metric("contention_gpu_h"), after.metric("contention_gpu_h"))
    assert gain.after < 0.95 * gain.before


def test_replications_give_intervals_of_pairs(small: Path) -> None:
    found = experiment.marginal(load(small), small.parent, replications=3)
    gain = found[2].gain("goodput_gpu_h")
    assert gain is not None
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low <= gain.after - gain.before <= gain.high


def test_the_answer_names_what_helps_most_and_what_does_not() -> None:
    def buys(name: str, after: float) -> Bought:
        return Bought(name, (Gain("jct_mean_s", 7200.0, after), Gain("goodput_gpu_h", 100.0, 110.0)))

    said = marginal.sentences([buys("a rack", 7000.0), buys("a disk", 3600.0), buys("a man", 7200.0)])
    assert said == [
        "A disk would help most: the mean job would take 1 h from its submission to its end instead of 2 h.",
        "10 GPU h more work would be done in the same time.",
        "Next to nothing would come of a man.",
    ]
    assert marginal.sentences([buys("a man", 7200.0)]) == [
        "None of these makes jobs end earlier: the mean job takes 2 h."
    ]


def test_a_drawn_network_has_no_place_for_more_nodes(small: Path) -> None:
    drawn = "{kind: tree, switches: [{name: a, nodes: 4}]}"
    text = SMALL.replace("{nodes_per_leaf: 2, oversubscription: 4}", drawn)
    kept = [line for line in text.split("\n") if line[:5] not in ("store", "traff", "failu", "power")]
    small.write_text("\n".join(kept))
    with pytest.raises(PlanError, match="nothing that one more"):
        experiment.marginal(load(small), small.parent)


def test_links_of_a_drawn_network_are_enlarged_together(small: Path) -> None:
    drawn = (
        "{kind: graph, switches: [{name: a, nodes: 2}, {name: b, nodes: 2}, {name: s}],"
        " links: [{between: [a, s], rate: 4 GB/s}, {between: [s, b], rate: 2 GB/s}]}"
    )
    text = SMALL.replace("{nodes_per_leaf: 2, oversubscription: 4}", drawn)
    text = text.replace("write: 1 GB/s}", "write: 1 GB/s, switch: s}").replace("e1000}", "e1000, switch: s}")
    small.write_text(text)
    found = {change.name: change.scenario for change in changes(load(small))}
    assert "2 more nodes of p" not in found
    wider = found["all links a quarter wider"].network
    assert wider is not None
    assert [link.rate for link in wider.links] == [5e9, 2.5e9]


def test_the_quickstart_says_truly_what_binds_first() -> None:
    """It names the file system; twice as much of it gives back what it promised, and more is done."""
    path = SCENARIOS / "quickstart.yaml"
    before = experiment.run(load(path), SCENARIOS)
    (told,) = [sentence for sentence in answer.sentences(before) if "binds first" in sentence]
    assert "reading from lustre, not GPUs" in told
    assert marginal.sentences(experiment.marginal(load(path), SCENARIOS))[0].startswith(
        "One more lustre-e1000"
    )
    lost = dict(before.tables["links"].select("name", "lost_gpu_h").rows())["lustre reading"]
    after = experiment.run(load(path, ["stores.0.units=2"]), SCENARIOS)
    assert dict(after.tables["links"].select("name", "lost_gpu_h").rows())["lustre reading"] < 0.05 * lost
    less = (before.metric("contention_gpu_h") or 0.0) - (after.metric("contention_gpu_h") or 0.0)
    assert 0.8 * lost < less < 1.2 * lost
    gained = (after.metric("goodput_gpu_h") or 0.0) - (before.metric("goodput_gpu_h") or 0.0)
    assert gained > 0.3 * lost
    assert (after.metric("jct_mean_s") or 0.0) < (before.metric("jct_mean_s") or 0.0)
