"""What `bsm-eval` evaluates: engines as bsm-run runs them, checkpoints as PyTorch runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.named import checkpoint_of, on_stderr
from runtime.backends import Backend, open_backend
from runtime.engine.manifest import Manifest, Parity, Range
from runtime.engine.reading import read_manifest
from runtime.errors import OptionError
from runtime.separation.separator import Separator

if TYPE_CHECKING:
    from bsmamba2.checkpoint import Checkpoint
    from bsmamba2.networks.model import BandSplitSeparator

ENGINES = (".onnx", ".plan")
PAPER_SECONDS = 8.0  # a checkpoint does not state the length it was trained on


@dataclass(frozen=True)
class Model:
    """An open engine, or a network in its place. `given` is its name on the command line, `name` the one in tables."""

    name: str
    given: str
    backend: Backend
    manifest: Manifest
    any_length: bool
    threads: int | None

    @property
    def seconds(self) -> float:
        """Its own input length."""
        return self.manifest.chunk_samples / self.manifest.stft.sample_rate

    def separator(self, overlap: float, seconds: float) -> Separator:
        """A separator with chunks of `seconds`, at the smallest batch size, so that long chunks fit into memory."""
        frames = self._frames(seconds)
        allowed = Range(frames, frames, frames) if self.any_length else replace(self.manifest.frames, opt=frames)
        manifest = replace(self.manifest, frames=allowed)
        return Separator(self.backend, manifest, overlap, manifest.batch.min, threads=self.threads)

    def check(self, lengths: Sequence[float]) -> None:
        """Raises OptionError for an input length, in s, that this engine does not accept."""
        allowed = self.manifest.frames
        low, high = self._seconds(allowed.min), self._seconds(allowed.max)
        for seconds in lengths:
            if not self.any_length and not allowed.min <= self._frames(seconds) <= allowed.max:
                takes = f"{low:g}" if low == high else f"{low:g} to {high:g}"
                raise OptionError(
                    f"--seconds {seconds:g}: {self.given} takes {takes} s: export it again with --frames MIN:OPT:MAX "
                    f"({seconds:g} s are {self._frames(seconds)} frames)"
                )

    def _frames(self, seconds: float) -> int:
        return round(seconds * self.manifest.stft.sample_rate / self.manifest.stft.hop_length) + 1

    def _seconds(self, frames: int) -> float:
        return (frames - 1) * self.manifest.stft.hop_length / self.manifest.stft.sample_rate


def check_options(given: Sequence[str], config: Path | None, weights: str | None) -> None:
    """Raises OptionError for options that would be ignored."""
    if all(_is_engine(each) for each in given) and (config is not None or weights is not None):
        raise OptionError(f"{'--weights' if config is None else '--config'}: applies to checkpoints, and none is given")


def _is_engine(given: str) -> bool:
    return Path(given).suffix.lower() in ENGINES


def open_model(
    given: str, all_given: Sequence[str], config: Path | None, weights: str | None, device: str, threads: int | None
) -> Model:
    """Open the engine or checkpoint `given`, one of `all_given`. Raises ManifestError, EngineError, OptionError, and
    BsmambaError for a checkpoint.
    """
    name, path = _name(given, all_given), Path(given)
    if _is_engine(given):
        manifest = read_manifest(path, to_open=True)
        return Model(name, given, open_backend(path, manifest, threads, device), manifest, False, threads)
    if device not in ("auto", "cpu"):
        raise OptionError(
            f"--device {device}: {given} is a checkpoint, which runs on the CPU only: export it with bsm-export"
        )
    try:
        from bsmamba2.checkpoint import load_checkpoint
        from export.proof.torch_backend import TorchBackend, use_threads

        local = checkpoint_of(given, offline=False, report=on_stderr("bsm-eval"))
        checkpoint = load_checkpoint(local, config, weights or "raw")
        model = checkpoint.model()
        manifest = _manifest(checkpoint, model)
    except ImportError as error:
        raise OptionError(f"{given}: {error.name} is not installed: pip install 'bsmamba2[export]'") from error
    use_threads(threads)
    return Model(name, given, TorchBackend(model), manifest, True, threads)


def _name(given: str, all_given: Sequence[str]) -> str:
    """The shortest name that distinguishes it from the others."""
    path, paths = Path(given), [Path(each) for each in all_given]
    if [each.stem for each in paths].count(path.stem) == 1:
        return path.stem
    return path.name if [each.name for each in paths].count(path.name) == 1 else given


def _manifest(checkpoint: Checkpoint, model: BandSplitSeparator) -> Manifest:
    """The manifest that an engine of this checkpoint would have, at the paper's input length."""
    from export.describe import describe, model_of

    stft = checkpoint.config.stft
    frames = round(PAPER_SECONDS * stft.sample_rate / stft.hop_length) + 1
    return describe(
        checkpoint,
        model_of(checkpoint.config, sum(each.numel() for each in model.parameters())),
        frames=Range(frames, frames, frames),
        batch=Range(1, 1, 1),
        precision="fp32",
        scan="chunked",
        target="cpu",
        io="spectrum",
        probes=[],
        parity=Parity("none: this is PyTorch itself", "torch", 0.0, 0.0, None, 0.0, 0.0),
    )
