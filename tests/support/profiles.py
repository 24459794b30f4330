"""Profiles made by hand for tests."""

from sim.profile import Machine, Profile, TrainingRow

MACHINE = Machine(
    device="cpu",
    device_name="a CPU",
    devices=1,
    device_memory_bytes=16e9,
    cpu_name="a CPU",
    cores=4,
    threads=4,
    host_memory_bytes=16e9,
    system="Linux",
    libraries={"torch": "2.6"},
    load_average=0.1,
)


def row(model: str = "resnet18@64", batch: int = 8, *, slower: float = 1.0, **fields: object) -> TrainingRow:
    """Six steps in two passes, those of the second so many times slower."""
    first = (0.10, 0.11, 0.12)
    known = {"step_s": (*first, *(time_s * slower for time_s in first)), "pass_index": (0, 0, 0, 1, 1, 1)}
    return TrainingRow.model_validate({"model": model, "batch_per_device": batch} | known | fields)


def profile(*rows: TrainingRow, **fields: object) -> Profile:
    """A profile of these rows, or of four sound ones."""
    sound = tuple(row(batch=batch) for batch in (2, 4, 8, 16))
    return Profile.model_validate({"machine": MACHINE, "training": rows or sound} | fields)
