"""Plans that the TensorRT backend refuses to open, and what it says."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from cuda_double import CudaDouble, cudaError_t
from plan_double import header, make
from tensorrt_double import DataType

from runtime import EngineError, ManifestError, OptionError, open_separator
from runtime.command import exit_code
from runtime.engine.manifest import Range


def too_old(cuda, device):
    """What a driver that is too old answers, in place of a GPU's properties."""
    return cudaError_t.cudaErrorInsufficientDriver, None


def test_an_edited_manifest_is_refused(setup):
    setup.write(manifest=replace(setup.manifest, precision="fp16"))
    with pytest.raises(
        ManifestError, match=r"x\.plan: the manifest beside it is not the one it was built with.*--rebuild .*/x "
    ):
        open_separator(setup.plan)
    assert setup.cuda.leaks() == []


def test_a_plan_cut_short_is_refused(setup):
    content = setup.plan.read_bytes()
    setup.plan.write_bytes(content[:-1])
    with pytest.raises(ManifestError, match=r"x\.plan: has \d+ bytes, x\.json says \d+: it was cut short.*--rebuild"):
        open_separator(setup.plan)


def test_a_plan_cut_short_with_a_manifest_that_agrees_is_refused(rtx):
    rtx.write(rtx.plan.read_bytes()[:-1])
    with pytest.raises(EngineError, match=r"x\.plan: has \d+ bytes, its header says \d+: it was cut short or changed"):
        open_separator(rtx.plan)


@pytest.mark.parametrize(
    ("flavour", "found"), [("tensorrt", "is a TensorRT-RTX plan"), ("tensorrt-rtx", "is not a TensorRT-RTX plan")]
)
def test_a_plan_of_the_other_flavour_is_refused(tmp_path, monkeypatch, flavour, found):
    setup = make(flavour, tmp_path, monkeypatch)
    setup.write(header(64) if flavour == "tensorrt" else b"full".ljust(64, b"\0"))
    with pytest.raises(EngineError, match=rf"{found}.* but its manifest says {flavour}: bsm-export --rebuild"):
        open_separator(setup.plan)


def test_targets_the_header_does_not_name_are_refused(rtx):
    rtx.write(manifest=replace(rtx.manifest, plan=replace(rtx.manifest.plan, compute_capabilities=["8.6"])))
    with pytest.raises(
        ManifestError, match=r"was built for compute capability 8\.9, 12\.0, but its manifest says 8\.6"
    ):
        open_separator(rtx.plan)


@pytest.mark.parametrize(
    ("gpu", "capability", "option"),
    [("NVIDIA H200", "9.0", " --trt tensorrt"), ("NVIDIA A100", "8.0", " --compute-capability 8.0")],
)
def test_another_gpu_is_refused(rtx, gpu, capability, option):
    rtx.cuda = CudaDouble(gpu, capability)
    rtx.install()
    message = rf"8\.9, 12\.0, but this GPU, {gpu}, has {capability}: bsm-export --rebuild .*/x{option} builds it again"
    with pytest.raises(EngineError, match=message):
        open_separator(rtx.plan)


def test_another_version_is_refused(setup):
    setup.install(version="1.8.0.1")
    with pytest.raises(
        EngineError, match=r"with tensorrt.* 1\.7\.1\.116, but 1\.8\.0\.1 is installed, and plans run only"
    ):
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

    setup.monkeypatch.setattr(
        CudaDouble, "cudaGetDeviceProperties", lambda self, device: (cudaError_t.cudaErrorInsufficientDriver, None)
    )
    setup.plan.with_suffix(".onnx").write_bytes(b"")
    assert exit_code(app, "bsm-run", [str(setup.plan), "song.wav"]) == 2
    error = capsys.readouterr().err
    assert "needs an NVIDIA GPU, but CUDA does not start (cudaErrorInsufficientDriver); x.onnx runs here: bsm-" in error
    assert error.count("\n") == 1


def test_a_machine_without_a_driver_has_no_gpu(setup):
    """cuda-python 12 raises there, 13 returns an error."""

    def no_driver(self, device):
        raise RuntimeError('Function "cuInit" not found')

    setup.monkeypatch.setattr(CudaDouble, "cudaGetDeviceProperties", no_driver)
    with pytest.raises(
        EngineError, match='needs an NVIDIA GPU, but there is no NVIDIA driver .Function "cuInit" not found.;'
    ):
        open_separator(setup.plan)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_a_gpu_and_an_onnx_file_that_runs_here(setup, precision):
    setup.manifest = replace(setup.manifest, precision=precision)
    setup.write()
    if precision == "bf16":
        setup.plan.with_suffix(".onnx").write_bytes(b"")
    setup.monkeypatch.setattr(
        CudaDouble, "cudaGetDeviceProperties", lambda self, device: (cudaError_t.cudaErrorInsufficientDriver, None)
    )
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
        (renamed, "the manifest beside it is not the one it was built with"),
        (half, r"mixture is HALF \(-1, 11, 1025, 2, 2\), but its manifest says FLOAT"),
        (longer, r"mixture is FLOAT \(-1, 99, 1025, 2, 2\), but its manifest says FLOAT \(-1, 11"),
        (other_tensors, r"has tensors \['mixture', 'vocals'\], expected \['mixture', 'stems'\]"),
        (narrower, r"takes mixture of .*\(2, 11, 1025, 2, 2\)\), but its manifest says .*\(8, 11, 1025, 2, 2\)\)"),
        (unreadable, r"x\.plan: cannot be opened \(magic tag does not match\): bsm-export --rebuild"),
    ],
)
def test_an_engine_that_is_not_its_manifest_s_is_refused(setup, change, message):
    setup.install(change=change)
    with pytest.raises((EngineError, ManifestError), match=message):
        setup.open()
    assert setup.cuda.leaks() == []


def out_of_memory(engine):
    engine.is_out_of_memory = True
    return engine


def test_too_little_memory_to_open_is_one_line(setup):
    said = "" if setup.manifest.plan.flavour == "tensorrt-rtx" else r" \(out of memory\)"
    setup.install(change=out_of_memory)
    with pytest.raises(
        EngineError, match=rf"x\.plan: cannot be made ready{said}; GPU memory may be full: use a smaller --batch, close"
    ):
        setup.open()
    assert setup.cuda.leaks() == []


def test_an_engine_of_one_batch_size_may_tell_that_size(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.manifest = replace(setup.manifest, batch=Range(1, 1, 1))
    setup.write()

    def fixed(engine):
        engine._shapes = {name: (1, *shape[1:]) for name, shape in engine._shapes.items()}
        return engine

    for change in (None, fixed):
        setup.install(change=change)
        setup.open().close()
    setup.manifest = replace(setup.manifest, batch=Range(1, 1, 2))
    setup.write()
    setup.install(change=fixed)
    with pytest.raises(EngineError, match=r"mixture is FLOAT \(1, 11, .*, but its manifest says FLOAT \(-1, 11"):
        setup.open()


def test_devices_of_a_plan(rtx):
    with pytest.raises(
        EngineError, match=r"runs on NVIDIA GPUs only, not with --device cpu: export .* --precision fp32"
    ):
        open_separator(rtx.plan, device="cpu")
    rtx.plan.with_suffix(".onnx").write_bytes(b"")
    with pytest.raises(
        EngineError, match=r"x\.plan: a TensorRT plan runs .*: x\.onnx runs here: bsm-run .*x\.onnx SONG"
    ):
        open_separator(rtx.plan, device="cpu")
    for device in ("auto", "tensorrt"):
        with pytest.raises(OptionError, match="--threads 2: the engine runs on a GPU"):
            open_separator(rtx.plan, device=device, threads=2)
    for device in ("auto", "cuda", "tensorrt"):
        open_separator(rtx.plan, device=device).close()
