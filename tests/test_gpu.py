"""On an NVIDIA GPU: every form of an engine that can be made and run there, its parity and its latency.

`make test-gpu` prints a line for each form. What is not installed, or is not for this GPU, is skipped with its reason.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bsmamba2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bsmamba2.config import ModelConfig
from bsmamba2.errors import ScanError
from bsmamba2.networks.model import BandSplitSeparator
from export.engine import export_engine, only
from export.errors import ExportError
from export.plan.choose import Asked, plan_build
from export.proof.signal import pytorch_stems, signal_mixture
from runtime.backends import Backend, open_backend
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import FLAVOURS, Range
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError
from runtime.parity.difference import TOLERANCES, difference

pytestmark = pytest.mark.gpu

FRAMES = 801  # 8 s
ROUNDS = 20


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    found, why_not = find_gpu()
    if found is None:
        pytest.fail(f"no NVIDIA GPU ({why_not}): run these tests on a machine with one")
    return found


@pytest.fixture(scope="module", params=["mamba2", "transformer"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network of a quarter of the published width, with weights from a seed."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("gpu") / "x.safetensors"
    save_checkpoint(BandSplitSeparator(ModelConfig(kind=request.param, dim=64, depth=2)), path)
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def recorded(checkpoint: Checkpoint) -> tuple[np.ndarray, np.ndarray]:
    model = checkpoint.model()
    mixture = signal_mixture(model.config.stft, model.config.channels, FRAMES)
    return mixture, pytorch_stems(model, mixture)


def tell(backend: Backend, form: str, recorded: tuple[np.ndarray, np.ndarray], precision: str) -> None:
    """Check the parity of a form at batch 1 and in a batch of 2, and print it with its latency."""
    mixture, reference = recorded
    tolerance, required = TOLERANCES[precision]
    for batch in (1, 2):
        found = difference(backend.run(np.repeat(mixture, batch, axis=0)), np.repeat(reference, batch, axis=0))
        assert found.max_error <= tolerance and (found.snr_db is None or found.snr_db >= required)
    latencies = {}
    for batch in (1, 4):
        many = np.repeat(mixture, batch, axis=0)
        backend.run(many), backend.run(many)  # warm, and with it the CUDA graph
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            backend.run(many)
            seconds.append(time.perf_counter() - start)
        latencies[batch] = 1000 * statistics.median(seconds)
    print(
        f"\n{form}, {backend.name}: error {found.max_error:.1e}, SNR {found.snr_db or np.inf:.0f} dB, "
        f"{latencies[1]:.1f} ms at batch 1, {latencies[4]:.1f} ms at batch 4; {backend.notes or 'no notes'}"
    )


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_plans(checkpoint: Checkpoint, recorded: tuple, gpu: Gpu, tmp_path: Path, flavour: str, precision: str) -> None:
    try:
        build = plan_build(Asked(flavour, (gpu.capability,)), precision)
    except ExportError as error:
        pytest.skip(str(error))
    done = export_engine(
        checkpoint,
        tmp_path / "x",
        frames=only(FRAMES),
        batch=Range(1, 1, 4),
        precision=precision,
        target="gpu",
        build=build,
    )
    assert done.manifest.plan is not None and done.manifest.plan.parity is not None  # it ran when it was built
    assert done.plan is not None
    backend = open_backend(done.plan, read_manifest(done.plan), None)
    tell(backend, f"{checkpoint.config.kind} {precision} plan", recorded, precision)

    # Two chunks under way, and batches that take turns, as CUDA graphs and shapes must not get in each other's way.
    mixture, _ = recorded
    alone = backend.run(mixture)
    for batch in (1, 3, 1, 1, 3, 3, 1):
        other = np.repeat(0.5 * mixture, batch, axis=0).astype(np.float32)
        first, second = backend.submit(mixture), backend.submit(other)
        assert difference(first.result(), alone).max_error <= TOLERANCES[precision][0]
        assert difference(second.result(), np.repeat(0.5 * alone, batch, axis=0)).max_error < 2 * TOLERANCES["bf16"][0]
    backend.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_onnx_runtime(
    checkpoint: Checkpoint, recorded: tuple, gpu: Gpu, tmp_path: Path, device: str, precision: str
) -> None:
    done = export_engine(
        checkpoint, tmp_path / "x", frames=only(FRAMES), batch=Range(1, 1, 4), precision=precision, target="gpu"
    )
    try:
        backend = open_backend(done.engine, done.manifest, None, device)
    except EngineError as error:
        pytest.skip(str(error))
    tell(backend, f"{checkpoint.config.kind} {precision} ONNX", recorded, precision)


class PyTorch:
    """The network in PyTorch on the GPU, as a backend."""

    def __init__(self, model: BandSplitSeparator, scan: str) -> None:
        self.model = model.use_scan(scan).cuda()
        self.name = f"torch {torch.__version__}, scan {scan}, {torch.cuda.get_device_name()}"
        self.notes: list[str] = []

    def run(self, mixture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.model(torch.from_numpy(mixture).cuda()).cpu().numpy()


@pytest.mark.parametrize("scan", ["chunked", "kernel"])
def test_pytorch(checkpoint: Checkpoint, recorded: tuple, gpu: Gpu, scan: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"this PyTorch, {torch.__version__}, has no CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        backend = PyTorch(checkpoint.model(), scan)
        backend.run(recorded[0])
    except ScanError as error:
        pytest.skip(str(error))
    precision = "fp32" if scan == "chunked" else "fp16"  # mamba-ssm's kernels compute inside as they please
    tell(backend, f"{checkpoint.config.kind} fp32 network", recorded, precision)
