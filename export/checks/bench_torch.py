"""The network in PyTorch as a contender: eager, or with torch.compile.

From waveforms to waveforms, it includes PyTorch's STFT and inverse.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backends.device import parse_device
from runtime.bench.contenders import Mixtures, Work
from runtime.engine.manifest import Manifest
from runtime.errors import OptionError

if TYPE_CHECKING:
    import torch

    from bsmamba2.checkpoint import Checkpoint
    from bsmamba2.config import StftConfig


@dataclass(frozen=True)
class TorchContender:
    """A checkpoint's network, on the same kind of device as the engine it is compared with."""

    name: str
    ckpt: str
    config: Path | None
    engine: Path  # must hold the same network
    manifest: Manifest  # of the engine
    work: Work
    threads: int | None
    device: str
    compiled: bool

    @property
    def optional(self) -> bool:
        """Compiling needs a C++ compiler and may fail; the other contenders are still measured."""
        return self.compiled

    def open(self) -> TorchSession:
        if self.compiled:  # one process: further ones could outlive this one
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        import torch

        from bsmamba2.checkpoint import load_checkpoint
        from bsmamba2.errors import BsmambaError
        from export.proof.torch_backend import use_threads

        use_threads(self.threads)
        try:
            checkpoint = load_checkpoint(self.ckpt, self.config)
        except BsmambaError as error:
            raise OptionError(str(error)) from error
        self._check(checkpoint)
        device = torch_device(self.device, self.engine)
        model = checkpoint.model().to(device)
        network = torch.compile(model) if self.compiled else model
        if self.work.io == "wave":
            network = _on_waveforms(network, checkpoint.config.stft)
        return TorchSession(network, device, Mixtures(self.manifest))

    def _check(self, checkpoint: Checkpoint) -> None:
        """Raise OptionError unless it is the engine's network."""
        from export.describe import is_network_of

        config = checkpoint.config
        if not is_network_of(config, self.manifest):
            raise OptionError(
                f"{self.ckpt}: is not the network of {self.engine} ({config.kind}, dim {config.dim}, depth "
                f"{config.depth}, stems {', '.join(config.stems)}): give the checkpoint and --config it was made from"
            )


def _on_waveforms(
    network: Callable[[torch.Tensor], torch.Tensor], stft: StftConfig
) -> Callable[[torch.Tensor], torch.Tensor]:
    """[b, c, samples] -> [b, s, c, samples]."""
    from bsmamba2.networks.stft import inverse, spectrogram

    return lambda wave: inverse(network(spectrogram(wave, stft)), stft)


def torch_device(device: str, engine: Path) -> str:
    """Where PyTorch runs if `engine` runs on `device`: "cpu", "cuda:0", "cuda:1", and so on.

    Raises OptionError for a GPU it cannot use.
    """
    import torch

    where = parse_device(device)
    on_gpu = where.kind in ("cuda", "tensorrt") or engine.suffix.lower() == ".plan"
    if where.kind == "auto" and not on_gpu:
        import onnxruntime

        on_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and torch.cuda.is_available()
    if on_gpu and not torch.cuda.is_available():
        raise OptionError("--ckpt: this PyTorch cannot use the GPU: install one built for CUDA, or leave out --ckpt")
    return f"cuda:{where.index}" if on_gpu else "cpu"


class TorchSession:
    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], device: str, mixtures: Mixtures) -> None:
        import torch

        version = torch.__version__.split("+")[0]
        self.executor = f"torch {version}, {'CPU' if device == 'cpu' else torch.cuda.get_device_name(device)}"
        self._network, self._device, self._mixtures = network, device, mixtures

    def run(self, work: Work) -> float:
        """Seconds from the mixture in memory to the stems in memory, as measured for engines."""
        import torch

        mixture = self._mixtures.of(work)
        start = time.perf_counter()
        with torch.inference_mode():
            self._network(torch.from_numpy(mixture).to(self._device)).cpu()
        return time.perf_counter() - start
