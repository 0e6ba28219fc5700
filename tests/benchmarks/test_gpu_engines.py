"""Plans as contenders of benchmarks/gpu.py, on the doubles of CUDA and TensorRT; engines are made on the CPU."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import plan_double
import pytest
from fakes import RTX_4090
from on_gpu import making
from on_gpu.engines import EngineSession, name_of, onnx
from on_gpu.measuring import CannotRun, measure
from on_gpu.work import Work, compare, prepare, reference
from tiny import FRAMES, TINY

from runtime.engine.manifest import FLAVOURS, IOS, Range
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_plan_is_measured_alone_and_in_a_queue(tmp_path, monkeypatch, flavour, io):
    setup = plan_double.make(flavour, tmp_path, monkeypatch, frames=Range(11, 11, 11), io=io)
    work = Work(str(tmp_path), batches=(1, 2, 4), rounds=4)
    mixtures = np.concatenate([setup.mixture(seed=seed) for seed in range(4)])
    np.save(work.file("mixtures", io), mixtures)
    np.save(work.file("stems", io), np.float32(0.5) * mixtures[:, None])
    session = EngineSession(setup.open, on_gpu=True)
    found = []
    measure(session, work, "fp16", lambda **each: found.append(each), io)
    points = [each["point"] for each in found if "point" in each]
    assert [point["batch"] for point in points] == [1, 2, 4]
    for point in points:
        assert point["parity"]["within"] and point["parity"]["max_error"] == 0
        assert point["latency"]["rounds"] == point["queued_seconds"]["rounds"] == 4
        assert point["gpu_seconds"] is None
    memory = [point["memory_bytes"] for point in points]
    assert memory == sorted(memory) and memory[0] >= 2 * mixtures[:1].nbytes
    session._backend.close()
    assert setup.cuda.leaks() == []


def test_a_plan_that_cannot_be_opened_is_not_a_failure():
    def opened():
        raise EngineError("x.plan: was built for another GPU")

    with pytest.raises(CannotRun, match="another GPU"):
        EngineSession(opened, on_gpu=False)


@pytest.mark.parametrize("io", [pytest.param(io, marks=pytest.mark.slow if io == "spectrum" else ()) for io in IOS])
def test_an_engine_is_made_and_run(tmp_path, tracing, io):
    """As on a GPU, but on the CPU."""
    sizes = {each.name: getattr(TINY, each.name) for each in fields(TINY)}
    work = Work(str(tmp_path), sizes=sizes, frames=FRAMES.opt, batches=(1, 2), device="cpu")
    prepare(work, lambda **found: None)
    reference(work, lambda **found: None)
    making.make_graph(work, lambda **found: None, "fp32", "chunked", io)
    manifest = read_manifest(name_of(work, "fp32", "chunked", io).with_suffix(".onnx"))
    assert (manifest.batch.max, manifest.target, manifest.io) == (2, "gpu", io)
    assert manifest.parity == making.NOT_COMPARED
    session = onnx(work, "fp32", io, "cpu")
    mixture, expected = np.array(work.mixtures(io)), work.stems(io)
    assert mixture.shape == manifest.input_shape(2, FRAMES.opt)
    assert compare(session.run(mixture), expected, "fp32")["within"]
    assert session.memory() == {} and session.queued_seconds(mixture, 3) is None
    with pytest.raises(CannotRun, match="there is no NVIDIA driver|no NVIDIA GPU"):
        making.make_plan(work, lambda **found: None, "fp32", "chunked", io, "tensorrt-rtx")


def test_a_plan_is_built_for_the_gpu_of_this_machine(tmp_path, tracing, monkeypatch):
    """TensorRT-RTX builds without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(making, "find_gpu", lambda: (RTX_4090, ""))
    sizes = {each.name: getattr(TINY, each.name) for each in fields(TINY)}
    work = Work(str(tmp_path), sizes=sizes, frames=FRAMES.opt, batches=(1, 2), device="cpu")
    making.make_graph(work, lambda **found: None, "fp32", "chunked", "wave")
    making.make_plan(work, lambda **found: None, "fp32", "chunked", "wave", "tensorrt-rtx")
    manifest = read_manifest(name_of(work, "fp32", "chunked", "wave", "tensorrt-rtx").with_suffix(".plan"))
    assert (manifest.plan.compute_capabilities, manifest.batch.max, manifest.io) == (["8.9"], 2, "wave")
    with pytest.raises(CannotRun, match="TensorRT-RTX takes no plugins"):
        making.make_plan(work, lambda **found: None, "fp16", "plugin", "wave", "tensorrt-rtx")
