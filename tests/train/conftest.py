"""One thread for torch, so that results are the same to the bit and other tests have room."""

from importlib.util import find_spec

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    if find_spec("torch") is None:
        return
    import torch

    torch.set_num_threads(1)
