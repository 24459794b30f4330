"""What comes with the extra `train`; the simulator works without it."""

from importlib.util import find_spec

from sim.errors import PlanError

PACKAGES = ("torch", "torchvision")
BESIDE = {"tensorboard"}
"""What the extra does not bring, as few want it."""


def require(*packages: str) -> None:
    """Raise PlanError, with the remedy, unless the packages (PyTorch's, if none is named) are installed."""
    missing = [name for name in packages or PACKAGES if find_spec(name) is None]
    if missing:
        wanted = " ".join(missing) if BESIDE.issuperset(missing) else '"dcplan[train]"'
        raise PlanError(f"training needs {' and '.join(missing)}: pip install {wanted}")


def use_threads(threads: int | None) -> None:
    """Let torch use so many CPU cores, or all if None."""
    import torch  # noqa: PLC0415 - only when a model is trained

    if threads is not None:
        torch.set_num_threads(threads)
