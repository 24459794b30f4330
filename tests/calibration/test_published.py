"""Published tables are read with every fault told, and networks left out of a fit are predicted."""

from pathlib import Path

import numpy as np
import pytest

from sim.calibration import published
from sim.calibration.fit import fit
from sim.calibration.measured import plain_name, seconds
from sim.errors import PlanError, ScenarioError, TraceError
from sim.perf.step_time import step_s, work
from sim.scenario import load

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
TABLE = SHARED / "validation" / "training_cnn.csv"
HEADER = ",".join(published.COLUMNS)


def a_row(
    model: str = "resnet50", rate: str = "400", gpu: str = "A100-80GB", figures: str = "4.1,11.1,25.6"
) -> str:
    return f"timm,{model},{gpu},1,amp-fp16,nhwc,pytorch,64,224,{rate},{figures}"


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join([HEADER, a_row(), a_row(rate="nan"), a_row(rate="-1")]))
    with pytest.raises(TraceError) as refused:
        published.read(path)
    assert [fault.line for fault in refused.value.faults] == [3, 4]


def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("model,gpu\nresnet50,A10\n")
    with pytest.raises(PlanError, match="lacks the columns"):
        published.read(path)


def test_a_network_without_a_list_is_known_by_its_figures_and_what_nothing_is_known_of_is_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    others = [a_row("othernet", figures=",,"), a_row(gpu="A1000-90GB")]
    path.write_text("\n".join([HEADER, a_row("somenet"), *others]))
    rows, left_out = published.read(path)
    (row,) = rows
    assert row.approximate
    assert row.measured.step.model.macs == pytest.approx(4.1e9, rel=0.02)
    assert len(left_out) == 2
    assert "othernet" in left_out[0]
    assert "A1000-90GB" in left_out[1]


@pytest.mark.skipif(not TABLE.exists(), reason="the table of published step times is not here")
def test_networks_that_a_fit_has_not_seen_are_predicted_within_ten_per_cent() -> None:
    """A fit to half of the networks of the RTX 3090 in NCHW, near-duplicates in the same half."""
    rows, left_out = published.read(TABLE)
    assert left_out == []
    members = published.many_networks(rows)["rtx-3090", "fp16", "nchw"]
    measured = [row.measured for row in members]
    names = sorted({plain_name(row.name) for row in measured})
    known = [row for row in measured if plain_name(row.name) in set(names[::2])]
    unseen = [row for row in measured if plain_name(row.name) not in set(names[::2])]
    found = fit(known, published.prior_for("rtx-3090", "fp16"))
    off = np.abs(step_s(found.values, work([row.step for row in unseen])) / seconds(unseen) - 1)
    assert len(unseen) > 200
    assert off.mean() < 0.10
    assert np.median(off) < 0.07


def test_a_scenario_that_names_an_unknown_network_or_no_end_is_refused_with_its_line(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "scenarios" / "cnn_lab.yaml").read_text()
    path = tmp_path / "lab.yaml"
    for good, bad, told in (
        ("model: resnet50", "model: resnet5", "did you mean"),
        ("steps: 8000", "epochs: 3", "give either steps, or epochs and images"),
        ("device: a100-sxm4-80gb", "device: a100", "not a fitted device"),
    ):
        path.write_text(text.replace(good, bad, 1))
        with pytest.raises(ScenarioError, match=told):
            load(path)
