"""What is built, decided before anything is done: options, GPUs and installed packages."""

from __future__ import annotations

import sys

import pytest
from fakes import H200, RTX_4090

from export.cli import app
from export.errors import ExportError
from export.plan import build as build_module
from export.plan.build import DEFAULT_CAPABILITIES, Build, plan_build
from runtime.command import exit_code
from runtime.engine.gpu import Gpu
from runtime.engine.plan_header import CAPABILITIES


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trt", "9"], "--trt 9: must be auto, tensorrt or tensorrt-rtx"),
        (
            ["--trt", "--compute-capability", "9.0"],
            "--compute-capability 9.0: must be one of 7.5, 8.0, 8.6, 8.9,",
        ),
        (["--trt", "--compute-capability", "9.0"], "for H100 and H200 use --trt tensorrt on that machine"),
        (["--trt", "--compute-capability", "sm_89"], "--compute-capability sm_89: must be one of"),
        (["--trt", "--timing-cache", "x"], "--timing-cache: TensorRT-RTX measures no timings"),
        (["--trt", "--workspace", "0"], "--workspace 0.0: must be gigabytes above 0, at most 10000"),
        (["--trt", "--workspace", "nan"], "--workspace nan: must be gigabytes"),
        (["--trt", "--workspace", "inf"], "--workspace inf: must be gigabytes"),
        (["--workspace", "1"], "--workspace: applies to TensorRT plans only: add --trt"),
        (["--compute-capability", "8.9"], "--compute-capability: applies to TensorRT plans only: add --trt"),
        (["--trt", "tensorrt"], "--trt tensorrt: "),
        (["--frames", "1:2"], "--frames 1:2: must be a number, or MIN:OPT:MAX such as 401:801:1601"),
        (["--frames", "90:80:100"], "--frames 90:80:100: MIN:OPT:MAX must be in ascending order"),
        (["--frames", "20:30:40", "--scan", "unrolled"], "--scan unrolled: needs chunks of one length"),
        (["--target", "tpu"], "--target tpu: must be cpu or gpu"),
        (["--batch-max", "0"], "--batch-max 0: must be between 1 and 64"),
        (["--rebuild", "x"], "give one of --ckpt PATH, --rebuild NAME, --inspect NAME"),
        (["--layers"], "--layers: needs --inspect NAME"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build_module, "find_gpu", lambda: (None, "cudaErrorInsufficientDriver"))
    assert exit_code(app, "bsm-export", ["--ckpt", "demo", *args]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("bsm-export: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--rebuild", "--inspect"])
def test_an_engine_that_is_not_there(option, capsys, tmp_path):
    assert exit_code(app, "bsm-export", [option, str(tmp_path / "x")]) == 2
    assert "x.onnx: does not exist: expected NAME.onnx or NAME.plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--rebuild", "x", "--precision", "fp16"], "--precision: cannot be used with --rebuild: leave it out"),
        (["--rebuild", "x", "--layers"], "--layers: cannot be used with --rebuild: leave it out"),
        (["--inspect", "x", "--batch-max", "2"], "--batch-max: cannot be used with --inspect: leave it out"),
        (["--inspect", "x", "-o", "y"], "--output: cannot be used with --inspect: leave it out"),
    ],
)
def test_options_that_would_be_ignored_are_refused(args, message, capsys):
    assert exit_code(app, "bsm-export", args) == 2
    assert capsys.readouterr().err == f"bsm-export: {message}\n"


def test_a_gpu_that_tensorrt_rtx_does_not_build_for_needs_full_tensorrt(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: (H200, ""))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ExportError, match=r"pip install.*TensorRT-RTX does not support this GPU, NVIDIA H200 \(9\.0"):
        plan_build("auto")
    assert plan_build("tensorrt-rtx").compute_capabilities == DEFAULT_CAPABILITIES


def test_plans_are_for_this_gpu_too(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: (Gpu("NVIDIA GB10", "12.1"), ""))
    assert plan_build("tensorrt-rtx").compute_capabilities == (*DEFAULT_CAPABILITIES, "12.1")
    monkeypatch.setattr(build_module, "find_gpu", lambda: (RTX_4090, ""))
    assert plan_build("tensorrt-rtx").compute_capabilities == DEFAULT_CAPABILITIES


def test_full_tensorrt_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(build_module, "load_cudart", lambda: None)
    monkeypatch.setattr(build_module, "bindings", lambda flavour: sys)
    monkeypatch.setattr(sys, "__version__", "11.0.0", raising=False)
    monkeypatch.setattr(build_module, "find_gpu", lambda: (None, "cudaErrorNoDevice"))
    with pytest.raises(ExportError, match=r"needs the GPU that the plan is for.*none \(cudaErrorNoDevice\).*rtx"):
        plan_build("tensorrt")
    monkeypatch.setattr(build_module, "find_gpu", lambda: (RTX_4090, ""))
    with pytest.raises(ExportError, match="full TensorRT builds only for the GPU of this machine, NVIDIA GeForce"):
        plan_build("tensorrt", ("8.0",))
    assert plan_build("tensorrt") == plan_build("auto") == Build("tensorrt", "11.0.0", ("8.9",))
    assert plan_build("auto", ("8.9",)).flavour == "tensorrt"
    assert plan_build("auto", ("8.0",)).flavour == "tensorrt-rtx"


def test_what_is_installed_is_taken_and_what_is_missing_named(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: (None, "cudaErrorNoDevice"))
    assert plan_build("auto").flavour == "tensorrt-rtx"
    assert plan_build("auto").compute_capabilities == DEFAULT_CAPABILITIES
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(
        ExportError, match=r"--trt tensorrt-rtx: tensorrt_rtx cannot be loaded.*pip install 'bsmamba2\[tens"
    ):
        plan_build("auto")
    monkeypatch.setattr(build_module, "find_gpu", lambda: (RTX_4090, ""))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ExportError, match="tensorrt cannot be loaded.*; .*tensorrt_rtx cannot be loaded"):
        plan_build("auto")


def test_a_timing_cache_is_read_and_written_whole_or_named(tmp_path):
    class Cache:
        def serialize(self):
            return b"timings"

    class Config:
        content = None

        def create_timing_cache(self, content):
            self.content = content
            return Cache()

        def set_timing_cache(self, cache, ignore_mismatch):
            return self.content in (b"", b"timings")

    path, config = tmp_path / "cache", Config()
    cache = build_module._set_timing_cache(config, path)
    assert config.content == b""
    build_module._write_timing_cache(cache, path)
    assert build_module._set_timing_cache(config, path) is not None and config.content == b"timings"
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"another GPU's")
    with pytest.raises(ExportError, match="cache: not a timing cache of this TensorRT and GPU"):
        build_module._set_timing_cache(config, path)
    with pytest.raises(ExportError, match=rf"--timing-cache {tmp_path}: cannot be read \(Is a directory\)"):
        build_module._set_timing_cache(config, tmp_path)
    with pytest.raises(ExportError, match=r"--timing-cache .*x: cannot be written \(No such file or directory\)"):
        build_module._write_timing_cache(cache, tmp_path / "nowhere" / "x")


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_target_the_header_knows_can_be_asked_for(capability):
    import tensorrt_rtx

    assert hasattr(tensorrt_rtx.ComputeCapability, "SM" + capability.replace(".", ""))
