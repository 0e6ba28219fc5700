"""What the doubles catch: mistakes in the use of TensorRT and CUDA."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.cuda import Cuda
from runtime.backends.tensorrt import TensorRtBackend


class NoWait(TensorRtBackend):
    def _collect(self, slot, shape):
        self._free.append(slot)
        return slot.stems[: int(np.prod(shape))].reshape(shape).copy()


def test_a_forgotten_wait_gives_no_stems(setup):
    backend = NoWait(setup.plan, setup.manifest)
    assert np.isnan(backend.run(setup.mixture())).all()
    backend._cuda.synchronize()
    backend.close()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda b: b._context._addresses.pop("stems"), "run without an address for {'stems'}"),
        (lambda b: setattr(b, "_input", 0x5), "device memory 0x5 is not allocated"),
        (lambda b: setattr(b._cuda, "stream", 0), "is no stream"),
        (lambda b: b._cuda.call("cudaFree", b._output), "is not allocated"),
        (lambda b: setattr(b, "_set_shape", lambda *args: None), "run before the input's shape was set"),
        (lambda b: setattr(b._cuda, "record", lambda event: None), "never recorded"),
    ],
)
def test_mistakes_in_the_use_of_tensorrt_are_caught(setup, mistake, message):
    backend = setup.open()
    mistake(backend)
    with pytest.raises(AssertionError, match=message):
        backend.run(setup.mixture())


def test_memory_that_is_not_given_back_is_seen(setup):
    setup.monkeypatch.setattr(Cuda, "close", lambda self: None)
    setup.open().close()
    assert len(setup.cuda.leaks()) == 9  # a stream, 2 buffers, 2 x (2 pinned buffers, an event)


def test_names_that_do_not_exist_are_seen(setup):
    setup.install()
    with pytest.raises(AttributeError):
        Cuda().call("cudaMemcpyEverything")
