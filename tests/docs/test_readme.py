"""What the README says is true: its commands run, its output is the output, its files exist."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from sim.blocking import BLOCKING
from sim.cli import main
from sim.placement import PLACEMENT
from sim.policies import POLICIES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PHILLY = ROOT.parent / "shared" / "traces" / "philly" / "philly_jobs.csv.gz"
PROFILE = ROOT / "benchmarks" / "profiles" / "cpu-2-cores.json"
TORCH = find_spec("torch") is not None
COMMAND = Path(sysconfig.get_path("scripts")) / "dcplan"

SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q"
SETTLED = re.compile(r"\s+")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


def commands() -> list[str]:
    """The dcplan commands of the README, also those at the end of a line that sets up."""
    parts = [part for line in shell_lines() for part in line.split(" && ")]
    return [part.removeprefix(".venv/bin/") for part in parts if "dcplan " in part]


def words(text: str) -> str:
    """A text whatever the line breaks."""
    return SETTLED.sub(" ", text).strip()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each dcplan command of the README prints, run in the README's order."""
    if not COMMAND.exists():
        pytest.skip("dcplan is not installed in this environment")
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "scenarios", folder / "scenarios")
    (log,) = blocks("csv")
    (folder / "jobs.csv").write_text(log, "utf-8")
    if PHILLY.exists():
        (folder / "philly.csv").write_bytes(gzip.decompress(PHILLY.read_bytes()))
    shutil.copy(PROFILE, folder / "mine.json")
    printed = {}
    for line in commands():
        if not left_out(line):
            done = subprocess.run(  # noqa: S602 - the README's own commands
                line,
                shell=True,
                cwd=folder,
                env={**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "COLUMNS": "80"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            printed[line] = done.stdout
    assert (folder / "run" / "report.html").exists()
    return printed


def needs_philly(line: str) -> bool:
    return "philly.csv" in line or "runs/fifo" in line


def left_out(line: str) -> bool:
    """Sweeps take minutes on a quiet machine, so their file is here already; a log or torch may not be."""
    sweeps = line.startswith("dcplan profile")
    return sweeps or (needs_philly(line) and not PHILLY.exists()) or (trains(line) and not TORCH)


def trains(line: str) -> bool:
    return line.startswith("dcplan train")


def test_every_command_of_the_readme_runs(outputs: dict[str, str]) -> None:
    skipped = [line for line in commands() if line not in outputs]
    assert len(outputs) >= 10
    assert all(left_out(line) for line in skipped)


def test_the_output_that_the_readme_shows_is_the_output(outputs: dict[str, str]) -> None:
    shown = blocks("text")
    large = [line for line in commands() if line.startswith(("dcplan estimate", "dcplan search"))]
    small = ["dcplan run scenarios/quickstart.yaml", "dcplan explain run tuning-26"]
    shown_of = [*small, "dcplan marginal scenarios/quickstart.yaml", *large]
    assert len(shown) == len(shown_of)
    for command, text in zip(shown_of, shown, strict=True):
        printed = words(outputs[command])
        for part in text.split("...\n"):
            assert words(part) in printed, f"{command} does not print\n{part}"


def test_the_test_command_of_the_readme_is_that_of_the_ci() -> None:
    (command,) = [line for line in shell_lines() if "pytest" in line]
    ci = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert ci[-1] == command


def test_the_commands_that_set_up_install_what_is_here() -> None:
    first, second, third = (line for line in shell_lines() if line.startswith("python3 "))
    assert first.startswith(f"{SET_UP} . && ")
    assert second.startswith(f"{SET_UP} -e '.[train,test]' && ")
    assert third.startswith(f"{SET_UP} '.[train]' && ")


def leaves(group: click.Group, path: str = "dcplan") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("command", "made"), list(leaves(main)))
def test_every_command_and_option_is_in_the_table(command: str, made: click.Command) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith((f"| `{command} ", f"| `{command}`"))]
    for option in made.params:
        if isinstance(option, click.Option) and option.opts[0] != "--json":
            assert f"`{option.opts[0]}" in row


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README + ARCHITECTURE))
def test_every_link_leads_to_a_file(target: str) -> None:
    if not target.startswith("https://"):
        assert any((base / target).exists() for base in (ROOT, ROOT / "docs"))


def test_every_scenario_and_every_choice_of_the_scheduler_is_named() -> None:
    for path in (ROOT / "scenarios").glob("*.yaml"):
        assert f"scenarios/{path.name}" in README
    for name in (*POLICIES, *BLOCKING, *PLACEMENT):
        assert f"`{name}`" in README


def test_the_files_and_classes_that_the_architecture_names_exist() -> None:
    for path in set(re.findall(r"`(sim/[\w/]+\.py)`", ARCHITECTURE)):
        assert (ROOT / path).exists() or path.endswith("/NAME.py"), path
    for name in set(re.findall(r"`(\w+)\.py`", ARCHITECTURE)):
        assert list((ROOT / "sim").rglob(f"{name}.py")), name
    rooms = {path.stem for path in (ROOT / "sim").glob("*.py")} - {"__init__", "__main__"}
    shelves = {path.name for path in (ROOT / "sim").iterdir() if (path / "__init__.py").exists()}
    missing = [
        name for name in sorted(rooms | shelves) if not re.search(rf"`{name}/?`|`{name}\.py`", ARCHITECTURE)
    ]
    assert missing == []


def test_the_shortest_order_of_the_architecture_is_the_one_in_the_shelf() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", ARCHITECTURE, flags=re.MULTILINE | re.DOTALL)
    assert code in (ROOT / "sim" / "policies" / "sjf.py").read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="the CI runs in a shell")
def test_the_ci_is_a_program() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
