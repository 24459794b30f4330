"""How fast flows that share a fabric are solved, beside SimGrid on the same flows.

    python benchmarks/flows.py [--flows 10000] [--loads 0.3 0.6 0.8 0.95] [--json FILE]

Poisson flows between random hosts of a leaf-spine fabric: 256 hosts with cards of 10 Gbit/s, 16 on each
leaf, and half of their cards' rate up from each leaf; ``load`` is the share of those uplinks that the flows
ask for. Flows have 100 MB on average, exponentially. SimGrid (Debian: libsimgrid-dev, g++) runs its plain
max-min model on the same flows in the same run; without it only dcplan is measured. Times are processor
seconds of the simulation alone. Then the cost of an event on fabrics of 100, 1,000 and 10,000 hosts, where
what it touches stays alike.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sim.flows import Fluid

CARD = 1.25e9
PER_LEAF = 16
MEAN_BYTES = 100e6
Flow = tuple[float, int, int, float]


def flows(count: int, hosts: int, load: float, seed: int = 1) -> list[Flow]:
    """Start, source, destination and bytes of each; ``load`` of the uplinks, half of the cards' rate."""
    draw = random.Random(seed)  # noqa: S311 - traffic, not a secret
    every_s = MEAN_BYTES / (load * hosts * CARD / 2)
    made, now_s = [], 0.0
    for _ in range(count):
        now_s += draw.expovariate(1 / every_s)
        source, destination = draw.randrange(hosts), draw.randrange(hosts - 1)
        made.append(
            (
                now_s,
                source,
                destination + (destination >= source),
                round(draw.expovariate(1 / MEAN_BYTES)) + 1.0,
            )
        )
    return made


def finish_times(todo: list[Flow], hosts: int) -> tuple[list[float], float, int]:
    """When each flow ends by dcplan, the seconds that took, and how many rates were computed."""
    fluid = Fluid()
    up, down = ([fluid.resource(f"{way}{host}", CARD) for host in range(hosts)] for way in ("up", "down"))
    leaves = range(-(-hosts // PER_LEAF))
    leaf_up, leaf_down = (
        [fluid.resource(f"{way}{leaf}", CARD * PER_LEAF / 2) for leaf in leaves] for way in ("lu", "ld")
    )
    ends, place = [0.0] * len(todo), 0
    begin = time.process_time()
    while True:
        end_s = fluid.next_end_s()
        start_s = todo[place][0] if place < len(todo) else float("inf")
        if end_s == start_s == float("inf"):
            return ends, time.process_time() - begin, fluid.solved
        if end_s <= start_s:
            for activity in fluid.end_due(end_s):
                ends[activity.what] = end_s  # type: ignore[index]
            continue
        _, source, destination, size = todo[place]
        path = [up[source], down[destination]]
        if source // PER_LEAF != destination // PER_LEAF:
            path += [leaf_up[source // PER_LEAF], leaf_down[destination // PER_LEAF]]
        fluid.add(size, path, start_s, what=place)
        place += 1


def simgrid(folder: Path) -> Path | None:
    """SimGrid's part, compiled; None where SimGrid or a compiler is absent."""
    if shutil.which("g++") is None:
        return None
    program = folder / "simgrid_flows"
    source = Path(__file__).with_suffix("").parent / "simgrid_flows.cpp"
    command = ["g++", "-O2", "-std=c++17", str(source), "-lsimgrid", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own source
    return program if done.returncode == 0 else None


def simgrid_finish_times(program: Path, todo: list[Flow], hosts: int) -> tuple[list[float], float]:
    """When each flow ends by SimGrid, and the seconds that took."""
    command = [str(program), str(hosts), str(PER_LEAF), repr(CARD), repr(CARD * PER_LEAF / 2)]
    lines = "\n".join(f"{start_s!r} {source} {to} {size!r}" for start_s, source, to, size in todo)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return [float(line) for line in done.stdout.split()], float(done.stderr.split()[-1])


def main() -> None:
    """Measure what was asked and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.3, 0.6, 0.8, 0.95])
    parser.add_argument("--json", type=Path, help="write all rows here too")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = simgrid(Path(folder))
        print(
            "| load | dcplan s | SimGrid s | ratio | largest difference of finish times | rates per event |"
        )
        print("|---:|---:|---:|---:|---:|---:|")
        for load in asked.loads:
            todo = flows(asked.flows, 256, load)
            ends, mine_s, solved = finish_times(todo, 256)
            row: dict[str, Any] = {
                "load": load,
                "dcplan_s": mine_s,
                "rates_per_event": solved / 2 / asked.flows,
            }
            if program is not None:
                theirs, theirs_s = simgrid_finish_times(program, todo, 256)
                row |= {
                    "simgrid_s": theirs_s,
                    "ratio": mine_s / theirs_s,
                    "difference": max(abs(a / b - 1) for a, b in zip(ends, theirs, strict=True)),
                }
            rows.append(row)
            print(
                f"| {load} | {mine_s:.2f} | {row.get('simgrid_s', float('nan')):.2f} "
                f"| {row.get('ratio', float('nan')):.2f} | {row.get('difference', float('nan')):.0e} "
                f"| {row['rates_per_event']:.1f} |"
            )
    print("\n| hosts | us per event | rates per event |\n|---:|---:|---:|")
    for hosts in (100, 1_000, 10_000):
        _, mine_s, solved = finish_times(flows(20_000, hosts, 0.5), hosts)
        rows.append(
            {"hosts": hosts, "us_per_event": mine_s / 40_000 * 1e6, "rates_per_event": solved / 40_000}
        )
        print(f"| {hosts:,} | {rows[-1]['us_per_event']:.1f} | {rows[-1]['rates_per_event']:.2f} |")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
