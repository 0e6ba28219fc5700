"""The builder in a thread of its own, which reports its progress and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from export.errors import ExportError
from runtime.backends.cuda import load_cudart
from runtime.engine.gpu import Gpu

Progress = Callable[[str, int, int], None]  # (phase of the builder, steps done, steps in total)


def run_builder(
    trt: Any, builder: Any, network: Any, config: Any, progress: Progress | None, gpu: Gpu | None = None
) -> Any:
    """The serialized network, or None. It is built on `gpu`, if one is given.

    The builder runs in its own thread, so that Ctrl-C reaches this one. An exception here, of the builder or of
    `progress` stops the builder and is raised.
    """
    stop = threading.Event()
    config.progress_monitor = monitor = _monitor(trt, progress, stop)
    out: list[Any] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            if gpu is not None:
                _use(gpu)  # CUDA keeps the current GPU for each thread
            out.append(builder.build_serialized_network(network, config))
        except BaseException as error:  # raised again in the main thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stop.set()
        thread.join()
        raise
    for failure in (*monitor.failures, *failures):
        raise failure
    return out[0]


def _use(gpu: Gpu) -> None:
    cudart: Any = load_cudart()
    (error,) = cudart.cudaSetDevice(gpu.index)
    if error != cudart.cudaError_t.cudaSuccess:
        raise ExportError(f"{gpu.name} cannot be used to build: cudaSetDevice failed with {error.name}")


def _monitor(trt: Any, progress: Progress | None, stop: threading.Event) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Reports every phase that counts steps, and stops the builder once `stop` is set.

        The bindings print an exception of a callback and go on: it is kept here, and stops the builder.
        """

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.failures: list[BaseException] = []

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._report(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(phase_name, step + 1)
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._report(phase_name, self.steps.get(phase_name, 0))

        def _report(self, phase_name: str, done: int) -> None:
            if progress is None or self.failures:
                return
            try:
                progress(phase_name, done, self.steps.get(phase_name, 0))
            except BaseException as error:
                self.failures.append(error)
                stop.set()

    return Monitor()
