"""`--device` for ONNX engines: what is asked for is what runs, or one line says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ort_double import CPU, CUDA, TENSORRT

from runtime import EngineError, OptionError, open_separator
from runtime.backends.device import Device, parse_device
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.engine.reading import read_manifest

LAID_OUT = "the engine is laid out for CPUs, slice by slice, which is slow on a GPU"


def test_auto_takes_the_gpu_where_it_starts(onnxruntime, engine):
    assert open_separator(engine).backend.name == "onnxruntime 1.31.1, CPU"
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    separator = open_separator(engine)
    assert separator.backend.name == "onnxruntime 1.31.1, CUDA"
    assert [note.startswith(LAID_OUT) for note in separator.backend.notes] == [True]
    assert open_separator(engine, threads=2).backend.name == "onnxruntime 1.31.1, CPU"
    assert open_separator(engine, device="cpu").backend.name == "onnxruntime 1.31.1, CPU"


def test_auto_says_so_when_a_gpu_provider_does_not_start(onnxruntime, engine):
    onnxruntime.installed = [CUDA, CPU]
    backend = open_separator(engine).backend
    assert backend.name == "onnxruntime 1.31.1, CPU"
    assert len(backend.notes) == 1
    assert backend.notes[0].startswith("running on the CPU, because the GPU cannot be used: ")
    assert "CUDAExecutionProvider did not start (ONNX Runtime used CPUExecutionProvider)" in backend.notes[0]


@pytest.mark.parametrize(("device", "provider"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_a_gpu_asked_for_is_never_replaced(onnxruntime, engine, device, provider):
    with pytest.raises(EngineError, match=rf"^--device {device}: .*{provider}.*pip install 'bsm"):
        open_separator(engine, device=device)
    onnxruntime.installed = [provider, CPU]
    with pytest.raises(EngineError, match=rf"{provider} did not start .*: check --device and NVIDIA's driver"):
        open_separator(engine, device=device)
    onnxruntime.start = [provider, CPU]
    assert open_separator(engine, device=device).backend.name == f"onnxruntime 1.31.1, {provider[:-17]}"


def test_impossible_devices_are_refused(onnxruntime, engine):
    with pytest.raises(
        OptionError,
        match="^--device tpu: must be auto, cpu, cuda, tensorrt or openvino, or name a GPU, as in cuda:1, or a "
        "processor of OpenVINO's: openvino:CPU, openvino:GPU, openvino:NPU$",
    ):
        open_separator(engine, device="tpu")
    with pytest.raises(OptionError, match="--threads 2: the engine runs on a GPU"):
        open_separator(engine, device="cuda", threads=2)


def test_a_gpu_or_a_processor_may_be_named():
    assert [str(parse_device(text)) for text in ("auto", "cpu", "cuda", "tensorrt")] == [
        "auto",
        "cpu",
        "cuda",
        "tensorrt",
    ]
    assert parse_device("cuda:0") == Device("cuda", 0) == parse_device("cuda")
    assert parse_device("tensorrt:12") == Device("tensorrt", 12)
    assert parse_device("openvino") == Device("openvino", processor="CPU") == parse_device("openvino:CPU")
    assert str(parse_device("openvino:NPU")) == "openvino:NPU"
    for text in ("openvino:", "openvino:0", "openvino:gpu", "openvino:TPU"):
        with pytest.raises(OptionError, match=f"^--device {text}: must be "):
            parse_device(text)
    for text in ("cuda:", "cuda:-1", "cuda:1.0", "cuda: 1", "CUDA", "cpu:1", "auto:1", "cuda:1000", "cuda:\u0661", ""):
        with pytest.raises(OptionError, match=f"^--device {text}: must be "):
            parse_device(text)


def test_bfloat16_is_refused_on_the_cpu(onnxruntime, engine):
    bf16 = replace(read_manifest(engine), precision="bf16")
    with pytest.raises(EngineError, match="bfloat16 engine needs an NVIDIA GPU.* --precision fp32"):
        OnnxRuntimeBackend(engine, None, manifest=bf16)
    onnxruntime.installed = [CUDA, CPU]  # the reason, not that bf16 needs one
    with pytest.raises(EngineError, match="CUDAExecutionProvider did not start"):
        OnnxRuntimeBackend(engine, None, Device("auto"), manifest=bf16)
    onnxruntime.start = [CUDA, CPU]
    OnnxRuntimeBackend(engine, None, Device("auto"), manifest=bf16)


def test_whole_batch_graphs_are_run_without_the_arena(onnxruntime, engine):
    for lean in (True, False):
        OnnxRuntimeBackend(engine, None, lean=lean)
        assert onnxruntime.options[-1].enable_cpu_mem_arena != lean


def test_a_gpu_needs_the_manifest(onnxruntime, engine):
    with pytest.raises(ValueError, match="manifest"):
        OnnxRuntimeBackend(engine, None, Device("cuda"))


def test_the_cpu_is_told_nothing_of_gpus(onnxruntime, engine):
    open_separator(engine, device="cpu")
    assert onnxruntime.opened == [{CPU: {}}]
    options = onnxruntime.options[-1]
    with pytest.raises(RuntimeError):
        options.get_session_config_entry("session.record_ep_graph_assignment_info")


@pytest.mark.parametrize(("target", "device", "said"), [("gpu", "cpu", "target cpu"), ("cpu", "cuda", "target gpu")])
def test_an_engine_for_the_other_hardware_is_said(onnxruntime, engine, target, device, said):
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    for each in ("cpu", "gpu"):
        manifest = replace(read_manifest(engine), target=each)
        notes = OnnxRuntimeBackend(engine, None, Device(device), manifest=manifest).notes
        assert len(notes) == (each == target)
        if notes:
            assert notes[0].endswith(f"export it again with bsm-export --{said}")
