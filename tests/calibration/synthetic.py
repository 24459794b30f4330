"""Profiles of a device whose parameters are known."""

import numpy as np

from sim.calibration.fit import general_prior
from sim.catalog.networks import network
from sim.perf.step_time import INDEX, Floats, Step, step_s, work
from sim.profile import Machine, Profile, TrainingRow

NETWORKS = (
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "vgg11",
    "densenet121",
    "efficientnet_b0",
    "regnetx_032",
    "resnext50_32x4d",
)
BATCHES = (4, 8, 16, 32)


def truth() -> Floats:
    """Parameters of a device as good as a small GPU, somewhat off the prior in every respect."""
    prior = general_prior()
    at = prior.centre + 0.5 * np.random.default_rng(3).standard_normal(len(prior.centre)) * np.minimum(
        prior.spread, 0.4
    )
    at[INDEX["compute_rate"]], at[INDEX["memory_rate"]] = np.log(8e12), np.log(2e11)
    return at


def profile(
    noise: float = 0.01,
    drift: float = 0.0,
    networks: tuple[str, ...] = NETWORKS,
    batches: tuple[int, ...] = BATCHES,
) -> Profile:
    """A sweep of that device in two passes; with drift, the second is slower by so much."""
    rng, rows = np.random.default_rng(1), []
    models = {name: network(name) for name in networks}
    for name, model in models.items():
        for batch in batches:
            exact = float(step_s(truth(), work([Step(model, batch, "fp32")]))[0])
            times = exact * np.exp(noise * rng.standard_normal(6)) * np.repeat([1.0, 1.0 + drift], 3)
            rows.append(
                TrainingRow(
                    model=name, batch_per_device=batch, precision="fp32", layout="nchw",
                    step_s=tuple(times), pass_index=(0, 0, 0, 1, 1, 1),
                    peak_memory_bytes=5e8 + 16 * model.parameters + 12.0 * batch * model.activation_elements,
                )
            )  # fmt: skip
    machine = Machine(
        device="cuda", device_name="a device of tests", devices=1, device_memory_bytes=2.4e10, cpu_name="cpu",
        cores=8, threads=8, host_memory_bytes=6.4e10, system="Linux", libraries={"torch": "2"},
        load_average=0.0,
    )  # fmt: skip
    return Profile(machine=machine, models=models, training=tuple(rows), command="dcplan profile")
