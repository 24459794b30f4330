"""Commands that other packages bring by an entry point."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sim.cli import main

METADATA = "Metadata-Version: 2.1\nName: guest\nVersion: 1\n"
COMMAND = """\
import click

from sim.errors import PlanError


@click.command()
def greet() -> None:
    "Greet whoever plans."
    raise PlanError("nobody is here")
"""


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on the path that brings the command greet, and one that is called as ours is."""
    made = tmp_path / "guest-1.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(METADATA, "utf-8")
    (made / "entry_points.txt").write_text(
        "[dcplan.commands]\ngreet = guest_of_dcplan:greet\nrun = guest_of_dcplan:greet\n", "utf-8"
    )
    (tmp_path / "guest_of_dcplan.py").write_text(COMMAND, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "guest_of_dcplan", raising=False)


@pytest.mark.usefixtures("guest")
def test_a_command_of_another_package_is_listed_with_its_help() -> None:
    assert "Greet whoever plans." in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.usefixtures("guest")
def test_its_mistakes_are_told_as_those_of_dcplan() -> None:
    result = CliRunner().invoke(main, ["greet"])
    assert (result.exit_code, result.stderr) == (2, "nobody is here\n")


@pytest.mark.usefixtures("guest")
def test_its_code_is_loaded_only_when_it_is_asked_for() -> None:
    CliRunner().invoke(main, ["catalog"])
    assert "guest_of_dcplan" not in sys.modules


@pytest.mark.usefixtures("guest")
def test_it_cannot_take_the_place_of_a_command_of_dcplan() -> None:
    assert "nobody is here" not in CliRunner().invoke(main, ["run", "none.yaml"]).stderr
