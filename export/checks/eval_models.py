"""What `bsm-eval` judges: engines as they are deployed, checkpoints as PyTorch runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backends import Backend, open_backend
from runtime.engine.manifest import Manifest, Parity, Range, read_manifest
from runtime.errors import OptionError
from runtime.separation.separator import Separator

if TYPE_CHECKING:
    from bsmamba2.checkpoint import Checkpoint
    from bsmamba2.networks.model import BandSplitSeparator

ENGINES = (".onnx", ".plan")
PAPER_SECONDS = 8.0  # a checkpoint does not say on what length it was trained


@dataclass(frozen=True)
class Model:
    """An open engine, or a network in its place. `given` is what the command line calls it, `name` what tables do."""

    name: str
    given: str
    backend: Backend
    manifest: Manifest
    any_length: bool

    @property
    def seconds(self) -> float:
        """The input length it was made for."""
        return self.manifest.chunk_samples / self.manifest.stft.sample_rate

    def separator(self, overlap: float, seconds: float) -> Separator:
        """It on chunks of `seconds`, one at a time where it can, so that long ones fit into memory."""
        frames = self._frames(seconds)
        allowed = Range(frames, frames, frames) if self.any_length else replace(self.manifest.frames, opt=frames)
        return Separator(self.backend, replace(self.manifest, frames=allowed), overlap, self.manifest.batch.min)

    def check(self, lengths: Sequence[float]) -> None:
        """Raises OptionError for an input length, in s, that this engine does not take."""
        allowed = self.manifest.frames
        low, high = self._seconds(allowed.min), self._seconds(allowed.max)
        for seconds in lengths:
            if not self.any_length and not allowed.min <= self._frames(seconds) <= allowed.max:
                takes = f"{low:g}" if low == high else f"{low:g} to {high:g}"
                raise OptionError(
                    f"--seconds {seconds:g}: {self.given} takes {takes} s: "
                    f"export it with bsm-export --frames MIN:OPT:MAX ({seconds:g} s are {self._frames(seconds)} frames)"
                )

    def _frames(self, seconds: float) -> int:
        return round(seconds * self.manifest.stft.sample_rate / self.manifest.stft.hop_length) + 1

    def _seconds(self, frames: int) -> float:
        return (frames - 1) * self.manifest.stft.hop_length / self.manifest.stft.sample_rate


def check_options(given: Sequence[str], config: Path | None, weights: str | None) -> None:
    """Raises OptionError for what would be ignored."""
    if all(_is_engine(each) for each in given) and (config is not None or weights is not None):
        raise OptionError(f"{'--weights' if config is None else '--config'}: goes with a checkpoint, and none is given")


def _is_engine(given: str) -> bool:
    return Path(given).suffix.lower() in ENGINES


def open_model(
    given: str, all_given: Sequence[str], config: Path | None, weights: str | None, device: str, threads: int | None
) -> Model:
    """`given`, of `all_given`, from which its name tells it. Raises ManifestError, EngineError, OptionError, and
    BsmambaError of a checkpoint.
    """
    name, path = _name(given, all_given), Path(given)
    if _is_engine(given):
        manifest = read_manifest(path)
        return Model(name, given, open_backend(path, manifest, threads, device), manifest, any_length=False)
    if device not in ("auto", "cpu"):
        raise OptionError(
            f"--device {device}: {given} is a checkpoint, which runs on the CPU: export it with bsm-export"
        )
    try:
        from bsmamba2.checkpoint import load_checkpoint
        from export.proof.torch_backend import TorchBackend, use_threads

        checkpoint = load_checkpoint(given, config, weights or "raw")
        model = checkpoint.model()
        manifest = _manifest(checkpoint, model)
    except ImportError as error:
        raise OptionError(f"{given}: {error.name} is not installed: pip install 'bsmamba2[export]'") from error
    use_threads(threads)
    return Model(name, given, TorchBackend(model), manifest, any_length=True)


def _name(given: str, all_given: Sequence[str]) -> str:
    """As short as tells it from the others."""
    path, paths = Path(given), [Path(each) for each in all_given]
    if [each.stem for each in paths].count(path.stem) == 1:
        return path.stem
    return path.name if [each.name for each in paths].count(path.name) == 1 else given


def _manifest(checkpoint: Checkpoint, model: BandSplitSeparator) -> Manifest:
    """What an engine of this checkpoint would be, at the paper's input length."""
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
        probes=[],
        parity=Parity("none: this is PyTorch itself", "torch", 0.0, 0.0, None, 0.0, 0.0),
    )
