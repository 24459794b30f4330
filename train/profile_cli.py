"""The command that measures this machine."""

# ruff: noqa: PLC0415 - torch and what needs it wait until they are needed

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim import cli_output
from sim.errors import PlanError

if TYPE_CHECKING:
    from sim.profile import Profile


def _words(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of texts with commas, each once; an option given twice adds to itself."""
    return tuple(dict.fromkeys(part.strip() for text in texts for part in text.split(",") if part.strip()))


def _numbers(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> tuple[int, ...]:
    words = _words(context, option, texts)
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise click.BadParameter(f'"{",".join(texts)}" is not a list of positive whole numbers, such as 8,32')
    return tuple(map(int, words))


@click.command()
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="What to measure; auto: a GPU if there is one.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("profile.json"),
              show_default=True, help="The file to write; storage is measured in its folder.")  # fmt: skip
@click.option("--quick", is_flag=True, help="About two minutes instead of about fifteen.")
@click.option(
    "--models", multiple=True, callback=_words, help="Such as resnet50,resnet18@64: at 224 and at 64 pixels."
)
@click.option("--batches", multiple=True, callback=_numbers, help="Samples on each device, such as 8,32.")
@click.option("--precisions", multiple=True, callback=_words, help="Of fp32, tf32, bf16, fp16.")
@click.option("--layouts", multiple=True, callback=_words, help="Of nchw, nhwc.")
@click.option(
    "--world-sizes",
    multiple=True,
    callback=_numbers,
    help="Devices, or processes of a CPU, that train together.",
)
@click.option("--only", multiple=True, callback=_words,
              help="Of training, inference, loader, storage, checkpoint, host_to_device, distributed, "
              "collectives.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order.")
@click.option("--force", is_flag=True, help="Replace an earlier profile in the file.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profile files and measure nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the profile instead of tables.")
def profile(*, schema: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - options as above
    """Measure what this machine does, and write it to a file.

    Training and inference of several models, data loading, storage, checkpoints, copies and collectives; each
    repetition is kept. dcplan calibrate makes a device of the file.
    """
    from sim import profile as profiles

    if schema:
        cli_output.write_json(profiles.json_schema())
        return
    measured = _measured(**options)
    for warning in profiles.warnings(measured):
        cli_output.say(f"Note: {warning}")
    if as_json:
        cli_output.write_json(measured.model_dump(mode="json"))
        return
    from train import profile_tables

    with cli_output.stdout() as out:
        profile_tables.render(measured, out)


def _measured(*, device: str, out: Path, force: bool, **options: Any) -> Profile:  # noqa: ANN401 - as above
    """What the sweep measured; Ctrl-C ends it and leaves in the file what was measured until then."""
    from train import extra

    extra.require()
    from sim import profile as profiles
    from train.measure import device as devices
    from train.measure.memory_limit import free_memory_only
    from train.measure.plan import Plan, Wanted

    if out.exists() and not force:
        raise PlanError(f"{out} exists; choose another file, or replace it with --force")
    cli_output.when_stopped(lambda: f"{out} holds what was measured" if out.exists() else "nothing was kept")
    plan = Plan(devices.find(device), Wanted(**options), out.absolute().parent)
    for note in plan.notes:
        cli_output.say(f"Note: {note}.")
    sweep = plan.sweep(out, _command(device=device, out=out, **options))
    try:
        with free_memory_only(), cli_output.progress("measuring") as on_progress:
            sweep.run(on_progress)
    except KeyboardInterrupt:
        cli_output.say(f"\nInterrupted; {out} holds what was measured.")
        click.get_current_context().exit(cli_output.INTERRUPTED)
    return profiles.read(out)


def _command(**options: Any) -> str:  # noqa: ANN401 - options as above
    """The command as one would type it."""
    words = ["dcplan", "profile"]
    for name, value in options.items():
        if value is False or value == () or (name, value) in {("device", "auto"), ("seed", 0)}:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return shlex.join(words)
