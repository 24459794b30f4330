"""Profiles of a device whose parameters are known."""

import numpy as np

from sim.calibration.fit import cpu_prior, general_prior
from sim.catalog.networks import network
from sim.perf.device import Memory
from sim.perf.operators import Model
from sim.perf.step_time import GROUPS, INDEX, Floats, Step, groups_s, step_s, work
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


MEMORY = Memory(fixed_bytes=5e8, bytes_per_parameter=16, activations_kept=0.9, largest_tensors=1, spread=0.01)


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
                    peak_memory_bytes=MEMORY.peak_bytes(Step(model, batch, "fp32")),
                )
            )  # fmt: skip
    machine = Machine(
        device="cuda", device_name="a device of tests", devices=1, device_memory_bytes=2.4e10, cpu_name="cpu",
        cores=8, threads=8, host_memory_bytes=6.4e10, system="Linux", libraries={"torch": "2"},
        load_average=0.0,
    )  # fmt: skip
    return Profile(machine=machine, models=models, training=tuple(rows), command="dcplan profile")


def cpu_truth() -> Floats:
    """A CPU whose convolutions start slowly, and which gets large tensors fresh from the system."""
    prior = cpu_prior()
    at = prior.centre + 0.5 * np.random.default_rng(5).standard_normal(len(prior.centre)) * np.minimum(
        prior.spread, 0.4
    )
    known = {"compute_rate": 4e11, "memory_rate": 6e10, "convolution_s": 8e-5, "traffic.fresh": 12.0}
    for name, value in known.items():
        at[INDEX[name]] = np.log(value)
    return at


def drawn() -> dict[str, Model]:
    """Networks of depthwise convolutions alone, of one size each."""
    whole = network("efficientnet_b0")
    found = {}
    for taps, name in ((9, "drawn_depthwise3x3_1"), (25, "drawn_depthwise5x5_1")):
        chosen = tuple(
            each for each in whole.operators if each.kind == "depthwise_convolution" and each.taps == taps
        )
        weights = sum(each.count * each.weight_elements for each in chosen)
        found[name] = whole.model_copy(update={"name": name, "operators": chosen, "parameters": weights})
    return found


def cpu_profile(*, looks: bool, with_drawn: bool = False) -> Profile:
    """A sweep of that CPU; with looks, it says how long each kind of operators took."""
    rng, rows = np.random.default_rng(2), []
    models = {name: network(name) for name in NETWORKS} | (drawn() if with_drawn else {})
    for name, model in models.items():
        for batch in BATCHES:
            todo = work([Step(model, batch, "fp32")])
            exact, parts = float(step_s(cpu_truth(), todo)[0]), groups_s(cpu_truth(), todo)[0]
            seen = {
                kind: (float(part), 1.3 * float(part))
                for kind, part in zip(GROUPS, parts, strict=True)
                if looks and part
            }
            rows.append(
                TrainingRow(
                    model=name, batch_per_device=batch,
                    step_s=tuple(exact * np.exp(0.05 * rng.standard_normal(4))),
                    pass_index=(0, 0, 1, 1), operators_s={named(kind): times for kind, times in seen.items()},
                )
            )  # fmt: skip
    machine = profile(networks=("resnet18",)).machine.model_copy(update={"device": "cpu"})
    return Profile(machine=machine, models=models, training=tuple(rows), command="dcplan profile")


def named(kind: str) -> str:
    """A kind of operators that is in the group."""
    return "element_wise" if kind == "other" else kind
