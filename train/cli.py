"""The command that trains: it reads its arguments, and the heavy imports wait until it runs."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sim import cli_output

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("recipe", default="digits", metavar="[RECIPE]")
@click.option(
    "--out", type=FOLDER, default=Path("training"), show_default=True, help="Folder for the results."
)
@click.option(
    "--data-dir", type=FOLDER, default=Path("data"), show_default=True, help="Folder with data sets."
)
@click.option("--download", is_flag=True, help="Fetch data and published weights that are not there.")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Lay a value over the recipe; repeatable."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the random draws, instead of the recipe's.")
@click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda or cuda:1; auto takes a GPU if any."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU cores to use; all when left out.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.option("--force", is_flag=True, help="Replace an earlier training in the folder.")
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard as well.")
@click.option("--list", "as_list", is_flag=True, help="List the recipes of dcplan and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def train(
    recipe: str,
    out: Path,
    data_dir: Path,
    settings: tuple[str, ...],
    seed: int | None,
    device: str,
    threads: int | None,
    *,
    download: bool,
    resume: bool,
    force: bool,
    tensorboard: bool,
    as_list: bool,
    as_json: bool,
) -> None:
    """Train a model as RECIPE says, a file or a name of --list.

    Without a recipe it trains the digits that come with scikit-learn, which needs no files. Under torchrun it
    trains on many GPUs or many processes: torchrun --nproc-per-node 2 -m sim train.
    """
    from train import config, extra

    if as_list:
        _print_recipes(as_json=as_json)
        return
    wanted = config.load(recipe, settings if seed is None else (*settings, f"seed={seed}"))
    extra.require()
    from train import ddp, experiment

    cli_output.when_stopped(lambda: _what_stays(out))
    extra.use_threads(threads)
    options = experiment.Options(out, data_dir, download, resume, force, tensorboard)
    with ddp.joined(device) as place, cli_output.progress(f"training {wanted.name}") as progress:
        summary = experiment.carry_out(wanted, options, place, progress if place.leads else None)
    if place.leads:
        _print(summary, out, as_json=as_json)


def _what_stays(out: Path) -> str:
    """What an interrupted training leaves, and how to go on."""
    from train import checkpoint

    file = out / checkpoint.FILE
    if file.exists():
        return f"{file} stays, go on with the same command and --resume"
    return "there was no checkpoint yet, begin again with the same command and --resume"


def _print_recipes(*, as_json: bool) -> None:
    from train import config

    about = {name: config.load(name).description for name in config.names()}
    if as_json:
        cli_output.write_json(about)
    else:
        cli_output.write("\n".join(f"{name:22}{text}" for name, text in about.items()))


def _print(summary: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """The result on stdout, and where to look on stderr."""
    from train import answer

    cli_output.say(f"Results in {out}; to look at: {out / 'curves.svg'}\n")
    if as_json:
        cli_output.write_json(summary)
        return
    with cli_output.stdout() as console:
        answer.render(summary, console)
