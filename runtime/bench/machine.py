"""The machine that a measurement was made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from runtime.engine.cpu import usable_cpus
from runtime.engine.gpu import find_gpu

PACKAGES = (
    *("bsmamba2", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx"),
    *(f"{name}{cuda}" for name in ("tensorrt", "tensorrt-rtx", "tensorrt-lean") for cuda in ("", "-cu12")),
    *("torch", "onnx"),
)


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int  # the system's
    usable_cores: int  # those that this process may use
    memory_bytes: int | None
    load_average: float | None  # runnable processes in the last minute; 0 on an idle machine
    system: str
    python: str
    packages: dict[str, str]  # versions of the installed ones
    gpu: str | None


def describe_machine() -> Machine:
    gpu, _ = find_gpu()
    cores = os.cpu_count() or 1
    usable = usable_cpus()
    return Machine(
        cpu=_cpu_name(),
        cores=cores,
        usable_cores=cores if usable is None else usable,
        memory_bytes=_memory(),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=platform.platform(),
        python=platform.python_version(),
        packages=_versions(),
        gpu=None if gpu is None else f"{gpu.name}, compute capability {gpu.capability}",
    )


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def gpu_memory_used() -> int | None:
    """Bytes in use on the GPUs that CUDA may use, by all processes; None if nvidia-smi cannot tell."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    which = ["-i", visible] if visible else []
    lines = _output("nvidia-smi", *which, "--query-gpu=memory.used", "--format=csv,noheader,nounits").split()
    return sum(int(line) << 20 for line in lines) if lines and all(line.isdigit() for line in lines) else None


def _output(command: str, *args: str) -> str:
    """The output of a command, or "" if it is missing or fails."""
    path = shutil.which(command)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, *args], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
