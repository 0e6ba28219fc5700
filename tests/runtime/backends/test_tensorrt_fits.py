"""Which GPU, which version of TensorRT and which driver a plan runs with, and what is said about the others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorrt_rtx
from cuda_double import CudaDouble, cudaError_t
from plan_double import VERSION, header, make
from tensorrt_double import EngineInvalidityDiagnostics, EngineValidity, RtxRuntime

from runtime import EngineError, open_separator
from runtime.backends.plan_checks import check_validity
from runtime.engine.flavours import native_logger
from runtime.engine.gpu import Gpu


@pytest.mark.parametrize(
    ("hardware", "name", "capability", "message"),
    [
        ("same-gpu", "NVIDIA Double", "8.9", None),
        (
            "same-gpu",
            "NVIDIA L4",
            "8.9",
            r"x\.plan: was built on NVIDIA Double and runs on this model only, but this GPU is NVIDIA L4: bsm-export "
            r"--rebuild .*/x builds it again from x\.onnx",
        ),
        ("same-compute-capability", "NVIDIA L4", "8.9", None),
        (
            "same-compute-capability",
            "NVIDIA A10",
            "8.6",
            r"compute capability 8\.9, 12\.0, but this GPU, NVIDIA A10, has 8\.6: bsm-export --rebuild .*/x builds",
        ),
        ("ampere-plus", "NVIDIA A100", "8.0", None),
        ("ampere-plus", "NVIDIA B200", "10.0", None),
        (
            "ampere-plus",
            "Tesla T4",
            "7.5",
            r"compute capability 8\.0 or later, but this GPU, Tesla T4, has 7\.5: bsm-export --rebuild",
        ),
    ],
)
def test_a_plan_of_full_tensorrt_opens_where_it_was_built_for(
    tmp_path, monkeypatch, hardware, name, capability, message
):
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.manifest = replace(setup.manifest, plan=replace(setup.manifest.plan, hardware=hardware))
    setup.write()
    setup.cuda = CudaDouble(name, capability)
    setup.install()
    if message is None:
        open_separator(setup.plan).close()
    else:
        with pytest.raises(EngineError, match=message):
            open_separator(setup.plan)
    assert setup.cuda.leaks() == []


def too_old(cuda, device):
    """What a driver that is too old answers, in place of a GPU's properties."""
    return cudaError_t.cudaErrorInsufficientDriver, None


def test_a_gpu_that_fits_is_named_and_can_be_asked_for(setup):
    setup.cuda = CudaDouble("NVIDIA T4", "7.5", others=[("NVIDIA T4", "7.5"), ("NVIDIA Double", "8.9")])
    setup.install()
    for device in ("auto", "cuda", "cuda:1", "tensorrt:1"):
        with pytest.raises(EngineError, match="NVIDIA T4.*: use --device cuda:2, which fits, or bsm-export --rebuild"):
            open_separator(setup.plan, device=device)
    for device in ("cuda:2", "tensorrt:2"):
        with open_separator(setup.plan, device=device) as separator:
            assert separator.backend.name == f"{setup.manifest.plan.flavour} {VERSION}, NVIDIA Double"
    with pytest.raises(
        EngineError,
        match=r"^--device cuda:7: this machine has 3 GPUs \(cuda:0 is NVIDIA T4, cuda:1 is NVIDIA T4, cuda:2 is NVIDIA "
        r"Double\): give the number of one of them$",
    ):
        open_separator(setup.plan, device="cuda:7")


@pytest.mark.parametrize(
    ("built", "installed", "runs"),
    [
        ("10.9.0.34", "10.9.0.40", True),
        ("10.9.0.34", "10.13.2.6", True),
        ("10.13.0.1", "10.9.0.34", False),
        ("10.9.0.34", "11.4.0.106", False),
    ],
)
def test_a_version_compatible_plan_runs_in_later_versions(tmp_path, monkeypatch, built, installed, runs):
    setup = make("tensorrt", tmp_path, monkeypatch)
    plan = replace(setup.manifest.plan, version=built, version_compatible=True)
    setup.manifest = replace(setup.manifest, plan=plan)
    setup.write()
    setup.install(version=installed)
    if runs:
        with open_separator(setup.plan) as separator:
            assert separator.backend.name == f"tensorrt {installed}, NVIDIA Double"
        return
    message = rf"was built with tensorrt {built}, but {installed} is installed, and this plan runs only in TensorRT "
    with pytest.raises(EngineError, match=message + rf"{built} or a later {built[:2]}: bsm-export --rebuild"):
        open_separator(setup.plan)


def test_a_version_compatible_plan_runs_in_the_lean_runtime(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"tensorrt cannot be loaded .*: pip install 'bsmamba2\[tensorrt\]'$"):
        open_separator(setup.plan)
    setup.manifest = replace(setup.manifest, plan=replace(setup.manifest.plan, version_compatible=True))
    setup.write()
    lean = setup.install()
    lean.__name__ = "tensorrt_lean"
    monkeypatch.setitem(sys.modules, "tensorrt_lean", lean)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with open_separator(setup.plan) as separator:
        assert separator.backend.name == f"tensorrt-lean {VERSION}, NVIDIA Double"
        mixture = setup.mixture()
        np.testing.assert_array_equal(separator.backend.run(mixture), 0.5 * mixture[:, None])
    monkeypatch.setitem(sys.modules, "tensorrt_lean", None)
    with pytest.raises(
        EngineError, match=r"pip install 'bsmamba2\[tensorrt\]', or pip install 'bsmamba2\[tensorrt-lean\]'$"
    ):
        open_separator(setup.plan)


def test_the_lean_runtime_is_not_touched_without_a_gpu(tmp_path, monkeypatch):
    """It crashes there."""
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.manifest = replace(setup.manifest, plan=replace(setup.manifest.plan, version_compatible=True))
    setup.write()
    monkeypatch.setattr(CudaDouble, "cudaGetDeviceProperties", too_old)
    monkeypatch.setattr(setup.double, "Runtime", lambda logger: pytest.fail("touched"))
    with pytest.raises(EngineError, match="needs an NVIDIA GPU"):
        open_separator(setup.plan)


VALIDITY = [
    ("VERSION_MISMATCH", r"it was built by another version of TensorRT-RTX: bsm-export --rebuild .*/x builds it again"),
    ("UNSUPPORTED_CC", r"it is not for NVIDIA Double: bsm-export --rebuild .*/x --compute-capability 8\.9 builds"),
    ("OLD_CUDA_DRIVER", r"the NVIDIA driver is too old: update it$"),
    ("OLD_CUDA_RUNTIME", r"the CUDA runtime is too old: pip install --upgrade 'bsmamba2\[tensorrt-rtx\]'$"),
    ("INSUFFICIENT_GPU_MEMORY", r"NVIDIA Double has too little memory: use another GPU, or export with a smaller"),
    ("MALFORMED_ENGINE", r"it is damaged: bsm-export --rebuild"),
    ("CUDA_ERROR", r"CUDA does not work: install the NVIDIA driver again$"),
]


@pytest.mark.parametrize(("bit", "message"), VALIDITY)
def test_tensorrt_rtx_says_why_a_plan_does_not_run(rtx, bit, message):
    rtx.monkeypatch.setattr(RtxRuntime, "validity", EngineValidity.INVALID)
    rtx.monkeypatch.setattr(RtxRuntime, "bits", int(EngineInvalidityDiagnostics[bit]))
    with pytest.raises(EngineError, match=rf"x\.plan: TensorRT-RTX cannot run it here: {message}"):
        open_separator(rtx.plan)
    assert rtx.cuda.leaks() == []


def test_several_reasons_and_none_are_one_line(rtx):
    rtx.monkeypatch.setattr(RtxRuntime, "validity", EngineValidity.INVALID)
    rtx.monkeypatch.setattr(RtxRuntime, "bits", 4 | 32)
    with pytest.raises(
        EngineError, match="the NVIDIA driver is too old: update it; it is damaged: bsm-export"
    ) as raised:
        open_separator(rtx.plan)
    assert "\n" not in str(raised.value)
    rtx.monkeypatch.setattr(RtxRuntime, "bits", 0)
    with pytest.raises(
        EngineError, match=r"cannot run it here: it gives no known reason \(0x0\): bsm-export --rebuild"
    ):
        open_separator(rtx.plan)


def test_a_plan_that_is_slower_here_is_noted(rtx):
    rtx.monkeypatch.setattr(RtxRuntime, "validity", EngineValidity.SUBOPTIMAL)
    with rtx.open() as backend:
        (note,) = backend.notes
    assert note.startswith("TensorRT-RTX expects this plan to be slower here than one for this GPU alone: bsm-export")
    assert "--compute-capability 8.9 builds it again" in note


def test_a_release_that_cannot_be_asked_opens_the_plan(rtx):
    rtx.monkeypatch.delattr(RtxRuntime, "get_engine_validity")
    rtx.open().close()


def test_the_real_bindings_are_asked_and_print_nothing(rtx):
    """Without a GPU they refuse every plan; the logger would print to standard output, past Python."""
    code = (
        "import tensorrt_rtx as trt\nfrom runtime.engine.flavours import native_logger\n"
        "trt.Runtime(native_logger(trt)).deserialize_cuda_engine(b'vtrt' + bytes(200))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    runtime = tensorrt_rtx.Runtime(native_logger(tensorrt_rtx))
    with pytest.raises(EngineError, match=r"x\.plan: TensorRT-RTX cannot run it here: "):
        check_validity(tensorrt_rtx, runtime, header(64), rtx.plan, Gpu("NVIDIA Double", "8.9"))
