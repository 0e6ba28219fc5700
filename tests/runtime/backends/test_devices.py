"""`--device` for ONNX engines: what is asked for is what runs, or one line says why not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from halving import halving_engine

from runtime import EngineError, OptionError, open_separator
from runtime.backends import onnxruntime as module
from runtime.backends.device import Device, parse_device
from runtime.backends.onnxruntime import CPU, OnnxRuntimeBackend

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture
def onnxruntime(monkeypatch, tmp_path):
    """ONNX Runtime with providers that are `installed`, of which those that `start` do."""
    real = module.ort
    state = SimpleNamespace(installed=[CPU], start=[CPU], lean=[])

    class Session:
        def __init__(self, engine, options, providers, provider_options):
            assert len(providers) == 1 and provider_options == [{"use_tf32": "0"} if providers == [CUDA] else {}]
            self._providers = [each for each in (*providers, CPU) if each in state.start]
            self._real = real.InferenceSession(engine, options, providers=[CPU])
            state.lean.append(not options.enable_cpu_mem_arena)

        def get_providers(self):
            return self._providers

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(real, "get_available_providers", lambda: state.installed)
    monkeypatch.setattr(
        module,
        "ort",
        SimpleNamespace(
            InferenceSession=Session,
            SessionOptions=real.SessionOptions,
            get_available_providers=real.get_available_providers,
            __version__="1.0",
        ),
    )
    state.engine = halving_engine(tmp_path / "x.onnx")
    return state


def test_auto_takes_the_gpu_where_it_starts(onnxruntime):
    assert open_separator(onnxruntime.engine).backend.name == "onnxruntime 1.0, CPU"
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    separator = open_separator(onnxruntime.engine)
    assert separator.backend.name == "onnxruntime 1.0, CUDA" and separator.backend.notes == []
    assert open_separator(onnxruntime.engine, threads=2).backend.name == "onnxruntime 1.0, CPU"
    assert open_separator(onnxruntime.engine, device="cpu").backend.name == "onnxruntime 1.0, CPU"


def test_auto_says_so_when_a_gpu_provider_does_not_start(onnxruntime):
    onnxruntime.installed = [CUDA, CPU]
    backend = open_separator(onnxruntime.engine).backend
    assert backend.name == "onnxruntime 1.0, CPU"
    assert len(backend.notes) == 1
    assert backend.notes[0].startswith("running on the CPU, because the GPU cannot be used: ")
    assert "CUDAExecutionProvider did not start (ONNX Runtime used CPUExecutionProvider)" in backend.notes[0]


@pytest.mark.parametrize(("device", "provider"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_a_gpu_asked_for_is_never_replaced(onnxruntime, device, provider):
    with pytest.raises(EngineError, match=rf"--device {device}: this ONNX Runtime has no .*pip install 'bsm"):
        open_separator(onnxruntime.engine, device=device)
    onnxruntime.installed = [provider, CPU]
    with pytest.raises(EngineError, match=rf"{provider} did not start .*: check the NVIDIA driver"):
        open_separator(onnxruntime.engine, device=device)
    onnxruntime.start = [provider, CPU]
    assert open_separator(onnxruntime.engine, device=device).backend.name == f"onnxruntime 1.0, {provider[:-17]}"


def test_impossible_devices_are_refused(onnxruntime):
    with pytest.raises(
        OptionError, match="^--device tpu: must be auto, cpu, cuda or tensorrt, or name a GPU, as in cuda:1$"
    ):
        open_separator(onnxruntime.engine, device="tpu")
    with pytest.raises(OptionError, match="--threads 2: the engine runs on a GPU"):
        open_separator(onnxruntime.engine, device="cuda", threads=2)


def test_a_gpu_may_be_named_by_its_number():
    assert [str(parse_device(text)) for text in ("auto", "cpu", "cuda", "tensorrt")] == [
        "auto",
        "cpu",
        "cuda",
        "tensorrt",
    ]
    assert parse_device("cuda:0") == Device("cuda", 0) == parse_device("cuda")
    assert parse_device("tensorrt:12") == Device("tensorrt", 12)
    for text in ("cuda:", "cuda:-1", "cuda:1.0", "cuda: 1", "CUDA", "cpu:1", "auto:1", "cuda:1000", "cuda:\u0661", ""):
        with pytest.raises(OptionError, match=f"^--device {text}: must be "):
            parse_device(text)


def test_bfloat16_is_refused_on_the_cpu(onnxruntime):
    with pytest.raises(EngineError, match="bfloat16 engine needs an NVIDIA GPU.* --precision fp32"):
        OnnxRuntimeBackend(onnxruntime.engine, None, "cpu", precision="bf16")
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    OnnxRuntimeBackend(onnxruntime.engine, None, "auto", precision="bf16")


def test_whole_batch_graphs_are_run_without_the_arena(onnxruntime):
    for lean in (True, False):
        OnnxRuntimeBackend(onnxruntime.engine, None, lean=lean)
        assert onnxruntime.lean[-1] == lean
