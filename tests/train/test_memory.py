"""Memory that is not enough: what the user is told, from a limit that the system really sets."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from tests.train import small
from train import memory

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import resource, sys, torch
from pathlib import Path
from sim.errors import PlanError
from tests.train import small
from train import experiment
torch.set_num_threads(1)
images = {"kind": "synthetic_images", "samples": 600, "size": 64, "channels": 1, "number_of_classes": 2}
model = {"kind": "textbook", "channels": 32, "hidden": 8}
small.trained(small.recipe(epochs=1))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for batch in (512, int(sys.argv[2])):
    wanted = small.recipe(data=images, model=model, batch=batch, epochs=1)
    try:
        experiment.carry_out(wanted, experiment.Options(Path(sys.argv[1]), force=True), small.HERE)
        print("done")
    except PlanError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to set a limit to memory")
def test_a_batch_that_does_not_fit_is_told_with_one_that_does(tmp_path: Path) -> None:
    ran = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", CHILD, str(tmp_path / "out"), "32"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told, then = ran.stdout.splitlines()
    assert told.startswith("out of memory: 512 samples at a time do not fit on the device, ")
    fitting = int(told.partition("device, ")[2].split()[0])
    assert 32 <= fitting <= 256
    assert told.endswith(
        f"{fitting} do; set accumulate to {512 // fitting} to keep the batch of 512, or batch to {fitting}"
    )
    assert then == "done"


def up_to(limit: int) -> Callable[[int], bool]:
    return lambda batch: batch <= limit


def test_the_batch_that_fits_is_told_with_the_parts_that_keep_the_recipes() -> None:
    training = small.training(small.recipe(batch=64))
    told = str(memory.advice(training, up_to(20)))
    assert "64 samples at a time do not fit" in told
    assert "16 do; set accumulate to 4 to keep the batch of 64, or batch to 16" in told


def test_where_not_one_sample_fits_other_remedies_are_told() -> None:
    training = small.training(small.recipe(batch=8))
    assert "not even one sample fits; choose a smaller model" in str(memory.advice(training, up_to(0)))


def test_memory_that_is_used_up_is_told_from_other_failures() -> None:
    assert memory.is_exhausted(torch.OutOfMemoryError("CUDA out of memory"))
    assert memory.is_exhausted(MemoryError())
    assert memory.is_exhausted(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not memory.is_exhausted(RuntimeError("shapes cannot be multiplied"))


def test_other_failures_of_a_trial_are_not_hidden() -> None:
    training = small.training(small.recipe())
    training.objective = lambda _, logits, __: logits @ logits
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        memory.fits(training, 4)
