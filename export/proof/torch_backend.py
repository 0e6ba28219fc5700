"""The network in PyTorch, in the place of an engine."""

from __future__ import annotations

import torch

from bsmamba2.networks.model import BandSplitSeparator
from export.proof.record import Float, pytorch_stems
from runtime.backends import Done


class TorchBackend:
    """Runs the network itself, on the CPU in float32: a `runtime.backends.Backend`."""

    depth = 1

    def __init__(self, model: BandSplitSeparator) -> None:
        self.name = f"torch {torch.__version__.split('+')[0]}, CPU"
        self.notes: list[str] = []
        self._model = model

    def run(self, mixture: Float) -> Float:
        return pytorch_stems(self._model, mixture)

    def submit(self, mixture: Float) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to give back."""
