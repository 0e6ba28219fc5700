"""What is built, decided before anything is done: options, GPUs and installed packages."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from fakes import H200, RTX_4090

from bsmamba2.errors import BsmambaError
from export.cli import app
from export.errors import ExportError
from export.plan import choose
from export.plan.choose import DEFAULT_CAPABILITIES, Asked, plan_build
from export.plan.rebuild import _as_before
from runtime.command import exit_code
from runtime.engine.gpu import Gpu
from runtime.engine.manifest import Plan, Range
from runtime.engine.plan_header import CAPABILITIES

T4, V100, A100 = Gpu("Tesla T4", "7.5"), Gpu("Tesla V100", "7.0"), Gpu("NVIDIA A100", "8.0")
RTX = Asked("tensorrt-rtx")
NO_DRIVER = "there is no NVIDIA driver"


@pytest.fixture
def machine(monkeypatch):
    """Sets what this machine has: a GPU, and packages of TensorRT."""

    def has(gpu=None, installed=("tensorrt", "tensorrt-rtx")):
        monkeypatch.setattr(choose, "find_gpu", lambda: (gpu, "" if gpu else NO_DRIVER))
        monkeypatch.setattr(choose, "load_cudart", lambda: None)
        for flavour, module in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")):
            version = SimpleNamespace(__version__="11.4.0.106") if flavour in installed else None
            monkeypatch.setitem(sys.modules, module, version)

    return has


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
        (
            ["--trt", "--compute-capability", "7.5"],
            "--compute-capability 7.5: TensorRT-RTX has only fp16 for it, not fp",
        ),
        (["--trt", "--timing-cache", "x"], "--timing-cache: TensorRT-RTX measures no timings"),
        (["--trt", "--hardware-compatibility", "none"], "--hardware-compatibility: a plan of TensorRT-RTX runs on all"),
        (
            ["--trt", "--hardware-compatibility", "ampere"],
            "ampere: must be none, same-compute-capability or ampere-plus",
        ),
        (
            ["--trt", "--optimization-level", "5"],
            "--optimization-level: TensorRT-RTX builds the same plan at every level",
        ),
        (["--trt", "--optimization-level", "6"], "--optimization-level 6: must be from 0 to 5"),
        (["--trt", "--version-compatible"], "--version-compatible: plans of TensorRT-RTX run only in the version that"),
        (["--version-compatible"], "--version-compatible: applies to TensorRT plans only: add --trt"),
        (["--optimization-level", "1"], "--optimization-level: applies to TensorRT plans only: add --trt"),
        (["--hardware-compatibility", "none"], "--hardware-compatibility: applies to TensorRT plans only: add --trt"),
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
    monkeypatch.setattr(choose, "find_gpu", lambda: (None, NO_DRIVER))
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


def test_a_gpu_that_tensorrt_rtx_does_not_build_for_needs_full_tensorrt(machine):
    machine(H200, installed=["tensorrt-rtx"])
    with pytest.raises(ExportError, match=r"pip install.*TensorRT-RTX does not support this GPU, NVIDIA H200 \(9\.0"):
        plan_build(Asked(), "fp32")


@pytest.mark.parametrize("gpu", [H200, V100, Gpu("Orin", "8.7")])
def test_a_plan_that_will_not_run_here_is_said_before_the_work(machine, gpu):
    machine(gpu)
    build = plan_build(RTX, "fp32")
    assert build.compute_capabilities == DEFAULT_CAPABILITIES
    assert [note for note in build.notes if f"will not run on this GPU, {gpu.name} ({gpu.capability})" in note]
    assert build.why_not_run == f"this GPU, {gpu.name}, has compute capability {gpu.capability}"
    assert not plan_build(Asked("tensorrt-rtx", ("8.9",)), "fp32").notes  # another GPU is meant


def test_the_note_comes_first(machine, capsys, tmp_path):
    machine(H200)
    args = ["--ckpt", str(tmp_path / "none.ckpt"), "--trt", "tensorrt-rtx"]
    assert exit_code(app, "bsm-export", args, mistakes=(BsmambaError,)) == 2
    assert capsys.readouterr().err.startswith("bsm-export: note: the plan will not run on this GPU, NVIDIA H200 (9.0)")


def test_plans_are_for_this_gpu_too(machine):
    for gpu, added in ((None, ()), (RTX_4090, ()), (Gpu("NVIDIA GB10", "12.1"), ("12.1",))):
        machine(gpu)
        build = plan_build(RTX, "fp32")
        assert build.compute_capabilities == ("8.6", "8.9", "12.0", *added) and not build.notes


def test_turing_is_for_fp16_only(machine):
    machine(T4)
    assert plan_build(RTX, "fp16").compute_capabilities == (*DEFAULT_CAPABILITIES, "7.5")
    assert not plan_build(RTX, "fp16").notes
    for precision in ("fp32", "bf16"):
        build = plan_build(RTX, precision)
        assert build.compute_capabilities == DEFAULT_CAPABILITIES
        assert "will not run on this GPU, Tesla T4 (7.5), for which TensorRT-RTX has only fp16" in build.notes[0]
        with pytest.raises(ExportError, match=rf"only fp16 for it, not {precision}: use --precision fp16"):
            plan_build(Asked("tensorrt-rtx", ("8.9", "7.5")), precision)
    assert plan_build(Asked("tensorrt"), "fp32").compute_capabilities == ("7.5",)
    with pytest.raises(ExportError, match=r"--precision bf16: Tesla T4 \(7\.5\) has no bfloat16: use --precision fp16"):
        plan_build(Asked("tensorrt"), "bf16")


def test_an_a100_is_not_listed_by_nvidia(machine):
    machine()
    assert "8.0 (A100) is not on NVIDIA's list" in plan_build(Asked("tensorrt-rtx", ("8.0",)), "fp32").notes[0]
    machine(A100, installed=["tensorrt-rtx"])
    build = plan_build(Asked(), "fp32")
    assert build.compute_capabilities == (*DEFAULT_CAPABILITIES, "8.0") and "prefer --trt tensorrt" in build.notes[0]
    machine(A100)
    assert plan_build(Asked(), "fp32").flavour == "tensorrt"


def test_full_tensorrt_needs_a_gpu(machine):
    machine()
    with pytest.raises(ExportError, match=rf"needs the GPU that the plan is for, but {NO_DRIVER}; run .*rtx"):
        plan_build(Asked("tensorrt"), "fp32")
    machine(RTX_4090)
    with pytest.raises(ExportError, match=r"builds only for the GPU it runs on, NVIDIA Ge.*CUDA_VISIBLE_DEVICES"):
        plan_build(Asked("tensorrt", ("8.0",)), "fp32")
    build = plan_build(Asked("tensorrt"), "fp32")
    assert build == plan_build(Asked("auto"), "fp32") == plan_build(Asked(None, ("8.9",)), "fp32")
    assert (build.flavour, build.version, build.compute_capabilities) == ("tensorrt", "11.4.0.106", ("8.9",))
    assert (build.gpu, build.hardware, build.why_not_run) == (RTX_4090, "same-gpu", "")
    assert plan_build(Asked("auto", ("8.6",)), "fp32").flavour == "tensorrt-rtx"


def test_what_is_for_full_tensorrt_only_goes_into_the_build(machine, tmp_path):
    machine(RTX_4090)
    asked = Asked("tensorrt", (), 2.0, tmp_path / "cache", "same-compute-capability", 5, True)
    build = plan_build(asked, "fp16")
    assert (build.workspace, build.timing_cache) == (2_000_000_000, tmp_path / "cache")
    assert (build.hardware, build.optimization_level, build.version_compatible) == ("same-compute-capability", 5, True)
    machine(T4)
    with pytest.raises(ExportError, match=r"ampere-plus: must be built on .* 8\.0 or later, and Tesla T4 has 7\.5"):
        plan_build(Asked("tensorrt", hardware="ampere-plus"), "fp16")


def test_what_is_installed_is_taken_and_what_is_missing_named(machine):
    machine()
    assert plan_build(Asked("auto"), "fp32").flavour == "tensorrt-rtx"
    machine(installed=[])
    missing = r"--trt tensorrt-rtx: tensorrt_rtx cannot be loaded.*pip install 'bsmamba2\[tensorrt-rtx\]'"
    with pytest.raises(ExportError, match=missing + rf"; full TensorRT needs a GPU, but {NO_DRIVER}"):
        plan_build(Asked("auto"), "fp32")
    machine(RTX_4090, installed=[])
    with pytest.raises(ExportError, match="tensorrt cannot be loaded.*; .*tensorrt_rtx cannot be loaded"):
        plan_build(Asked("auto"), "fp32")


def made(flavour, **changes):
    entries = {"file": None, "flavour": flavour, "version": "1", "compute_capabilities": ["8.6"], "gpu": None}
    entries |= {"hardware": None, "version_compatible": False, "memory": {}, "parity": None}
    return Plan(**(entries | changes))


def test_a_plan_is_built_again_as_it_was():
    full = made("tensorrt", gpu="A GPU", hardware="ampere-plus", version_compatible=True)
    assert _as_before(Asked(), full) == Asked("tensorrt", hardware="ampere-plus", version_compatible=True)
    assert _as_before(Asked(hardware="none"), full) == Asked("tensorrt", hardware="none", version_compatible=True)
    assert _as_before(RTX, full) == RTX  # what belongs to full TensorRT is not carried over
    same = made("tensorrt", gpu="A GPU", hardware="same-gpu")
    assert _as_before(Asked(), same) == Asked("tensorrt", hardware="none")
    rtx = made("tensorrt-rtx")
    assert _as_before(Asked(), rtx) == _as_before(RTX, rtx) == Asked("tensorrt-rtx", ("8.6",))
    assert _as_before(Asked(None, ("8.9",)), rtx) == Asked("tensorrt-rtx", ("8.9",))
    assert _as_before(Asked("auto"), rtx) == Asked("auto")
    assert _as_before(Asked(), None) == Asked()


@pytest.mark.parametrize(
    ("args", "batch"),
    [
        ([], (1, 1, 8)),
        (["--target", "gpu"], (1, 1, 1)),
        (["--trt"], (1, 1, 1)),
        (["--trt", "--batch-opt", "2"], (1, 2, 2)),
        (["--trt", "--batch-min", "3"], (3, 3, 3)),
        (["--trt", "--batch-max", "4"], (1, 1, 4)),
    ],
)
def test_an_engine_for_gpus_takes_one_chunk_unless_asked(machine, monkeypatch, tmp_path, args, batch):
    machine()
    asked = []
    monkeypatch.setattr("export.engine.export_engine", lambda checkpoint, name, **options: asked.append(options))
    monkeypatch.setattr("export.telling.tell_written", lambda *args: None)
    assert exit_code(app, "bsm-export", ["--ckpt", "demo", "-o", str(tmp_path / "x"), *args]) == 0
    assert asked[0]["batch"] == Range(*batch)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_target_the_header_knows_can_be_asked_for(capability):
    import tensorrt_rtx

    assert hasattr(tensorrt_rtx.ComputeCapability, "SM" + capability.replace(".", ""))
