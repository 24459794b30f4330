"""How wrong the model of collectives is on what was left out of its fits, and the fits for the catalog.

    python benchmarks/collective_errors.py shared/validation [--links sim/catalog/links]

Reads the tables of nccl-tests and of a serving simulator's NCCL runs. Of each system every second size is
left out, then one kind of collective on one number of GPUs at a time.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from sim.calibration.of_collectives import calibrated, measured
from sim.catalog.links import text
from sim.perf.collectives import CollectiveLink

LINKS = {
    "a100_sxm": ("a100-sxm4-80gb", "NVLink 3"),
    "h100_sxm": ("h100-sxm5-80gb", "NVLink 4"),
    "h200_sxm": ("h200-sxm5-141gb", "NVLink 4"),
    "b200_sxm": ("b200-sxm-180gb", "NVLink 5"),
    "l40s": ("l40s", "PCIe 4"),
    "A100-SXM4-40GB NVLink3": ("a100-sxm4-40gb", "NVLink 3"),
    "H100-SXM5-80GB NVLink4+NVLS": ("h100-sxm5-80gb-nvls", "NVLink 4 with NVLS"),
}
SOURCE = (
    "{table}, {libraries}; python benchmarks/collective_errors.py shared/validation --links sim/catalog/links"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--links", type=Path, help="write the fitted links here")
    asked = parser.parse_args()
    print("| system | left out | n | MAPE | median | p90 | in the 80 % interval |")
    print("|---|---|---:|---:|---:|---:|---:|")
    told: dict[str, list[tuple[int, float, float]]] = {}
    for link in (
        fitted(name, rows) for (name,), rows in tables(asked.folder).group_by("system", maintain_order=True)
    ):
        for each in link.quality:
            print(
                f"| {link.name} | {each.left_out} | {each.n} | {each.mape:.1%} | {each.median:.1%} "
                f"| {each.p90:.1%} | {each.coverage or 0:.0%} |"
            )
            told.setdefault(each.left_out, []).append((each.n, each.mape, each.median))
        if asked.links:
            asked.links.mkdir(exist_ok=True)
            (asked.links / f"{link.name}.yaml").write_text(text(link))
    for left_out, each in told.items():
        n, mape, median = (np.array(column) for column in zip(*each, strict=True))
        print(
            f"| all | {left_out} | {n.sum()} | {(n * mape).sum() / n.sum():.1%} "
            f"| {(n * median).sum() / n.sum():.1%} (mean of medians) | | |"
        )


def tables(folder: Path) -> pl.DataFrame:
    """Both tables as one."""
    nccl = pl.read_csv(folder / "nccl_busbw_dev.csv").select(
        "system", kind="collective", gpus="gpus", message_bytes=pl.col("bytes").cast(pl.Float64),
        time_s=pl.col("time_us") * 1e-6, library=pl.lit("nccl-tests"), table=pl.lit("published runs"),
    )  # fmt: skip
    serving = pl.read_csv(folder / "serving_op_collectives.csv").filter(
        pl.col("library").str.starts_with("nccl")
    )
    serving = serving.select(
        "system", kind=pl.col("op_name").replace("alltoall", "all_to_all"), gpus="num_gpus",
        message_bytes=pl.col("message_elements_2_bytes_each") * 2.0, time_s=pl.col("latency_ms") * 1e-3,
        library="library", table=pl.lit("NVIDIA aiconfigurator's NCCL tables"),
    )  # fmt: skip
    return pl.concat([nccl, serving], how="vertical_relaxed")


def fitted(system: object, rows: pl.DataFrame) -> CollectiveLink:
    """The link of one system with its errors."""
    name, link = LINKS[str(system)]
    source = SOURCE.format(table=rows["table"][0], libraries=", ".join(sorted(set(rows["library"]))))
    return calibrated(measured(rows), name, link, source)


if __name__ == "__main__":
    main()
