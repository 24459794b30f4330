"""Wide gangs are kept as sets of nodes: everything that is told of a run is the same as node by node."""

import io
from pathlib import Path

import pytest

from sim import experiment
from sim.placement import nodes
from sim.reports import chrome_trace, html
from sim.reports.explain import explain
from sim.results import Results
from sim.scenario import Scenario
from sim.tables import node_by_node

NEVER = 10**9
SCENARIO = {
    "name": "wide",
    "seed": 5,
    "fleet": {
        "pools": [
            {"name": "small", "gpu": "v100-sxm2-32gb", "gpus_per_node": 4, "nodes": 20, "nodes_per_rack": 8},
            {
                "name": "large",
                "gpu": "h100-sxm5-80gb",
                "gpus_per_node": 8,
                "nodes": 90,
                "nodes_per_rack": 8,
                "price_per_gpu_hour": 2.0,
            },
        ]
    },
    "failures": {
        "components": [{"name": "host", "per": "node", "mean_time_between": "20 d", "repair": "1 d"}]
    },
    "power": {"host": "2 kW"},
    "scheduler": {"order": "fifo", "blocking": "easy"},
    "checkpoints": [{"every": "1 h", "write": "1 min", "restore": "5 min"}],
    "workloads": [
        {
            "kind": "synthetic",
            "name": "jobs",
            "count": 60,
            "arrivals": {"kind": "poisson", "rate": "2 per hour"},
            "gpus": {"kind": "choice", "values": [2, 8, 20, 320, 512], "weights": [2, 1, 1, 2, 1]},
            "duration": {"kind": "exponential", "mean": "6 h"},
        }
    ],
}


def played(monkeypatch: pytest.MonkeyPatch, many: int) -> Results:
    with monkeypatch.context() as patched:
        patched.setattr(nodes, "MANY", many)
        return experiment.run(Scenario.model_validate(SCENARIO), Path())


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Results, Results]:
    return played(monkeypatch, 32), played(monkeypatch, NEVER)


def test_all_tables_are_the_same_and_placements_are_once_taken_apart(both: tuple[Results, Results]) -> None:
    sets, single = both
    assert sets.metric("interruptions")
    assert sets.summary == single.summary
    for name, table in sets.tables.items():
        if name != "placements":
            assert table.equals(single.tables[name]), name
    table = sets.tables["placements"]
    assert table["nodes"].max() > 32
    assert single.tables["placements"]["nodes"].max() == 1
    names = sets.tables["nodes"]["node"].to_list()
    piece, further = node_by_node(table["nodes"].to_numpy())
    apart = [
        (job, run, names[names.index(first) + step], 1, gpus)
        for (job, run, first, _, gpus), step in zip(table[piece].rows(), further.tolist(), strict=True)
    ]
    assert sorted(apart) == sorted(single.tables["placements"].rows())


def test_reports_are_the_same(both: tuple[Results, Results]) -> None:
    pages, timelines, told = [], [], []
    for results in both:
        page, timeline = io.StringIO(), io.StringIO()
        html.render(results, page)
        chrome_trace.render(results, timeline)
        pages.append(page.getvalue())
        timelines.append(timeline.getvalue())
        told.append([explain(results, job) for job in results.tables["jobs"]["job_id"]])
    assert pages[0] == pages[1]
    assert timelines[0] == timelines[1]
    assert told[0] == told[1]
