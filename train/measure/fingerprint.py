"""What this machine is: device, host, and the versions that decide which kernels run."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sim
from sim.profile import Machine
from train.measure import device as devices
from train.measure.device import Device

PACKAGES = ("torch", "torchvision", "numpy", "pillow")


def of(device: Device) -> Machine:
    """The fingerprint of the device and its host."""
    memory_bytes = host_memory_bytes()
    known = _gpu(device) if device.kind == "cuda" else _cpu(memory_bytes)
    return Machine(
        device=device.kind,
        cpu_name=cpu_name(),
        cores=devices.cores(),
        threads=torch.get_num_threads(),
        host_memory_bytes=memory_bytes,
        system=f"{platform.system()} {platform.machine()}",
        libraries=_libraries(),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        **known,
    )


def cpu_name() -> str:
    """As the maker calls it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def host_memory_bytes() -> float:
    """Memory of the host."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _cpu(memory_bytes: float) -> dict[str, Any]:
    vectors = torch.backends.cpu.get_cpu_capability()
    return {"device_name": f"{cpu_name()} ({vectors})", "devices": 1, "device_memory_bytes": memory_bytes}


def _gpu(device: Device) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(device.index)
    return {
        "device_name": found.name,
        "devices": torch.cuda.device_count(),
        "device_memory_bytes": float(found.total_memory),
        "compute_capability": f"{found.major}.{found.minor}",
        "driver": driver(),
    }


def driver() -> str:
    """Version of NVIDIA's driver, empty where it is not told."""
    try:
        found = re.search(
            r"Kernel Module[^\d]*([\d.]+)", Path("/proc/driver/nvidia/version").read_text("utf-8")
        )
    except OSError:
        return ""
    return found[1] if found else ""


def _libraries() -> dict[str, str]:
    versions = {"dcplan": sim.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        versions["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
    else:
        versions["onednn"] = _onednn()
    return versions


def _onednn() -> str:
    found = re.search(r"Intel\(R\) MKL-DNN v([\d.]+)|oneDNN v([\d.]+)", torch.__config__.show())
    return next(filter(None, found.groups()), "") if found else ""
