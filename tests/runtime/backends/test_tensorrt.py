"""The TensorRT backend, against strict doubles of TensorRT and CUDA (see tests/tensorrt_double.py)."""

from __future__ import annotations

import gc
import json
import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import cuda.bindings
import numpy as np
import pytest
from cuda_double import CudaDouble, cudaError_t
from fakes import plan_data
from tensorrt_double import CudaGraphStrategy, DataType, tensorrt_double

from runtime import EngineError, ManifestError, NumericsError, OptionError, open_separator
from runtime.backends.cuda import Cuda
from runtime.backends.tensorrt import TensorRtBackend
from runtime.command import exit_code
from runtime.engine.manifest import FLAVOURS, Manifest, Range, manifest_path, sha256_of
from runtime.engine.plan_header import CAPABILITIES

VERSION = "1.7.1.116"


def header(size: int, capabilities=("8.9", "12.0")) -> bytes:
    """The first 64 bytes of a TensorRT-RTX plan."""
    mask = sum(1 << CAPABILITIES.index(each) for each in capabilities)
    return struct.pack("<4s12xQ4BxxxxI", b"vtrt", size, 1, 7, 1, 116, mask).ljust(64, b"\0")


@dataclass
class Setup:
    """An engine on disk, and the doubles that would run it."""

    plan: Path
    manifest: Manifest
    cuda: CudaDouble
    monkeypatch: pytest.MonkeyPatch
    double: ModuleType | None = None  # of TensorRT, once installed

    def write(self, content: bytes | None = None, manifest: Manifest | None = None) -> None:
        """The plan, and a manifest that describes it truly."""
        manifest = manifest or self.manifest
        inside = self.manifest.inside_plan().encode()
        is_rtx = self.manifest.plan.flavour == "tensorrt-rtx"
        start = header(64 + len(inside)) if is_rtx else b"full".ljust(64, b"\0")
        self.plan.write_bytes(start + inside if content is None else content)
        file = replace(self.manifest.plan.file, bytes=self.plan.stat().st_size, sha256=sha256_of(self.plan))
        manifest = replace(manifest, plan=replace(manifest.plan, file=file))
        manifest_path(self.plan).write_text(manifest.to_json())

    def install(self, gains=(0.5,), version=VERSION, change=None):
        """TensorRT and the GPU."""
        double = tensorrt_double(self.manifest, self.cuda, gains, version, change)
        module = "tensorrt" if self.manifest.plan.flavour == "tensorrt" else "tensorrt_rtx"
        self.double = double
        self.monkeypatch.setitem(sys.modules, module, double)
        self.monkeypatch.setattr(cuda.bindings, "runtime", self.cuda)
        return double

    def open(self) -> TensorRtBackend:
        return TensorRtBackend(self.plan, self.manifest)

    def mixture(self, batch=1, frames=None, seed=0):
        shape = (batch, frames or self.manifest.frames.opt, self.manifest.bins, self.manifest.model.channels, 2)
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(params=FLAVOURS)
def setup(request, tmp_path, monkeypatch):
    return make(request.param, tmp_path, monkeypatch)


@pytest.fixture
def rtx(tmp_path, monkeypatch):
    return make("tensorrt-rtx", tmp_path, monkeypatch)


def make(flavour, tmp_path, monkeypatch, frames=None, **changes):
    data = plan_data(flavour, **changes)
    manifest = Manifest.from_json(json.dumps(data), "made")
    if frames is not None:
        shapes = [
            replace(each, shape=["frames" if size == 11 else size for size in each.shape])
            for each in (manifest.input, manifest.output)
        ]
        manifest = replace(manifest, frames=frames, input=shapes[0], output=shapes[1])
    setup = Setup(tmp_path / "x.plan", manifest, CudaDouble(), monkeypatch)
    setup.write()
    setup.install([0.5] * len(manifest.model.stems))
    return setup


def test_runs_chunk_after_chunk_and_gives_everything_back(setup):
    with setup.open() as backend:
        assert backend.name == f"{setup.manifest.plan.flavour} {VERSION}, NVIDIA Double"
        for seed, batch in enumerate([1, 1, 1, 3, 3, 1, 8]):
            mixture = setup.mixture(batch, seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert backend.notes == []
    assert setup.cuda.leaks() == []
    backend.close()  # twice does no harm


def test_memory_is_taken_once(setup):
    with setup.open() as backend:
        backend.run(setup.mixture(8))
        before = setup.cuda.leaks()
        for batch in (1, 8, 5):
            backend.run(setup.mixture(batch))
        kinds = [each for each in setup.cuda.leaks() if "graph" not in each]
        assert kinds == [each for each in before if "graph" not in each]
        assert sum(each.startswith("device") for each in kinds) == 2


def test_two_chunks_are_under_way_at_a_time(setup):
    with setup.open() as backend:
        first, second, third = (setup.mixture(batch, seed=batch) for batch in (2, 2, 3))
        one, two = backend.submit(first), backend.submit(second)
        with pytest.raises(EngineError, match="2 chunks are under way already: take a result before submitting"):
            backend.submit(third)
        np.testing.assert_array_equal(one.result(), 0.5 * first[:, None])
        three = backend.submit(third)  # of another shape, while the second is still on its way
        np.testing.assert_array_equal(three.result(), 0.5 * third[:, None])
        np.testing.assert_array_equal(two.result(), 0.5 * second[:, None])
        np.testing.assert_array_equal(one.result(), 0.5 * first[:, None])
    assert setup.cuda.leaks() == []


def test_nothing_waits_before_a_result_is_asked_for(setup):
    with setup.open() as backend:
        pending = backend.submit(setup.mixture())
        assert setup.cuda._queue
        pending.result()
        assert not setup.cuda._queue


def test_full_tensorrt_replays_a_graph_and_rtx_keeps_its_own(setup):
    with setup.open() as backend:
        for _ in range(4):
            backend.run(setup.mixture())
        runs = [call for call in setup.cuda.calls if call != "cudaMemcpyAsync"]
    if setup.manifest.plan.flavour == "tensorrt":  # as it is, captured, replayed
        assert runs == ["execute_async_v3", "execute_async_v3", *["cudaGraphLaunch"] * 3]
    else:
        assert runs == ["execute_async_v3"] * 4
        (config,) = setup.double.engines[0]._configs
        assert config.cuda_graph_strategy is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE


def test_a_release_of_rtx_without_graphs_is_noted(rtx):
    del rtx.double.CudaGraphStrategy
    with rtx.open() as backend:
        assert backend.notes == [f"TensorRT-RTX {VERSION} keeps no CUDA graphs"]
        mixture = rtx.mixture()
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])


def test_a_graph_is_of_the_shape_its_context_has(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    with setup.open() as backend:
        for seed, batch in enumerate([2, 2, 2, 1, 2, 2]):
            mixture = setup.mixture(batch, seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert [each for each in setup.cuda.leaks() if "graph" in each] == ["graph executable"]
    assert setup.cuda.leaks() == []


def test_a_graph_that_cannot_be_captured_is_noted_and_done_without(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.cuda.no_capture = True
    with setup.open() as backend:
        for seed in range(4):
            mixture = setup.mixture(seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert backend.notes == [
            "no CUDA graph: CUDA: cudaStreamEndCapture failed with cudaErrorStreamCaptureUnsupported"
        ]
    assert setup.cuda.leaks() == []


def test_any_length_in_the_range(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch, frames=Range(5, 11, 20), stems=("vocals", "drums"))
    with setup.open() as backend:
        for frames in (5, 11, 11, 20, 11):
            mixture = setup.mixture(2, frames)
            assert backend.run(mixture).shape == (2, 2, frames, 1025, 2, 2)
        for batch, frames in ((1, 4), (1, 21), (9, 11)):
            with pytest.raises(EngineError, match=r"x\.plan takes float32, a batch of 1 to 8, 5 to 20 frames"):
                backend.run(setup.mixture(batch, frames))
        with pytest.raises(EngineError, match="got float64"):
            backend.run(setup.mixture().astype(np.float64))


def test_songs_go_through_in_groups_of_chunks(setup):
    for batch in (1, 3):
        setup.cuda = CudaDouble()
        setup.install()
        song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30000)).astype(np.float32)
        separator = open_separator(setup.plan, batch=batch)
        done: dict[int, int] = {}
        stems = separator.separate(song, 44100, progress=done.__setitem__)
        np.testing.assert_allclose(stems["vocals"], 0.5 * song, atol=1e-6)
        chunks = set(done.values()).pop()
        assert list(done) == [*range(batch, chunks, batch), chunks]
        separator.close()
        assert setup.cuda.leaks() == []


def test_nan_is_never_silence_and_leaves_nothing_under_way(setup):
    setup.install(gains=(float("nan"),))
    separator = open_separator(setup.plan)
    for _ in range(2):
        with pytest.raises(NumericsError, match="NaN or Inf"):
            separator.separate(np.ones((2, 30000), np.float32), 44100)
    separator.close()
    assert setup.cuda.leaks() == []


# What is refused, and how it is said


def test_an_edited_manifest_is_refused(setup):
    setup.write(manifest=replace(setup.manifest, precision="fp16"))
    with pytest.raises(ManifestError, match=r"x\.plan: its manifest is not the one it was built with.*--rebuild .*/x "):
        open_separator(setup.plan)
    assert setup.cuda.leaks() == []


def test_a_plan_cut_short_is_refused(setup):
    content = setup.plan.read_bytes()
    setup.plan.write_bytes(content[:-1])
    with pytest.raises(ManifestError, match=r"x\.plan: has \d+ bytes, x\.json says \d+: it was cut short; .*--rebuild"):
        open_separator(setup.plan)


def test_a_plan_cut_short_with_a_manifest_that_agrees_is_refused(rtx):
    rtx.write(rtx.plan.read_bytes()[:-1])
    with pytest.raises(EngineError, match=r"x\.plan: \d+ bytes, its header says \d+: it was cut or edited"):
        open_separator(rtx.plan)


@pytest.mark.parametrize(
    ("flavour", "found"), [("tensorrt", "is a plan of TensorRT-RTX"), ("tensorrt-rtx", "is no plan of")]
)
def test_a_plan_of_the_other_flavour_is_refused(tmp_path, monkeypatch, flavour, found):
    setup = make(flavour, tmp_path, monkeypatch)
    setup.write(header(64) if flavour == "tensorrt" else b"full".ljust(64, b"\0"))
    with pytest.raises(EngineError, match=rf"{found}.* its manifest says {flavour}: bsm-export --rebuild"):
        open_separator(setup.plan)


def test_targets_the_header_does_not_name_are_refused(rtx):
    rtx.write(manifest=replace(rtx.manifest, plan=replace(rtx.manifest.plan, compute_capabilities=["8.6"])))
    with pytest.raises(ManifestError, match=r"was built for compute capability 8\.9, 12\.0, its manifest says 8\.6"):
        open_separator(rtx.plan)


@pytest.mark.parametrize(
    ("gpu", "capability", "option"),
    [("NVIDIA H200", "9.0", " --trt tensorrt"), ("NVIDIA A100", "8.0", " --compute-capability 8.0")],
)
def test_another_gpu_is_refused(setup, gpu, capability, option):
    setup.cuda = CudaDouble(gpu, capability)
    setup.install()
    if setup.manifest.plan.flavour == "tensorrt":  # which builds for the GPU it runs on
        option = ""
    message = rf"8\.9, 12\.0, this GPU, {gpu}, has {capability}: bsm-export --rebuild .*/x{option} builds it again"
    with pytest.raises(EngineError, match=message):
        open_separator(setup.plan)


def test_another_version_is_refused(setup):
    setup.install(version="1.8.0.1")
    with pytest.raises(EngineError, match=r"with tensorrt.* 1\.7\.1\.116, installed is 1\.8\.0\.1, and plans do"):
        open_separator(setup.plan)


def test_a_missing_package_is_named(setup):
    module = "tensorrt" if setup.manifest.plan.flavour == "tensorrt" else "tensorrt_rtx"
    setup.monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=rf"{module} cannot be loaded .*: pip install 'bsmamba2\[tensorrt"):
        open_separator(setup.plan)


def test_a_missing_cuda_python_is_named(setup):
    setup.monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(EngineError, match=r"cuda-python cannot be loaded .*: pip install 'bsmamba2\[tensorrt\]'"):
        open_separator(setup.plan)


def test_without_a_gpu_the_onnx_file_is_pointed_at(setup, capsys):
    from runtime.cli import app

    setup.monkeypatch.setattr(CudaDouble, "cudaGetDevice", lambda self: (cudaError_t.cudaErrorInsufficientDriver, None))
    setup.plan.with_suffix(".onnx").write_bytes(b"")
    assert exit_code(app, "bsm-run", [str(setup.plan), "song.wav"]) == 2
    error = capsys.readouterr().err
    assert (
        "needs an NVIDIA GPU, and there is none here (cudaErrorInsufficientDriver): x.onnx runs here: bsm-run" in error
    )
    assert error.count("\n") == 1


def test_a_machine_without_a_driver_has_no_gpu(setup):
    """cuda-python 12 raises there, 13 returns an error."""

    def no_driver(self):
        raise RuntimeError('Function "cuInit" not found')

    setup.monkeypatch.setattr(CudaDouble, "cudaGetDevice", no_driver)
    with pytest.raises(EngineError, match='there is none here .no NVIDIA driver: Function "cuInit" not found.'):
        open_separator(setup.plan)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_a_gpu_and_an_onnx_file_that_runs_here(setup, precision):
    setup.manifest = replace(setup.manifest, precision=precision)
    setup.write()
    if precision == "bf16":
        setup.plan.with_suffix(".onnx").write_bytes(b"")
    setup.monkeypatch.setattr(CudaDouble, "cudaGetDevice", lambda self: (cudaError_t.cudaErrorInsufficientDriver, None))
    with pytest.raises(EngineError, match="export the checkpoint with --precision fp32 and without --trt"):
        open_separator(setup.plan)


def renamed(engine):
    engine.name = "another"
    return engine


def half(engine):
    engine.dtype = DataType.HALF
    return engine


def longer(engine):
    engine._shapes["mixture"] = (-1, 99, 1025, 2, 2)
    return engine


def other_tensors(engine):
    engine._shapes["vocals"] = engine._shapes.pop("stems")
    return engine


def narrower(engine):
    engine._manifest = replace(engine._manifest, batch=Range(1, 1, 2))
    return engine


def unreadable(engine):
    engine._log("magic tag does not match\nmore of it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "its manifest is not the one it was built with"),
        (half, r"mixture is HALF \(-1, 11, 1025, 2, 2\), its manifest says FLOAT"),
        (longer, r"mixture is FLOAT \(-1, 99, 1025, 2, 2\), its manifest says FLOAT \(-1, 11"),
        (other_tensors, r"has tensors \['mixture', 'vocals'\], expected \['mixture', 'stems'\]"),
        (narrower, r"takes \(batch, frames\) of .*\(2, 11\)\], its manifest says .*\(8, 11\)\]"),
        (unreadable, r"x\.plan: cannot be opened \(magic tag does not match\): bsm-export --rebuild"),
    ],
)
def test_an_engine_that_is_not_its_manifest_s_is_refused(setup, change, message):
    setup.install(change=change)
    with pytest.raises((EngineError, ManifestError), match=message):
        setup.open()
    assert setup.cuda.leaks() == []


def test_too_little_memory_is_one_line(setup):
    setup.cuda._memory = 1000
    with pytest.raises(EngineError, match="cudaMalloc failed with cudaErrorMemoryAllocation: out of memory, close"):
        setup.open()
    assert setup.cuda.leaks() == []
    setup.cuda._memory = 0
    with pytest.raises(EngineError, match=r"no room to run it \(out of memory\): close what else uses"):
        setup.open()


def test_a_run_that_fails_says_why_and_can_be_followed_by_another(setup):
    with setup.open() as backend:
        setup.install()
        engine = backend._engine
        engine._fails = True
        for _ in range(3):
            with pytest.raises(EngineError, match=r"x\.plan: failed to run \(execution failed\)"):
                backend.run(setup.mixture())
        engine._fails = False
        mixture = setup.mixture(3)
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        engine._fails = True
        with pytest.raises(EngineError, match="failed to run"):
            backend.run(setup.mixture(2))
        engine._fails = False
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])  # of the shape before
    assert setup.cuda.leaks() == []


def test_a_fault_on_the_gpu_is_told_for_each_chunk_and_memory_is_still_given_back(setup):
    backend = setup.open()
    pending = [backend.submit(setup.mixture()) for _ in range(2)]
    fault = cudaError_t.cudaErrorIllegalAddress
    with setup.monkeypatch.context() as patch:
        patch.setattr(CudaDouble, "cudaEventSynchronize", lambda self, event: (fault,))
        for each in pending:
            with pytest.raises(EngineError, match="cudaEventSynchronize failed with cudaErrorIllegalAddress"):
                each.result()
            with pytest.raises(EngineError, match="this chunk failed on the GPU"):
                each.result()
        patch.setattr(CudaDouble, "cudaMemcpyAsync", lambda self, dst, src, count, kind, stream: (fault,))
        with pytest.raises(EngineError, match="cudaMemcpyAsync failed with cudaErrorIllegalAddress"):
            backend.submit(setup.mixture())
    synchronize = CudaDouble.cudaStreamSynchronize

    def faulty(self, stream):
        synchronize(self, stream)
        return (fault,)

    setup.monkeypatch.setattr(CudaDouble, "cudaStreamSynchronize", faulty)
    with pytest.raises(EngineError, match="cudaStreamSynchronize failed"):
        backend.close()
    assert setup.cuda.leaks() == []


def test_nothing_is_run_or_read_after_close(setup):
    backend = setup.open()
    pending = backend.submit(setup.mixture())
    backend.close()
    with pytest.raises(EngineError, match=r"x\.plan: was closed before the result was taken"):
        pending.result()
    with pytest.raises(EngineError, match=r"x\.plan: was closed: open it again"):
        backend.run(setup.mixture())


def test_a_backend_that_is_dropped_gives_everything_back(setup):
    setup.open().run(setup.mixture())
    gc.collect()
    assert setup.cuda.leaks() == []


def test_devices_of_a_plan(rtx):
    with pytest.raises(EngineError, match=r"runs on NVIDIA GPUs only, not on device cpu: export .* --precision fp32"):
        open_separator(rtx.plan, device="cpu")
    rtx.plan.with_suffix(".onnx").write_bytes(b"")
    with pytest.raises(
        EngineError, match=r"x\.plan: a TensorRT plan runs .*: x\.onnx runs here: bsm-run .*x\.onnx SONG"
    ):
        open_separator(rtx.plan, device="cpu")
    for device in ("auto", "tensorrt"):
        with pytest.raises(OptionError, match="threads 2: are the CPU's"):
            open_separator(rtx.plan, device=device, threads=2)
    for device in ("auto", "cuda", "tensorrt"):
        open_separator(rtx.plan, device=device).close()


# What the doubles catch


class NoWait(TensorRtBackend):
    def _collect(self, slot, shape):
        self._free.append(slot)
        return slot.stems[: int(np.prod(shape))].reshape(shape).copy()


def test_a_forgotten_wait_gives_no_stems(setup):
    backend = NoWait(setup.plan, setup.manifest)
    assert np.isnan(backend.run(setup.mixture())).all()
    backend._cuda.synchronize()
    backend.close()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda b: b._context._addresses.pop("stems"), "run without an address for {'stems'}"),
        (lambda b: setattr(b, "_input", 0x5), "device memory 0x5 is not allocated"),
        (lambda b: setattr(b._cuda, "stream", 0), "is no stream"),
        (lambda b: b._cuda.call("cudaFree", b._output), "is not allocated"),
        (lambda b: setattr(b, "_set_shape", lambda *args: None), "run before the input's shape was set"),
        (lambda b: setattr(b._cuda, "record", lambda event: None), "never recorded"),
    ],
)
def test_mistakes_in_the_use_of_tensorrt_are_caught(setup, mistake, message):
    backend = setup.open()
    mistake(backend)
    with pytest.raises(AssertionError, match=message):
        backend.run(setup.mixture())


def test_memory_that_is_not_given_back_is_seen(setup):
    setup.monkeypatch.setattr(Cuda, "close", lambda self: None)
    setup.open().close()
    assert len(setup.cuda.leaks()) == 9  # a stream, 2 buffers, 2 x (2 pinned buffers, an event)


def test_names_that_do_not_exist_are_seen(setup):
    setup.install()
    with pytest.raises(AttributeError):
        Cuda().call("cudaMemcpyEverything")
