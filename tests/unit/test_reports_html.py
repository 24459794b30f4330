"""The HTML report is one file that stands alone, whatever users have named their things."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import run_folder
from sim.reports import REPORTS, html
from sim.results import Results
from tests.unit.report_samples import (
    GPUS_PER_NODE,
    arrivals,
    rejecting,
    sample,
    two_jobs_on_one_node,
    with_metric,
)

VOID = {"br", "hr", "img", "link", "meta", "wbr"}
HOSTILE = '</title><script>alert("x")</script><img src=x onerror=alert(1)>\x07&amp;'


class Page(HTMLParser):
    """Checks that elements close in the order in which they opened, and collects them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def rendered(results: Any) -> str:
    out = io.StringIO()
    html.render(results, out)
    return out.getvalue()


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_every_element_of_the_report_is_closed() -> None:
    assert {"svg", "table", "details"} <= {tag for tag, _ in parsed(rendered(sample())).tags}


def test_the_report_opens_with_the_answer() -> None:
    text = rendered(sample())
    assert text.index("The fleet was big enough on average") < text.index("<svg")


def test_the_report_loads_nothing_and_runs_nothing() -> None:
    text = rendered(sample())
    page = parsed(text)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [
        name for _, names in page.tags for name in names if name in {"src", "href"} or name.startswith("on")
    ]
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_names_are_shown_as_text() -> None:
    jobs = arrivals(60).with_columns(pl.lit(HOSTILE).alias("tenant"))
    jobs = pl.concat([jobs, arrivals(60, seed=8).with_columns(("other-" + pl.col("job_id")).alias("job_id"))])
    text = rendered(sample(jobs.sort("submit_s"), nodes=4, description=HOSTILE))
    page = parsed(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "\x07" not in text
    assert "".join(page.text).count('</title><script>alert("x")</script>') >= 2


def test_the_same_run_gives_the_same_bytes() -> None:
    assert rendered(sample()) == rendered(sample())


@pytest.mark.parametrize("nodes", [1, 63, 64, 65, 300, 3000])
def test_the_heat_map_never_has_more_than_64_rows(nodes: int) -> None:
    text = rendered(sample(arrivals(40), nodes=nodes))
    found = re.search(r'viewBox="0 0 120 ([0-9]+)"', text)
    assert found is not None
    assert 1 <= int(found[1]) <= 64
    assert int(found[1]) == nodes or nodes > 64


def test_a_long_run_makes_a_small_report() -> None:
    """Repeating the run a hundred times over makes the tables long but not the page."""
    results = sample(arrivals(300), nodes=12)
    once, copies = results.tables, 100
    span = 4 * 86400.0

    def repeated(name: str) -> pl.DataFrame:
        times = [
            column
            for column in once[name].columns
            if column in ("time_s", "submit_s", "start_s", "end_s", "from_s", "to_s")
        ]
        parts = []
        for copy in range(copies):
            part = once[name].with_columns(pl.col(times) + copy * span)
            parts.append(
                part.with_columns(pl.format("{}-{}", pl.lit(copy), "job_id").alias("job_id"))
                if "job_id" in part.columns
                else part
            )
        return pl.concat(parts)

    tables = {name: repeated(name) for name in ("jobs", "runs", "placements", "waits", "timeline")} | {
        "nodes": once["nodes"]
    }
    long = replace(
        results,
        tables=tables,
        summary=results.summary | {"window": {"from_s": 0.0, "until_s": copies * span}},
    )
    assert len(long.tables["jobs"]) == 100 * len(once["jobs"])
    assert len(rendered(long).encode()) < 500_000


@pytest.mark.parametrize(
    "results", [two_jobs_on_one_node(), rejecting(two_jobs_on_one_node())], ids=["two jobs", "all rejected"]
)
def test_a_run_with_little_to_show_still_makes_a_page(results: Results) -> None:
    parsed(rendered(results))


def test_a_run_without_any_job_still_makes_a_page() -> None:
    results = two_jobs_on_one_node()
    tables = {name: table.clear() for name, table in results.tables.items()} | {
        "nodes": results.tables["nodes"]
    }
    page = parsed(rendered(replace(results, tables=tables, summary=results.summary | {"metrics": []})))
    assert "nothing can be said about the fleet" in "".join(page.text)


def test_objectives_are_listed_with_what_was_reached() -> None:
    results = sample()
    objective = {
        "metric": "wait_p95_s",
        "tenant": None,
        "at_most": 3600.0,
        "at_least": None,
        "value": 8520.0,
        "unit": "s",
        "met": False,
    }
    text = "".join(
        parsed(rendered(replace(results, summary=results.summary | {"objectives": [objective]}))).text
    )
    assert "95 % of all jobs waited 2 h 22 min or less; wanted: at most 1 h" in text
    assert "missed" in text


def test_every_second_of_the_heat_map_is_at_most_the_nodes_gpus() -> None:
    results = sample()
    names, _, gpus = html.figures.heat_rows(results.tables["nodes"])
    assert len(names) == 24
    assert gpus.tolist() == [GPUS_PER_NODE] * 24


def test_each_report_is_listed_by_its_name() -> None:
    assert set(REPORTS) == {"terminal", "html", "chrome_trace"}


def test_intervals_and_the_warm_up_are_on_the_page() -> None:
    results = with_metric(sample(warm_up=86400.0), "occupancy", interval=[0.61, 0.67])
    text = "".join(parsed(rendered(results)).text).replace("\N{NO-BREAK SPACE}", " ")
    assert "between 61 % and 67 %" in text
    assert "submitted in the warm-up of 1 d: simulated, not counted" in text


def test_a_run_read_back_from_its_folder_gives_the_same_page(tmp_path: Path) -> None:
    results = sample()
    run_folder.write(results, tmp_path / "run")
    assert rendered(run_folder.read(tmp_path / "run")) == rendered(results)


def test_of_very_many_tenants_the_page_shows_those_that_used_most() -> None:
    jobs = arrivals(2000, tenants=tuple(f"user-{place:03d}" for place in range(500)), every_s=100.0)
    text = rendered(sample(jobs))
    assert re.search(r"Shown are the 40 of \d+ that used most", text)
    assert len(text) < 300_000
