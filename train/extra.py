"""What comes with the extra `train`; the simulator works without it."""

from importlib.util import find_spec

from sim.errors import PlanError

PACKAGES = ("torch", "torchvision")


def require(*packages: str) -> None:
    """Raise PlanError, with the remedy, unless the packages (PyTorch's, if none is named) are installed."""
    missing = [name for name in packages or PACKAGES if find_spec(name) is None]
    if missing:
        raise PlanError(f'training needs {" and ".join(missing)}: pip install "dcplan[train]"')
