"""What users see of ONNX Runtime on a GPU: one line each, as in docs/engine.md. On a double: no GPU was used."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import ort_double
import pytest
from halving import halving_engine
from onnx import helper
from ort_double import CPU, CUDA, RTX, TENSORRT
from songs import song

from runtime import cli
from runtime.backends import sessions
from runtime.backends.onnxruntime import session_options
from runtime.backends.providers import Provider
from runtime.command import exit_code
from runtime.engine.manifest import METADATA_KEY, Manifest, sha256_of

PAGE = (Path(__file__).parents[3] / "docs" / "engine.md").read_text()
NO_FILE = "cannot open shared object file: No such file or directory"
NOT_LOADED = f"[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/plugin.so with error: libcuda.so.1: {NO_FILE}"


@pytest.fixture
def bsm_run(onnxruntime, monkeypatch, tmp_path, capsys):
    """`bsm-run vocals.onnx song.wav ...` in an empty folder: exit code and lines on standard error."""
    monkeypatch.chdir(tmp_path)
    halving_engine(tmp_path / "vocals.onnx")
    song(tmp_path / "song.wav")

    def run(*options):
        code = exit_code(cli.app, "bsm-run", ["vocals.onnx", "song.wav", "-o", "out", "--overwrite", *options])
        return code, capsys.readouterr().err.splitlines()

    return run


def retarget(target: str) -> None:
    """Lay the engine out for `target`, in its manifest and in the copy inside."""
    path = Path("vocals.json")
    data = json.loads(path.read_text()) | {"target": target}
    model = onnx.load("vocals.onnx")
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: Manifest.from_json(json.dumps(data), "made").inside_onnx()})
    onnx.save(model, "vocals.onnx")
    data["onnx"] |= {"bytes": Path("vocals.onnx").stat().st_size, "sha256": sha256_of(Path("vocals.onnx"))}
    path.write_text(json.dumps(data))


def assert_in_docs(situation: str, line: str) -> None:
    """The page marks with a * what was also seen with the real packages."""
    assert any(f"| {situation}{mark} | `{line}` |" in PAGE for mark in ("", " *")), line


# situation -> (device, what is set up; installed, and those of them that start, are set by `refused`)
REFUSED = {
    "no CUDA provider": ("cuda", {"installed": [CPU]}),
    "no TensorRT provider, no plugin": ("tensorrt", {"installed": [CUDA, CPU]}),
    "no driver": ("cuda", {"missing": sessions.DRIVER}),
    "no CUDA libraries": ("cuda", {"missing": "libcublasLt.so.13"}),
    "no TensorRT 10": ("tensorrt", {"missing": "libnvinfer.so.10"}),
    "no such GPU": ("cuda:7", {"printed": "EP Error CUDA failure 101: invalid device ordinal"}),
    "GPU memory is full": ("cuda", {"printed": "EP Error CUDA failure 2: out of memory"}),
    "no node runs there": ("cuda", {"start": [CUDA, CPU], "nodes": [(CPU, 2955)]}),
    "plugin, no driver": ("tensorrt", {"plugin": True, "refusal": NOT_LOADED}),
    "plugin, no GPU for it": ("tensorrt", {"plugin": True}),
    "plugin, no such GPU": ("tensorrt:7", {"plugin": True, "gpus": ["0", "1"]}),
    "plugin, no engine built": (
        "tensorrt",
        {"plugin": True, "gpus": ["0"], "printed": "[NvTensorRTRTX EP] failed to build engine"},
    ),
    "plugin, old onnxruntime": ("tensorrt", {"plugin": True, "too_old": True}),
}


@pytest.mark.skipif(sessions.DRIVER != "libcuda.so.1", reason="libraries have other names here")
@pytest.mark.parametrize("situation", REFUSED)
def test_a_gpu_that_cannot_be_used(bsm_run, onnxruntime, monkeypatch, tmp_path, situation):
    device, setting = REFUSED[situation]
    setting = {"installed": [TENSORRT, CUDA, CPU], **setting}
    if setting.pop("plugin", False):
        ort_double.install_plugin(monkeypatch, tmp_path)
    if setting.pop("too_old", False):
        monkeypatch.delattr(ort, "register_execution_provider_library")
        monkeypatch.setattr(ort, "__version__", "1.20.1")
    for name, value in setting.items():
        setattr(onnxruntime, name, value)
    code, lines = bsm_run("--device", device)
    assert code == 2 and len(lines) == 1 and not Path("out").exists()
    assert_in_docs(situation, lines[0])


def started(onnxruntime, *providers):
    onnxruntime.installed = onnxruntime.start = [*providers, CPU]


# situation -> (options, what is set up)
NOTED = {
    "auto, no driver": ([], lambda each, patch: setattr(each, "installed", [CUDA, CPU])),
    "engine for CPUs on a GPU": (["--device", "cuda"], lambda each, patch: started(each, CUDA)),
    "engine for GPUs on a CPU": ([], lambda each, patch: retarget("gpu")),
    "TF32 asked for": (
        ["--device", "tensorrt"],
        lambda each, patch: (
            started(each, TENSORRT, CUDA),
            patch.setenv("NVIDIA_TF32_OVERRIDE", "1"),
            retarget("gpu"),
        ),
    ),
    "no folder for caches": (
        ["--device", "tensorrt"],
        lambda each, patch: (
            started(each, TENSORRT, CUDA),
            retarget("gpu"),
            patch.setenv("BSM_CACHE", "song.wav"),
        ),
    ),
    "nodes outside TensorRT": (
        ["--device", "tensorrt"],
        lambda each, patch: (
            started(each, TENSORRT, CUDA),
            retarget("gpu"),
            setattr(each, "nodes", [(TENSORRT, 2900), (CUDA, 40), (CPU, 15)]),
        ),
    ),
}


@pytest.mark.skipif(sessions.DRIVER != "libcuda.so.1", reason="libraries have other names here")
@pytest.mark.parametrize("situation", NOTED)
def test_a_note(bsm_run, onnxruntime, monkeypatch, situation):
    options, set_up = NOTED[situation]
    onnxruntime.missing = sessions.DRIVER
    set_up(onnxruntime, monkeypatch)
    code, lines = bsm_run(*options)
    assert code == 0 and Path("out/song_vocals.wav").exists()
    assert len(lines) == 1
    assert_in_docs(situation, re.sub("onnxruntime/[0-9a-f]{16}", "onnxruntime/0123456789abcdef", lines[0]))


def test_what_onnx_runtime_prints_is_not_shown(bsm_run, onnxruntime, capsys):
    onnxruntime.installed = [CUDA, CPU]
    onnxruntime.printed = "*************** EP Error ***************\nEP Error no CUDA-capable device when using []"
    code, lines = bsm_run("--device", "cuda")
    assert code == 2 and len(lines) == 1
    assert lines[0].startswith("bsm-run: vocals.onnx: CUDAExecutionProvider did not start (no CUDA-capable device")
    assert capsys.readouterr().out == ""


def test_a_library_that_is_missing_is_named(monkeypatch):
    """By the system's loader itself."""
    monkeypatch.setattr(sessions, "DRIVER", "libno-such-driver.so.1")
    assert "libno-such-driver.so.1" in (sessions._missing_library(CUDA) or "")
    assert sessions._missing_library(RTX) is None  # a plugin says it itself


def test_the_double_is_called_as_the_real_module_is():
    """The double takes what the real functions take."""
    inspect.signature(ort.InferenceSession).bind("x.onnx", session_options(1), [CUDA], [{}])
    inspect.signature(ort.InferenceSession).bind("x.onnx", session_options(1), enable_fallback=0)
    inspect.signature(ort.InferenceSession.run_with_iobinding).bind(None, None)
    inspect.signature(ort.OrtValue.ortvalue_from_shape_and_type).bind((1, 2), np.float32, "cuda", 1)
    inspect.signature(ort.OrtValue.update_inplace).bind(None, np.zeros(1))
    inspect.signature(ort.IOBinding.bind_ortvalue_input).bind(None, "mixture", None)
    inspect.signature(ort.IOBinding.bind_ortvalue_output).bind(None, "stems", None)
    ort.set_default_logger_severity(2)


@pytest.mark.skipif(not hasattr(ort, "get_ep_devices"), reason="this ONNX Runtime takes no plugins")
def test_the_real_module_takes_plugins_as_the_double_does(engine, tmp_path):
    assert "(arg0: str, arg1: str)" in ort.register_execution_provider_library.__doc__
    taken = ort.SessionOptions.add_provider_for_devices.__doc__
    assert "Sequence[onnxruntime.capi.onnxruntime_pybind11_state.OrtEpDevice]" in taken and "Mapping[str, str]" in taken
    assert hasattr(ort.OrtEpDevice, "ep_name") and hasattr(ort.OrtEpDevice, "ep_options")
    assert {each.ep_name for each in ort.get_ep_devices()} >= {CPU}
    (cpu,) = (each for each in ort.get_ep_devices() if each.ep_name == CPU)
    session, notes = sessions.open_on_gpu(engine, session_options(1), Provider(CPU, {}, gpu=cpu))
    assert session.get_providers() == [CPU] and notes == []  # the provider of its options
    with pytest.raises(Exception, match="Failed to load library .*plugin.so with error: "):
        ort.register_execution_provider_library("double", str(tmp_path / "plugin.so"))


@pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"), reason="this ONNX Runtime counts no nodes"
)
def test_the_real_module_counts_nodes_as_the_double_does(engine):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    parts = ort.InferenceSession(engine, options, [CPU]).get_provider_graph_assignment_info()
    assert {each.ep_name for each in parts} == {CPU} and sum(len(each.get_nodes()) for each in parts) == 2
