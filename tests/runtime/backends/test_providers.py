"""What the GPU providers of ONNX Runtime are told. On a double: no GPU was used."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from halving import halving_engine
from ort_double import CPU, CUDA, RTX, TENSORRT

from runtime import EngineError, open_separator
from runtime.backends.device import Device
from runtime.backends.providers import gpu_provider
from runtime.backends.rtx_plugin import find_plugin
from runtime.engine.manifest import Range
from runtime.engine.reading import read_manifest

CUDA_SETTINGS = {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
SHAPES = {"min": "mixture:1x11x1025x2x2", "opt": "mixture:1x11x1025x2x2", "max": "mixture:8x11x1025x2x2"}


@pytest.fixture
def gpu(onnxruntime):
    onnxruntime.installed = onnxruntime.start = [TENSORRT, CUDA, CPU]
    return onnxruntime


def test_cuda_computes_in_float32_and_reserves_what_it_needs(gpu, engine):
    open_separator(engine, device="cuda")
    open_separator(engine, device="cuda:1")
    assert gpu.opened == [{CUDA: CUDA_SETTINGS}, {CUDA: CUDA_SETTINGS | {"device_id": "1"}}]
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ


def test_tensorrt_gets_the_sizes_a_cache_and_cuda_behind_it(gpu, engine, tmp_path):
    open_separator(engine, device="tensorrt:1")
    (opened,) = gpu.opened
    assert list(opened) == [TENSORRT, CUDA] and opened[CUDA] == CUDA_SETTINGS | {"device_id": "1"}
    settings = opened[TENSORRT]
    folder = Path(settings["trt_engine_cache_path"])
    assert folder.is_dir() and folder.parent == tmp_path / "cache" / "onnxruntime"
    assert settings == {
        "device_id": "1",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        **{f"trt_profile_{size}_shapes": shape for size, shape in SHAPES.items()},
    }


def test_the_plugin_gets_the_sizes_a_cache_and_the_gpu(plugin, engine, tmp_path):
    plugin.installed, plugin.gpus = [TENSORRT, CUDA, CPU], ["0", "1"]
    backend = open_separator(engine, device="tensorrt:1").backend
    assert backend.name == "onnxruntime 1.31.1, NvTensorRTRTX"
    settings = plugin.opened[0][RTX]
    folder = Path(settings["nv_runtime_cache_path"])
    assert folder.is_dir() and folder.parent == tmp_path / "cache" / "onnxruntime"
    assert settings == {
        "enable_cuda_graph": "0",  # batches of 1 to 8
        "nv_runtime_cache_path": str(folder),
        **{f"nv_profile_{size}_shapes": shape for size, shape in SHAPES.items()},
    }
    assert plugin.chosen[0].ep_options == {"device_id": "1"}


def test_the_plugin_uses_cuda_graphs_for_engines_of_one_shape(plugin, engine):
    manifest = replace(read_manifest(engine), batch=Range(1, 1, 1))
    assert gpu_provider(Device("tensorrt"), manifest).settings["enable_cuda_graph"] == "1"


def test_any_length_is_a_range_of_frames(gpu, engine):
    manifest = replace(read_manifest(engine), frames=Range(5, 11, 20), batch=Range(1, 2, 4))
    settings = gpu_provider(Device("tensorrt"), manifest).settings
    shapes = [settings[f"trt_profile_{size}_shapes"] for size in ("min", "opt", "max")]
    assert shapes == ["mixture:1x5x1025x2x2", "mixture:2x11x1025x2x2", "mixture:4x20x1025x2x2"]


def test_each_engine_has_a_cache_of_its_own(gpu, engine, monkeypatch):
    manifest = read_manifest(engine)
    assert manifest.onnx is not None
    other = replace(manifest, onnx=replace(manifest.onnx, sha256="1" * 64))

    def folder(manifest, device="tensorrt"):
        return gpu_provider(Device(device), manifest).settings["trt_engine_cache_path"]

    first = folder(manifest)
    assert folder(manifest) == first
    assert folder(other) != first  # other weights under the same name
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert folder(manifest) != first


def test_without_a_cache_it_runs_and_says_so(gpu, engine, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "file"))
    backend = open_separator(engine, device="tensorrt").backend
    assert not any("cache" in key for key in gpu.opened[0][TENSORRT])
    assert backend.notes[0].startswith("what TensorRT builds is not kept, so each start builds it again: ")
    assert "set BSM_CACHE to a folder of yours" in backend.notes[0]


@pytest.mark.parametrize("which", ["gpu", "plugin"])
def test_tensorrt_does_not_use_tf32(which, request, engine, monkeypatch):
    request.getfixturevalue(which)
    for given, after, noted in ((None, "0", False), ("0", "0", False), ("1", "1", True)):
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
        if given is not None:
            monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", given)
        notes = open_separator(engine, device="tensorrt").backend.notes
        assert os.environ["NVIDIA_TF32_OVERRIDE"] == after
        assert any(note.startswith(f"NVIDIA_TF32_OVERRIDE={given} is set") for note in notes) == noted


def test_nodes_that_run_elsewhere_are_counted(gpu, engine):
    def notes(device, *nodes):
        gpu.nodes = list(nodes)
        found = open_separator(engine, device=device).backend.notes
        return [note for note in found if "nodes" in note]

    assert notes("tensorrt", (TENSORRT, 900)) == []
    (note,) = notes("tensorrt", (TENSORRT, 500), (CUDA, 90), (TENSORRT, 400), (CPU, 10))
    assert note.startswith(f"100 of 1000 nodes do not run in {TENSORRT} but 90 in {CUDA} and 10 in {CPU}, ")
    assert notes("cuda", (CUDA, 950), (CPU, 50)) == []  # shapes are computed on the CPU
    (note,) = notes("cuda", (CUDA, 800), (CPU, 200))
    assert note.startswith(f"200 of 1000 nodes do not run in {CUDA} but 200 in {CPU}, ")


def test_a_gpu_that_takes_no_node_is_no_gpu(gpu, engine):
    gpu.nodes = [(CPU, 1000)]
    for device in ("cuda", "tensorrt"):
        with pytest.raises(EngineError, match="takes none of its 1000 nodes, so all would run on the CPU: use"):
            open_separator(engine, device=device)
    backend = open_separator(engine).backend
    assert backend.name.endswith(", CPU") and "takes none of its 1000 nodes" in backend.notes[0]


def test_the_plugin_is_registered_once(plugin, engine):
    plugin.gpus = []
    with pytest.raises(EngineError, match="finds no GPU that it supports"):
        find_plugin(Device("tensorrt"))
    assert plugin.registered == [(RTX, "/site-packages/plugin.so")]
    plugin.refusal = "library is already registered under NvTensorRTRTXExecutionProvider"
    with pytest.raises(EngineError, match="finds no GPU that it supports"):
        find_plugin(Device("tensorrt"))
    plugin.gpus = ["0"]
    assert find_plugin(Device("tensorrt")).version == "0.5.0"
    assert len(plugin.registered) == 1


@pytest.mark.parametrize(("kind", "prefix"), [("tensorrt", "trt"), ("plugin", "nv")])
def test_an_engine_with_waveforms_gets_their_shapes(request, tmp_path, kind, prefix):
    double = request.getfixturevalue("gpu" if kind == "tensorrt" else "plugin")
    path = halving_engine(tmp_path / "wave.onnx", io="wave")
    backend = open_separator(path, device="tensorrt").backend
    (settings,) = (each for each in double.opened[0].values() if f"{prefix}_profile_max_shapes" in each)
    shapes = [settings[f"{prefix}_profile_{size}_shapes"] for size in ("min", "opt", "max")]
    assert shapes == ["mixture:1x2x4410", "mixture:1x2x4410", "mixture:8x2x4410"]
    mixture = np.ones((3, 2, 4410), np.float32)
    np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])


def test_waveforms_stay_in_the_memory_of_the_gpu(gpu, tmp_path):
    path = halving_engine(tmp_path / "wave.onnx", io="wave")
    with open_separator(path, device="cuda", batch=2) as separator:
        song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
        np.testing.assert_allclose(separator.separate(song, 44100)["vocals"], 0.5 * song, atol=1e-6)
        with pytest.raises(EngineError, match=r"wave\.onnx takes float32.*steps of 441 samples"):
            separator.backend.run(np.ones((1, 2, 4000), np.float32))
    assert gpu.bound_runs == 2
