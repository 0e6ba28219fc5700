"""What the doubles catch: mistakes in the use of TensorRT and CUDA."""

from __future__ import annotations

import numpy as np
import pytest
from plan_double import make

from runtime.backends.cuda import Cuda
from runtime.backends.tensorrt import TensorRtBackend


class NoWait(TensorRtBackend):
    def _collect(self, slot, shape):
        self._free.append(slot)
        return slot.stems.floats(int(np.prod(shape))).reshape(shape).copy()


def test_a_forgotten_wait_gives_no_stems(setup):
    backend = NoWait(setup.plan, setup.manifest)
    assert np.isnan(backend.run(setup.mixture())).all()
    backend._cuda.synchronize()
    backend.close()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda b: b._context._context._addresses.pop("stems"), "run without an address for {'stems'}"),
        (lambda b: setattr(b._mixture, "address", 0x5), "0x5 is no device memory that is allocated"),
        (lambda b: setattr(b._cuda, "stream", 0), "is no stream"),
        (lambda b: b._cuda.call("cudaFree", b._stems.address), "is not allocated"),
        (lambda b: b._cuda.call("cudaFree", b._context._activations.address), "is not allocated"),
        (lambda b: setattr(b._context._context, "_shape", None), "run before the input's shape was set"),
        (lambda b: setattr(b._context._context, "_memory", (0x1000, 256)), "run with less memory than the shape needs"),
        (lambda b: setattr(b._context, "_config", None), "the configuration is gone"),
        (lambda b: setattr(b._cuda, "record", lambda event, stream: None), "never recorded"),
    ],
)
def test_mistakes_in_the_use_of_tensorrt_are_caught(rtx, mistake, message):
    backend = rtx.open()
    backend.run(rtx.mixture())
    rtx.cuda._recorded.clear()
    mistake(backend)
    with pytest.raises(AssertionError, match=message):
        backend.run(rtx.mixture())


def test_memory_changed_under_a_graph_is_seen(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    backend = setup.open()
    backend.run(setup.mixture()), backend.run(setup.mixture())
    context = backend._context
    context._activations.reserve(1 << 20)
    context._context.set_device_memory(context._activations.address, 1 << 20)
    with pytest.raises(AssertionError, match="a graph replayed with other memory than it was captured with"):
        backend.run(setup.mixture())


def test_a_stream_destroyed_before_the_context_is_seen(setup):
    backend = setup.open()
    backend.run(setup.mixture())
    with pytest.raises(AssertionError, match="a stream destroyed before the execution contexts that ran on it"):
        backend._cuda.close()


def test_memory_that_is_not_given_back_is_seen(setup):
    setup.monkeypatch.setattr(Cuda, "close", lambda self: None)
    with setup.open() as backend:
        backend.run(setup.mixture())
    assert len(setup.cuda.leaks()) == 16  # 3 streams, 5 device buffers, 2 pinned ones, 3 events of each slot


def test_names_that_do_not_exist_are_seen(setup):
    setup.install()
    with pytest.raises(AttributeError):
        Cuda().call("cudaMemcpyEverything")
