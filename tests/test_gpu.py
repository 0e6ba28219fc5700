"""On an NVIDIA GPU: every form of an engine that can be made and run there, its parity, latency, memory and start.

`make test-gpu` prints a line for each form. What is not installed, or is not for this GPU, is skipped with its reason.
What is measured and compared is in gpu_checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_checks import GpuMemory, chunks, first_batch, milliseconds, worst_item

from bsmamba2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bsmamba2.config import ModelConfig
from bsmamba2.errors import ScanError
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from export.engine import Exported, export_engine, only
from export.errors import ExportError
from export.plan.choose import Asked, plan_build
from export.proof.pytorch import pytorch_stems
from runtime.backends import Backend, open_backend
from runtime.dsp.difference import TOLERANCES
from runtime.dsp.signal import signal_input
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import FLAVOURS, Range
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError

pytestmark = pytest.mark.gpu

FRAMES = 801  # 8 s
MOST = 4  # chunks in a batch
ROUNDS = 20
QUARTER = {"dim": 64, "depth": 2}  # of the published width
FULL = {"dim": 256, "depth": 1}


@dataclass
class Recorded:
    """Different chunks [MOST, t, f, c, 2], and PyTorch's stems of them."""

    mixtures: np.ndarray
    stems: np.ndarray


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    found, why_not = find_gpu()
    if found is None:
        pytest.fail(f"no NVIDIA GPU ({why_not}): run these tests on a machine with one")
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of compiled kernels for each test."""
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))


def network(path: Path, **config: object) -> Checkpoint:
    """One with weights from a seed."""
    torch.manual_seed(0)
    save_checkpoint(BandSplitSeparator(ModelConfig(**config)), path)
    return load_checkpoint(path)


@pytest.fixture(scope="module", params=["mamba2", "transformer"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return network(tmp_path_factory.mktemp("gpu") / "x.safetensors", kind=request.param, **QUARTER)


def record(checkpoint: Checkpoint, frames: int, batch: int, io: str = "spectrum") -> Recorded:
    model = checkpoint.model()
    mixtures = chunks(signal_input(model.config.stft, model.config.channels, frames, io), batch)
    return Recorded(mixtures, np.concatenate([pytorch_stems(model, each[None], io) for each in mixtures]))


@pytest.fixture(scope="module")
def recorded(checkpoint: Checkpoint) -> Recorded:
    return record(checkpoint, FRAMES, MOST)


def tell(backend: Backend, form: str, recorded: Recorded, precision: str) -> None:
    """Check the parity of a form at each batch size, item by item, and print it with its latency."""
    for batch in range(1, MOST + 1):
        found = worst_item(backend.run(recorded.mixtures[:batch]), recorded.stems[:batch], precision)
    latencies = {
        batch: milliseconds(lambda some=recorded.mixtures[:batch]: backend.run(some), ROUNDS) for batch in (1, MOST)
    }
    print(
        f"\n{form}, {backend.name}: error {found.max_error:.1e}, SNR {found.snr_db or np.inf:.0f} dB, "
        f"{latencies[1]:.1f} ms at batch 1, {latencies[MOST]:.1f} ms at batch {MOST}; {backend.notes or 'no notes'}"
    )


def plan_of(
    checkpoint: Checkpoint,
    name: Path,
    gpu: Gpu,
    flavour: str,
    precision: str,
    frames: Range | None = None,
    batch: Range | None = None,
    scan: str = "chunked",
    io: str = "spectrum",
) -> Exported:
    """A plan, which ran when it was built; skips the test where it cannot be built."""
    try:
        build = plan_build(Asked(flavour, (gpu.capability,)), precision, scan)
    except ExportError as error:
        pytest.skip(str(error))
    done = export_engine(
        checkpoint,
        name,
        frames=frames or only(FRAMES),
        batch=batch or Range(1, 1, MOST),
        precision=precision,
        scan=scan,
        target="gpu",
        io=io,
        build=build,
    )
    assert done.plan is not None
    assert done.manifest.plan is not None and done.manifest.plan.parity is not None
    return done


def opened(done: Exported) -> Backend:
    assert done.plan is not None
    return open_backend(done.plan, read_manifest(done.plan, to_open=True), None)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_plans(
    checkpoint: Checkpoint, recorded: Recorded, gpu: Gpu, tmp_path: Path, flavour: str, precision: str
) -> None:
    backend = opened(plan_of(checkpoint, tmp_path / "x", gpu, flavour, precision))
    tell(backend, f"{checkpoint.config.kind} {precision} plan", recorded, precision)

    # Two batches under way that take turns, as CUDA graphs, memory and shapes must not get in each other's way.
    for batch in (1, 3, 1, 1, 3, 3, 2, MOST, 1):
        first, second = backend.submit(recorded.mixtures[:1]), backend.submit(recorded.mixtures[-batch:])
        worst_item(first.result(), recorded.stems[:1], precision)
        worst_item(second.result(), recorded.stems[-batch:], precision)
    backend.close()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_plans_with_the_fused_scan(
    checkpoint: Checkpoint, recorded: Recorded, gpu: Gpu, tmp_path: Path, precision: str
) -> None:
    if checkpoint.config.kind == "transformer":
        pytest.skip("a transformer has no scan")
    done = plan_of(checkpoint, tmp_path / "x", gpu, "tensorrt", precision, scan="plugin")
    backend = opened(done)
    tell(backend, f"{checkpoint.config.kind} {precision} plan, scan plugin", recorded, precision)
    backend.close()


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_plans_with_waveforms(checkpoint: Checkpoint, gpu: Gpu, tmp_path: Path, flavour: str, precision: str) -> None:
    backend = opened(plan_of(checkpoint, tmp_path / "x", gpu, flavour, precision, io="wave"))
    recorded = record(checkpoint, FRAMES, MOST, "wave")
    tell(backend, f"{checkpoint.config.kind} {precision} plan, waveforms", recorded, precision)
    backend.close()


@pytest.mark.parametrize("io", ["spectrum", "wave"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_plan_of_any_length(checkpoint: Checkpoint, gpu: Gpu, tmp_path: Path, flavour: str, io: str) -> None:
    lengths = Range(201, 401, FRAMES)
    backend = opened(plan_of(checkpoint, tmp_path / "x", gpu, flavour, "fp32", frames=lengths, io=io))
    for frames in (401, 201, FRAMES, 333, 401):
        recorded = record(checkpoint, frames, 2, io)
        for batch in (1, 2, 2):
            worst_item(backend.run(recorded.mixtures[:batch]), recorded.stems[:batch], "fp32")
    backend.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_plan_for_single_chunks(
    checkpoint: Checkpoint, recorded: Recorded, gpu: Gpu, tmp_path: Path, flavour: str
) -> None:
    backend = opened(plan_of(checkpoint, tmp_path / "x", gpu, flavour, "fp32", batch=Range(1, 1, 1)))
    for i in (0, 1, 2, 3):
        worst_item(backend.run(recorded.mixtures[i : i + 1]), recorded.stems[i : i + 1], "fp32")
    with pytest.raises(EngineError, match="a batch of 1 to 1"):
        backend.run(recorded.mixtures[:2])
    backend.close()


@pytest.fixture
def memory(gpu: Gpu) -> Iterator[type[GpuMemory]]:
    """Makes meters that are closed after the test."""
    made: list[GpuMemory] = []

    class Meter(GpuMemory):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    yield Meter
    for each in made:
        each.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_memory_and_start_at_full_width(
    gpu: Gpu, tmp_path: Path, memory: type[GpuMemory], flavour: str, precision: str
) -> None:
    """Memory grows with the batch in use, not with the largest one; kernels are compiled once."""
    checkpoint = network(tmp_path / "x.safetensors", kind="mamba2", **FULL)
    recorded = record(checkpoint, FRAMES, MOST)
    done = plan_of(checkpoint, tmp_path / "x", gpu, flavour, precision)
    kernels = tmp_path / "cache" / "kernels"
    for each in kernels.glob("*"):  # of the check when it was built
        each.unlink()

    starts = [first_batch(lambda: opened(done), recorded.mixtures[:1]) for _ in range(2)]
    kept = sum(each.stat().st_size for each in kernels.glob("*"))
    print(
        f"\n{precision} plan of {flavour}, full width, depth 1: opened in {starts[0][0]:.2f} s, first batch after "
        f"{starts[0][1]:.2f} s; again: {starts[1][0]:.2f} s and {starts[1][1]:.2f} s; {kept / 1e6:.1f} MB of kernels"
    )
    if flavour == "tensorrt-rtx":
        assert kept > 0
        assert sum(starts[1]) < sum(starts[0])

    meter = memory()
    backend = opened(done)
    taken = [meter.taken()]
    for batch in (1, MOST, 1):
        worst_item(backend.run(recorded.mixtures[:batch]), recorded.stems[:batch], precision)
        taken.append(meter.taken())
    print("GPU memory: " + ", ".join(f"{each / 1e9:.2f} GB" for each in taken) + f" opened, at batch 1, {MOST} and 1")
    assert taken[1] < taken[2] and taken[3] <= taken[2]
    if flavour == "tensorrt-rtx":  # full TensorRT may need as much for one chunk as for the largest batch
        assert taken[1] - taken[0] < 0.5 * (taken[2] - taken[0])
    backend.close()
    assert meter.taken() < 0.5 * taken[2]  # what is left is code that CUDA loads once


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
@pytest.mark.parametrize("io", ["spectrum", "wave"])
def test_onnx_runtime(checkpoint: Checkpoint, gpu: Gpu, tmp_path: Path, io: str, device: str, precision: str) -> None:
    sizes = {"frames": only(FRAMES), "batch": Range(1, 1, MOST)}
    done = export_engine(checkpoint, tmp_path / "x", **sizes, precision=precision, target="gpu", io=io)
    try:
        backend = open_backend(done.engine, done.manifest, None, device)
    except EngineError as error:
        pytest.skip(str(error))
    recorded = record(checkpoint, FRAMES, MOST, io)
    tell(backend, f"{checkpoint.config.kind} {precision} ONNX, {io}", recorded, precision)


class PyTorch:
    """The network in PyTorch on the GPU, as a backend."""

    def __init__(self, model: BandSplitSeparator, scan: str) -> None:
        self.model = model.use_scan(scan).cuda()
        self.name = f"torch {torch.__version__}, scan {scan}, {torch.cuda.get_device_name()}"
        self.notes: list[str] = []

    def run(self, mixture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.model(torch.from_numpy(mixture).cuda()).cpu().numpy()


@pytest.mark.parametrize("scan", ["chunked", "kernel", "fused"])
def test_pytorch(checkpoint: Checkpoint, recorded: Recorded, gpu: Gpu, scan: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"this PyTorch, {torch.__version__}, has no CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        model = checkpoint.model()
        if scan == "fused":
            to_precision(model, "fp16")
        backend = PyTorch(model, scan)
        backend.run(recorded.mixtures[:1])
    except ScanError as error:
        pytest.skip(str(error))
    precision = "fp32" if scan == "chunked" else "fp16"  # mamba-ssm's kernels compute inside as they please
    kind = "fp16" if scan == "fused" else "fp32"
    tell(backend, f"{checkpoint.config.kind} {kind} network", recorded, precision)
