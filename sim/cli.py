"""The commands of dcplan: each reads its arguments, calls the house, and prints what comes back.

Heavy imports wait inside the commands, so that --help is quick. Packages beside `sim` bring commands by the
entry-point group `dcplan.commands`; `sim` knows their names only.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sim
from sim import cli_output
from sim.cli_output import Commands
from sim.errors import PlanError

if TYPE_CHECKING:
    from sim.results import Results
    from sim.scenario import Scenario

SCENARIO = click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
RUN = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
FILE = click.Path(dir_okay=False, path_type=Path)
SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Lay a value over the scenario; repeatable.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
COUNT = click.IntRange(min=1)


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which help shows them."""

    def decorate(command: Any) -> Any:  # noqa: ANN401 - as click's own decorators
        return reduce(lambda done, option: option(done), reversed(options), command)

    return decorate


MODEL = _together(
    click.option(
        "--model",
        required=True,
        help="A transformer or network of the catalog, a YAML file, or a config.json.",
    ),
    click.option("--gpu", required=True, help="A GPU of the catalog."),
    click.option("--batch", type=COUNT, help="Samples of a step, all GPUs; else about 4 million tokens."),
    click.option("--sequence", type=COUNT, help="Tokens of a sample; left out, as the model was trained."),
    click.option(
        "--precision", "number_format", help="bf16, fp16, fp8, mxfp8, nvfp4, fp32; bf16 if it has it."
    ),
    click.option(
        "--software",
        default="megatron-core",
        show_default=True,
        help="megatron, megatron-core, fsdp, torchtitan or eager.",
    ),
    click.option("--gpus-per-node", type=COUNT, default=8, show_default=True, help="GPUs of a node."),
    click.option("--fabric", help="Of one GPU to other nodes; 400 Gbit/s if left out."),
    click.option("--lora", type=COUNT, metavar="RANK", help="Train adapters of that rank, freeze the rest."),
    click.option("--fit", type=FILE, help="A fit of own runs, that validate-model --fit wrote."),
)
LAYOUT = _together(
    click.option("--tp", type=COUNT, help="Tensor parallelism."),
    click.option("--pp", type=COUNT, help="Pipeline stages."),
    click.option("--dp", type=COUNT, help="Data-parallel replicas; left out, what is left of the GPUs."),
    click.option("--cp", type=COUNT, help="Context parallelism."),
    click.option("--ep", type=COUNT, help="Expert parallelism."),
    click.option("--interleave", type=COUNT, help="Virtual stages on each GPU."),
    click.option("--micro-batch", type=COUNT, help="Samples that go through the pipeline at once."),
    click.option(
        "--recompute", type=click.Choice(["none", "selective", "full"]), help="What is computed again."
    ),
    click.option("--zero", type=click.IntRange(0, 3), help="What data parallelism divides; 3 is FSDP."),
    click.option("--sequence-parallel/--no-sequence-parallel", default=None, help="With tp, if left out."),
)


class AllCommands(Commands):
    """The commands below and those that packages beside `sim` bring, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *_brought().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, None if there is none."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _brought().names:
            return own
        command: click.Command = _brought()[cmd_name].load()
        return command


def _brought() -> EntryPoints:
    return entry_points(group="dcplan.commands")


@click.group(
    cls=AllCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(sim.__version__, prog_name="dcplan")
def main() -> None:
    """Simulate a GPU data centre: what capacity do its jobs need, and what binds first?"""


@main.command()
@SCENARIO
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("run"),
    show_default=True,
    help="Folder for the results.",
)
@SETTINGS
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the random draws, instead of the scenario's."
)
@click.option(
    "--replications",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs with seeds in a row.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes for the replications.",
)
@click.option("--force", is_flag=True, help="Replace an earlier run in the folder.")
@click.option("--perfetto", is_flag=True, help="Add perfetto.json, a timeline for ui.perfetto.dev.")
@AS_JSON
def run(
    scenario_file: Path,
    out: Path,
    settings: tuple[str, ...],
    seed: int | None,
    replications: int,
    workers: int,
    *,
    force: bool,
    perfetto: bool,
    as_json: bool,
) -> None:
    """Simulate SCENARIO and report.

    The report is printed, and all results are written to a folder. Exit code 1 says that an objective of
    the scenario was missed.
    """
    from dataclasses import replace

    from sim import experiment, run_folder, scenario

    if seed is not None:
        settings = (*settings, f"seed={seed}")
    wanted = scenario.load(scenario_file, settings, thorough=True)
    run_folder.check(out, force=force)
    _note_equal_replications(wanted, replications)
    with cli_output.progress("simulating") as on_progress:
        results = experiment.replicate(wanted, scenario_file.parent, replications, workers, on_progress)
    results = replace(results, scenario=scenario.moved(wanted, scenario_file.parent, out))
    names = {"report.html": "html"} | ({"perfetto.json": "chrome_trace"} if perfetto else {})
    run_folder.write(
        results, out, force=force, extra={name: _rendered(results, names[name]) for name in names}
    )
    cli_output.say(f"Results in {out}; to look at: {out / 'report.html'}\n")
    _print(results, out, as_json=as_json)
    if not results.objectives_met:
        click.get_current_context().exit(cli_output.MISSED)


@main.command()
@SCENARIO
@SETTINGS
@click.option(
    "--replications",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs of each, with seeds in a row; two or more give intervals.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for the runs."
)
@AS_JSON
def marginal(
    scenario_file: Path, settings: tuple[str, ...], replications: int, workers: int, *, as_json: bool
) -> None:
    """Tell what one more of each thing in SCENARIO would buy.

    Each is tried: a rack more of each pool, a wider fabric, a larger store, a technician, more power. The
    same jobs come and the same seeds are used, so that runs differ by that alone.
    """
    from sim import experiment, scenario
    from sim.reports import marginal as reports

    wanted = scenario.load(scenario_file, settings, thorough=True)
    with cli_output.progress("simulating") as on_progress:
        found = experiment.marginal(wanted, scenario_file.parent, replications, workers, on_progress)
    if as_json:
        cli_output.write_json(found)
        return
    with cli_output.stdout() as out:
        reports.render(found, out)


def _note_equal_replications(scenario: Scenario, replications: int) -> None:
    if replications > 1 and all(workload.kind == "trace" for workload in scenario.workloads):
        cli_output.say("Nothing in this scenario is random: its replications are equal.")


def _rendered(results: Results, report: str) -> str:
    """A report as text."""
    import io

    from sim.reports import REPORTS

    text = io.StringIO()
    REPORTS[report](results, text)
    return text.getvalue()


def _print(results: Results, folder: Path, *, as_json: bool) -> None:
    from sim import run_folder
    from sim.reports import terminal

    if as_json:
        cli_output.write((folder / run_folder.SUMMARY).read_text("utf-8"))
        return
    with cli_output.stdout() as out:
        terminal.render(results, out)


@main.command()
@SCENARIO
@click.option("--full", is_flag=True, help="Print the scenario with every default.")
@SETTINGS
def validate(scenario_file: Path, settings: tuple[str, ...], *, full: bool) -> None:
    """Check SCENARIO without running it.

    Every fault is told at once, each with its line and the remedy.
    """
    from sim import scenario, workloads

    checked = scenario.load(scenario_file, settings, thorough=True)
    logs = [log for workload in checked.workloads for log in workloads.logs(workload)]
    for file in dict.fromkeys(log.file(scenario_file.parent) for log in logs):
        if not file.exists():
            cli_output.say(f"{scenario_file}: there is no file {file} yet")
    if full:
        cli_output.write(scenario.dump(checked))
    else:
        cli_output.write(f"{scenario_file} is sound.")


@main.group()
def trace() -> None:
    """Look at a log of jobs: trace check FILE."""


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="NAME", help="Format of the log; guessed when left out.")
@click.option(
    "--fleet", "fleet_file", metavar="SCENARIO", type=FILE, help="Check against the fleet of a scenario."
)
@click.option(
    "--gpus", multiple=True, metavar="[KIND=]N", help="Check against N GPUs, of a kind if named; repeatable."
)
@click.option("--fractions", type=click.Choice(["refuse", "round_up"]), default="refuse", show_default=True,
              help="What to do with jobs that ask for part of a GPU.")  # fmt: skip
@click.option("--gpus-per-processor", type=click.FloatRange(min=0, min_open=True), help="For SWF logs.")
@click.option("--skip-bad-lines", is_flag=True, help="Leave malformed lines out and count them.")
@AS_JSON
def check(
    file: Path,
    format_name: str | None,
    fleet_file: Path | None,
    gpus: tuple[str, ...],
    fractions: str,
    gpus_per_processor: float | None,
    *,
    skip_bad_lines: bool,
    as_json: bool,
) -> None:
    """Tell whether the log in FILE can be trusted.

    With --fleet or --gpus: also whether its jobs fit, and how much of the fleet they ask for.
    """
    from sim import cli_arguments, cli_tables, trace_check, traces

    fleet = cli_arguments.fleet(fleet_file, gpus)
    read = traces.read(
        file,
        format_name,
        fractions="round_up" if fractions == "round_up" else "refuse",
        on_fault="skip" if skip_bad_lines else "refuse",
        gpus_per_processor=gpus_per_processor,
    )
    found = trace_check.check(
        read, fleet.gpus or None, partitions=fleet.partitions, gpus_per_node=fleet.gpus_per_node
    )
    if as_json:
        cli_output.write_json(found)
        return
    with cli_output.stdout() as out:
        cli_tables.trace_check(found, read.faults, out)


@main.command()
@click.argument("run_folders", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--html", "html_file", type=FILE, help="Write the comparison as a page.")
@AS_JSON
def compare(run_folders: tuple[Path, ...], html_file: Path | None, *, as_json: bool) -> None:
    """Set runs side by side, against the first."""
    import io

    from sim import cli_arguments, run_folder
    from sim.reports import compare as reports

    folders = cli_arguments.named_runs(run_folders)
    found = reports.compare({name: run_folder.read(path) for name, path in folders.items()})
    if html_file is not None:
        page = io.StringIO()
        reports.render_html(found, page)
        cli_output.write_file(html_file, page.getvalue())
    if as_json:
        cli_output.write_json(found)
    elif html_file is None:
        with cli_output.stdout() as out:
            reports.render(found, out)


@main.command()
@RUN
@click.option("--html", "html_file", type=FILE, help="Write the report as a page.")
@click.option("--perfetto", "perfetto_file", type=FILE, help="Write a timeline for ui.perfetto.dev.")
@click.option(
    "--as", "others", type=(str, FILE), multiple=True, metavar="NAME FILE", help="Write any report by name."
)
@AS_JSON
def report(
    run_folder: Path,
    html_file: Path | None,
    perfetto_file: Path | None,
    others: tuple[tuple[str, Path], ...],
    *,
    as_json: bool,
) -> None:
    """Print the report of a RUN again, or as a page."""
    from sim import cli_arguments
    from sim import run_folder as folders

    named = [("html", html_file), ("chrome_trace", perfetto_file), *others]
    files = [(cli_arguments.file_report(name), file) for name, file in named if file is not None]
    results = folders.read(run_folder)
    for name, file in files:
        cli_output.write_file(file, _rendered(results, name))
    if as_json or not files:
        _print(results, run_folder, as_json=as_json)


@main.command()
@RUN
@click.argument("job")
@AS_JSON
def explain(run_folder: Path, job: str, *, as_json: bool) -> None:
    """Tell why JOB of a RUN waited, and where its time on the GPUs went.

    The causes second by second, who overtook it, and who held the GPUs meanwhile. Where jobs share network,
    stores or power: what it did over time and what held it up, for which the run is played again.
    """
    from sim import experiment
    from sim import run_folder as folders
    from sim.reports import explain as reports

    results, course = folders.read(run_folder), None
    try:
        with cli_output.progress("playing the run again") as on_progress:
            course = experiment.course(results, job, run_folder, on_progress)
    except PlanError as error:
        cli_output.say(f"Note: the run cannot be played again, so that what {job} did is not told: {error}")
    found = reports.explain(results, job, course)
    if as_json:
        cli_output.write_json(found)
        return
    with cli_output.stdout() as out:
        reports.render(found, out)


@main.command()
@click.argument("what", required=False, metavar="[gpus|nodes|stores|transformers]")
@click.argument("name", required=False)
@AS_JSON
def catalog(what: str | None, name: str | None, *, as_json: bool) -> None:
    """List the hardware and the transformers that are known by name.

    With a NAME, such as dgx-h100 or llama-3-8b: all that is known of it, each number with its source. A
    transformer can be a file too: a description of one's own, or a config.json of Hugging Face.
    """
    from sim import cli_arguments, cli_tables

    entries = cli_arguments.catalog_entries(what, name)
    if as_json:
        cli_output.write_json(cli_tables.catalog_json(entries))
        return
    with cli_output.stdout() as out:
        if len(entries) == 1:
            cli_tables.catalog_entry(entries[0], out)
        else:
            cli_tables.catalog(entries, out)


@main.command()
@click.argument("profiles", metavar="PROFILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="File of the device, or with --table a folder.",
)
@click.option("--name", help="Name of the device; of its file if left out.")
@click.option("--gpu", metavar="NAME", help="Its data sheet in the catalog, where the profile does not tell.")
@click.option("--table", type=FILE, help="A published table (CSV) instead of profiles: fits each GPU in it.")
@click.option("--report", "report_file", type=FILE, help="Write measured against predicted as a page.")
@AS_JSON
def calibrate(
    profiles: tuple[Path, ...],
    out: Path,
    name: str | None,
    gpu: str | None,
    table: Path | None,
    report_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Fit a device to what dcplan profile measured.

    The device file can then be named in scenarios. Errors are told for networks and batch sizes that the fit
    had not seen.
    """
    from sim import cli_calibrate

    if table is not None:
        cli_calibrate.table(table, out, as_json=as_json)
    else:
        cli_calibrate.profiles(profiles, out, name or out.stem, gpu, report_file, as_json=as_json)


@main.command()
@MODEL
@click.option("--gpus", type=click.IntRange(min=1), help="How many; left out, --deadline finds it.")
@click.option("--tokens", type=float, help="Tokens to train on, such as 300e9.")
@click.option("--images", type=float, help="Images to train on, all epochs, for a network such as resnet50.")
@click.option("--image-size", type=COUNT, help="Pixels of a side of an image; left out, the network's own.")
@click.option(
    "--deadline", metavar="TIME", help="Find the smallest fleet (1 to 8, 10, 12, ... nodes) done in time."
)
@LAYOUT
@click.option("--price", type=click.FloatRange(min=0), help="Price of a GPU hour, for the cost.")
@AS_JSON
def estimate(
    model: str,
    gpus: int | None,
    tokens: float | None,
    images: float | None,
    image_size: int | None,
    deadline: str | None,
    price: float | None,
    *,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - what MODEL and LAYOUT take
) -> None:
    """Estimate how long a model trains, whether it fits, and what it takes.

    A large model is split in the fastest way that fits, unless a layout is given; a network that learns
    from images, such as resnet50, has its part of the batch on each GPU. Times come from models fitted to
    published runs; see docs/large-models.md and docs/calibration.md for their errors.
    """
    from sim import cli_estimate

    for name, number in (("tokens", tokens), ("images", images)):
        if number is not None and not 0 < number < float("inf"):
            raise PlanError(f"--{name} {number:g} is not a number of {name}; write 300e9")
    if not cli_estimate.is_transformer(model):
        from sim import cli_estimate_network

        cli_estimate_network.refuse_unknown(model)
        if tokens is not None:
            raise PlanError(f"{model} learns from images; write --images in place of --tokens")
        cli_estimate_network.tell(model, gpus, images, image_size, deadline, price, options, as_json=as_json)
        return
    if images is not None or image_size is not None:
        raise PlanError(f"{model} learns from text; write --tokens in place of --images")
    asked, layout = cli_estimate.asked(model, gpus, options)
    cli_estimate.tell_estimate(asked, layout, tokens, deadline, price, as_json=as_json)


@main.command()
@MODEL
@click.option(
    "--gpus",
    "sizes",
    type=click.IntRange(min=1),
    multiple=True,
    required=True,
    help="How many; again for fleets to set side by side.",
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Layouts to show.")
@click.option("--plot", type=FILE, help="Draw step time against memory and GPUs as a page.")
@AS_JSON
def search(
    model: str,
    sizes: tuple[int, ...],
    top: int,
    plot: Path | None,
    *,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - what MODEL takes
) -> None:
    """Rank every way to split a large model over a fleet, the fastest that fits first.

    With several --gpus: the fastest layout of each fleet, and which fleets are worth it.
    """
    from sim import cli_estimate

    if not cli_estimate.is_transformer(model):
        from sim import cli_estimate_network

        cli_estimate_network.refuse_search(model)
    asked, _ = cli_estimate.asked(model, None, options)
    cli_estimate.tell_search(asked, sizes, top, plot, as_json=as_json)


@main.command("validate-model")
@click.argument("runs", metavar="FILE", type=FILE)
@click.option(
    "--fit", "fit_out", type=FILE, metavar="OUT", help="Fit the runs, write the fit, tell left-out errors."
)
@click.option("--with", "fit", type=FILE, metavar="FIT", help="A fit that --fit wrote, not dcplan's own.")
@AS_JSON
def validate_model(runs: Path, fit_out: Path | None, fit: Path | None, *, as_json: bool) -> None:
    """Compare estimates of large-model training with measured runs (CSV).

    Errors are told by source, GPU and model. docs/large-models.md says what the columns are.
    """
    from sim import cli_estimate

    cli_estimate.validate_model(runs, fit_out, fit, as_json=as_json)


@main.command()
@click.option("--reference", is_flag=True, help="Print the reference page (Markdown) instead.")
def schema(*, reference: bool) -> None:
    """Print the JSON Schema of scenario files.

    Editors check and complete scenarios with it; with --reference it is a page for people.
    """
    from sim import scenario

    if reference:
        cli_output.write(scenario.reference())
    else:
        cli_output.write_json(scenario.json_schema())
