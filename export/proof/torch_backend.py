"""The network in PyTorch as a backend, in place of an engine."""

from __future__ import annotations

import torch

from bsmamba2.networks.model import BandSplitSeparator
from export.proof.pytorch import Float, pytorch_stems
from runtime.backends import Done
from runtime.engine.cpu import check_threads, default_threads


def use_threads(threads: int | None = None) -> None:
    """Let PyTorch use `threads` CPU threads; None: at most `default_threads`, since it ignores quotas."""
    own = torch.get_num_threads()
    torch.set_num_threads(min(own, default_threads() or own) if threads is None else check_threads(threads))


class TorchBackend:
    """A `runtime.backends.Backend` that runs the network itself, on the CPU in float32.

    It takes and gives what an engine of the form `io` does.
    """

    depth = 1

    def __init__(self, model: BandSplitSeparator, io: str = "spectrum") -> None:
        self.name = f"torch {torch.__version__.split('+')[0]}, CPU"
        self.notes: list[str] = []
        self._model, self._io = model, io

    def run(self, mixture: Float) -> Float:
        return pytorch_stems(self._model, mixture, self._io)

    def submit(self, mixture: Float) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to release."""
