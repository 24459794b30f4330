"""The timeline opens in a viewer: valid events, slices that nest, and a bounded size that is told."""

import io
import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

from sim.reports import chrome_trace
from tests.unit.report_samples import GPUS_PER_NODE, sample


def written(**options: Any) -> dict[str, Any]:
    out = io.StringIO()
    chrome_trace.render(sample(), out, **options)
    trace: dict[str, Any] = json.loads(out.getvalue())
    return trace


def slices(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def test_every_placement_is_one_slice_with_its_job_tenant_and_gpus() -> None:
    made, placements = slices(written()), sample().tables["placements"]
    assert len(made) == len(placements)
    assert sum(event["args"]["GPUs here"] for event in made) == placements["gpus"].sum()
    assert all(event["name"].startswith("job-") and event["cat"] == event["args"]["tenant"] for event in made)


def test_slices_on_one_lane_of_a_node_never_overlap() -> None:
    lanes: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in slices(written()):
        assert event["dur"] >= 0
        lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for stays in lanes.values():
        ordered = sorted(stays)
        assert all(before[1] <= after[0] for before, after in pairwise(ordered))
    assert max(lane for _, lane in lanes) <= GPUS_PER_NODE


def test_nodes_are_named_and_counters_never_exceed_the_fleet() -> None:
    events = written()["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {"fleet"} | set(sample().tables["nodes"]["node"])
    held = [event["args"]["GPUs"] for event in events if event["name"] == "GPUs allocated"]
    assert 0 <= min(held) <= max(held) <= 24 * GPUS_PER_NODE


def test_a_trace_that_would_be_too_large_is_cut_and_says_so() -> None:
    trace = written(most_events=100)
    assert "cut" in trace["otherData"]
    assert len(slices(trace)) <= 100
    assert (
        max(event["ts"] for event in trace["traceEvents"] if "ts" in event) < trace["otherData"]["to_s"] * 1e6
    )
    assert "cut" not in written()["otherData"]


def test_a_window_shows_only_the_runs_that_touch_it() -> None:
    trace = written(start_s=86400.0, end_s=90000.0)
    assert slices(trace)
    for event in slices(trace):
        assert event["ts"] < 90000e6
        assert event["ts"] + event["dur"] >= 86400e6
