"""The network in PyTorch: eager or compiled, with each form of the scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from on_gpu.work import Float, Work


class TorchSession:
    """The network in `precision`, `compiled` block by block: they are alike, so few graphs are compiled. `lean`: with
    less memory, as in `BandSplitSeparator`.

    `executor` and `notes` say what runs it and how.
    """

    def __init__(
        self, work: Work, precision: str, scan: str = "chunked", compiled: bool = False, lean: bool = False
    ) -> None:
        exact_float32()
        self._device = torch.device(work.device)
        self._on_gpu = self._device.type == "cuda"
        where = torch.cuda.get_device_name() if self._on_gpu else "CPU"
        self.executor = f"torch {torch.__version__}, {where}"
        self.notes: list[str] = []
        self._before = 0
        if self._on_gpu:
            torch.zeros(1, device=self._device)  # starts CUDA, whose own memory is not the network's
            self._before = torch.cuda.mem_get_info()[0]
        model = work.network()
        to_precision(model, precision)
        if model.config.has_mamba:
            model.use_scan(scan)
        model.lean = lean
        self._model = model.to(self._device)
        if compiled:
            compile_blocks(self._model)
        self._copies: tuple[torch.Tensor, torch.Tensor] | None = None  # page-locked, of the input and the output

    def run(self, mixture: Float) -> Float:
        """[b, t, f, c, 2] -> [b, s, t, f, c, 2], both in the host's memory."""
        with torch.inference_mode():
            given = torch.from_numpy(mixture)
            if not self._on_gpu:
                return self._model(given).numpy()
            shape = (given.shape[0], len(self._model.config.stems), *given.shape[1:])
            if self._copies is None or self._copies[1].shape != shape:
                self._copies = torch.empty(given.shape, pin_memory=True), torch.empty(shape, pin_memory=True)
            taken, stems = self._copies
            taken.copy_(given)
            stems.copy_(self._model(taken.to(self._device, non_blocking=True)), non_blocking=True)
            torch.cuda.synchronize()
            return stems.numpy().copy()

    def gpu_seconds(self, mixture: Float, rounds: int) -> list[float] | None:
        """Of the network alone, from GPU memory to GPU memory, by CUDA events; None on a CPU."""
        if not self._on_gpu:
            return None
        with torch.inference_mode():
            given = torch.from_numpy(mixture).to(self._device)
            return event_seconds(lambda: self._model(given), rounds)

    def memory(self) -> dict[str, int]:
        """Bytes of GPU memory: what PyTorch has taken from CUDA, and the most that tensors needed at a time."""
        if not self._on_gpu:
            return {}
        taken = self._before - torch.cuda.mem_get_info()[0]
        return {"memory_bytes": taken, "tensor_bytes": torch.cuda.max_memory_allocated()}

    def forget(self) -> None:
        """Give memory back before the next batch size, so that its memory is its own."""
        if self._on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def exact_float32() -> None:
    """Float32 products with all their bits (no TF32)."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def compile_blocks(model: BandSplitSeparator) -> None:
    from torch._dynamo import config  # takes seconds to import

    config.recompile_limit = 64  # a graph for each axis and batch size; beyond the limit it runs eager
    for layer in model.layers:
        for block in cast(nn.ModuleList, layer):
            if block is not None:
                block.compile(dynamic=False)
    for part in (model.band_split, *model.mask_estimators):
        part.compile(dynamic=False)


def event_seconds(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds on the GPU of each of `rounds` calls of `run`."""
    seconds = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1000)
    return seconds
